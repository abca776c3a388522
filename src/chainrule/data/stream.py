"""Rows beyond memory: read in groups, learnt from in one pass, trained on a block at a time.

A stream knows from metadata alone how many rows each group has, so the order of an epoch, and the place of any batch in
it, are known without reading a row. What is learnt of the rows (the task, the classes, how columns become numbers) is
learnt in one pass, when it is first asked for, with memory that does not grow with the rows.
"""

from __future__ import annotations

import copy
import zlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from chainrule.data.cells import Origin
from chainrule.data.dataset import Dataset
from chainrule.data.stream_learnt import Learnt
from chainrule.data.stream_rows import Features, RawRows, past, size_of, spread, within
from chainrule.data.stream_split import StreamSplit, draw_groups, draw_latest, draw_rows
from chainrule.data.target import Target, TaskRequest
from chainrule.data.target_summary import TargetSummary
from chainrule.errors import InvalidInputError
from chainrule.randomness import resolve_seed
from chainrule.types import Array, IntArray, Seed, Task

__all__ = ["NOT_AT_ONCE", "RowStream"]

# Rows that are held in memory at most: those that medians are taken from, and those of RowStream.sample.
MOST_FOR_MEDIANS = 2**17
MOST_SAMPLED = 20_000

NOT_AT_ONCE = (
    "A stream is for training; predict and measure on the rows that its split() keeps in memory, or on one after "
    "another of its chunks()."
)


class RowStream(ABC):
    """Rows that need not fit into memory, for ``fit`` in the place of a :class:`Dataset`.

    ``sizes`` are the rows of each group, in the order of the files. What an epoch sees: the groups in an order drawn
    from the seed and the number of the epoch, read into blocks of at most ``buffer_rows`` rows, each block shuffled.
    The wider the buffer is beside the groups, the more thorough the shuffling; rows that lie sorted in groups larger
    than the buffer stay together, so shuffle such files once when they are written.

    The first question about the content (``target``, ``n_features``, ...) reads all rows once.
    """

    target_name = ""
    _missing_words: tuple[str, ...] = ()  # that stand for a missing label, besides those that usually do

    def __init__(self, name: str, sizes: Sequence[int], task: TaskRequest | None, buffer_rows: int) -> None:
        if isinstance(buffer_rows, bool) or not isinstance(buffer_rows, int) or buffer_rows < 1:
            raise InvalidInputError(f"buffer_rows is {buffer_rows!r}; it must be a whole number >= 1.")
        self.name, self.buffer_rows, self._task = name, buffer_rows, task
        self._ends = np.cumsum(np.asarray(sizes, np.int64))
        self._aside: IntArray = np.empty(0, np.int64)  # the rows kept aside, by number, in order
        self._learnt: Learnt | None = None
        self._target_scale: tuple[Array, Array] | None = None

    # What a kind of file says of itself ----------------------------------------------------------------------------

    @abstractmethod
    def _read(self, group: int, first: int) -> Iterator[RawRows]:
        """Yield the rows of a group from ``first`` on, in their order, in pieces of bounded size."""

    @abstractmethod
    def _read_labels(self, group: int) -> Iterator[tuple[Any, Origin]]:
        """Yield the labels of a group in their order, in pieces of bounded size, and where each comes from."""

    @abstractmethod
    def _new_features(self) -> Features:
        """Return the way from raw inputs to numbers, with nothing learnt yet."""

    @abstractmethod
    def _identity(self) -> str:
        """Return what tells these files from others, without reading their rows."""

    # What users ask ------------------------------------------------------------------------------------------------

    @property
    def n_rows(self) -> int:
        """The number of rows to train on."""
        return (int(self._ends[-1]) if len(self._ends) else 0) - len(self._aside)

    @property
    def n_features(self) -> int:
        """The number of inputs."""
        return len(self.feature_names)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return self._known.features.names()

    @property
    def target(self) -> Target:
        """What is to be predicted: the task, and the labels behind the classes."""
        return self._known.target

    @property
    def task(self) -> Task:
        """What kind of prediction this is."""
        return self.target.task

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes in words."""
        return tuple(str(label) for label in self.target.classes)

    @property
    def class_counts(self) -> IntArray:
        """The number of training rows of each class."""
        return self._known.labels.class_counts(self.target)

    @property
    def target_center(self) -> tuple[float, ...]:
        """The mean of each number to predict."""
        return tuple(summary.mean for summary in self._known.labels.numbers)

    @property
    def target_deviation(self) -> tuple[float, ...]:
        """The standard deviation of each number to predict."""
        return tuple(summary.deviation for summary in self._known.labels.numbers)

    @property
    def sample(self) -> Dataset:
        """Some of the training rows, drawn at random: at most 20,000, or all there are."""
        sample = self._known.sample
        assert sample is not None
        return self._scaled(sample)

    def __len__(self) -> int:
        return self.n_rows

    def __array__(self, *_: object, **__: object) -> Array:
        raise InvalidInputError(NOT_AT_ONCE)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.n_rows} rows in {len(self._ends)} groups)"

    def learn(self) -> Self:
        """Read all rows once and learn from them, if that has not been done; returns itself."""
        if self._learnt is None:
            self._learn({})
        return self

    def chunks(self) -> Iterator[Dataset]:
        """Yield all rows to train on, in their order, as datasets of bounded size."""
        for group in range(len(self._ends)):
            yield from self.rows_of_group(group)

    def split(
        self,
        test_size: float = 0.2,
        *,
        strategy: StreamSplit = "auto",
        seed: Seed = None,
        group: str | None = None,
        time: str | None = None,
    ) -> tuple[Self, Dataset]:
        """Return a stream of the rows to train on, and the test rows in memory; see :meth:`train_validation_test`."""
        training, _, test = self.train_validation_test(
            0, test_size, strategy=strategy, seed=seed, group=group, time=time
        )
        assert test is not None
        return training, test

    def train_validation_test(
        self,
        validation_size: float = 0.2,
        test_size: float = 0.2,
        *,
        strategy: StreamSplit = "auto",
        seed: Seed = None,
        group: str | None = None,
        time: str | None = None,
    ) -> tuple[Self, Dataset | None, Dataset | None]:
        """Return a stream of the rows to train on, and the other two parts in memory, None for a size of 0.

        The sizes are shares of all rows, or numbers of rows; a part has at most 100,000 rows, whatever its share.
        ``"random"`` draws them, by the seed alone; ``"stratified"`` so that each class keeps its share in each part,
        reading the labels once before; ``"auto"`` is that for classes, and ``"random"`` for numbers. ``"time"`` takes
        the last rows, the test rows after the validation rows. Columns are learnt on the training rows only, in the
        same pass, unless they have been learnt before.

        ``group`` and ``time`` name a column, which takes the place of the strategy: rows with the same value in the
        column ``group`` are all in one part, and those with the latest dates or numbers in the column ``time`` are kept
        aside. The column is read once or twice before.
        """
        sizes = {
            "validation": size_of("validation_size", validation_size, self.n_rows),
            "test": size_of("test_size", test_size, self.n_rows),
        }
        if sum(sizes.values()) >= self.n_rows:
            raise InvalidInputError(
                f"The validation part ({sizes['validation']} rows) and the test part ({sizes['test']} rows) leave "
                f"nothing of {self.n_rows} rows to train on; make them smaller."
            )
        wanted, drawn_by = (sizes["validation"], sizes["test"]), resolve_seed(seed)
        if group is not None and any(wanted):
            places = draw_groups(lambda: self._of_training_rows(self._read_column, group), wanted, drawn_by)
        elif time is not None and any(wanted):
            places = draw_latest(self._of_training_rows(self._read_column, time), wanted, time)
        else:
            labels = self._of_training_rows(self._read_labels)
            summary = TargetSummary(self._task, self.target_name, self._missing_words)
            places = draw_rows(labels, summary, self.n_rows, wanted, strategy, drawn_by)
        numbers = [past(chosen, self._aside) for chosen in places]
        parts = dict(zip(sizes, map(np.sort, numbers), strict=True))
        training = copy.copy(self)
        training._aside = np.sort(np.concatenate([self._aside, *numbers]))
        found = training._learn({name: rows for name, rows in parts.items() if len(rows)})
        return training, found.get("validation"), found.get("test")

    def with_targets(self, center: Sequence[float], scale: Sequence[float]) -> Self:
        """Return the stream with ``(y - center) / scale`` in the place of the numbers to predict."""
        scaled = copy.copy(self)
        scaled._target_scale = (np.array(center), np.array(scale))
        return scaled

    # What the batches of a fit ask ---------------------------------------------------------------------------------

    @property
    def group_rows(self) -> IntArray:
        """The number of rows to train on in each group."""
        n_aside = np.searchsorted(self._aside, self._ends)  # up to the end of each group
        return np.diff(self._ends - n_aside, prepend=0)

    def rows_of_group(self, group: int, first: int = 0) -> Iterator[Dataset]:
        """Yield the rows to train on of a group, from the given one of them on, as datasets of bounded size."""
        start = int(self._ends[group - 1]) if group else 0
        aside = self._aside[slice(*np.searchsorted(self._aside, [start, self._ends[group]]))] - start
        place = int(past(np.array([first]), aside)[0])
        for raw in self._read(group, place):
            kept = np.setdiff1d(np.arange(place, place + len(raw)), aside, assume_unique=True) - place
            place += len(raw)
            if len(kept):
                yield self._scaled(self._known.dataset([raw if len(kept) == len(raw) else raw.take(kept)]))

    def fingerprint(self) -> list[int]:
        """Return numbers that tell these data from others."""
        known = self._known
        learnt = (known.features.names(), known.target, self.target_center, self.target_deviation)
        words = repr((self._identity(), known.checksum, learnt, self._target_scale, self.buffer_rows))
        return [self.n_rows, self.n_features, zlib.crc32(words.encode()), zlib.crc32(self._aside.tobytes())]

    # Learning ------------------------------------------------------------------------------------------------------

    @property
    def _known(self) -> Learnt:
        self.learn()
        assert self._learnt is not None
        return self._learnt

    def _learn(self, parts: Mapping[str, IntArray]) -> dict[str, Dataset]:
        """Go through all rows once, and return some parts of them, given by their numbers, as datasets."""
        features = self._new_features() if self._learnt is None else None
        labels = TargetSummary(self._task, self.target_name, self._missing_words)
        medians = spread(int(self._ends[-1]), MOST_FOR_MEDIANS)
        wanted = {**parts, "sample": past(spread(self.n_rows, MOST_SAMPLED), self._aside)}
        kept: dict[str, list[RawRows]] = defaultdict(list)
        start = checksum = 0
        for group in range(len(self._ends)):
            for raw in self._read(group, 0):
                checksum = raw.checksum(checksum)
                for name, numbers in wanted.items():
                    among = within(numbers, start, len(raw))
                    if len(among):
                        kept[name].append(raw.take(among))
                is_training = np.ones(len(raw), bool)
                is_training[within(self._aside, start, len(raw))] = False
                labels.add(raw.labels, is_training, raw.origin)
                if features is not None and is_training.any():
                    is_sampled = np.zeros(len(raw), bool)
                    is_sampled[within(medians, start, len(raw))] = True
                    training = raw if is_training.all() else raw.take(np.flatnonzero(is_training))
                    features.add(training.inputs, is_sampled[is_training], training.origin)
                start += len(raw)
        if features is None:
            assert self._learnt is not None
            features = self._learnt.features
        else:
            features.finish()
        learnt = Learnt(self.name, features, labels, labels.target(), checksum)
        found = {name: learnt.dataset(pieces) for name, pieces in kept.items()}
        learnt.sample = found.pop("sample")
        self._learnt = learnt
        return found

    def _read_column(self, group: int, name: str) -> Iterator[tuple[Any, Origin]]:
        """Yield a column of a group as :meth:`_read_labels` does the labels."""
        raise InvalidInputError(f"{self.name} has no named columns, so there is no column {name!r}.")

    def _of_training_rows(
        self, read: Callable[..., Iterator[tuple[Any, Origin]]], *arguments: str
    ) -> Iterator[tuple[Any, Origin]]:
        """Yield what ``read`` yields for each group, for the rows to train on, in their order."""
        start = 0
        for group in range(len(self._ends)):
            for labels, origin in read(group, *arguments):
                aside = within(self._aside, start, len(labels))
                start += len(labels)
                kept = np.setdiff1d(np.arange(len(labels)), aside, assume_unique=True)
                if len(kept):
                    yield (labels.iloc[kept] if hasattr(labels, "iloc") else labels[kept]), origin.take(kept)

    def _scaled(self, dataset: Dataset) -> Dataset:
        if self._target_scale is None:
            return dataset
        center, scale = self._target_scale
        scaled = dataset.take(slice(None))
        assert dataset.y is not None
        scaled.y = ((dataset.y.reshape(dataset.n_rows, -1) - center) / scale).reshape(dataset.y.shape)
        return scaled
