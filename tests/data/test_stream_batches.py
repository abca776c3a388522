"""The batches of a stream: every row once an epoch, in an order that follows from seed, epoch and metadata alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import Dataset, NpyStream
from chainrule.data.batches import ArrayBatches, Batch
from chainrule.data.stream_batches import StreamBatches
from chainrule.errors import InvalidInputError

N_ROWS, GROUP_ROWS = 203, 16


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An input is the number of its row, the target a tenth of it."""
    folder = tmp_path_factory.mktemp("rows")
    rows = np.arange(N_ROWS, dtype=np.float32)
    np.save(folder / "X.npy", np.column_stack([rows, rows]))
    np.save(folder / "y.npy", rows / 10)
    return folder / "X.npy", folder / "y.npy"


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.data.npy_stream.GROUP_ROWS", GROUP_ROWS)


def as_rows(dataset: Dataset) -> Batch:
    assert dataset.y is not None
    return Batch(dataset.X, dataset.y.reshape(-1, 1).astype(np.float32), dataset.X[:, 0].copy())


def batches_of(paths: tuple[Path, Path], buffer_rows: int = 48, batch_size: int = 10, **options: Any) -> StreamBatches:
    stream = NpyStream(*paths, task="regression", buffer_rows=buffer_rows)
    return StreamBatches(stream, as_rows, **{"batch_size": batch_size, "seed": 1, **options})


def taken(batches: StreamBatches, number: int, first: int = 0, n_batches: int = 10**6) -> list[list[int]]:
    """The rows of each batch; targets and weights go with them."""
    found = []
    for portion in batches.portions(number, first, n_batches):
        for place in range(portion.first, portion.first + portion.n_batches):
            batch = portion.batches.batch(portion.epoch, place)
            rows = batch.inputs[:, 0]
            np.testing.assert_array_equal(batch.inputs[:, 1], rows)
            np.testing.assert_allclose(batch.targets[:, 0], rows / 10, rtol=1e-6)
            np.testing.assert_array_equal(batch.weights, rows)
            found.append(rows.astype(int).tolist())
    return found


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 260), st.integers(1, 260), st.booleans(), st.integers(0, 3))
def test_an_epoch_is_every_row_once_in_full_batches(
    paths: tuple[Path, Path], buffer_rows: int, batch_size: int, shuffle: bool, number: int
) -> None:
    batches = batches_of(paths, buffer_rows, batch_size, shuffle=shuffle)
    epoch = taken(batches, number)
    assert len(epoch) == batches.n_batches
    size = min(batch_size, N_ROWS)
    assert [len(rows) for rows in epoch[:-1]] == [size] * (len(epoch) - 1)
    assert 1 <= len(epoch[-1]) <= size
    order = [row for rows in epoch for row in rows]
    assert sorted(order) == list(range(N_ROWS))
    if not shuffle:
        assert order == list(range(N_ROWS))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 20), st.integers(1, 21), st.integers(0, 2))
def test_an_epoch_can_be_begun_at_any_batch(paths: tuple[Path, Path], first: int, n_batches: int, number: int) -> None:
    whole = taken(batches_of(paths), number)
    assert taken(batches_of(paths), number, first, n_batches) == whole[first : first + n_batches]


def test_the_order_depends_on_seed_and_epoch_alone(paths: tuple[Path, Path]) -> None:
    batches = batches_of(paths)
    epochs = [taken(batches, number) for number in range(3)]
    again = batches_of(paths)
    assert [taken(again, number) for number in (2, 0, 1)] == [epochs[2], epochs[0], epochs[1]]
    assert epochs[0] != epochs[1] != epochs[2]
    assert taken(batches_of(paths, seed=2), 0) != epochs[0]
    in_pieces = [rows for first in range(0, 21, 2) for rows in taken(batches, 1, first, 2)]
    assert in_pieces == epochs[1]


def test_groups_come_in_a_new_order_and_blocks_are_shuffled(paths: tuple[Path, Path]) -> None:
    batches = batches_of(paths)
    assert (batches.batches_per_block, batches.n_blocks) == (4, 6)
    for number in range(2):
        order = batches.group_order(number).tolist()
        assert sorted(order) == list(range(13))
        assert order != list(range(13))
        read = [row for group in order for row in range(N_ROWS)[group * GROUP_ROWS : (group + 1) * GROUP_ROWS]]
        for block in range(batches.n_blocks):
            rows = [row for batch in taken(batches, number, 4 * block, 4) for row in batch]
            wanted = read[40 * block : 40 * block + 40]
            if len(rows) > batches.batch_size:
                assert rows != wanted, "shuffled"
            assert sorted(rows) == sorted(wanted), "the rows of a few groups, one after another"


def test_no_two_blocks_are_shuffled_alike(paths: tuple[Path, Path]) -> None:
    batches = batches_of(paths)
    numbers = [portion.epoch for number in range(3) for portion in batches.portions(number, 0, batches.n_batches)]
    assert sorted(numbers) == list(range(3 * batches.n_blocks))


def test_only_the_block_that_is_needed_is_read(paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    batches = batches_of(paths)
    read: list[int] = []
    rows_of_group = NpyStream.rows_of_group

    def watch(stream: NpyStream, group: int, first: int = 0) -> Any:
        read.append(group)
        return rows_of_group(stream, group, first)

    monkeypatch.setattr(NpyStream, "rows_of_group", watch)
    taken(batches, 0, 13, 2)  # rows 120 to 160 of the order: its groups 7 (from 112) to 9 (up to 160)
    assert read == batches.group_order(0)[7:10].tolist()
    taken(batches, 0, 15, 1)
    assert len(read) == 3, "the block is in memory"
    taken(batches, 0, 16, 1)
    assert read == batches.group_order(0)[7:13].tolist(), "the next block goes on where the last one ended"


def test_one_block_is_what_an_array_in_memory_is(paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    batches = batches_of(paths, buffer_rows=N_ROWS + 7)
    assert batches.n_blocks == 1
    rows = np.arange(N_ROWS, dtype=np.float32)
    array = ArrayBatches(np.column_stack([rows, rows]), rows.reshape(-1, 1) / 10, None, batch_size=10, seed=1)
    for number in range(3):
        assert taken(batches, number) == [batch.inputs[:, 0].astype(int).tolist() for batch in array.epoch(number)]
    monkeypatch.setattr(NpyStream, "rows_of_group", None)
    taken(batches, 3)  # it stays in memory


def test_rows_kept_aside_are_in_no_batch(paths: tuple[Path, Path]) -> None:
    stream, test = NpyStream(*paths, task="regression", buffer_rows=48).split(50, seed=0)
    batches = StreamBatches(stream, as_rows, batch_size=10, seed=1)
    rows = [row for batch in taken(batches, 0) for row in batch]
    assert sorted([*rows, *test.X[:, 0].astype(int)]) == list(range(N_ROWS))
    whole = taken(batches, 0)
    assert taken(StreamBatches(stream, as_rows, batch_size=10, seed=1), 0, 7) == whole[7:]


def test_fingerprints_tell_streams_apart(paths: tuple[Path, Path], tmp_path: Path) -> None:
    def fingerprint(some: tuple[Path, Path] = paths, **options: Any) -> list[int]:
        return batches_of(some, **options).fingerprint()

    assert fingerprint() == fingerprint()
    other = np.load(paths[0])
    other[-1, -1] += 1
    np.save(tmp_path / "X.npy", other)
    parts, _ = NpyStream(*paths, task="regression", buffer_rows=48).split(1, seed=0)
    others = [
        fingerprint(batch_size=11),
        fingerprint(buffer_rows=40),
        fingerprint((tmp_path / "X.npy", paths[1])),
        StreamBatches(parts, as_rows, batch_size=10, seed=1).fingerprint(),
        StreamBatches(NpyStream(*paths, task="regression", buffer_rows=48).with_targets([1.0], [2.0]), as_rows,
                      batch_size=10, seed=1).fingerprint(),
    ]  # fmt: skip
    # Rows in the middle, of inputs and of labels, and the same numbers in another order.
    images, labels = (np.load(path) for path in paths)
    images[N_ROWS // 2, 0] += 1
    np.save(tmp_path / "middle.npy", images)
    labels[N_ROWS // 2 : N_ROWS // 2 + 2] = labels[N_ROWS // 2 : N_ROWS // 2 + 2][::-1]
    np.save(tmp_path / "labels.npy", labels)
    others += [fingerprint((tmp_path / "middle.npy", paths[1])), fingerprint((paths[0], tmp_path / "labels.npy"))]
    learnt = NpyStream(*paths, task="regression", buffer_rows=48).learn().split(1, seed=0)[0]
    assert learnt.fingerprint() == parts.fingerprint(), "however the user came to them"
    assert fingerprint() not in others
    assert len({tuple(one) for one in others}) == len(others)


def test_a_batch_size_below_one_is_refused(paths: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidInputError, match="The batch size is 0"):
        batches_of(paths, batch_size=0)
