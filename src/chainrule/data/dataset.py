"""Rows to learn from: the inputs, what they should give, their names and weights, checked once on construction."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import refuse_masked
from chainrule.data.class_weights import ClassWeight, class_weights
from chainrule.data.inputs import as_inputs
from chainrule.data.splits import split_rows
from chainrule.data.target import Target, TaskRequest, label_array
from chainrule.data.weights import as_weights, weights_of_rows
from chainrule.errors import DataError, InvalidInputError
from chainrule.named import checked
from chainrule.rounding import is_constant, safe_deviation
from chainrule.types import Array, DTypeName, Inputs, Seed, Shape, Task, is_sparse

__all__ = ["ColumnScaling", "Dataset", "class_weight_rows"]


@dataclass(frozen=True, eq=False)
class ColumnScaling:
    """What was done to each column: ``(x - center) / scale + low``; the arrays have one number a column."""

    center: Array
    scale: Array
    low: float = 0.0

    def apply(self, X: Array) -> Array:
        """Return a scaled copy of ``X`` in its own precision."""
        dtype = X.dtype
        scaled: Array = (X - self.center.astype(dtype)) / self.scale.astype(dtype)
        return scaled + dtype.type(self.low) if self.low else scaled


@checked
class Dataset:
    """Inputs ``X`` with their targets ``y``, as a network takes them.

    ``X`` is a matrix (rows, columns) of numbers, a numeric pandas or polars frame, a SciPy sparse matrix (kept as
    CSR), or images (rows, height, width[, channels]), which are flattened and remembered in ``image_shape``.
    It is not copied when it already is float32 or float64, and nothing ever writes into it.

    ``y`` is any column of labels or numbers. Afterwards ``dataset.y`` holds class codes 0, 1, ... or float64 numbers,
    and ``dataset.target`` knows the labels behind the codes. ``target`` may be handed in to read new data with the
    classes of earlier data. ``label_names`` are the classes in words, in the order of the sorted labels. ``groups``
    says which rows belong together (the same person, say): :meth:`split` keeps them on one side.

    ``sample_weight`` says how much each row counts: (rows,) numbers >= 0, of which only the proportions matter. For an
    ensemble of K members in one network, which ends in an :class:`EnsembleMeanLayer`, it may have the shape (rows, K).
    Member k is then trained with the weights in column k, and does not see rows of weight 0. A loss or a metric
    compares the target of a row with the mean of the members' predictions under the weights of the row, and the weight
    of the row is their mean. Columns that are all equal have the effect of (rows,) weights. For bagging over K folds,
    train with 0 in column k for the rows of fold k, and 1 elsewhere; the same rows with ``1 - sample_weight`` then
    measure the out-of-fold predictions, in which every row is predicted by the members that were not trained on it.

    Raises ``DataError`` naming the row and column of the first value that cannot be used.

    >>> dataset = Dataset([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], ["no", "no", "yes"])
    >>> dataset.shape, dataset.task, dataset.y
    ((3, 2), 'binary', array([0, 0, 1]))
    """

    def __init__(
        self,
        X: Inputs,
        y: Any = None,
        feature_names: Sequence[str] | None = None,
        label_names: Sequence[str] | None = None,
        sample_weight: Any = None,
        task: TaskRequest | None = None,
        name: str = "",
        *,
        groups: Any = None,
        target: Target | None = None,
    ) -> None:
        self.name = name
        self.image_shape: Shape | None
        self.X, found_names, self.image_shape = as_inputs(X)
        self.feature_names: tuple[str, ...] = _feature_names(feature_names, found_names, self.n_features)
        self.target, self.y = _read_target(y, self.n_rows, task, label_names, target)
        self.label_names: tuple[str, ...] = _label_names(label_names, self.target)
        self.sample_weight: Array | None = None if sample_weight is None else as_weights(sample_weight, self.n_rows)
        self.groups: Array | None = None if groups is None else _one_a_row(groups, self.n_rows, "groups")
        self.scaling: ColumnScaling | None = None

    @property
    def task(self) -> Task | None:
        """What kind of prediction this is; ``None`` without ``y``."""
        return None if self.target is None else self.target.task

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and of columns."""
        return self.X.shape[0], self.X.shape[1]

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self.shape[0]

    @property
    def n_features(self) -> int:
        """The number of columns of ``X``."""
        return self.shape[1]

    def __len__(self) -> int:
        return self.n_rows

    def __repr__(self) -> str:
        named = f"{self.name!r}, " if self.name else ""
        sparse = ", sparse" if is_sparse(self.X) else ""
        return f"Dataset({named}{self.n_rows} rows, {self.n_features} columns{sparse}, task={self.task})"

    def take(self, rows: Any) -> Dataset:
        """Return the given rows (numbers, a slice or a mask) as a dataset with the same target, names and weights."""
        part = copy.copy(self)
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows if rows.size else rows.astype(np.intp)
        part.X = self.X[rows]
        if part.n_rows == 0:
            raise DataError("A dataset needs at least one row, and none was taken.")
        part.y = None if self.y is None else self.y[rows]
        part.sample_weight = None if self.sample_weight is None else self.sample_weight[rows]
        part.groups = None if self.groups is None else self.groups[rows]
        return part

    def split(self, test_size: float = 0.2, stratify: bool = True, seed: Seed = None) -> tuple[Dataset, Dataset]:
        """Return a training part and a test part.

        Classes keep their shares on both sides unless ``stratify`` is off; a dataset with ``groups`` is split by them.
        """
        if self.groups is not None:
            train, test = split_rows(self.n_rows, test_size, strategy="group", groups=self.groups, seed=seed)
        elif stratify and self.target is not None and self.target.classes:
            train, test = split_rows(
                self.n_rows,
                test_size,
                strategy="stratified",
                labels=self.y,
                seed=seed,
                class_names=self.label_names,
            )
        else:
            train, test = split_rows(self.n_rows, test_size, seed=seed)
        return self.take(train), self.take(test)

    def standardize(self, like: Dataset | None = None) -> Dataset:
        """Return a copy with mean 0 and standard deviation 1 in every column; constant columns become 0.

        A column whose numbers differ by rounding only counts as constant. The statistics come from this dataset, or
        from ``like``: the training part, standardised already or not.
        """
        return self._scaled_like(like, _standard_scaling)

    def scale(self, low: float = 0.0, high: float = 1.0, like: Dataset | None = None) -> Dataset:
        """Return a copy with every column between ``low`` and ``high``; ``like`` is as in :meth:`standardize`."""
        if not low < high:
            raise InvalidInputError(f"The range to scale to goes up, and {low:g} to {high:g} does not.")

        def range_scaling(X: Array) -> ColumnScaling:
            smallest, largest = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
            width = np.where(is_constant(smallest, largest, X.dtype), 1.0, largest - smallest)
            return ColumnScaling(smallest, width / (high - low), low)

        return self._scaled_like(like, range_scaling)

    def _scaled_like(self, like: Dataset | None, learn: Any) -> Dataset:
        source = self if like is None else like
        if is_sparse(self.X) or is_sparse(source.X):
            raise InvalidInputError("A sparse matrix would become dense when scaled; scale its columns before, or not.")
        if source.n_features != self.n_features:
            raise DataError(
                f"The dataset to scale like has {source.n_features} columns, and this one has {self.n_features}."
            )
        scaled = copy.copy(self)
        scaled.scaling = like.scaling if like is not None and like.scaling is not None else learn(source.X)
        scaled.X = scaled.scaling.apply(self.X)
        return scaled

    def one_hot(self) -> Array:
        """Return (n, k) float32 rows with a 1 at each row's class."""
        target, y = self._known_target()
        if not target.classes:
            raise InvalidInputError("One-hot rows need classes, and this target is a number.")
        return target.as_outputs(y, len(target.classes))

    def outputs(self, n_outputs: int, dtype: DTypeName = "float32") -> Array:
        """Return the (n, n_outputs) matrix that a network with so many output units trains on."""
        target, y = self._known_target()
        return target.as_outputs(y, n_outputs, dtype)

    def _known_target(self) -> tuple[Target, Array]:
        if self.target is None or self.y is None:
            raise InvalidInputError("This dataset has no y; training and scoring need one.")
        return self.target, self.y


def class_weight_rows(dataset: Dataset, class_weight: ClassWeight | None, shares: Array | None = None) -> Array:
    """Return float64 weights in the shape of the sample weights: each row's class weight times its sample weight.

    If the targets are probabilities, ``shares`` are those of all classes, (n, classes). A row then has the mean of the
    class weights under its probabilities, and the classes are numbered from 0.

    ``"balanced"`` gives every class present the same total weight, as scikit-learn does: a row with the sample weight 2
    counts like two rows. A mapping gives weights by label or label name; labels it leaves out weigh 1. All members of
    an ensemble have the same class weights.
    """
    given = np.ones(dataset.n_rows) if dataset.sample_weight is None else dataset.sample_weight.copy()
    if class_weight is None:
        return given
    rows = weights_of_rows(given)
    if shares is not None:
        weights = class_weights(range(shares.shape[1]), [], rows @ shares, class_weight)
        return _weighted(given, shares @ weights)
    target = dataset.target
    totals: Array = np.zeros(0)
    if target is not None and target.classes and dataset.y is not None:
        totals = np.bincount(dataset.y, rows, minlength=len(target.classes))
    weights = class_weights(target.classes if target else (), dataset.label_names, totals, class_weight)
    return _weighted(given, weights[dataset.y])


def _standard_scaling(X: Array) -> ColumnScaling:
    constant = X.min(axis=0) == X.max(axis=0)  # their mean may be rounded, and they are to become 0 exactly
    return ColumnScaling(np.where(constant, X[0], X.mean(axis=0, dtype=np.float64)), safe_deviation(X))


def _feature_names(given: Sequence[str] | None, found: tuple[str, ...] | None, n_features: int) -> tuple[str, ...]:
    if given is None:
        return found if found is not None else tuple(f"x{column + 1}" for column in range(n_features))
    names = tuple(str(name) for name in given)
    if len(names) != n_features:
        raise DataError(f"There are {len(names)} feature names for {n_features} columns.")
    return names


def _read_target(
    y: Any, n_rows: int, task: TaskRequest | None, label_names: Sequence[str] | None, target: Target | None
) -> tuple[Target | None, Array | None]:
    """Return the target and the encoded ``y``."""
    given: Any = target
    if not isinstance(given, Target | None):
        raise InvalidInputError(
            f"target is a {type(given).__name__}; give the labels as y, and as target the target of another dataset."
        )
    if y is None:
        return target, None
    labels = label_array(y)
    if len(labels) != n_rows:
        raise DataError(f"X has {n_rows} rows and y has {len(labels)}; they need the same number.")
    if target is None and label_names is not None and task in (None, "classification", "binary", "multiclass"):
        target = _target_of_codes(labels, len(label_names), task)
    if target is None:
        target = Target.detect(labels, task)
    return target, target.encode(labels)


def _target_of_codes(labels: Array, n_classes: int, task: TaskRequest | None) -> Target | None:
    """Take whole numbers 0 ... k-1 with k label names as codes of all k classes, even if some class has no row here."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= n_classes:
        return None
    if n_classes < 2:
        return None
    return Target("binary" if n_classes == 2 and task != "multiclass" else "multiclass", tuple(range(n_classes)))


def _label_names(given: Sequence[str] | None, target: Target | None) -> tuple[str, ...]:
    classes = () if target is None else target.classes
    if given is None or (target is not None and not classes):
        return tuple(str(label) for label in classes)
    names = tuple(str(name) for name in given)
    if target is not None and len(names) != len(classes):
        raise DataError(f"There are {len(names)} label names for {len(classes)} classes.")
    return names


def _one_a_row(values: Any, n_rows: int, name: str) -> Array:
    refuse_masked(values, name)
    column = np.asarray(values)
    if column.shape != (n_rows,):
        raise DataError(f"{name} needs one value a row: {n_rows} values, not an array of shape {column.shape}.")
    return column


def _weighted(weights: Array, factors: Array) -> Array:
    """Return the weights of each row times its factor."""
    return as_weights((weights.T * factors).T, len(factors))
