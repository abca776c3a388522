"""Files by any name, packed files, pipes and the standard input; and what is refused of each."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chainrule.data import file_content, memory, open_source, read_table, unpacking
from chainrule.data.unpacking import unpack
from chainrule.errors import DataError

ROWS = b"a,y\n0,0\n1,3\n2,6\n"


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda content: zipped(**{"rows.csv": content}),
    "zip of macOS": lambda content: zipped(**{"d/": b"", "d/rows.csv": content, "__MACOSX/d/._rows.csv": b"x"}),
    "zip with a README": lambda content: zipped(**{"README.md": b"# x", "d/rows.CSV": content, "notes.txt": b"x"}),
    "zip of text files": lambda content: zipped(**{"LICENSE": b"x", "rows.txt": content, "thumbs.db": b"x"}),
    "gzip in zip with a README": lambda content: zipped(**{"README": b"x", "rows.data.gz": gzip.compress(content)}),
    "gzip in zip": lambda content: zipped(**{"rows.csv.gz": gzip.compress(content)}),
    "two members": lambda content: gzip.compress(content[:5]) + gzip.compress(content[5:]),
    "two streams": lambda content: bz2.compress(content[:5]) + bz2.compress(content[5:]),
}


@pytest.mark.parametrize("packer", PACKERS)
def test_a_packed_table_is_read_whatever_its_name(tmp_path: Path, packer: str) -> None:
    for name in ("rows.csv", "rows.csv.gz", "rows.zip", "rows"):
        (tmp_path / name).write_bytes(PACKERS[packer](ROWS))
        assert read_table(tmp_path / name).shape == (3, 2)


@pytest.mark.parametrize("name", ["rows", "rows.dat", "rows.csv.2024", "rows.json", ".rows", "-rows"])
def test_a_text_table_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(ROWS)
    assert list(read_table(tmp_path / name).columns) == ["a", "y"]
    assert open_source(tmp_path / name, "y").name == name


def test_parquet_and_arrays_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2]}).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.parquet").rename(tmp_path / "rows.pq")
    assert read_table(tmp_path / "rows.pq").shape == (2, 1)
    with (tmp_path / "rows").open("wb") as file:
        np.save(file, np.ones((3, 2)))
    assert read_table(tmp_path / "rows").shape == (3, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            zipped(**{"a.csv": ROWS, "b.csv": ROWS}),
            r"contains 2 files \(a.csv, b.csv\), but a zip file must contain",
        ),
        (
            zipped(**{"README.txt": b"x", "rows.txt": ROWS}),
            r"contains 2 files \(README.txt, rows.txt\), but a zip file must contain one table",
        ),
        (zipped(**{"a.md": b"x", "b.md": b"x"}), r"contains 2 files \(a.md, b.md\), but .*unpack it"),
        (zipped(), "contains 0 files, but a zip"),
        (zipped(**{"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}), "is a workbook or another document"),
        (zipped(**{"X.npy": b"x", "y.npy": b"y"}), r"archive of NumPy arrays.*\.npz"),
        (zipped(**{"a.csv": ROWS})[:-9], "is a damaged zip file"),
        (bz2.compress(ROWS)[:-3], "is a damaged bzip2 file"),
        (lzma.compress(ROWS)[:-3], "is a damaged xz file"),
        (gzip.compress(ROWS)[:-9], "is a damaged gzip file"),
        (gzip.compress(gzip.compress(gzip.compress(ROWS))), "packed 3 times or more"),
        (gzip.compress(b"PAR1"), "is a Parquet file, not a text table"),
    ],
    ids=[
        "two tables",
        "readme and text",
        "documents",
        "empty zip",
        "workbook",
        "arrays",
        "cut zip",
        "cut bzip2",
        "cut xz",
        "cut gzip",
        "packed thrice",
        "parquet in gzip",
    ],  # packed bytes hold the time
)
def test_packed_files_without_one_table_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "rows.bin").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / "rows.bin")
    assert str(caught.value).startswith("rows.bin ")


def test_an_encrypted_member_is_refused() -> None:
    content = bytearray(zipped(**{"a.csv": ROWS}))
    content[6] |= 1  # in the member's own header, and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DataError, match="encrypted"):
        unpack(bytes(content), "rows.zip")


@pytest.mark.parametrize("packer", PACKERS)
def test_more_than_the_bound_is_never_unpacked(packer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = PACKERS[packer](bytes(2**24))
    monkeypatch.setattr(unpacking, "_ALWAYS_ALLOWED", 2**22)
    lengths: list[int] = []
    read = unpacking.read_at_most

    def noting(file: io.BytesIO, most: int, too_long: str) -> bytes:
        try:
            return read(file, most, too_long)
        finally:
            lengths.append(file.tell())

    monkeypatch.setattr(unpacking, "read_at_most", noting)
    with pytest.raises(DataError, match=r"has more than 4,.* when it is unpacked"):
        unpack(packed, "rows.gz")
    assert max(lengths) <= 2**22 + 2**21


def test_the_bound_follows_the_size_of_the_file_and_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 2**40)
    assert unpacking.max_unpacked_bytes(1000) == 2**28
    assert unpacking.max_unpacked_bytes(2**26) == 200 * 2**26
    monkeypatch.setattr(memory, "machine_memory", lambda: 2**30)
    assert unpacking.max_unpacked_bytes(2**26) == 2**30 // 10


def test_a_text_beyond_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 100)
    (tmp_path / "rows.csv").write_bytes(ROWS)
    with pytest.raises(DataError, match=r"rows.csv has more than 10 bytes.*Parquet"):
        read_table(tmp_path / "rows.csv")


def test_the_standard_input_and_pipes_are_read(tmp_path: Path) -> None:
    code = "import sys; from chainrule.data import read_table; print(read_table(sys.argv[1]).shape)"
    for source in ("-", "/dev/stdin"):
        for content in (ROWS, gzip.compress(ROWS)):
            done = subprocess.run([sys.executable, "-c", code, source], input=content, capture_output=True, check=True)
            assert done.stdout == b"(3, 2)\n"
    empty = subprocess.run([sys.executable, "-c", code, "-"], input=b"", capture_output=True, check=False)
    assert b"The standard input is empty" in empty.stderr
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[ROWS])
    writer.start()
    try:
        opened = open_source(pipe, "y")
    finally:
        writer.join()
    assert opened.name == str(pipe)
    assert len(opened.train) == 3


def test_the_message_names_the_line_of_the_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(b"a,b\n1,2\n1,2,3\n")

    monkeypatch.setattr(file_content.sys, "stdin", Input)
    with pytest.raises(DataError, match="The standard input has 3 values in line 3"):
        read_table("-")


@pytest.mark.parametrize(
    "url", ["http://e.org/d.csv", "https://e.org/d", "HTTPS://e.org/d.csv", "s3://b/d.csv", "gs://b/d.csv", "ftp://e/d.csv",
            "file:///tmp/d.csv"],
)  # fmt: skip
def test_addresses_are_refused_in_a_sentence(url: str) -> None:
    for given in (url, Path(url)):
        with pytest.raises(DataError, match="is a URL, and only files are read; download it first"):
            read_table(given)
        with pytest.raises(DataError, match="is a URL"):
            open_source(given, "y")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full"])
def test_devices_are_refused(path: str) -> None:
    with pytest.raises(DataError, match=r"is a device; give the path of a file\."):
        read_table(path)


def test_paths_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="cannot be read: file name too long"):
        read_table("x" * 300 + ".csv")
    with pytest.raises(DataError, match="cannot be read: embedded null byte"):
        read_table("x\0.csv")
    with pytest.raises(DataError, match="cannot be read: file name too long"):
        open_source("x" * 300, "y")
    (tmp_path / "rows.csv").write_bytes(ROWS)
    with pytest.raises(DataError, match="There is no file"):
        read_table(tmp_path / "rows.csv" / "x.csv")

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"rows\.csv cannot be read: permission denied"):
        read_table(tmp_path / "rows.csv")
