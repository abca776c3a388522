"""Streams of rows that do not fit into memory, which are read in groups and trained in blocks.

The metadata of the files contain the number of rows of each group. They determine the order of an epoch and the
position of every batch, so that no rows have to be read for these. The task, the classes and the encoding of the
columns are determined in one pass over the rows, when they are first needed, with bounded memory.
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
from chainrule.data.stream_content import StreamContent
from chainrule.data.stream_rows import Features, RawRows, row_numbers, rows_in_range, sample_rows, size_of
from chainrule.data.stream_split import StreamSplit, draw_groups, draw_latest, draw_rows
from chainrule.data.target import Target, TaskRequest
from chainrule.data.target_summary import TargetSummary
from chainrule.errors import InvalidInputError
from chainrule.randomness import resolve_seed
from chainrule.types import Array, IntArray, Seed, Task

__all__ = ["STREAM_NOT_ALLOWED", "RowStream"]

# The maximum number of rows in the samples for medians and in RowStream.sample.
MEDIAN_SAMPLE_ROWS = 2**17
SAMPLE_ROWS = 20_000

STREAM_NOT_ALLOWED = (
    "A stream can be used for training only; predict and evaluate on the rows that its split() returns in memory, or "
    "on each of its chunks()."
)


class RowStream(ABC):
    """A stream of rows that need not fit into memory, which ``fit`` accepts instead of a :class:`Dataset`.

    ``sizes`` are the numbers of rows of the groups, in the order of the files. In every epoch, the groups are read in a
    random order that depends on the seed and the number of the epoch. Blocks of at most ``buffer_rows`` rows are
    shuffled. The larger the buffer is compared with the groups, the better the rows are shuffled. If the rows of a file
    are sorted and its groups are larger than the buffer, shuffle the rows when the file is written.

    The first access to an attribute of the content (``target``, ``n_features``, ...) reads all rows once.
    """

    target_name = ""
    _missing_words: tuple[str, ...] = ()  # words for a missing label, in addition to the standard ones

    def __init__(self, name: str, sizes: Sequence[int], task: TaskRequest | None, buffer_rows: int) -> None:
        if isinstance(buffer_rows, bool) or not isinstance(buffer_rows, int) or buffer_rows < 1:
            raise InvalidInputError(f"buffer_rows is {buffer_rows!r}; it must be a whole number >= 1.")
        self.name, self.buffer_rows, self._task = name, buffer_rows, task
        self._ends = np.cumsum(np.asarray(sizes, np.int64))
        self._held_out: IntArray = np.empty(0, np.int64)  # the sorted numbers of the validation and test rows
        self._cached_content: StreamContent | None = None
        self._target_scale: tuple[Array, Array] | None = None

    # Methods of subclasses -----------------------------------------------------------------------------------------

    @abstractmethod
    def _read(self, group: int, first: int) -> Iterator[RawRows]:
        """Yield the rows of a group from ``first`` on in their order, in chunks of bounded size."""

    @abstractmethod
    def _read_labels(self, group: int) -> Iterator[tuple[Any, Origin]]:
        """Yield the labels of a group in their order, in chunks of bounded size, with their origins."""

    @abstractmethod
    def _new_features(self) -> Features:
        """Return an encoding of the inputs that is not fitted."""

    @abstractmethod
    def _identity(self) -> str:
        """Return a text that identifies the files, without reading their rows."""

    # Properties of the content -------------------------------------------------------------------------------------

    @property
    def n_rows(self) -> int:
        """The number of training rows."""
        return (int(self._ends[-1]) if len(self._ends) else 0) - len(self._held_out)

    @property
    def n_features(self) -> int:
        """The number of inputs."""
        return len(self.feature_names)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return self._content.features.names()

    @property
    def target(self) -> Target:
        """The task and the classes."""
        return self._content.target

    @property
    def task(self) -> Task:
        """The task: binary, multiclass or regression."""
        return self.target.task

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(str(label) for label in self.target.classes)

    @property
    def class_counts(self) -> IntArray:
        """The number of training rows of each class."""
        return self._content.labels.class_counts(self.target)

    @property
    def target_center(self) -> tuple[float, ...]:
        """The mean of each column of a regression target."""
        return tuple(summary.mean for summary in self._content.labels.numbers)

    @property
    def target_deviation(self) -> tuple[float, ...]:
        """The standard deviation of each column of a regression target."""
        return tuple(summary.deviation for summary in self._content.labels.numbers)

    @property
    def sample(self) -> Dataset:
        """A random sample of at most 20,000 training rows."""
        sample = self._content.sample
        assert sample is not None
        return self._scaled(sample)

    def __len__(self) -> int:
        return self.n_rows

    def __array__(self, *_: object, **__: object) -> Array:
        raise InvalidInputError(STREAM_NOT_ALLOWED)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.n_rows} rows in {len(self._ends)} groups)"

    def learn(self) -> Self:
        """Read all rows once to determine the target and the encoding, unless this has been done. Return the stream."""
        if self._cached_content is None:
            self._read_content({})
        return self

    def chunks(self) -> Iterator[Dataset]:
        """Yield all training rows in their order, as datasets of bounded size."""
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
        """Return a stream of the training rows, and the test rows in memory; see :meth:`train_validation_test`."""
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
        """Return a stream of the training rows, and the validation and test sets in memory; None for a size of 0.

        The sizes are shares of all rows, or numbers of rows. The validation and test sets have at most 100,000 rows
        each. ``"random"`` draws rows that depend only on the seed. ``"stratified"`` draws the same share of each class,
        for which the labels are read once in advance. ``"auto"`` stratifies classes, and draws the rows of a regression
        at random. ``"time"`` holds out the last rows, with the validation rows before the test rows. The encoding is
        fitted to the training rows in the same pass, unless it was fitted before.

        ``group`` and ``time`` are names of columns, which replace the strategy. Rows with the same value in the column
        ``group`` are in the same set. The rows with the latest dates or numbers in the column ``time`` are held out.
        The column is read once or twice in advance.
        """
        sizes = {
            "validation": size_of("validation_size", validation_size, self.n_rows),
            "test": size_of("test_size", test_size, self.n_rows),
        }
        if sum(sizes.values()) >= self.n_rows:
            raise InvalidInputError(
                f"The validation set ({sizes['validation']} rows) and the test set ({sizes['test']} rows) leave no "
                f"training rows of {self.n_rows} rows; make them smaller."
            )
        part_sizes, seed = (sizes["validation"], sizes["test"]), resolve_seed(seed)
        if group is not None and any(part_sizes):
            drawn = draw_groups(lambda: self._read_training(self._read_column, group), part_sizes, seed)
        elif time is not None and any(part_sizes):
            drawn = draw_latest(self._read_training(self._read_column, time), part_sizes, time)
        else:
            labels = self._read_training(self._read_labels)
            summary = TargetSummary(self._task, self.target_name, self._missing_words)
            drawn = draw_rows(labels, summary, self.n_rows, part_sizes, strategy, seed)
        numbers = [row_numbers(indices, self._held_out) for indices in drawn]
        parts = dict(zip(sizes, map(np.sort, numbers), strict=True))
        training = copy.copy(self)
        training._held_out = np.sort(np.concatenate([self._held_out, *numbers]))
        datasets = training._read_content({name: rows for name, rows in parts.items() if len(rows)})
        return training, datasets.get("validation"), datasets.get("test")

    def with_targets(self, center: Sequence[float], scale: Sequence[float]) -> Self:
        """Return the stream with the scaled targets ``(y - center) / scale``."""
        scaled = copy.copy(self)
        scaled._target_scale = (np.array(center), np.array(scale))
        return scaled

    # Batches -------------------------------------------------------------------------------------------------------

    @property
    def group_rows(self) -> IntArray:
        """The number of training rows in each group."""
        n_held_out = np.searchsorted(self._held_out, self._ends)  # up to the end of each group
        return np.diff(self._ends - n_held_out, prepend=0)

    def rows_of_group(self, group: int, first: int = 0) -> Iterator[Dataset]:
        """Yield the training rows of a group, from training row ``first`` on, as datasets of bounded size."""
        start = int(self._ends[group - 1]) if group else 0
        held_out = self._held_out[slice(*np.searchsorted(self._held_out, [start, self._ends[group]]))] - start
        position = int(row_numbers(np.array([first]), held_out)[0])
        for raw in self._read(group, position):
            kept = np.setdiff1d(np.arange(position, position + len(raw)), held_out, assume_unique=True) - position
            position += len(raw)
            if len(kept):
                yield self._scaled(self._content.dataset([raw if len(kept) == len(raw) else raw.take(kept)]))

    def fingerprint(self) -> list[int]:
        """Return numbers that identify the data."""
        content = self._content
        fitted = (content.features.names(), content.target, self.target_center, self.target_deviation)
        text = repr((self._identity(), content.checksum, fitted, self._target_scale, self.buffer_rows))
        return [self.n_rows, self.n_features, zlib.crc32(text.encode()), zlib.crc32(self._held_out.tobytes())]

    # The pass over the rows ----------------------------------------------------------------------------------------

    @property
    def _content(self) -> StreamContent:
        self.learn()
        assert self._cached_content is not None
        return self._cached_content

    def _read_content(self, parts: Mapping[str, IntArray]) -> dict[str, Dataset]:
        """Read all rows once. Return the rows of ``parts``, which are given by their numbers, as datasets."""
        features = self._new_features() if self._cached_content is None else None
        labels = TargetSummary(self._task, self.target_name, self._missing_words)
        medians = sample_rows(int(self._ends[-1]), MEDIAN_SAMPLE_ROWS)
        selections = {**parts, "sample": row_numbers(sample_rows(self.n_rows, SAMPLE_ROWS), self._held_out)}
        selected: dict[str, list[RawRows]] = defaultdict(list)
        start = checksum = 0
        for group in range(len(self._ends)):
            for raw in self._read(group, 0):
                checksum = raw.checksum(checksum)
                for name, numbers in selections.items():
                    rows = rows_in_range(numbers, start, len(raw))
                    if len(rows):
                        selected[name].append(raw.take(rows))
                is_training = np.ones(len(raw), bool)
                is_training[rows_in_range(self._held_out, start, len(raw))] = False
                labels.add(raw.labels, is_training, raw.origin)
                if features is not None and is_training.any():
                    is_sampled = np.zeros(len(raw), bool)
                    is_sampled[rows_in_range(medians, start, len(raw))] = True
                    training = raw if is_training.all() else raw.take(np.flatnonzero(is_training))
                    features.add(training.inputs, is_sampled[is_training], training.origin)
                start += len(raw)
        if features is None:
            assert self._cached_content is not None
            features = self._cached_content.features
        else:
            features.finish()
        content = StreamContent(self.name, features, labels, labels.target(), checksum)
        datasets = {name: content.dataset(chunks) for name, chunks in selected.items()}
        content.sample = datasets.pop("sample")
        self._cached_content = content
        return datasets

    def _read_column(self, group: int, name: str) -> Iterator[tuple[Any, Origin]]:
        """Yield a column of a group in chunks, like :meth:`_read_labels`."""
        raise InvalidInputError(f"{self.name} has no named columns, so there is no column {name!r}.")

    def _read_training(
        self, read: Callable[..., Iterator[tuple[Any, Origin]]], *arguments: str
    ) -> Iterator[tuple[Any, Origin]]:
        """Yield the chunks of ``read`` for all groups, with the training rows only."""
        start = 0
        for group in range(len(self._ends)):
            for labels, origin in read(group, *arguments):
                held_out = rows_in_range(self._held_out, start, len(labels))
                start += len(labels)
                kept = np.setdiff1d(np.arange(len(labels)), held_out, assume_unique=True)
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
