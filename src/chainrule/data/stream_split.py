"""Which rows of a stream to keep aside: at random, by class or by time, found with memory for those rows only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from chainrule.data.cells import Origin
from chainrule.data.target import ClassLabel, label_array
from chainrule.data.target_summary import TargetSummary
from chainrule.errors import InvalidInputError, check_one_of
from chainrule.randomness import Stream, random_stream
from chainrule.types import Array, IntArray

__all__ = ["ClassDraw", "Labels", "StreamSplit", "draw_rows"]

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
