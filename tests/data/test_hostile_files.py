"""Data files that are damaged or made to fill the memory: one sentence, and soon."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from chainrule.data import NpyStream, ParquetStream, read_table, unpacking
from chainrule.data.catalog.adult import read_people
from chainrule.data.catalog.california import read_blocks
from chainrule.data.catalog.idx import read_idx
from chainrule.data.catalog.imdb import read_words
from chainrule.data.catalog.imdb_reviews import read_reviews
from chainrule.data.catalog.safe_unpickle import read_member
from chainrule.data.catalog.uci_har import read_derived, read_official
from chainrule.errors import DataError
from chainrule.json_text import parse_json


def npy(shape: tuple[int, ...], content: bytes = b"", descr: str = "<f4") -> bytes:
    """A .npy file whose header says what it likes."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def npz(path: Path, *, compressed: bool = True, **members: bytes) -> Path:
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


# Shapes that lie ----------------------------------------------------------------------------------

NO_TABLE: dict[str, tuple[bytes, str]] = {
    "no rows, a billion columns": (npy((0, 10**9)), "without rows or columns"),
    "a billion rows, no columns": (npy((10**9, 0)), "without rows or columns"),
    "a billion rows of nothing": (npy((10**9, 0, 10**9)), "without rows or columns"),
    "numbers that are not there": (npy((10**9, 10**9)), "damaged or not a NumPy file"),
    "text of no length": (npy((10**9, 2), descr="<U0"), "which is not a table|damaged"),
    "bytes of no length": (npy((10**9, 2), descr="|S0"), "which is not a table|damaged"),
    "negative": (npy((-1, 2), bytes(8)), "damaged or not a NumPy file"),
    "very many columns": (npy((1, 200_000), bytes(800_000)), "200,000 columns, and a table can have at most 131,072"),
    "bytes that are no text": (npy((2, 1), b"\xe9\xe8", "|S1"), "not UTF-8 text"),
    "objects": (npy((2, 1), b"12345678", "|O"), "contains Python objects"),
}


@pytest.mark.parametrize("name", NO_TABLE)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_that_are_no_table(name: str, suffix: str, tmp_path: Path) -> None:
    content, words = NO_TABLE[name]
    path = tmp_path / f"a.{suffix}"
    if suffix == "npz":
        npz(path, X=content)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_a_stream_of_arrays_checks_shapes_before_it_names_columns(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.zeros(1))
    for content, words in ((npy((0, 10**9)), "0 rows|shape"), (npy((1, 200_000), bytes(800_000)), "200,000 numbers")):
        (tmp_path / "X.npy").write_bytes(content)
        with pytest.raises(DataError, match=words):
            NpyStream(tmp_path / "X.npy", tmp_path / "y.npy")


def test_structured_arrays_and_bytes_are_tables(tmp_path: Path) -> None:
    rows = np.array([(1, b"u", "a"), (2, b"\xc3\xa9", "b")], [("n", "i4"), ("s", "S2"), ("t", "U1")])
    np.save(tmp_path / "a.npy", rows)
    frame = read_table(tmp_path / "a.npy")
    assert frame["n"].tolist() == [1, 2]
    assert frame["s"].tolist() == ["u", "é"]
    for dtype in ([("a", "f4", (3,))], [("a", "O")], [("a", [("b", "f4")])], [("a", "c8")]):
        np.save(tmp_path / "b.npy", np.zeros(4, dtype), allow_pickle=True)
        with pytest.raises(DataError):
            read_table(tmp_path / "b.npy")


def test_only_the_members_that_are_needed_are_read(tmp_path: Path) -> None:
    bomb = npy((10**6, 200), bytes(8 * 10**8 // 10))
    path = npz(tmp_path / "a.npz", X=npy((3, 1), bytes(12)), y=npy((3,), bytes(12)), z=bomb, w=b"no array at all")
    assert read_table(path).shape == (3, 2)
    lone = npz(tmp_path / "b.npz", anything=npy((3, 1), bytes(12)))
    assert read_table(lone).shape == (3, 1)
    with pytest.raises(DataError, match=r"must contain the arrays X and y, or x_train and y_train; it has v, w\."):
        read_table(npz(tmp_path / "c.npz", v=bomb, w=bomb))


# Compressed files ---------------------------------------------------------------------------------

ZEROS = bytes(5 * 2**20)


def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_ALWAYS_ALLOWED", 2**22)
    n = len(ZEROS) // 4
    uses: list[tuple[str, Callable[[Path], Any]]] = [
        ("a.csv.gz", read_table),
        ("a.gz", lambda path: read_idx(path, 1)),
        ("adult.gz", read_people),
        ("cal.tgz", read_blocks),
        ("words.json", read_words),
    ]
    for name, read in uses:
        content = b"\0\0\x08\x01" + len(ZEROS).to_bytes(4, "big") + ZEROS if name == "a.gz" else ZEROS
        (tmp_path / name).write_bytes(gzip.compress(content, 9, mtime=0))
        with pytest.raises(DataError, match=f"{name} has more than 4,194,304 bytes when it is unpacked"):
            read(tmp_path / name)
    with tarfile.open(tmp_path / "reviews.tar.gz", "w:gz") as tar:
        review = tarfile.TarInfo("aclImdb/train/pos/0_9.txt")
        review.size = len(ZEROS)
        tar.addfile(review, io.BytesIO(ZEROS))
    with pytest.raises(DataError, match="contains too much text for its size"):
        read_reviews(tmp_path / "reviews.tar.gz")
    path = npz(tmp_path / "a.npz", X=npy((n, 1), ZEROS), x_train=b"")
    with pytest.raises(DataError, match=r"X\.npy in a\.npz has more than 4,194,304 bytes"):
        read_table(path)
    har = npz(tmp_path / "h.npz", feature_names=npy((n,), ZEROS))
    with pytest.raises(DataError, match=r"feature_names\.npy in h\.npz has more than"):
        read_derived(har)
    with zipfile.ZipFile(tmp_path / "har.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("UCI HAR Dataset.zip", ZEROS)
    with pytest.raises(DataError, match=r"UCI HAR Dataset\.zip in har\.zip has more than"):
        read_official(tmp_path / "har.zip")


def test_ordinary_archives_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_ALWAYS_ALLOWED", 2**16)
    noise = np.random.default_rng(0).integers(0, 256, (20_000, 4), np.uint8)
    rows = np.hstack([noise, np.zeros((20_000, 100), np.uint8)])
    np.savez_compressed(tmp_path / "a.npz", X=rows, y=noise[:, 0])
    np.savez(tmp_path / "b.npz", X=rows, y=noise[:, 0])
    for name in ("a.npz", "b.npz"):
        assert read_table(tmp_path / name).shape == (20_000, 105)


@pytest.mark.parametrize("form", ["npz", "npy", "gz"])
def test_every_damaged_byte_is_refused_or_harmless(form: str, tmp_path: Path) -> None:
    if form == "npz":
        whole = npz(tmp_path / "w.npz", compressed=False, X=npy((3, 2), bytes(24)), y=npy((3,), bytes(12))).read_bytes()
    else:
        whole = npy((3, 2), bytes(24)) if form == "npy" else gzip.compress(b"a,b\n1,2\n3,4\n", mtime=0)
    path = tmp_path / ("a.csv.gz" if form == "gz" else f"a.{form}")
    for place in range(len(whole)):
        for change in (0x01, 0x80, 0xFF):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
            with contextlib.suppress(DataError):
                read_table(path)


def test_an_encrypted_archive_is_said_to_be(tmp_path: Path) -> None:
    content = bytearray(npz(tmp_path / "a.npz", X=npy((3, 2), bytes(24))).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz is encrypted"):
        read_table(tmp_path / "a.npz")
    for read in (lambda path: read_member(path, "X"), read_derived, read_official):
        with pytest.raises(DataError):
            read(tmp_path / "a.npz")


LIMITED = """
import resource, sys
from chainrule.data.sources import open_source
from chainrule.errors import DataError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 600_000_000, used + 600_000_000))
for path in sys.argv[1:]:
    try:
        open_source(path, "y")
    except DataError as error:
        print("refused")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_small_files_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    """Within 600 MB of what a process has, of which pandas alone takes half."""
    (tmp_path / "zero.npy").write_bytes(npy((0, 10**9)))
    npz(tmp_path / "zero.npz", X=npy((0, 10**9)))
    npz(tmp_path / "bomb.npz", X=npy((270 * 2**18, 1), bytes(270 * 2**20)))
    npz(tmp_path / "wide.npz", X=npy((1, 10**7), bytes(4 * 10**7)))
    npz(tmp_path / "liar.npz", X=npy((10**12, 1)))
    paths = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *paths], check=False, capture_output=True, text=True, env={**os.environ}
    )
    assert done.stdout.split() == ["refused"] * len(paths), done.stderr


# Published formats --------------------------------------------------------------------------------


def test_damaged_published_tables_are_named(tmp_path: Path) -> None:
    readers: dict[str, Callable[[Path], Any]] = {
        "adult.data": read_people, "cal_housing.data": read_blocks, "words.json": read_words, "a.tgz": read_blocks,
    }  # fmt: skip
    odd = [b"", b"\xff\xfe\xff", b"\x00" * 50, b"1,2\n", b"1," * 40 + b"1\n" + b"2\n", b"[" * 10**5, b"{}", b"[1]"]
    odd += [b'{"a": NaN}', b'{"\\ud800": 1}', b"\x1f\x8b\x08", b'"', b"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"]
    for name, read in readers.items():
        for content in odd:
            path = tmp_path / name
            path.write_bytes(content)
            with contextlib.suppress(DataError):
                read(path)


# What pandas notes in Parquet files ---------------------------------------------------------------

NOTES: dict[str, tuple[Callable[[dict[str, Any]], Any], str | None]] = {
    "pandas_type missing": (lambda notes: notes["columns"][0].pop("pandas_type"), None),
    "numpy_type unknown": (lambda notes: notes["columns"][1].update(numpy_type="datetime64[usL"), None),
    "columns null": (lambda notes: notes.update(columns=None), None),
    "no index columns": (lambda notes: notes.pop("index_columns"), None),
    "index columns a number": (lambda notes: notes.update(index_columns=5), "list of index columns"),
    "index columns null": (lambda notes: notes.update(index_columns=None), "list of index columns"),
    "index columns of lists": (lambda notes: notes.update(index_columns=[[["a"]], 5, None]), None),
    "a surrogate": (lambda notes: notes.update(index_columns=["\ud800"]), "not valid Unicode"),
    "NaN": (lambda notes: notes.update(creator=float("nan")), "NaN"),
}


@pytest.mark.parametrize("name", NOTES)
def test_damaged_notes_of_pandas(name: str, tmp_path: Path) -> None:
    change, words = NOTES[name]
    frame = pd.DataFrame({"a": [1, 2, 3], "d": pd.date_range("2020", periods=3), "y": list("uvu")})
    table = pa.Table.from_pandas(frame)
    notes = json.loads(table.schema.metadata[b"pandas"])
    change(notes)
    path = tmp_path / "m.parquet"
    parquet.write_table(table.replace_schema_metadata({b"pandas": json.dumps(notes).encode()}), path)
    for read in (read_table, lambda path: ParquetStream(path, "y").sample):
        if words is None:
            read(path)
        else:
            with pytest.raises(DataError, match=rf"m\.parquet has damaged pandas metadata \(.*{words}"):
                read(path)


def test_notes_that_are_no_json(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2], "y": ["u", "v"]})
    for notes in (b"{", b"[" * 10**5, b"\xff", b"[]", b"5"):
        parquet.write_table(table.replace_schema_metadata({b"pandas": notes}), tmp_path / "m.parquet")
        with pytest.raises(DataError, match="damaged pandas metadata"):
            read_table(tmp_path / "m.parquet")


def test_an_index_is_no_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.5, 2.5], "y": ["u", "v"]}, index=pd.Index([7, 8], name="id"))
    frame.to_parquet(tmp_path / "a.parquet")
    assert list(read_table(tmp_path / "a.parquet").columns) == ["a", "y"]


# JSON ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested more than 50 levels"),
        ("[" * 51 + "]" * 51, "nested more than 50 levels"),
        ('{"a":' * 60 + "1" + "}" * 60, "nested more than 50 levels"),
        ("[NaN]", "NaN"),
        ('{"a": [-Infinity]}', "Infinity"),
        ("[1e999]", "not finite"),
        ("[" + "1" * 400 + "]", "too large for a float"),
        ('["\\ud800"]', "not valid Unicode"),
        ('{"\\udfff": 1}', "not valid Unicode"),
        ("", "Expecting value"),
        ("1" * 5000, "integer string conversion"),
        (b"\xff", "decode"),
    ],
)
def test_json_that_no_file_of_ours_holds(text: str | bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_json(text)


def test_other_json_is_read() -> None:
    deep = "[" * 49 + "1" + "]" * 49
    assert parse_json(deep) == json.loads(deep)
    assert parse_json(b'{"a": [1, 2.5, null, true, "\\ud83d\\ude00", {}]}') == {"a": [1, 2.5, None, True, "😀", {}]}
