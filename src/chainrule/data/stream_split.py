"""Which rows of a stream to keep aside: at random, by class, by group or by time, with memory for those rows only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from chainrule.data.cells import Origin, cell_text
from chainrule.data.stream_rows import MOST_KEPT_ASIDE
from chainrule.data.target import ClassLabel, label_array
from chainrule.data.target_summary import TargetSummary
from chainrule.errors import DataError, InvalidInputError, check_one_of
from chainrule.randomness import Stream, random_stream
from chainrule.types import Array, IntArray

__all__ = ["ClassDraw", "Labels", "StreamSplit", "draw_groups", "draw_latest", "draw_rows"]

StreamSplit: TypeAlias = Literal["auto", "random", "stratified", "time"]

# The labels of all rows in their order, in pieces, and where each comes from.
Labels: TypeAlias = Iterator[tuple[Any, Origin]]


def draw_rows(
    labels: Labels, summary: TargetSummary, n_rows: int, sizes: tuple[int, int], strategy: StreamSplit, seed: int
) -> tuple[IntArray, IntArray]:
    """Return the places, among ``n_rows`` rows, of those for two parts of the given sizes, the later one by time last.

    ``"auto"`` is by class where the labels are classes, and else at random. ``labels`` are read for it and for
    ``"stratified"`` only, and ``summary``, which has seen none yet, tells whether they are classes.
    """
    check_one_of("The split of a stream", strategy, get_args(StreamSplit))
    first, n_aside = sizes[0], sum(sizes)
    if strategy == "time":
        last = np.arange(n_rows - n_aside, n_rows)
        return last[:first], last[first:]
    if strategy != "random" and n_aside:
        drawn = _draw_by_class(labels, summary, n_rows, sizes, seed)
        if drawn is not None:
            return drawn
        if strategy == "stratified":
            raise InvalidInputError("A stratified split needs a target of classes, and this one is a number.")
    chosen = random_stream(seed, Stream.SPLIT).choice(n_rows, n_aside, replace=False)
    return chosen[:first], chosen[first:]


def draw_latest(times: Labels, sizes: tuple[int, int], name: str) -> tuple[IntArray, IntArray]:
    """Return the places of the latest rows by the values of a column, the later part last.

    Rows of the same time stay in one part, so a part may be smaller than asked for.
    """
    latest, start = _Latest(sum(sizes)), 0
    for piece, origin in times:
        moments = _moments(piece, name, origin)
        latest.add(moments, start + np.arange(len(moments)))
        start += len(moments)
    moments, places = latest.finish()
    n_last = min(sizes[1], len(places))
    is_last = moments >= moments[-n_last] if n_last else np.zeros(len(places), bool)
    if len(places) == 0 or (sizes[0] and is_last.all()):
        raise DataError(f"The column {name!r} has too few different times to keep rows of some of them aside.")
    return places[~is_last], places[is_last]


class _Latest:
    """The rows with the latest moments among those that come, a piece at a time: ``n_wanted``, or a few less."""

    def __init__(self, n_wanted: int) -> None:
        # One more tells whether rows of the earliest moment among them are left out.
        self._n_kept = n_wanted + 1
        self._moments: list[Array] = []
        self._places: list[IntArray] = []
        self._n_new = 0
        self._earliest: Any = None  # of those kept, once they are as many as that

    def add(self, moments: Array, places: IntArray) -> None:
        """Take in some rows."""
        has_chance = np.ones(len(moments), bool) if self._earliest is None else moments > self._earliest
        self._moments.append(moments[has_chance])
        self._places.append(places[has_chance])
        self._n_new += len(self._moments[-1])
        if self._n_new > FEWEST_TO_SORT:
            self._keep()

    def finish(self) -> tuple[Array, IntArray]:
        """Return moments and places in the order of the moments; all rows of a moment, or none."""
        self._keep()
        moments, places = self._moments[0], self._places[0]
        is_kept = np.ones(len(moments), bool) if self._earliest is None else moments > self._earliest
        return moments[is_kept], places[is_kept]

    def _keep(self) -> None:
        moments, places = np.concatenate(self._moments), np.concatenate(self._places)
        latest = np.argsort(moments, kind="stable")[-self._n_kept :]
        self._moments, self._places, self._n_new = [moments[latest]], [places[latest]], 0
        if len(latest) == self._n_kept:
            self._earliest = self._moments[0][0]


def draw_groups(read: Callable[[], Labels], sizes: tuple[int, int], seed: int) -> tuple[IntArray, IntArray]:
    """Return the places of rows for two parts, so that rows with the same value of a column are in one part.

    ``read`` yields the column; it is called twice. A missing value is a group of its own.
    """
    counts: dict[int, int] = {}
    for piece, _ in read():
        keys, numbers = np.unique(_group_keys(piece, seed), return_counts=True)
        for key, number in zip(keys.tolist(), numbers.tolist(), strict=True):
            counts[key] = counts.get(key, 0) + number
    if len(counts) < 1 + sum(size > 0 for size in sizes):
        raise DataError(f"A split by group needs a group for each part, and there are {len(counts)} in all.")
    keys = np.array(sorted(counts), np.uint64)  # random numbers, drawn by the seed
    ends = np.cumsum([counts[int(key)] for key in keys])
    n_last = _nearest_end(ends[:-1], sizes[1])
    n_first = _nearest_end(ends[n_last:-1] - (ends[n_last - 1] if n_last else 0), sizes[0])
    parts = [keys[n_last : n_last + n_first], keys[:n_last]]
    found: tuple[list[IntArray], list[IntArray]] = ([], [])
    start = 0
    for piece, _ in read():
        of_rows = _group_keys(piece, seed)
        for places, part in zip(found, parts, strict=True):
            places.append(start + np.flatnonzero(np.isin(of_rows, part)))
        start += len(of_rows)
    first, last = (np.concatenate(places) for places in found)
    for part in (first, last):
        if len(part) > MOST_KEPT_ASIDE:
            raise DataError(f"A group has so many rows that a part has {len(part):,}; at most {MOST_KEPT_ASIDE:,} fit.")
    return first, last


def _moments(column: Any, name: str, origin: Origin) -> Array:
    """Return a column of dates or numbers as float64 or datetime64."""
    dtype = column.dtype
    if getattr(dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if dtype.kind not in "iufM":
        raise DataError(f"{origin}The column {name!r} holds no dates or numbers to sort by; write it as such.")
    moments = np.asarray(column.to_numpy() if dtype.kind == "M" else column.to_numpy(np.float64, na_value=np.nan))
    is_missing = np.isnat(moments) if dtype.kind == "M" else np.isnan(moments)
    if is_missing.any():
        row = origin.row(int(is_missing.argmax()))
        raise DataError(f"{origin}The column {name!r}, which rows are sorted by, is missing in row {row}; fill it in.")
    return moments


def _group_keys(column: Any, seed: int) -> Array:
    """Return a random number for each value of a column, always the same one for the same text and seed."""
    import pandas as pd

    codes, distinct = pd.factorize(column, use_na_sentinel=False)
    texts = np.array(["" if pd.isna(value) else cell_text(value) or "" for value in distinct], dtype=object)
    return np.asarray(pd.util.hash_array(texts, hash_key=f"{seed % 10**16:016d}", categorize=False))[codes]


def _nearest_end(ends: IntArray, size: int) -> int:
    """Return how many groups have a number of rows near to ``size``: at least one, or none for a size of 0."""
    return int(np.abs(ends - size).argmin()) + 1 if size else 0


def _draw_by_class(
    labels: Labels, summary: TargetSummary, n_rows: int, sizes: tuple[int, int], seed: int
) -> tuple[IntArray, IntArray] | None:
    rng = random_stream(seed, Stream.SPLIT)
    draw = ClassDraw(n_rows, sum(sizes), rng)
    for piece, origin in labels:
        summary.add(piece, np.ones(len(piece), bool), origin)
        if not summary.has_classes:
            return None
        draw.add(piece)
    places, codes = draw.finish()
    if 0 in sizes:
        nothing = places[:0]
        return (places, nothing) if sizes[0] else (nothing, places)
    again = ClassDraw(len(places), sizes[0], rng)
    again.add(codes)
    is_first = np.zeros(len(places), bool)
    is_first[again.finish()[0]] = True
    return places[is_first], places[~is_first]


class ClassDraw:
    """Draws ``n_drawn`` of ``n_rows`` rows, of each class its share to within one row, from labels in pieces.

    Every row gets a random key, and of a class those with the smallest keys are drawn. A class of n rows has
    ``n * n_drawn // n_rows`` of them; the rows still missing go to the classes with the largest remainders, as in
    scikit-learn's StratifiedShuffleSplit. How many rows a class has is known at the end only. But a key that is not
    among the smallest so far will hardly be in the end, if a few more are kept than the share of the rows so far: ten
    of its standard deviations and a hundred. So memory does not grow with the rows.
    """

    def __init__(self, n_rows: int, n_drawn: int, rng: np.random.Generator) -> None:
        self.n_rows, self.n_drawn, self._rng = n_rows, n_drawn, rng
        self._codes: dict[ClassLabel, int] = {}
        # Of each class: the number of rows, and the key above which they have no chance.
        self._counts: IntArray = np.zeros(0, np.int64)
        self._bounds: Array = np.zeros(0)
        self._n_seen = 0
        self._kept: Array = np.empty(0, _CANDIDATE)
        self._new: list[Array] = []

    def add(self, labels: Any) -> None:
        """Take in the labels of the next rows."""
        import pandas as pd

        codes, distinct = pd.factorize(labels)
        of_distinct = label_array(np.asarray(distinct)).tolist()
        codes = np.array([self._codes.setdefault(label, len(self._codes)) for label in of_distinct])[codes]
        n_more = len(self._codes) - len(self._counts)
        self._counts = np.append(self._counts, np.zeros(n_more, np.int64))
        self._bounds = np.append(self._bounds, np.ones(n_more))
        self._counts += np.bincount(codes, minlength=len(self._counts))
        keys = self._rng.random(len(codes))
        has_chance = np.flatnonzero(keys < self._bounds[codes])
        new = np.empty(len(has_chance), _CANDIDATE)
        new["code"], new["key"], new["place"] = codes[has_chance], keys[has_chance], self._n_seen + has_chance
        self._new.append(new)
        self._n_seen += len(codes)
        if sum(map(len, self._new)) > len(self._kept) + FEWEST_TO_SORT:
            share = self._counts * self.n_drawn / self.n_rows
            most = np.ceil(share + 10 * np.sqrt(share)).astype(np.int64) + 100
            self._keep(most)
            n_kept = np.bincount(self._kept["code"], minlength=len(most))
            last, is_full = np.cumsum(n_kept) - 1, n_kept == most
            self._bounds[is_full] = self._kept["key"][last[is_full]]

    def finish(self) -> tuple[IntArray, IntArray]:
        """Return the places of the rows drawn, in order, and a number for the class of each."""
        shares, remainders = np.divmod(self._counts * self.n_drawn, self.n_rows)
        by_remainder = np.lexsort((self._rng.random(len(shares)), -remainders))
        shares[by_remainder[: self.n_drawn - shares.sum()]] += 1
        self._keep(shares)
        drawn = np.sort(self._kept, order="place")
        return drawn["place"], drawn["code"]

    def _keep(self, most: IntArray) -> None:
        """Keep so many rows of each class, those with the smallest keys, in the order of classes and keys."""
        rows = np.concatenate([self._kept, *self._new])
        rows = rows[np.lexsort((rows["key"], rows["code"]))]
        rank = np.arange(len(rows)) - np.searchsorted(rows["code"], rows["code"])
        self._kept, self._new = rows[rank < most[rows["code"]]], []


_CANDIDATE = np.dtype([("code", np.int64), ("key", np.float64), ("place", np.int64)])
FEWEST_TO_SORT = 2**16
