"""The inputs, targets, names and weights of rows in memory, which are checked on construction."""

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
from chainrule.types import Array, DTypeName, Inputs, IntArray, Seed, Shape, Task, is_sparse

__all__ = ["ColumnScaling", "Dataset", "class_weight_rows"]


@dataclass(frozen=True, eq=False)
class ColumnScaling:
    """The scaling ``(x - center) / scale + low`` of columns. The arrays have one number per column."""

    center: Array
    scale: Array
    low: float = 0.0

    def apply(self, X: Array) -> Array:
        """Return a scaled copy of ``X`` with the same dtype."""
        dtype = X.dtype
        scaled: Array = (X - self.center.astype(dtype)) / self.scale.astype(dtype)
        return scaled + dtype.type(self.low) if self.low else scaled


@checked
class Dataset:
    """Inputs ``X`` and targets ``y`` for training and evaluation.

    ``X`` is a matrix (rows, columns) of numbers, a numeric pandas or polars frame, a SciPy sparse matrix (stored as
    CSR), or images (rows, height, width[, channels]), which are flattened; ``image_shape`` is the shape of one image.
    Arrays of float32 or float64 are not copied, and never changed. Do not change them during a fit.

    ``y`` contains labels or numbers. The attribute ``dataset.y`` contains class codes 0, 1, ... or float64 numbers, and
    ``dataset.target`` the classes. Pass the ``target`` of the training data to encode new data with the same classes.
    ``label_names`` are the names of the classes, in the order of the sorted labels. Rows with the same value in
    ``groups``, such as the same person, stay in the same part of a :meth:`split`.

    ``sample_weight`` contains the weights of the rows: (rows,) numbers >= 0, of which only the proportions matter. For
    an ensemble of K members in one network, which ends in an :class:`EnsembleMeanLayer`, it may have the shape (rows,
    K). Member k is then trained with the weights in column k, and rows with weight 0 do not affect it. A loss or a
    metric compares the target of a row with the mean of the members' predictions under the weights of the row, and the
    weight of the row is their mean. Columns that are all equal have the effect of (rows,) weights. For bagging over K
    folds, train with 0 in column k for the rows of fold k, and 1 for other rows. Evaluation with ``1 - sample_weight``
    then measures out-of-fold predictions: every row is predicted by the members that were not trained on it.

    Raises ``DataError`` with the row and column of the first invalid value.

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
        self.groups: Array | None = None if groups is None else _one_per_row(groups, self.n_rows, "groups")
        self.scaling: ColumnScaling | None = None

    @property
    def task(self) -> Task | None:
        """The task: binary, multiclass or regression; ``None`` without ``y``."""
        return None if self.target is None else self.target.task

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns."""
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
            raise DataError("A dataset needs at least one row, but no row was selected.")
        part.y = None if self.y is None else self.y[rows]
        part.sample_weight = None if self.sample_weight is None else self.sample_weight[rows]
        part.groups = None if self.groups is None else self.groups[rows]
        return part

    def split(self, test_size: float = 0.2, stratify: bool = True, seed: Seed = None) -> tuple[Dataset, Dataset]:
        """Return a training set and a test set.

        The split is stratified by class unless ``stratify`` is False. A dataset with ``groups`` is split by group.
        """
        train, test = self.split_numbers(test_size, stratify, seed)
        return self.take(train), self.take(test)

    def split_numbers(
        self, test_size: float = 0.2, stratify: bool = True, seed: Seed = None
    ) -> tuple[IntArray, IntArray]:
        """Return the row numbers of the training set and the test set of :meth:`split`."""
        if self.groups is not None:
            return split_rows(self.n_rows, test_size, strategy="group", groups=self.groups, seed=seed)
        if stratify and self.target is not None and self.target.classes:
            return split_rows(
                self.n_rows,
                test_size,
                strategy="stratified",
                labels=self.y,
                seed=seed,
                class_names=self.label_names,
            )
        return split_rows(self.n_rows, test_size, seed=seed)

    def standardize(self, like: Dataset | None = None) -> Dataset:
        """Return a copy with mean 0 and standard deviation 1 in every column; constant columns become 0.

        A column whose numbers differ only by rounding is constant. The mean and the standard deviation are those of
        this dataset, or of ``like``, which is the training set, standardised or not.
        """
        return self._scaled_like(like, _standard_scaling)

    def scale(self, low: float = 0.0, high: float = 1.0, like: Dataset | None = None) -> Dataset:
        """Return a copy with every column between ``low`` and ``high``, or with the scaling of ``like``."""
        if not low < high:
            raise InvalidInputError(f"low is {low:g} and high is {high:g}; low must be below high.")

        def range_scaling(X: Array) -> ColumnScaling:
            smallest, largest = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
            width = np.where(is_constant(smallest, largest, X.dtype), 1.0, largest - smallest)
            return ColumnScaling(smallest, width / (high - low), low)

        return self._scaled_like(like, range_scaling)

    def _scaled_like(self, like: Dataset | None, fit: Any) -> Dataset:
        source = self if like is None else like
        if is_sparse(self.X) or is_sparse(source.X):
            raise InvalidInputError("A sparse matrix cannot be scaled without becoming dense; pass a dense matrix.")
        if source.n_features != self.n_features:
            raise DataError(
                f"like has {source.n_features} columns, and this dataset has {self.n_features}; they need the same "
                "number."
            )
        scaled = copy.copy(self)
        scaled.scaling = like.scaling if like is not None and like.scaling is not None else fit(source.X)
        scaled.X = scaled.scaling.apply(self.X)
        return scaled

    def one_hot(self) -> Array:
        """Return the one-hot matrix (rows, classes) of the classes, as float32."""
        target, y = self._known_target()
        if not target.classes:
            raise InvalidInputError("One-hot encoding needs a target of classes, but this target is a number.")
        return target.as_outputs(y, len(target.classes))

    def outputs(self, n_outputs: int, dtype: DTypeName = "float32") -> Array:
        """Return the matrix (rows, n_outputs) of targets for a network with ``n_outputs`` output units."""
        target, y = self._known_target()
        return target.as_outputs(y, n_outputs, dtype)

    def _known_target(self) -> tuple[Target, Array]:
        if self.target is None or self.y is None:
            raise InvalidInputError("This dataset has no y; training and evaluation need one.")
        return self.target, self.y


def class_weight_rows(dataset: Dataset, class_weight: ClassWeight | None, shares: Array | None = None) -> Array:
    """Return the class weight of each row times its sample weight, as float64 with the shape of the sample weights.

    If the targets are class probabilities, ``shares`` contains them (rows, classes). The class weight of a row is then
    the mean of the class weights under its probabilities, and the labels are 0, 1, ...

    ``"balanced"`` gives every class in the data the same total weight, as in scikit-learn; a row with sample weight 2
    counts like two rows. A mapping contains weights by label or label name; missing labels have weight 1. All members
    of an ensemble have the same class weights.
    """
    sample_weight = np.ones(dataset.n_rows) if dataset.sample_weight is None else dataset.sample_weight.copy()
    if class_weight is None:
        return sample_weight
    rows = weights_of_rows(sample_weight)
    if shares is not None:
        weights = class_weights(range(shares.shape[1]), [], rows @ shares, class_weight)
        return _scale_rows(sample_weight, shares @ weights)
    target = dataset.target
    totals: Array = np.zeros(0)
    if target is not None and target.classes and dataset.y is not None:
        totals = np.bincount(dataset.y, rows, minlength=len(target.classes))
    weights = class_weights(target.classes if target else (), dataset.label_names, totals, class_weight)
    return _scale_rows(sample_weight, weights[dataset.y])


def _standard_scaling(X: Array) -> ColumnScaling:
    constant = X.min(axis=0) == X.max(axis=0)  # centred at their value, because their mean may be rounded
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
    """Return a target with k classes for integers from 0 to k - 1, also if some class has no rows; None otherwise."""
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


def _one_per_row(values: Any, n_rows: int, name: str) -> Array:
    refuse_masked(values, name)
    column = np.asarray(values)
    if column.shape != (n_rows,):
        raise DataError(f"{name} needs one value per row: {n_rows} values, not an array of shape {column.shape}.")
    return column


def _scale_rows(weights: Array, factors: Array) -> Array:
    """Return the weights of each row multiplied by the factor of the row."""
    return as_weights((weights.T * factors).T, len(factors))
