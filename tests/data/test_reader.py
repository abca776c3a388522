import gzip
import io
import string
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import read_table, text_table
from chainrule.data.reader import read_parts
from chainrule.data.text_table import parse_text_table
from chainrule.errors import DataError, InvalidInputError

WORDS = st.text(string.ascii_letters + " éü,;|'\"-", min_size=1, max_size=8).map(lambda word: f"w{word}x")
NUMBERS = st.floats(-1e12, 1e12).filter(lambda number: abs(number) > 1e-6)


def table(path, text, **options):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, **options)


@settings(deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            *(st.lists(kind, min_size=n, max_size=n) for kind in (NUMBERS, WORDS, st.integers(-99, 99)))
        )
    ),
    st.sampled_from([(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), ("|", ".")]),
    st.booleans(),
)
def test_what_was_written_is_read(columns, marks, quote_all):
    separator, decimal = marks
    frame = pd.DataFrame(dict(zip(("size", "the word", "count"), columns, strict=True)))
    text = frame.to_csv(sep=separator, decimal=decimal, index=False, quoting=1 if quote_all else 0)
    back = parse_text_table(text, "t.csv")
    assert list(back.columns) == list(frame.columns)
    assert [float(cell.replace(",", ".")) for cell in back["size"]] == frame["size"].tolist()
    assert back["the word"].tolist() == frame["the word"].tolist()
    assert back["count"].tolist() == frame["count"].astype(str).tolist()


def test_headers_and_missing_cells(tmp_path):
    frame = table(tmp_path / "a.csv", "age, town\n31, Porto\n?, \n NA,Faro\n")
    assert list(frame.columns) == ["age", "town"]
    assert frame["age"].tolist() == ["31", "?", "NA"]
    assert frame["town"].tolist() == ["Porto", "", "Faro"]
    assert list(table(tmp_path / "b.csv", "1,2\n3,4\n").columns) == ["column_1", "column_2"]
    assert len(table(tmp_path / "c.csv", "39, State-gov, x\n50, Private, y\n")) == 2
    assert list(table(tmp_path / "d.csv", ",a\n0,1\n").columns) == ["column_1", "a"]
    assert table(tmp_path / "e.csv", "x\n1\n\n2\n").shape == (2, 1)


def test_comments_marks_and_encodings(tmp_path):
    assert list(table(tmp_path / "a.csv", "# made by hand\na,b\n1,2\n").columns) == ["a", "b"]
    assert list(table(tmp_path / "b.csv", "#id,b\n1,2\n").columns) == ["#id", "b"]
    assert table(tmp_path / "c.test.txt", "|1x3 Cross validator\n25, Private, no.\n38, Self, no.\n").shape == (2, 3)
    assert table(tmp_path / "d.csv", b"\xef\xbb\xbfcaf\xc3\xa9;b\n1;2\n").columns[0] == "café"
    assert table(tmp_path / "e.csv", b"caf\xe9;b\n1;2\n").columns[0] == "café"
    assert table(tmp_path / "f.csv", "a\tb\n1\t2\n".encode("utf-16")).shape == (1, 2)
    assert table(tmp_path / "g.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)).shape == (1, 2)
    assert table(tmp_path / "h.csv", 'a;b\n"1,5";x\n-2,25;y\n')["a"].tolist() == ["1,5", "-2,25"]
    assert table(tmp_path / "i.csv", 'a,b\n"two\nlines",1\n')["a"].tolist() == ["two\nlines"]


def test_columns_are_chosen(tmp_path):
    assert list(table(tmp_path / "a.csv", "a,b,c\n1,2,3\n", columns=["c", "a"]).columns) == ["c", "a"]
    with pytest.raises(DataError, match=r"'price'"):
        table(tmp_path / "b.csv", "a,price\n1,2\n", columns=["prise"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b" \n\n", "is empty"),
        ("a.csv", b"\xef\xbb\xbf", "is empty"),
        ("a.csv", b"a,b\n", "no rows"),
        ("a.csv", b"a,b\n1,2\n3,4,5\n", "3 values in line 3.* 2 columns"),
        ("a.csv", b"a,b\n1,2,3\n", "3 values in line 2|2 values in line"),
        ("a.csv", b"a,b,c\n1,2,3\n4,5\n6,7,8\n", "2 values in line 3.* 3 columns"),
        ("a.csv", b"# note\na,b\n1,2\n\n3\n", "1 values in line 5"),
        ("a.csv", b"a,a\n1,2\n", "more than one column named 'a' .columns 1 and 2"),
        ("a.csv", b'a,b\n1,2\n3,"4\n5,6\n', "line 3"),
        ("a.csv", b"a,b\n\x00\x01\x02", "binary"),
        ("a.csv", b"PK\x03\x04\x00\x00", "damaged zip"),
        ("a.csv", b"\xff\xfe\x00", "UTF-16 text according to its byte order mark, but line 1"),
        ("a.csv.gz", b"\x1f\x8b\x08garbage", "damaged gzip"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "damaged gzip"),
        ("a.parquet", b"PAR1 no", "cannot be read as a Parquet file"),
        ("a.parquet", b"", "cannot be read as a Parquet file"),
        ("a.npy", b"", "damaged or not a NumPy"),
        ("a.npy", b"\x93NUMPY\x01\x00", "damaged or not a NumPy"),
        ("a.npz", b"PK\x03\x04", "damaged or not a NumPy"),
        ("a.npz", b"", "damaged or not a NumPy"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1", "old Excel workbook"),
        ("a.json", b'[{"a": 1}]', "is JSON, not a text table"),
        ("a.csv", b"<!DOCTYPE html>\n<html>", "HTML page"),
        ("a.arff", b"@RELATION iris\n", "ARFF"),
        ("a.csv.zst", b"\x28\xb5\x2f\xfd\x00", "Zstandard"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as caught:
        table(tmp_path / name, content)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "houses.csv").touch()
    with pytest.raises(DataError, match=r"Did you mean 'houses\.csv'"):
        read_table(tmp_path / "house.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="There is no file"):
        read_table(tmp_path / "nowhere" / "a.csv")


def test_parquet(tmp_path, monkeypatch):
    frame = pd.DataFrame({"a": [1.5, 2.5], "b": ["u", None]})
    frame.to_parquet(tmp_path / "a.parquet")
    back = read_table(tmp_path / "a.parquet")
    assert back["a"].tolist() == [1.5, 2.5]
    assert back["b"].isna().tolist() == [False, True]
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as a Parquet file"):
        read_table(tmp_path / "half.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInputError, match="pyarrow"):
        read_table(tmp_path / "a.parquet")


def test_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6).reshape(3, 2))
    assert list(read_table(tmp_path / "a.npy").columns) == ["column_1", "column_2"]
    np.save(tmp_path / "s.npy", np.array([(1, 2.5)], dtype=[("n", "i4"), ("v", "f8")]))
    assert list(read_table(tmp_path / "s.npy").columns) == ["n", "v"]
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)), y=["a", "b", "c"], feature_names=["u", "v"])
    assert list(read_table(tmp_path / "a.npz").columns) == ["u", "v", "y"]
    np.savez(tmp_path / "b.npz", x_train=np.ones((3, 2, 2)), y_train=[1, 2, 3], x_test=np.ones((1, 4)), y_test=[4])
    parts = read_parts(tmp_path / "b.npz")
    assert {part: frame.shape for part, frame in parts.items()} == {"train": (3, 5), "test": (1, 5)}
    assert len(read_table(tmp_path / "b.npz")) == 4
    np.savez(tmp_path / "c.npz", np.ones((2, 2)))
    assert read_table(tmp_path / "c.npz").shape == (2, 2)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.array([Bomb()], dtype=object)}, "Python objects"),
        ({"a": np.ones(2), "b": np.ones(2)}, "must contain the arrays X and y.* has a, b"),
        ({"X": np.ones((3, 2)), "y": np.ones(2)}, "3 rows of inputs and labels"),
        ({"X": np.float64(3)}, "not a table"),
        ({"X": np.ones((2, 2)) * 1j}, "not a table"),
        ({"X": np.ones((0, 2))}, "without rows"),
        ({"X": np.ones((2, 1)), "y": np.ones(2), "feature_names": np.array(["y"])}, "named 'y'"),
    ],
)
def test_arrays_that_are_no_table(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "a.npz")


@pytest.mark.parametrize("cut", range(0, 400, 25))
def test_a_truncated_archive_is_refused(tmp_path, cut):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, X=np.arange(40.0).reshape(20, 2), y=np.arange(20))
    (tmp_path / "a.npz").write_bytes(buffer.getvalue()[:cut])
    with pytest.raises(DataError, match="damaged"):
        read_table(tmp_path / "a.npz")


def test_names_and_kinds_of_array_files_are_checked(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones((2, 2)))
    (tmp_path / "a.npz").rename(tmp_path / "b.npy")
    with pytest.raises(DataError, match=r"call it \.npz"):
        read_table(tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", np.ones((2, 2)))
    (tmp_path / "c.npy").rename(tmp_path / "c.npz")
    with pytest.raises(DataError, match=r"call it \.npy"):
        read_table(tmp_path / "c.npz")


@pytest.mark.parametrize(
    "header",
    ["{'descr': evil()}", "{'descr': '<f8'", "{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999999,)}",
     "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", "{'descr': 'xx', 'fortran_order': 0, 'shape': 3}",
     "(" * 3000, "{" * 30],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_damaged_headers_are_refused(tmp_path, name, header):
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    if name == "a.npy":
        (tmp_path / name).write_bytes(array)
    else:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("X.npy", array)
    with pytest.raises(DataError, match="damaged"):
        read_table(tmp_path / name)


def test_ctrl_c_while_pandas_reads_is_no_fault_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: object, size: int | None = -1) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(text_table._TextReader, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        parse_text_table("a,b\n1,2\n3,4\n", "rows.csv")


CODES = [
    "01",
    "2A",
    "TRUE",
    "1e5",
    "1.50",
    "+1",
    "9007199254740993",
    "NA",
    "",
    "nan",
    "1,5",
    "1.000",
    "2020-01-01",
    "é",
]


def test_every_cell_is_the_text_that_stands_in_the_file() -> None:
    frame = parse_text_table("n;code\n" + "".join(f"{row};{code}\n" for row, code in enumerate(CODES)), "x")
    assert frame["code"].tolist() == CODES
    assert frame["n"].tolist() == [str(row) for row in range(len(CODES))]
    assert list(frame.dtypes) == [object, object]
    for row, code in enumerate(CODES):  # whatever the company that it keeps
        alone = parse_text_table(f"n;code\n{row};{code}\n", "x")
        assert alone.loc[0].tolist() == [str(row), code]


def test_a_table_is_the_same_whatever_the_size_of_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a,b,c\n" + "".join(f'{row},"x\n{row}",\n' for row in range(100))
    whole = parse_text_table(text, "x")
    monkeypatch.setattr(text_table, "CELLS_PER_CHUNK", 20)
    assert parse_text_table(text, "x").equals(whole)
    assert parse_text_table(text, "x", max_rows=50).equals(whole[:50])
    with pytest.raises(DataError, match="2 values in line 202"):
        parse_text_table(text + "1,2\n", "x")


def test_no_more_rows_are_read_than_are_wanted() -> None:
    for end in ("\n", "\r\n", "\r"):
        text = f"a,b{end}" + f'1,"two{end}lines"{end}' * 9
        assert len(parse_text_table(text, "x", max_rows=3)) == 3
        assert len(parse_text_table(text, "x", max_rows=9)) == len(parse_text_table(text, "x")) == 9


def test_a_table_too_wide_is_refused_before_its_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pd, "read_csv", lambda *args, **kwargs: pytest.fail("pandas was asked"))
    for start in ("", "# made today\n", "#\n" * 50, "\n\n"):
        with pytest.raises(DataError, match="has 5 columns in its first line; the maximum is 4"):
            parse_text_table(start + "a,b,c,d,e\n1,2,3,4,5\n", "x", max_columns=4)
    for text in ("a,b\n1,2,3\n", "a,b\n ,\n1,2,3\n"):
        with pytest.raises(DataError, match="has 3 values in line"):
            parse_text_table(text, "x")
