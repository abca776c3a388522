"""Which rows of a stream are kept aside: each class has its share, and nothing but those rows is remembered."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data import NpyStream, ParquetStream, split_rows, stream_split
from chainrule.data.cells import UNNAMED
from chainrule.data.stream_split import ClassDraw, draw_latest
from chainrule.errors import DataError, InvalidInputError
from chainrule.types import Array, IntArray
from support.streams import write_parquet


def draw(labels: Array, n_drawn: int, pieces: int = 1, seed: int = 0) -> IntArray:
    drawing = ClassDraw(len(labels), n_drawn, np.random.default_rng(seed))
    for piece in np.array_split(labels, pieces):
        drawing.add(piece)
    places, codes = drawing.finish()
    assert len(set(zip(labels[places].tolist(), codes.tolist(), strict=True))) == len(set(labels[places].tolist()))
    return places


@given(st.lists(st.integers(0, 4), min_size=2, max_size=300), st.floats(0, 1), st.integers(0, 9))
def test_every_class_has_its_share_to_within_one_row(given_labels: list[int], share: float, seed: int) -> None:
    labels = np.array(given_labels)
    n_drawn = 1 + int(share * (len(labels) - 2))
    places = draw(labels, n_drawn, seed=seed)
    assert len(set(places.tolist())) == n_drawn
    assert (np.diff(places) > 0).all()
    drawn, counts = np.bincount(labels[places], minlength=5), np.bincount(labels, minlength=5)
    assert (np.abs(drawn - counts * n_drawn / len(labels)) < 1).all()


def test_the_pieces_do_not_matter_and_little_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).choice(["a", "b", "c"], 200_000, p=[0.9, 0.09, 0.01])
    whole = draw(labels, 400)
    assert not np.array_equal(draw(labels, 400, seed=1), whole)
    monkeypatch.setattr(stream_split, "MIN_ROWS_TO_SORT", 100)
    for pieces in (2, 37, 1000):
        np.testing.assert_array_equal(draw(labels, 400, pieces), whole)
    drawing, most = ClassDraw(len(labels), 400, np.random.default_rng(0)), 0
    for piece in np.array_split(labels, 1000):
        drawing.add(piece)
        most = max(most, len(drawing._kept) + sum(map(len, drawing._new)))
    assert most < 2500
    np.testing.assert_array_equal(drawing.finish()[0], whole)


def test_a_class_that_comes_late_has_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_split, "MIN_ROWS_TO_SORT", 100)
    labels = np.repeat([0, 1, 0, 1], [500, 1, 3000, 3000])
    for seed in range(20):
        places = draw(labels, 2000, 50, seed)
        assert np.bincount(labels[places]).tolist() == [1077, 923]
        np.testing.assert_array_equal(draw(labels, 2000, seed=seed), places)


def test_every_row_is_as_likely_as_another_of_its_class() -> None:
    labels = np.repeat([0, 1, 0], [28, 17, 13])
    times = np.zeros(len(labels))
    for seed in range(4000):
        times[draw(labels, 11, seed=seed)] += 1
    expected = np.where(labels == 0, 8 / 41, 3 / 17)
    np.testing.assert_allclose(times / 4000, expected, atol=0.03)  # more than four standard deviations


def rare(n_rows: int = 1000) -> pd.DataFrame:
    """One row of fifty is a fraud; the fraudulent ones lie together."""
    rng = np.random.default_rng(1)
    kind = np.where(np.arange(n_rows) % 500 < 10, "fraud", "fine")
    return pd.DataFrame({"place": np.arange(n_rows, dtype=float), "amount": rng.normal(size=n_rows), "kind": kind})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parquet(tmp_path_factory.mktemp("rare") / "big", rare())


def test_the_parts_of_a_stream_are_those_of_a_table(folder: Path) -> None:
    labels = rare()["kind"].to_numpy()
    _, of_table = split_rows(1000, 100, strategy="stratified", labels=labels, seed=0)
    seen = set()
    for seed in range(5):
        training, validation, test = ParquetStream(folder, "kind").train_validation_test(0.2, 100, seed=seed)
        assert validation is not None
        assert test is not None
        assert (training.n_rows, validation.n_rows, test.n_rows) == (700, 200, 100)
        assert training.class_counts.tolist() == [686, 14]
        for part, n_frauds in ((validation, 4), (test, 2)):
            assert np.bincount(part.y).tolist() == [part.n_rows - n_frauds, n_frauds]
        assert (labels[of_table] == "fraud").sum() == 2
        place = training.feature_names.index("place")
        rows = np.concatenate([part.X[:, place] for part in (*training.chunks(), validation, test)])
        assert len(np.unique(rows)) == 1000
        seen.add(tuple(np.sort(test.X[:, place]).tolist()))
    assert len(seen) == 5, "by the seed"


def test_a_part_of_a_part_is_stratified_too_and_random_is_not(folder: Path) -> None:
    first, _ = ParquetStream(folder, "kind").split(0.5, seed=0)
    assert first.class_counts.tolist() == [490, 10]
    second, test = first.split(0.4, strategy="stratified", seed=1)
    assert second.class_counts.tolist() == [294, 6]
    assert np.bincount(test.y).tolist() == [196, 4]
    counts = {
        ParquetStream(folder, "kind").split(0.5, strategy="random", seed=seed)[0].class_counts[1] for seed in range(4)
    }
    assert len(counts) > 1


def test_numbers_are_drawn_at_random(folder: Path) -> None:
    stream = ParquetStream(folder, "amount", drop=["kind"])
    auto, random = (stream.split(0.2, strategy=strategy, seed=3)[1] for strategy in ("auto", "random"))  # type: ignore[arg-type]
    np.testing.assert_array_equal(auto.X, random.X)
    with pytest.raises(InvalidInputError, match="needs a target of classes, but this target is a number"):
        stream.split(0.2, strategy="stratified")
    with pytest.raises(InvalidInputError, match=r"not 'statified'. Did you mean 'stratified'\?"):
        stream.split(0.2, strategy="statified")  # type: ignore[arg-type]


def test_arrays_are_stratified_and_only_the_labels_are_read_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = rare(10_000)
    np.save(tmp_path / "X.npy", frame[["place", "amount"]].to_numpy())
    np.save(tmp_path / "y.npy", (frame["kind"] == "fraud").to_numpy())
    stream, read = NpyStream(tmp_path / "X.npy", tmp_path / "y.npy"), []
    of_group = stream._read
    monkeypatch.setattr(NpyStream, "_read", lambda self, *place: read.append(place) or of_group(*place))  # type: ignore[func-returns-value]
    training, test = stream.split(0.1, seed=0)
    assert read == [(0, 0), (1, 0), (2, 0)]
    assert training.class_counts.tolist() == [8820, 180]
    assert np.bincount(test.y).tolist() == [980, 20]


def test_a_label_that_is_missing_is_named(tmp_path: Path) -> None:
    frame = rare().astype({"kind": object})
    frame.loc[777, "kind"] = None
    write_parquet(tmp_path, frame, n_files=2)
    with pytest.raises(DataError, match=r"part1.parquet: The target 'kind' is missing in row 278; fill it in"):
        ParquetStream(tmp_path, "kind").split(0.2)


# By group and by time ------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 12), min_size=3, max_size=200), st.integers(1, 40), st.integers(0, 40), st.integers(1, 9)
)
def test_the_latest_rows_are_kept_aside_however_they_come(
    given_times: list[int], n_test: int, n_validation: int, pieces: int
) -> None:
    times = np.array(given_times)
    sizes = (n_validation, n_test)

    def draw_from(values: Array) -> tuple[IntArray, IntArray]:
        read = ((pd.Series(piece), UNNAMED) for piece in np.array_split(values, pieces))
        return draw_latest(read, sizes, "t")

    n_distinct = len(set(given_times))
    if sum(sizes) >= len(times) or n_distinct < 3:
        return
    try:
        validation, test = draw_from(times)
    except DataError:
        assert n_distinct < 13
        return
    training = np.setdiff1d(np.arange(len(times)), np.concatenate([validation, test]))
    order = [times[part] for part in (training, validation, test) if len(part)]
    assert all(earlier.max() < later.min() for earlier, later in pairwise(order))
    assert len(validation) + len(test) <= sum(sizes)
    backwards = draw_from(times[::-1])
    np.testing.assert_array_equal(np.sort(len(times) - 1 - backwards[1]), np.sort(test))


def test_pieces_do_not_matter_to_the_latest_rows_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_split, "MIN_ROWS_TO_SORT", 100)
    times = np.random.default_rng(3).permutation(20_000)
    for pieces in (1, 7, 400):
        latest, start = stream_split._LatestRows(500), 0
        for piece in np.array_split(times, pieces):
            latest.add(piece, start + np.arange(len(piece)))
            start += len(piece)
            if pieces == 400:
                assert sum(map(len, latest._times)) < 700
        np.testing.assert_array_equal(times[latest.finish()[1]], np.arange(19_500, 20_000))


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 machines with 50 hours each; the rows are shuffled."""
    frame = pd.DataFrame({"machine": np.repeat([f"M{k}" for k in range(12)], 50), "x": np.arange(600.0)})
    frame["hour"] = pd.date_range("2024-01-01", periods=50, freq="h").to_numpy()[np.arange(600) % 50]
    frame["number"] = np.repeat(np.arange(12.0), 50)
    frame["y"] = frame["x"] ** 2 + 0.5
    frame = frame.sample(frac=1, random_state=1)
    return write_parquet(tmp_path_factory.mktemp("series") / "parts", frame)


def test_a_stream_is_split_by_the_groups_of_a_column(series: Path) -> None:
    stream = ParquetStream(series, "y", columns=["number"])
    training, validation, test = stream.train_validation_test(0.2, 0.25, group="machine", seed=2)
    assert validation is not None
    assert test is not None
    parts = [np.concatenate([chunk.X for chunk in training.chunks()]), validation.X, test.X]
    machines = [set(part[:, 0].tolist()) for part in parts]
    assert [len(group) for group in machines] == [7, 2, 3]
    assert not machines[0] & machines[1] | machines[1] & machines[2] | machines[0] & machines[2]
    again = stream.train_validation_test(0.2, 0.25, group="machine", seed=2)
    assert again[2] is not None
    np.testing.assert_array_equal(again[2].X, test.X)
    other = stream.train_validation_test(0.2, 0.25, group="machine", seed=3)
    assert other[2] is not None
    assert not np.array_equal(other[2].X, test.X)


def test_a_stream_is_split_by_the_times_of_a_column(series: Path) -> None:
    training, validation, test = ParquetStream(series, "y", columns=["hour"]).train_validation_test(
        0.2, 0.2, time="hour"
    )
    assert validation is not None
    assert test is not None
    days = training.feature_names.index("hour days")
    earlier = np.concatenate([chunk.X for chunk in training.chunks()])[:, days]
    assert earlier.max() < validation.X[:, days].min()
    assert validation.X[:, days].max() < test.X[:, days].min()
    assert (len(earlier), validation.n_rows, test.n_rows) == (360, 120, 120)


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        ({"group": "machin"}, r"part0.parquet has no column 'machin'\. Did you mean 'machine'"),
        ({"time": "machine"}, r"part0.parquet: The rows cannot be sorted by the column 'machine'"),
        ({"group": "constant"}, "at least one group for each set, but there are 1"),
        ({"time": "constant"}, "'constant' has too few different times"),
        ({"time": "gaps"}, r"part0.parquet: The column 'gaps', by which the rows are sorted, is missing in row 3"),
    ],
)
def test_columns_that_do_not_split_a_stream_are_named(by: dict[str, str], sentence: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"machine": list("abcd") * 10, "constant": 1.0, "gaps": [1.0, 2.0, np.nan, 4.0] * 10, "y": 1.5}
    )
    folder = write_parquet(tmp_path / "parts", frame)
    with pytest.raises(DataError, match=sentence):
        ParquetStream(folder, "y").train_validation_test(0.2, 0.2, **by)  # type: ignore[arg-type]


def test_a_stream_of_arrays_has_no_columns_to_split_by(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.arange(40.0).reshape(20, 2))
    np.save(tmp_path / "y.npy", np.arange(20) % 2)
    stream = NpyStream(tmp_path / "X.npy", tmp_path / "y.npy")
    with pytest.raises(InvalidInputError, match="no named columns, so there is no column 'a'"):
        stream.split(0.2, group="a")
