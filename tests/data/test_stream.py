"""Streams of rows: what is learnt of them in one pass, what is kept aside, and what they refuse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from chainrule.data import (
    NpyStream,
    ParquetStream,
    TablePreprocessor,
    Target,
    parquet_files,
    parquet_stream,
    stream_rows,
    target_summary,
)
from chainrule.data import stream as stream_module
from chainrule.errors import ChainruleError, DataError, InvalidInputError
from support.streams import table_of_visits, write_parquet

N_ROWS = 500
FRAME = table_of_visits(N_ROWS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parquet(tmp_path_factory.mktemp("stream") / "big", FRAME)


@pytest.fixture(params=[7, 10_000], ids=["pieces of 7 rows", "whole groups"])
def piece_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "CHUNK_ROWS", request.param)


def rows_of(stream: ParquetStream, *parts: Any) -> Any:
    """The numbers of the rows in datasets, from the column that holds them."""
    plan = next(plan for plan in stream.table.columns if plan.name == "place").numbers[0]
    column = stream.feature_names.index("place")
    values = np.concatenate([part.X[:, column] for part in parts]).astype(np.float64)
    return np.rint(values * plan.scale + plan.center).astype(int)


def assert_alike(found: TablePreprocessor, wanted: TablePreprocessor) -> None:
    for one, other in zip(found.columns, wanted.columns, strict=True):
        assert (one.name, one.kind, one.reason, one.n_missing) == (
            other.name,
            other.kind,
            other.reason,
            other.n_missing,
        )
        assert one.categories == other.categories
        assert one.output_names == other.output_names
        for mine, its in zip(one.numbers, other.numbers, strict=True):
            np.testing.assert_allclose(
                (mine.fill, mine.center, mine.scale), (its.fill, its.center, its.scale), rtol=1e-9
            )


@pytest.mark.usefixtures("piece_rows")
def test_a_stream_learns_what_a_table_in_memory_teaches(folder: Path) -> None:
    options = {"categorical": ("member",), "scaling": "range"}
    stream = ParquetStream(folder, "bought", drop=["spent"], preprocessor=TablePreprocessor(**options))
    inputs, labels = FRAME.drop(columns="bought"), FRAME["bought"]
    table = TablePreprocessor(**options, drop=["spent"]).fit(inputs)
    assert_alike(stream.table, table)
    assert stream.target == Target.learn(labels)
    assert (stream.n_rows, stream.n_features, stream.n_columns) == (N_ROWS, len(table.feature_names), 7)
    assert stream.class_counts.tolist() == [(labels == "no").sum(), (labels == "yes").sum()]
    chunks = list(stream.chunks())
    np.testing.assert_allclose(
        np.concatenate([chunk.X for chunk in chunks]), table.transform(inputs), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(np.concatenate([chunk.y for chunk in chunks]), stream.target.encode(labels))
    assert stream.sample.n_rows == N_ROWS


@pytest.mark.parametrize(
    ("column", "task"),
    [("spent", None), ("bought", None), ("member", None), ("bought", "multiclass"), ("rooms", "regression"),
     ("rooms", None), ("flat", None)],
)  # fmt: skip
def test_the_target_is_the_one_that_is_found_in_memory(tmp_path: Path, column: str, task: Any) -> None:
    frame = FRAME.assign(rooms=np.arange(N_ROWS) % 5, flat=np.arange(N_ROWS) % 5 / 2)
    stream = ParquetStream(write_parquet(tmp_path, frame), column, task=task)
    assert stream.target == Target.learn(frame[column], task)
    if stream.task == "regression":
        np.testing.assert_allclose(stream.target_center, frame[column].mean(), rtol=1e-9)
        np.testing.assert_allclose(stream.target_deviation, frame[column].std(ddof=0), rtol=1e-9)
    codes = np.concatenate([chunk.y for chunk in stream.chunks()])
    np.testing.assert_array_equal(codes, stream.target.encode(frame[column]))


@pytest.mark.usefixtures("piece_rows")
@pytest.mark.parametrize("labels", [["-999", "1.5"], [-999.0, 1.5], ["keine", "1.5"]], ids=["text", "typed", "a word"])
def test_words_for_a_missing_value_hold_for_the_target(tmp_path: Path, labels: list[Any]) -> None:
    frame = FRAME.assign(rooms=[*labels, *[type(labels[1])(k % 40 / 4) for k in range(N_ROWS - 2)]])
    options = TablePreprocessor(missing_words=["-999", "keine"])
    stream = ParquetStream(write_parquet(tmp_path, frame), "rooms", preprocessor=options, drop_missing_target=True)
    assert (stream.n_rows, stream.n_without_target, stream.task) == (N_ROWS - 1, 1, "regression")
    assert stream.target == Target.learn(frame["rooms"].iloc[1:], missing_words=options.missing_words)
    assert stream.target_center[0] > 0
    whole = ParquetStream(tmp_path, "rooms", preprocessor=options)
    with pytest.raises(DataError, match="'rooms' is missing in row 1"):
        whole.learn()


@pytest.mark.usefixtures("piece_rows")
@pytest.mark.parametrize("strategy", ["random", "stratified", "time"])
def test_the_three_parts_hold_every_row_once(folder: Path, strategy: Any) -> None:
    whole = ParquetStream(folder, "bought")
    training, validation, test = whole.train_validation_test(0.1, 40, strategy=strategy, seed=3)
    assert validation is not None
    assert test is not None
    assert (training.n_rows, validation.n_rows, test.n_rows) == (410, 50, 40)
    rows = [rows_of(training, *training.chunks()), rows_of(training, validation), rows_of(training, test)]
    assert sorted(np.concatenate(rows)) == list(range(N_ROWS))
    assert (rows[0] == np.sort(rows[0])).all()
    if strategy == "time":
        assert rows[2].tolist() == list(range(460, 500))
        assert rows[1].tolist() == list(range(410, 460))
    else:
        again = whole.train_validation_test(0.1, 40, strategy=strategy, seed=3)
        other = whole.train_validation_test(0.1, 40, strategy=strategy, seed=4)
        assert rows_of(again[0], again[2]).tolist() == rows[2].tolist()
        assert rows_of(other[0], other[2]).tolist() != rows[2].tolist()
        assert len(set(rows[2] // 100)) == 5, "from everywhere"
    # What was kept aside has taught nothing.
    assert_alike(training.table, TablePreprocessor().fit(FRAME.drop(columns="bought").iloc[rows[0]]))
    assert training.sample.n_rows == 410
    assert sorted(rows_of(training, training.sample)) == rows[0].tolist()
    y = np.concatenate([chunk.y for chunk in training.chunks()])
    np.testing.assert_array_equal(y, training.target.encode(FRAME["bought"].iloc[rows[0]]))
    np.testing.assert_array_equal(test.y, training.target.encode(FRAME["bought"].iloc[rows[2]]))


def test_a_part_of_a_part_keeps_what_was_learnt(folder: Path) -> None:
    first, test = ParquetStream(folder, "spent").split(0.2, seed=0)
    second, validation = first.split(0.25, seed=1)
    assert (second.n_rows, validation.n_rows, test.n_rows) == (300, 100, 100)
    assert second.table.to_dict() == first.table.to_dict()
    rows = [rows_of(second, *second.chunks()), rows_of(second, validation), rows_of(first, test)]
    assert sorted(np.concatenate(rows)) == list(range(N_ROWS))
    np.testing.assert_allclose(second.target_center, FRAME["spent"].iloc[rows[0]].mean(), rtol=1e-9)


def test_a_group_can_be_begun_at_any_of_its_rows(folder: Path) -> None:
    training, _ = ParquetStream(folder, "bought").split(0.3, seed=0)
    assert training.group_rows.sum() == training.n_rows
    for group, n_rows in enumerate(training.group_rows):
        whole = rows_of(training, *training.rows_of_group(group)).tolist()
        assert len(whole) == n_rows
        for first in {0, n_rows // 2, n_rows - 1}:
            assert rows_of(training, *training.rows_of_group(group, first)).tolist() == whole[first:]


def test_parts_in_memory_and_the_sample_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_rows, "MAX_HELD_OUT", 30)
    monkeypatch.setattr(stream_module, "SAMPLE_ROWS", 20)
    monkeypatch.setattr(stream_module, "MEDIAN_SAMPLE_ROWS", 200)
    training, validation, test = ParquetStream(folder, "bought").train_validation_test(0.2, 0.2, seed=0)
    assert validation is not None
    assert test is not None
    assert (training.n_rows, validation.n_rows, test.n_rows, training.sample.n_rows) == (440, 30, 30, 20)
    pages = next(plan for plan in training.table.columns if plan.name == "pages").numbers[0]
    assert 0 < abs(pages.fill - FRAME["pages"].median()) < 0.3, "the median of some rows only"
    with pytest.raises(InvalidInputError, match="test_size is 31; at most 30 rows of a stream"):
        training.split(31)


@given(st.integers(1, 5000), st.integers(1, 300))
def test_a_sample_is_spread_over_all_rows(n_rows: int, most: int) -> None:
    rows = stream_rows.sample_rows(n_rows, most)
    assert len(rows) == len(set(rows.tolist())) == min(n_rows, most)
    assert (np.diff(rows) > 0).all()
    assert 0 <= rows[0] <= rows[-1] < n_rows
    assert np.diff(rows, prepend=0, append=n_rows).max() <= 2 * n_rows / len(rows) + 2


def test_scaled_targets_reach_batches_and_sample(folder: Path) -> None:
    stream = ParquetStream(folder, "spent")
    scaled = stream.with_targets(stream.target_center, stream.target_deviation)
    y = np.concatenate([chunk.y for chunk in scaled.chunks()])
    np.testing.assert_allclose((y.mean(), y.std()), (0, 1), atol=1e-9)
    np.testing.assert_allclose(scaled.sample.y.std(), 1, atol=1e-9)
    np.testing.assert_allclose(stream.sample.y.std(), FRAME["spent"].std(ddof=0))


def test_what_the_path_means(folder: Path, tmp_path: Path) -> None:
    files = sorted(folder.glob("*.parquet"))
    for paths in (folder, str(folder / "*.parquet"), files, [files[0], f"{folder}/part[12].parquet"]):
        assert ParquetStream(paths, "bought").n_rows == N_ROWS
    assert ParquetStream(files[1], "bought").n_rows == 167
    for paths, message in {
        tmp_path / "none.parquet": "There is no file",
        str(tmp_path / "*.parquet"): "No file matches the pattern",
        tmp_path: "contains no .parquet file",
        (files[0], folder): "is given twice",
        (): "No Parquet file was given",
    }.items():
        with pytest.raises(InvalidInputError, match=message):
            ParquetStream(paths, "bought")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"target": "bougt"},
            "part0.parquet has no column 'bougt' to predict; it has place, .* mean 'bought'?",
        ),
        ({"columns": ["pagess"]}, "part0.parquet has no column 'pagess'. Did you mean 'pages'?"),
        ({"columns": "pages"}, "columns must be a list of column names, not one text"),
        ({"columns": ["pages", "place", "pages"]}, "columns names the column 'pages' twice; name it once"),
        ({"columns": ["bought"]}, "has no column besides the target 'bought'"),
        ({"drop": ["pagess"]}, r"drop \(--drop\) names the column 'pagess', which .* Did you mean 'pages'\?"),
        ({"drop": "pages"}, "drop must be a list of column names, not one text"),
        ({"buffer_rows": 0}, "buffer_rows is 0; it must be a whole number >= 1"),
        ({"columns": ["pages"], "task": "multi"}, "The task is one of .* not 'multi'"),
    ],
)
def test_options_that_cannot_be_are_one_sentence(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ParquetStream(folder, **{"target": "bought", **options}).learn()


def damaged(content: bytes) -> dict[str, bytes]:
    middle = len(content) // 3
    return {
        "empty": b"",
        "cut": content[: len(content) // 2],
        "no Parquet": b"a,b\n1,2\n" * 100,
        "overwritten": content[:100] + bytes(2 * middle) + content[100 + 2 * middle :],
    }


@pytest.mark.parametrize("how", ["empty", "cut", "no Parquet", "overwritten"])
def test_a_damaged_file_is_named(folder: Path, tmp_path: Path, how: str) -> None:
    files = [tmp_path / path.name for path in sorted(folder.glob("*.parquet"))]
    for path in files:
        path.write_bytes((folder / path.name).read_bytes())
    files[1].write_bytes(damaged(files[1].read_bytes())[how])
    with pytest.raises(DataError, match=re.escape("part1.parquet cannot be read as a Parquet file (")) as caught:
        ParquetStream(files, "bought").learn()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="pages"), "b.parquet has no column 'pages', but a.parquet has one"),
        (
            lambda f: f.assign(pages="few"),
            "b.parquet has the type text in the column 'pages', but the previous files have",
        ),
        (lambda f: f.assign(more=1), "b.parquet has a column 'more', but a.parquet has none; drop it"),
        (lambda f: f.assign(pages=np.inf), "b.parquet: The column 'pages' has an infinite number in row 1;"),
        (
            lambda f: f.assign(bought=f["bought"].where(f.index % 50 != 29)),
            "b.parquet: The target 'bought' is missing in row 30;",
        ),
    ],
)
def test_files_that_do_not_fit_together_are_named(tmp_path: Path, change: Any, message: str) -> None:
    for name, frame in {"a": FRAME[:200], "b": change(FRAME[:200])}.items():
        parquet.write_table(pa.Table.from_pandas(frame), tmp_path / f"{name}.parquet", row_group_size=50)
    with pytest.raises(DataError, match=re.escape(message)):
        ParquetStream(tmp_path, "bought").learn()
    if "more" in message:
        assert ParquetStream(tmp_path, "bought", drop=["more"]).n_rows == 400
        assert ParquetStream(tmp_path, "bought", columns=["pages"]).feature_names == ("pages",)


def test_files_may_differ_in_order_gaps_and_width_of_numbers(tmp_path: Path) -> None:
    other = FRAME.assign(town=None, member=FRAME["member"].astype(object).where(FRAME.index > 9), place=FRAME.index)
    write_parquet(tmp_path / "a", FRAME[FRAME.columns[::-1]], n_files=1)
    write_parquet(tmp_path / "b", other, n_files=1)
    stream = ParquetStream([tmp_path / "b", tmp_path / "a"], "bought")
    table = TablePreprocessor().fit(pd.concat([other, FRAME])[list(FRAME.columns[:-1])])
    assert_alike(stream.table, table)


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    stream = ParquetStream(write_parquet(tmp_path, FRAME, n_files=1), "bought")
    write_parquet(tmp_path, FRAME[:100], n_files=1, group_rows=30)
    with pytest.raises(DataError, match=r"part0\.parquet has changed since it was opened; open it again\."):
        stream.learn()


@pytest.mark.usefixtures("piece_rows")
def test_codes_do_not_depend_on_the_gaps_beside_them(tmp_path: Path) -> None:
    """A float64 has no 2^53 + 1, and a gap makes floats of whole numbers elsewhere."""
    code = pa.array([2**53 + 1, 7] * 20 + [2**53 + 1, None] * 20, pa.int64())
    parquet.write_table(pa.table({"code": code, "y": [0, 1] * 40}), tmp_path / "a.parquet", row_group_size=40)
    table = ParquetStream(tmp_path, "y", preprocessor=TablePreprocessor(["code"])).table
    assert table.columns[0].categories == ("7", str(2**53 + 1))


LATE_CODES = ["01", "2A", "1234567890123456"]


def late_code(folder: Path, code: Any, first: list[Any], column: str) -> Path:
    """Two files with more numbers as text than are kept, and a code in row 5 of the second."""
    numbers = [*first, *first]
    numbers[len(first) + 4] = code
    frame = pd.DataFrame({column: numbers, "a": range(len(numbers)), "b": np.arange(len(numbers)) % 7})
    return write_parquet(folder, frame, n_files=2, group_rows=20)


@pytest.mark.parametrize("code", LATE_CODES)
def test_a_code_after_many_numbers_is_refused_by_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(parquet_stream, "MAX_TEXTS", 10)
    folder = late_code(tmp_path / "f", code, [str(number) for number in range(40)], "id")
    with pytest.raises(DataError, match=r"part1.parquet: The column 'id' .*row 5.*--categorical"):
        _ = ParquetStream(folder, "a").n_features
    for options, kind in (({"categorical": ["id"]}, "dropped"), ({"numeric": ["id"]}, "number")):
        stream = ParquetStream(folder, "a", preprocessor=TablePreprocessor(**options))
        assert stream.n_features
        assert stream.table.columns[0].kind == kind


def test_a_code_of_64_bits_after_numbers_is_refused_by_its_row(tmp_path: Path) -> None:
    folder = late_code(tmp_path, 2**60 + 1, [*range(40)], "id")
    message = "part1.parquet: The column 'id' has '1152921504606846977' in row 5, which is a code and not a number"
    with pytest.raises(DataError, match=message):
        _ = ParquetStream(folder, "a").n_features
    stream = ParquetStream(folder, "a", preprocessor=TablePreprocessor(categorical=["id"]))
    assert stream.n_features
    assert stream.table.columns[0].kind == "category"


@pytest.mark.parametrize("code", LATE_CODES)
def test_a_code_among_many_numbers_to_predict_is_refused_by_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(target_summary, "MAX_LABELS", 10)
    folder = late_code(tmp_path, code, [f"{number}.5" for number in range(40)], "y")
    with pytest.raises(DataError, match=r"part1.parquet: The target 'y' .*row 5"):
        _ = ParquetStream(folder, "y").target
    if code != "2A":
        assert ParquetStream(folder, "y", task="regression").target.task == "regression"


@pytest.mark.parametrize("labels", [(1, 2**63 + 1), (2**63, 2**63 + 1), (-(2**62) - 1, 2**62 + 1)])
def test_labels_of_64_bits_keep_every_bit(tmp_path: Path, labels: tuple[int, int]) -> None:
    column = pa.array(labels * 20, pa.uint64() if max(labels) >= 2**63 else pa.int64())
    parquet.write_table(pa.table({"x": np.arange(40.0), "y": column}), tmp_path / "a.parquet")
    stream = ParquetStream(tmp_path, "y")
    assert stream.target == Target("binary", labels)
    assert next(stream.chunks()).y.tolist() == [0, 1] * 20


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[1, 2], [3]] * 20), "Unknown label type: the target contains ndarray objects"),
        (pa.array([{"a": 1}, {"a": 2}] * 20), "Unknown label type: the target contains dict objects"),
    ],
    ids=["lists", "structs"],
)
@pytest.mark.parametrize("task", [None, "regression"])
def test_labels_that_are_no_single_values_are_one_sentence(
    tmp_path: Path, column: Any, message: str, task: Any
) -> None:
    parquet.write_table(pa.table({"x": np.arange(40.0), "y": column}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        ParquetStream(tmp_path, "y", task=task).learn()


def test_the_index_of_a_frame_is_no_column(tmp_path: Path) -> None:
    FRAME.set_index("place").to_parquet(tmp_path / "a.parquet")
    assert "place" not in ParquetStream(tmp_path, "bought").feature_names


def test_a_learnt_preprocessor_is_used_as_it_is(folder: Path) -> None:
    table = TablePreprocessor().fit(FRAME.drop(columns="bought")[:50])
    stream = ParquetStream(folder, "bought", preprocessor=table)
    assert stream.table.to_dict() == table.to_dict()


def write_arrays(folder: Path, X: Any, y: Any) -> tuple[Path, Path]:
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    return folder / "X.npy", folder / "y.npy"


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_in_files_are_the_rows_that_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Any
) -> None:
    monkeypatch.setattr("chainrule.data.npy_stream.GROUP_ROWS", 64)
    images = np.asarray(np.random.default_rng(0).integers(0, 256, (300, 4, 5), dtype=np.uint8), order=order)
    y = np.arange(300) % 3
    stream = NpyStream(*write_arrays(tmp_path, images, y.reshape(-1, 1)))
    assert (stream.n_rows, stream.n_features, stream.target) == (300, 20, Target("multiclass", (0, 1, 2)))
    training, test = stream.split(60, seed=0)
    assert (training.n_rows, test.n_rows, len(training.group_rows)) == (240, 60, 5)
    whole = np.concatenate([chunk.X for chunk in stream.chunks()])
    np.testing.assert_array_equal(whole, images.reshape(300, 20))
    assert whole.dtype == np.float32
    y2 = NpyStream(*write_arrays(tmp_path, images, np.column_stack([y, y / 3.0])))
    assert y2.target == Target("regression", n_columns=2)
    np.testing.assert_allclose(y2.target_center, (y.mean(), y.mean() / 3))


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros(5), np.zeros(5), "X.npy has an array of shape (5,); it needs rows and columns"),
        (np.zeros((5, 2)), np.zeros(4), "X.npy has 5 rows and y.npy has 4; they need the same number"),
        (np.zeros((0, 2)), np.zeros(0), "X.npy has an array of shape (0, 2)"),
        (np.array([["a", {}]], object), np.zeros(1), "X.npy contains Python objects"),
        (
            np.where(np.arange(12).reshape(6, 2) == 8, np.nan, 1),
            np.arange(6) % 2,
            "X.npy: X has nan in row 5, column 1",
        ),
        (np.eye(6), np.array([0, 1, np.nan, 1, 0, 1]), "X.npy: The target is missing in row 3"),
        (np.eye(6), np.ones(6), "The target is constant, 1.0 in every row"),
    ],
)
def test_arrays_that_cannot_be_used_are_one_sentence(tmp_path: Path, X: Any, y: Any, message: str) -> None:
    paths = write_arrays(tmp_path, X, y)
    with pytest.raises(ChainruleError, match=re.escape(message)):
        NpyStream(*paths).learn()
