"""Draw the validation and test rows of a stream: at random, stratified, by group or by time, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from chainrule.data.cells import Origin, cell_text
from chainrule.data.stream_rows import MAX_HELD_OUT
from chainrule.data.target import ClassLabel, label_array
from chainrule.data.target_summary import TargetSummary
from chainrule.errors import DataError, InvalidInputError, check_one_of
from chainrule.randomness import Stream, random_stream
from chainrule.types import Array, IntArray

__all__ = ["ClassDraw", "Labels", "StreamSplit", "draw_groups", "draw_latest", "draw_rows"]

StreamSplit: TypeAlias = Literal["auto", "random", "stratified", "time"]

# The labels of all rows in their order, in chunks with their origins.
Labels: TypeAlias = Iterator[tuple[Any, Origin]]


def draw_rows(
    labels: Labels, summary: TargetSummary, n_rows: int, sizes: tuple[int, int], strategy: StreamSplit, seed: int
) -> tuple[IntArray, IntArray]:
    """Return the indices of the rows in two parts of the given sizes. By time, the second part is later.

    ``"auto"`` stratifies classes, and draws other rows at random. ``labels`` are read only for ``"auto"`` and
    ``"stratified"``; ``summary``, which must be empty, determines whether they are classes.
    """
    check_one_of("The split of a stream", strategy, get_args(StreamSplit))
    first, n_held_out = sizes[0], sum(sizes)
    if strategy == "time":
        last = np.arange(n_rows - n_held_out, n_rows)
        return last[:first], last[first:]
    if strategy != "random" and n_held_out:
        drawn = _draw_by_class(labels, summary, n_rows, sizes, seed)
        if drawn is not None:
            return drawn
        if strategy == "stratified":
            raise InvalidInputError("A stratified split needs a target of classes, but this target is a number.")
    chosen = random_stream(seed, Stream.SPLIT).choice(n_rows, n_held_out, replace=False)
    return chosen[:first], chosen[first:]


def draw_latest(times: Labels, sizes: tuple[int, int], name: str) -> tuple[IntArray, IntArray]:
    """Return the indices of the latest rows by the values of a column, in two parts of which the second is later.

    Rows with the same time are in the same part, so that a part may be smaller than its size.
    """
    latest, start = _LatestRows(sum(sizes)), 0
    for chunk, origin in times:
        values = _sort_keys(chunk, name, origin)
        latest.add(values, start + np.arange(len(values)))
        start += len(values)
    values, indices = latest.finish()
    n_last = min(sizes[1], len(indices))
    is_last = values >= values[-n_last] if n_last else np.zeros(len(indices), bool)
    if len(indices) == 0 or (sizes[0] and is_last.all()):
        raise DataError(f"The column {name!r} has too few different times to hold out the latest rows.")
    return indices[~is_last], indices[is_last]


class _LatestRows:
    """Collect the rows with the latest times from chunks: ``n_rows``, or fewer if rows have the same time."""

    def __init__(self, n_rows: int) -> None:
        # One more row determines whether other rows have the same time as the earliest of the collected rows.
        self._n_kept = n_rows + 1
        self._times: list[Array] = []
        self._indices: list[IntArray] = []
        self._n_new = 0
        self._earliest: Any = None  # the earliest of the collected times, once there are enough of them

    def add(self, times: Array, indices: IntArray) -> None:
        """Add rows."""
        is_candidate = np.ones(len(times), bool) if self._earliest is None else times > self._earliest
        self._times.append(times[is_candidate])
        self._indices.append(indices[is_candidate])
        self._n_new += len(self._times[-1])
        if self._n_new > MIN_ROWS_TO_SORT:
            self._keep()

    def finish(self) -> tuple[Array, IntArray]:
        """Return the sorted times and the indices of the rows. Of rows with the same time, either all or none."""
        self._keep()
        times, indices = self._times[0], self._indices[0]
        is_kept = np.ones(len(times), bool) if self._earliest is None else times > self._earliest
        return times[is_kept], indices[is_kept]

    def _keep(self) -> None:
        times, indices = np.concatenate(self._times), np.concatenate(self._indices)
        latest = np.argsort(times, kind="stable")[-self._n_kept :]
        self._times, self._indices, self._n_new = [times[latest]], [indices[latest]], 0
        if len(latest) == self._n_kept:
            self._earliest = self._times[0][0]


def draw_groups(read: Callable[[], Labels], sizes: tuple[int, int], seed: int) -> tuple[IntArray, IntArray]:
    """Return the indices of the rows in two parts. Rows with the same value of a column are in the same part.

    ``read`` yields the column; it is called twice. Rows with a missing value form a group.
    """
    counts: dict[int, int] = {}
    for chunk, _ in read():
        keys, numbers = np.unique(_group_keys(chunk, seed), return_counts=True)
        for key, number in zip(keys.tolist(), numbers.tolist(), strict=True):
            counts[key] = counts.get(key, 0) + number
    if len(counts) < 1 + sum(size > 0 for size in sizes):
        raise DataError(f"A split by group needs at least one group for each set, but there are {len(counts)}.")
    keys = np.array(sorted(counts), np.uint64)  # the keys are hashes, so that their order is random
    ends = np.cumsum([counts[int(key)] for key in keys])
    n_last = _nearest_end(ends[:-1], sizes[1])
    n_first = _nearest_end(ends[n_last:-1] - (ends[n_last - 1] if n_last else 0), sizes[0])
    parts = [keys[n_last : n_last + n_first], keys[:n_last]]
    indices: tuple[list[IntArray], list[IntArray]] = ([], [])
    start = 0
    for chunk, _ in read():
        row_keys = _group_keys(chunk, seed)
        for part_indices, part in zip(indices, parts, strict=True):
            part_indices.append(start + np.flatnonzero(np.isin(row_keys, part)))
        start += len(row_keys)
    first, last = map(np.concatenate, indices)
    for part in (first, last):
        if len(part) > MAX_HELD_OUT:
            raise DataError(
                f"The groups are so large that {len(part):,} rows would be held out; the maximum is {MAX_HELD_OUT:,}."
            )
    return first, last


def _sort_keys(column: Any, name: str, origin: Origin) -> Array:
    """Return a column of dates or numbers as float64 or datetime64."""
    dtype = column.dtype
    if getattr(dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if dtype.kind not in "iufM":
        raise DataError(
            f"{origin}The rows cannot be sorted by the column {name!r}, which has the type {dtype}; it must contain "
            "dates or numbers."
        )
    values = np.asarray(column.to_numpy() if dtype.kind == "M" else column.to_numpy(np.float64, na_value=np.nan))
    is_missing = np.isnat(values) if dtype.kind == "M" else np.isnan(values)
    if is_missing.any():
        row = origin.row(int(is_missing.argmax()))
        raise DataError(
            f"{origin}The column {name!r}, by which the rows are sorted, is missing in row {row}; fill it in."
        )
    return values


def _group_keys(column: Any, seed: int) -> Array:
    """Return a hash of each value of a column, which depends only on its text and the seed."""
    import pandas as pd

    codes, distinct = pd.factorize(column, use_na_sentinel=False)
    texts = np.array(["" if pd.isna(value) else cell_text(value) or "" for value in distinct], dtype=object)
    return np.asarray(pd.util.hash_array(texts, hash_key=f"{seed % 10**16:016d}", categorize=False))[codes]


def _nearest_end(ends: IntArray, size: int) -> int:
    """Return the number of groups whose number of rows is nearest to ``size``, at least 1; 0 for a size of 0."""
    return int(np.abs(ends - size).argmin()) + 1 if size else 0


def _draw_by_class(
    labels: Labels, summary: TargetSummary, n_rows: int, sizes: tuple[int, int], seed: int
) -> tuple[IntArray, IntArray] | None:
    rng = random_stream(seed, Stream.SPLIT)
    draw = ClassDraw(n_rows, sum(sizes), rng)
    for chunk, origin in labels:
        summary.add(chunk, np.ones(len(chunk), bool), origin)
        if not summary.has_classes:
            return None
        draw.add(chunk)
    indices, codes = draw.finish()
    if 0 in sizes:
        empty = indices[:0]
        return (indices, empty) if sizes[0] else (empty, indices)
    second_draw = ClassDraw(len(indices), sizes[0], rng)
    second_draw.add(codes)
    is_first = np.zeros(len(indices), bool)
    is_first[second_draw.finish()[0]] = True
    return indices[is_first], indices[~is_first]


class ClassDraw:
    """Draw ``n_drawn`` of ``n_rows`` rows, stratified by class to within one row, from labels in chunks.

    Every row has a random key, and the rows with the smallest keys of each class are drawn. Of a class with n rows,
    ``n * n_drawn // n_rows`` rows are drawn; the remaining rows are those of the classes with the largest remainders,
    as in StratifiedShuffleSplit of scikit-learn. The number of rows of a class is known only at the end. Before, more
    rows are kept than the share of the rows so far: ten standard deviations of this share and a hundred rows more. A
    row that is not among them is practically never drawn. The memory therefore does not grow with the number of rows.
    """

    def __init__(self, n_rows: int, n_drawn: int, rng: np.random.Generator) -> None:
        self.n_rows, self.n_drawn, self._rng = n_rows, n_drawn, rng
        self._codes: dict[ClassLabel, int] = {}
        # For each class, the number of rows, and the key above which rows are not drawn.
        self._counts: IntArray = np.zeros(0, np.int64)
        self._bounds: Array = np.zeros(0)
        self._n_read = 0
        self._kept: Array = np.empty(0, _CANDIDATE)
        self._new: list[Array] = []

    def add(self, labels: Any) -> None:
        """Add the labels of the next rows."""
        import pandas as pd

        codes, distinct = pd.factorize(labels)
        distinct_labels = label_array(np.asarray(distinct)).tolist()
        codes = np.array([self._codes.setdefault(label, len(self._codes)) for label in distinct_labels])[codes]
        n_new_classes = len(self._codes) - len(self._counts)
        self._counts = np.append(self._counts, np.zeros(n_new_classes, np.int64))
        self._bounds = np.append(self._bounds, np.ones(n_new_classes))
        self._counts += np.bincount(codes, minlength=len(self._counts))
        keys = self._rng.random(len(codes))
        candidates = np.flatnonzero(keys < self._bounds[codes])
        new = np.empty(len(candidates), _CANDIDATE)
        new["code"], new["key"], new["index"] = codes[candidates], keys[candidates], self._n_read + candidates
        self._new.append(new)
        self._n_read += len(codes)
        if sum(map(len, self._new)) > len(self._kept) + MIN_ROWS_TO_SORT:
            share = self._counts * self.n_drawn / self.n_rows
            max_kept = np.ceil(share + 10 * np.sqrt(share)).astype(np.int64) + 100
            self._keep(max_kept)
            n_kept = np.bincount(self._kept["code"], minlength=len(max_kept))
            last, is_full = np.cumsum(n_kept) - 1, n_kept == max_kept
            self._bounds[is_full] = self._kept["key"][last[is_full]]

    def finish(self) -> tuple[IntArray, IntArray]:
        """Return the sorted indices of the drawn rows, and the code of the class of each."""
        shares, remainders = np.divmod(self._counts * self.n_drawn, self.n_rows)
        by_remainder = np.lexsort((self._rng.random(len(shares)), -remainders))
        shares[by_remainder[: self.n_drawn - shares.sum()]] += 1
        self._keep(shares)
        drawn = np.sort(self._kept, order="index")
        return drawn["index"], drawn["code"]

    def _keep(self, max_rows: IntArray) -> None:
        """Keep the rows of each class with the smallest keys, sorted by class and key. ``max_rows`` is per class."""
        rows = np.concatenate([self._kept, *self._new])
        rows = rows[np.lexsort((rows["key"], rows["code"]))]
        rank = np.arange(len(rows)) - np.searchsorted(rows["code"], rows["code"])
        self._kept, self._new = rows[rank < max_rows[rows["code"]]], []


_CANDIDATE = np.dtype([("code", np.int64), ("key", np.float64), ("index", np.int64)])
MIN_ROWS_TO_SORT = 2**16
