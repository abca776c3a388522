"""The target of a network: the task, the classes, and the conversion between labels and numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from chainrule.arrays import refuse_masked
from chainrule.data.cells import UNNAMED, Origin, cell_text, distinct_texts
from chainrule.data.columns import ColumnPlan
from chainrule.data.number_format import NumberFormat, NumberSeparators
from chainrule.data.text_columns import (
    NO_CONVENTIONS,
    ColumnOptions,
    Conventions,
    TextColumn,
    category_counts,
    table_conventions,
)
from chainrule.data.texts import (
    MISSING_NUMBER_WORDS,
    missing_word_option,
    normal_text,
    spelling_variants,
    yes_no_spellings,
)
from chainrule.errors import DataError, InvalidInputError, check_one_of, nearest_name, warn
from chainrule.named import checked
from chainrule.types import Array, Task, is_sparse

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ClassLabel",
    "Labels",
    "Target",
    "TaskRequest",
    "are_numbers",
    "is_text",
    "label_array",
    "missing_label_remedy",
    "missing_labels",
    "plain_targets",
    "read_labels",
    "warn_about_variants",
]

ClassLabel: TypeAlias = str | int | float | bool
# "classification" means binary or multiclass, depending on the number of classes.
TaskRequest: TypeAlias = Task | Literal["classification"]

MAX_INTEGER_CLASSES = 20
MAX_LABEL = 10**100  # larger than any number that is used as a label, and within the range of floats


@checked
@dataclass(frozen=True)
class Target:
    """The task and, for classification, the classes in the order of the outputs.

    ``classes`` are Python values (empty for a regression), and ``n_columns`` is the number of values per row that a
    regression predicts. The task "multilabel" has no classes, and ``n_columns`` labels that are 0 or 1. For a column of
    text, ``format`` is the format of its numbers, and ``missing_words`` are the texts that mean a missing label.
    ``note`` contains remarks on ambiguous texts.

    >>> target = Target.detect(["no", "yes", "no"])
    >>> target.task, target.classes
    ('binary', ('no', 'yes'))
    >>> target.encode(["yes", "no"])
    array([1, 0])
    """

    task: Task
    classes: tuple[ClassLabel, ...] = ()
    n_columns: int = 1
    format: NumberFormat | None = None
    missing_words: tuple[str, ...] = ()
    note: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        check_one_of("The task", self.task, get_args(Task))
        if self.task in ("regression", "multilabel") and (self.classes or self.n_columns < 1):
            raise InvalidInputError(f"A {self.task} target has no classes and at least one column.")
        if self.task == "binary" and len(self.classes) != 2:
            raise InvalidInputError(f"A binary target has two classes, not {len(self.classes)}.")
        if self.task == "multiclass" and len(self.classes) < 2:
            raise InvalidInputError(f"A multi-class target has at least two classes, not {len(self.classes)}.")

    @classmethod
    def detect(cls, y: Any, task: TaskRequest | None = None) -> Target:
        """Infer the task and the classes from ``y``: labels or numbers (rows,), or numbers (rows, k).

        Texts, booleans and categories are classes. Two distinct numbers, and integers with at most 20 distinct values,
        are classes, too. The task of other numbers is regression. ``task`` overrides this.

        Raises ``DataError`` for labels that are missing, infinite or complex, and for a single class.
        """
        if task is not None:
            check_one_of("The task", task, (*get_args(Task), "classification"))
        values = label_array(y)
        if values.ndim == 2 or task in ("regression", "multilabel"):
            if task not in (None, "regression", "multilabel"):
                raise DataError(f"A target of classes must have one column, but this one has {values.shape[1]}.")
            target = cls(task or "regression", n_columns=values.shape[1] if values.ndim == 2 else 1)
            target._check_labels(_numbers(values))
            return target
        classes = _distinct(values)
        numeric = are_numbers(values)
        is_whole = numeric and all(isinstance(value, int) or float(value).is_integer() for value in classes)
        if task is None and numeric and len(classes) > 2 and not (is_whole and len(classes) <= MAX_INTEGER_CLASSES):
            return cls("regression")
        if len(classes) < 2:
            only = "is constant, {!r} in every row" if numeric else "has only one class, {!r}"
            regression = "task='regression' to Dataset if it is a number to predict, or " if numeric else ""
            raise DataError(
                f"The target {only.format(classes[0])}; training needs rows of at least two "
                f"{'values' if numeric else 'classes'}. (In Python, pass {regression}target=network.target to Dataset "
                "to evaluate a trained network on such rows.)"
            )
        if task == "binary" and len(classes) > 2:
            raise DataError(
                f"The target has {len(classes)} distinct values ({_listing(classes)}), but a binary task needs two; "
                "choose the task 'multiclass' (--task multiclass)."
            )
        if numeric and not is_whole and len(classes) > 2:
            row = int(np.flatnonzero(values != np.floor(values))[0])
            raise DataError(
                f"Unknown label type: continuous values such as {values[row]!s} in row {row + 1} cannot be classes; "
                "choose the task 'regression' (--task regression)."
            )
        warn_about_variants(classes)
        return cls("binary" if len(classes) == 2 and task != "multiclass" else "multiclass", classes)

    @classmethod
    def learn(
        cls,
        column: Any,
        task: TaskRequest | None = None,
        *,
        name: str = "",
        others: pd.DataFrame | None = None,
        missing_words: Collection[str] = (),
        separators: NumberSeparators | None = None,
    ) -> Target:
        """Infer the task, the classes and the format from a column of a table.

        If all texts of the column are numbers in one format, they are read as numbers. Otherwise they are labels in
        normal form, and the spellings of a word for yes or no are the same label. Missing cells are ignored.

        Parameters
        ----------
        name
            The name of the column, for messages.
        others
            The other columns of the table, whose separators determine how ambiguous numbers are read.
        missing_words
            Words for a missing label, in addition to the standard ones.
        separators
            The separators of the numbers, if the user gives them.
        """
        if not is_text(column):
            return replace(cls.detect(column, task), missing_words=tuple(sorted(missing_words)))
        texts, codes = distinct_texts(column)
        text_column = TextColumn(name, ColumnOptions(separators=separators))
        text_column.add_rows(texts, codes)
        is_decided = others is None or text_column.number_scan.decided
        conventions = NO_CONVENTIONS if is_decided or others is None else table_conventions(others)
        as_numbers = task == "regression" or (task is None and separators is not None)
        labels = read_labels(text_column, conventions, as_numbers=as_numbers, missing_words=missing_words)
        values = [labels.values[texts[code]] for code in codes.tolist() if texts[code] in labels.values]
        target = cls.detect(values, task)
        return replace(target, format=labels.format, missing_words=labels.missing_words, note=labels.note)

    def is_missing(self, labels: Any) -> Array:
        """Return a mask of the rows with a missing label."""
        import pandas as pd

        is_missing: Array = np.asarray(pd.isna(labels)).reshape(len(labels), -1)
        missing = np.asarray(is_missing.any(axis=1))
        numbers = _numbers_among(self.missing_words)
        if len(numbers) and getattr(getattr(labels, "dtype", None), "kind", "O") in "iuf" and np.ndim(labels) == 1:
            missing[~missing] = np.isin(np.asarray(labels[~missing], np.float64), numbers)
        elif self.missing_words and (
            is_text(labels) or isinstance(getattr(labels, "dtype", None), pd.CategoricalDtype)
        ):
            texts, codes = distinct_texts(labels)
            is_word = np.array([text in self.missing_words for text in texts], bool)
            if len(numbers):
                is_word |= np.isin((self.format or NumberFormat()).read(texts), numbers)
            missing[~missing] = is_word[codes]
        return missing

    @property
    def remedy_for_quantities(self) -> str:
        """A hint for messages about a target with three or more numeric classes; empty for other targets."""
        if len(self.classes) < 3 or not all(type(label) in (int, float) for label in self.classes):
            return ""
        return "choose the task 'regression' (--task regression) if the target is a quantity"

    @property
    def n_outputs(self) -> int:
        """The number of output units: 1 for two classes, one per class, or one per column of a regression."""
        if self.task == "binary":
            return 1
        return len(self.classes) if self.classes else self.n_columns

    def takes_outputs(self, n_outputs: int) -> bool:
        """Return whether a network with ``n_outputs`` output units can be trained on this target."""
        if self.task == "binary":
            return n_outputs in (1, 2)
        return n_outputs == self.n_outputs

    def encode(self, y: Any, origin: Origin = UNNAMED) -> Array:
        """Return labels as class codes, int64 (rows,), or numbers as float64 of shape (rows,) or (rows, k).

        Raises ``DataError`` with the value and the row for a label that is not one of the classes.
        """
        values = label_array(y, origin)
        if not self.classes:
            numbers = _numbers(values, origin, self.format or NumberFormat())
            columns = numbers.shape[1] if numbers.ndim == 2 else 1
            if columns != self.n_columns:
                raise DataError(f"The target has {columns} columns, but the training data had {self.n_columns}.")
            self._check_labels(numbers)
            return numbers
        if values.ndim == 2:
            raise DataError(f"A target of classes must have one column, but this one has {values.shape[1]}.")
        code_of = {label: code for code, label in enumerate(self.classes)}
        codes = np.array(
            [code_of[label] if label in code_of else self._code(label) for label in values.tolist()], dtype=np.int64
        )
        if codes.min() < 0:
            row = int(np.argmin(codes))
            value = values.tolist()[row]
            if isinstance(value, str) and normal_text(value) in self.missing_words:
                raise DataError(f"{origin}The target is missing in row {origin.row(row)}; fill it in, or drop the row.")
            hint = nearest_name(str(value), map(str, self.classes))
            raise DataError(
                f"{origin}The target has the value {value!r} in row {origin.row(row)}, which is not one of the classes "
                f"({_listing(self.classes)}).{hint}"
            )
        return codes

    def _code(self, label: ClassLabel) -> int:
        """Return the code of a label in another spelling than that of its class; -1 if it is not a class."""
        if isinstance(label, str) and self.format is not None:
            number = float(self.format.read([normal_text(label)])[0])
            return self.classes.index(number) if number in self.classes else -1
        return int(self._plan.read([label])[0])

    @cached_property
    def _plan(self) -> ColumnPlan:
        """The plan of the classes as categories, which matches normal forms, words for yes or no, and numbers."""
        is_numeric = not any(isinstance(label, str | bool) for label in self.classes)
        return ColumnPlan(
            "", "category", categories=tuple(map(cell_text, self.classes)), missing_words=(), from_numbers=is_numeric
        )

    def as_outputs(self, codes: Array, n_outputs: int, dtype: Any = "float32") -> Array:
        """Return encoded labels as the matrix (rows, n_outputs) of targets of a network.

        Two classes become 0 and 1 for one output, and one-hot rows for two. Other classes become one-hot rows. The
        numbers of a regression are not changed.
        """
        codes = np.asarray(codes)
        if not self.classes:
            if n_outputs != self.n_columns:
                raise InvalidInputError(_units_needed(n_outputs, str(self.n_columns), "a linear output"))
            return codes.reshape(len(codes), self.n_columns).astype(dtype)
        self._check_codes(codes)
        if self.task == "binary" and n_outputs == 1:
            return codes.reshape(-1, 1).astype(dtype)
        if n_outputs != len(self.classes):
            if self.task == "binary":
                raise InvalidInputError(_units_needed(n_outputs, "1 (sigmoid) or 2 (softmax)", "two classes"))
            raise InvalidInputError(
                _units_needed(n_outputs, str(len(self.classes)), f"{len(self.classes)} classes, one unit per class")
            )
        one_hot = np.zeros((len(codes), n_outputs), dtype=dtype)
        one_hot[np.arange(len(codes)), codes.astype(np.int64)] = 1
        return one_hot

    def decode(self, outputs: Array) -> Array:
        """Return the labels of a network's outputs, which are probabilities or numbers (rows,) or (rows, columns).

        One column of probabilities means the second class if it is at least 0.5. With several columns, the class with
        the largest probability is returned. Of several labels, those with a probability above 0.5 are 1. Raises
        ``DataError`` if a probability is NaN, and ``InvalidInputError`` for class codes of three or more classes, which
        :meth:`labels_of` takes.
        """
        outputs = np.asarray(outputs)
        n_columns = outputs.shape[1] if outputs.ndim == 2 else 1
        if self.classes and n_columns != len(self.classes) and (n_columns > 1 or self.task == "multiclass"):
            n = len(self.classes)
            raise InvalidInputError(
                f"The outputs for {n} classes are probabilities of shape (rows, {n}), not an array of shape "
                f"{outputs.shape}; for class codes, use labels_of."
            )
        if self.task == "regression":
            return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs
        if outputs.dtype.kind == "f" and np.isnan(outputs).any():
            row = int(np.argwhere(np.isnan(outputs))[0][0])
            raise DataError(
                f"The network's output for row {row + 1} is NaN, so it has no class; the values of the row may be too "
                "far from the training data."
            )
        if self.task == "multilabel":
            return (outputs > 0.5).astype(np.int64)
        if outputs.ndim == 1 or outputs.shape[1] == 1:
            codes = (outputs.reshape(-1) >= 0.5).astype(np.int64)
        else:
            codes = outputs.argmax(axis=1)
        return self.class_array()[codes]

    def labels_of(self, codes: Array) -> Array:
        """Return the labels of class codes. Raises ``DataError`` for invalid codes."""
        self._check_codes(codes)
        return self.class_array()[codes]

    def class_array(self) -> Array:
        """Return the classes as an array in the order of their codes, with dtype object if their types differ."""
        array = np.array(self.classes)
        has_one_type = len({type(label) for label in self.classes}) <= 1
        # NumPy converts integers to floats if some exceed int64 and others are negative.
        if has_one_type and (array.dtype.kind != "f" or isinstance(self.classes[0], float)):
            return array
        mixed = np.empty(len(self.classes), dtype=object)
        mixed[:] = self.classes
        return mixed

    def _check_labels(self, numbers: Array) -> None:
        """Raise DataError for labels of the task "multilabel" that are not 0 or 1."""
        if self.task == "multilabel" and not np.isin(numbers, (0, 1)).all():
            wrong = numbers[~np.isin(numbers, (0, 1))][0]
            raise DataError(f"The labels of a multilabel target must be 0 or 1, but one is {wrong:g}.")

    def _check_codes(self, codes: Array) -> None:
        n = len(self.classes)
        if codes.ndim != 1 or codes.dtype.kind not in "biu" or not ((codes >= 0) & (codes < n)).all():
            raise DataError(f"The codes of {n} classes must be whole numbers from 0 to {n - 1}, one per row.")

    def to_dict(self) -> dict[str, Any]:
        """Return the target as JSON values."""
        return {
            "task": self.task,
            "classes": list(self.classes),
            "n_columns": self.n_columns,
            "format": None if self.format is None else self.format.to_dict(),
            "missing_words": list(self.missing_words),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Target:
        """Return a target from the values of :meth:`to_dict`. Raises ``InvalidInputError`` for invalid values."""
        classes, n_columns = values.get("classes"), values.get("n_columns")
        number_format, words = values.get("format"), values.get("missing_words", [])  # since version 0.2
        if (
            not isinstance(classes, list)
            or not all(_is_label(label) for label in classes)
            or len(set(classes)) != len(classes)
            or type(n_columns) is not int
            or not isinstance(words, list)
            or not all(isinstance(word, str) for word in words)
            or not isinstance(number_format, Mapping | None)
        ):
            raise InvalidInputError(
                "The description of a target needs a list of distinct 'classes' and a whole 'n_columns'."
            )
        text_format = None if number_format is None else NumberFormat.from_dict(number_format)
        # The constructor checks the task.
        return cls(values.get("task"), tuple(classes), n_columns, text_format, tuple(words))  # type: ignore[arg-type]


class Labels(NamedTuple):
    """The label or the number of each text of a target column that is not missing, and their format."""

    values: dict[str, ClassLabel]
    format: NumberFormat | None
    missing_words: tuple[str, ...]
    note: str = ""


def read_labels(
    column: TextColumn, conventions: Conventions, *, as_numbers: bool, missing_words: Collection[str] = ()
) -> Labels:
    """Return the labels or numbers of the texts of a column.

    With ``as_numbers``, a text that is not a number raises ``DataError``. ``missing_words`` mean a missing label, in
    addition to the standard words; a number among them matches every spelling of it.
    """
    all_words = MISSING_NUMBER_WORDS.union(missing_words)
    numbers = column.without(all_words)
    number_format, remark = numbers.choose_number_format(conventions, requested=as_numbers)
    is_missing = np.isin(number_format.read(numbers.texts), _numbers_among(missing_words))
    missing_spellings = [numbers.texts[index] for index in np.flatnonzero(is_missing)]
    numbers = numbers.without(missing_spellings)
    scan = numbers.number_scan
    values = number_format.read(numbers.texts)
    if as_numbers and np.isnan(values).any():
        first, file, row = numbers.first_of(np.flatnonzero(np.isnan(values)))
        raise _not_a_number(numbers.texts[first], file, row, numbers.options.separators and number_format)
    if as_numbers or (len(values) and not (np.isnan(values).any() or scan.code or scan.looks_like_lists)):
        is_whole = not any(number_format.decimal in text for text in numbers.texts)
        if is_whole and (values == np.floor(values)).all() and np.abs(values).max(initial=0) < 2.0**53:
            values = values.astype(np.int64)
        words = tuple(sorted(all_words))
        return Labels(dict(zip(numbers.texts, values.tolist(), strict=True)), number_format, words, remark)
    standard = column.only(all_words)
    labels = column.without([*standard, *missing_spellings])
    categories = category_counts(labels.texts, labels.counts.tolist(), standard, tuple(missing_words))
    texts = dict.fromkeys([*labels.texts, *standard.keys() - set(categories.missing_words)])
    spellings = yes_no_spellings(texts)
    by_word = {spellings[text]: text for text, _ in categories.counts if text in spellings}
    label_of: dict[str, ClassLabel] = {text: by_word.get(spellings.get(text, ""), text) for text in texts}
    return Labels(label_of, None, (*categories.missing_words, *missing_spellings), "; ".join(categories.notes))


def missing_labels(column: Any, missing_words: Collection[str] = ()) -> Array:
    """Return a mask of the rows of a target column that have no label.

    ``missing_words`` mean a missing label, in addition to the standard words.
    """
    target = Target("regression", missing_words=tuple(missing_words))
    if is_text(column):
        text_column = TextColumn("")
        text_column.add_rows(*distinct_texts(column))
        labels = read_labels(text_column, NO_CONVENTIONS, as_numbers=False, missing_words=missing_words)
        target = replace(target, format=labels.format, missing_words=labels.missing_words)
    return target.is_missing(column)


def plain_targets(y: Any, *, as_numbers: bool) -> Any:
    """Return targets unchanged, except that texts are converted to numbers if ``as_numbers`` is True.

    Raises ``ValueError`` for missing values among objects and texts, with the row.
    """
    import pandas as pd

    values = np.asarray(y) if hasattr(y, "__len__") and not is_sparse(y) else np.zeros(0)
    if values.dtype.kind not in "OUT" or values.ndim != 1:
        return y
    missing = np.flatnonzero(pd.isna(values))
    if len(missing):
        rows = f"row {missing[0] + 1}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        raise DataError(f"Input y contains NaN ({values[missing[0]]} in {rows}); drop these rows.")
    texts = pd.Series(values)
    return Target.learn(texts, "regression").encode(texts) if as_numbers and is_text(texts) else y


def warn_about_variants(classes: Iterable[Any]) -> None:
    """Warn about classes that differ only in case or in the white space around them, which are probably one class."""
    if variants := spelling_variants(label for label in classes if isinstance(label, str)):
        warn(
            f"The classes {variants} of the target differ only in case or in white space, and are learned as different "
            "classes; give them one spelling if they mean the same."
        )


def _numbers_among(words: Collection[str]) -> Array:
    """Return those of the words for a missing value that are numbers, such as -999."""
    values = NumberFormat().read([*words])
    return values[np.isfinite(values)]


def is_text(y: Any) -> bool:
    """Return whether a column is a pandas column of text."""
    import pandas as pd

    return isinstance(y, pd.Series) and pd.api.types.is_string_dtype(y.dropna())


def _is_label(value: Any) -> bool:
    """Return whether a value from a file is a valid label."""
    if isinstance(value, int):
        return abs(value) < MAX_LABEL
    return isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


def label_array(y: Any, origin: Origin = UNNAMED) -> Array:
    """Return ``y``, a list, array, pandas or polars column, as an array (rows,) or (rows, k) with k > 1.

    The array contains booleans, numbers, texts, or a mixture of these as objects. Raises ``DataError`` for missing
    values and other objects, with their ``origin``.
    """
    refuse_masked(y, "The target")
    try:
        values = np.asarray(y)
    except ValueError:
        raise DataError("The rows of the target have different lengths; give one label per row.") from None
    if values.dtype.kind == "f" and isinstance(y, list | tuple) and (np.abs(values) >= 2**63).any():
        values = np.array(y, dtype=object)  # large integers together with negative ones, which NumPy has rounded
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError as problem:
            raise DataError(
                f"{origin}The target contains bytes that are not UTF-8 ({problem.object!r:.40}); decode them first."
            ) from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2):
        raise DataError(
            f"The target must be a list of labels or a matrix of numbers, not an array of shape {values.shape}."
        )
    if values.size == 0:
        raise DataError("The target is empty; training needs at least one row.")
    if values.dtype.kind == "c":
        raise DataError("The target contains complex numbers; give real numbers or class labels.")
    if values.dtype.kind in "mMV":
        raise DataError("The target contains dates, durations or records; give numbers or class labels.")
    if values.dtype.kind == "f":
        _check_rows(np.isnan(values), origin, "is missing (NaN)", "remove those rows or fill them in")
        _check_rows(np.isinf(values), origin, "is infinite", "give finite numbers")
    elif values.dtype.kind == "O":
        # Missing values are None, NaN, NaT and pandas.NA.
        missing = np.array([value is None or _differs_from_itself(value) for value in values.flat])
        _check_rows(missing.reshape(values.shape), origin, "is missing", "remove those rows or fill them in")
        values = _convert_objects(values, origin)
    return values


def _differs_from_itself(value: Any) -> bool:
    try:
        return bool(value != value)  # noqa: PLR0124  # NaN and NaT do not equal themselves
    except TypeError:  # pandas.NA, whose comparisons have no truth value
        return True
    except ValueError:  # arrays, which are compared element by element
        return False


def _convert_objects(values: Array, origin: Origin) -> Array:
    """Return an array of objects as numbers, booleans or texts if all have this type; otherwise as objects.

    Raises ``DataError`` for objects of other types.
    """
    plain = [_plain_number(value) for value in values.flat]
    for index, value in enumerate(plain):
        if isinstance(value, complex):
            raise DataError("The target contains complex numbers; give real numbers or class labels.")
        row = index * len(values) // values.size
        if not isinstance(value, str | int | float):
            kind = type(value).__name__
            raise DataError(
                f"{origin}Unknown label type: the target contains {kind} objects (row {origin.row(row)}); give numbers "
                "or text."
            )
        if isinstance(value, int) and abs(value) >= MAX_LABEL:
            raise DataError(
                f"{origin}The target has a whole number of more than 100 digits in row {origin.row(row)}; give it as "
                "text."
            )
    if all(type(value) is int for value in plain):
        ranges: tuple[tuple[Any, int, int], ...] = ((np.int64, -(2**63), 2**63), (np.uint64, 0, 2**64))
        dtype = next((dtype for dtype, low, end in ranges if low <= min(plain) and max(plain) < end), object)
        return np.array(plain, dtype).reshape(values.shape)
    if all(isinstance(value, bool) for value in plain):
        return np.array(plain, bool).reshape(values.shape)
    if not any(isinstance(value, str | bool) for value in plain):
        return label_array(np.array(plain, np.float64).reshape(values.shape), origin)
    mixed = np.empty(values.shape, dtype=object)
    mixed[...] = np.array(plain, dtype=object).reshape(values.shape)
    return mixed


def _plain_number(value: Any) -> Any:
    """Return a NumPy scalar or a Decimal as a Python number; other objects unchanged."""
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else float(value)
    return value.item() if isinstance(value, np.generic) else value


def _check_rows(is_invalid: Array, origin: Origin, what: str, remedy: str) -> None:
    if is_invalid.any():
        rows = np.flatnonzero(is_invalid.reshape(len(is_invalid), -1).any(axis=1))
        more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
        raise DataError(f"{origin}The target {what} in row {origin.row(rows[0])}{more}; {remedy}.")


def are_numbers(values: Array) -> bool:
    """Return whether an array of :func:`label_array` contains numbers; integers above 64 bits are objects."""
    return values.dtype.kind in "iuf" or (values.dtype.kind == "O" and all(type(v) is int for v in values.flat))


def _numbers(values: Array, origin: Origin = UNNAMED, number_format: NumberFormat | None = None) -> Array:
    """Return labels as float64 numbers; texts are read in the format.

    Raises ``DataError`` for texts that are not numbers, and for different integers that are equal as floats.
    """
    if values.dtype.kind in "biuf" or are_numbers(values):
        numbers = values.astype(np.float64)
        columns, exact = (part.reshape(len(values), -1) for part in (numbers, values))
        for column in range(columns.shape[1]):
            if np.ptp(columns[:, column]) == 0 and (exact[:, column] != exact[0, column]).any():
                raise DataError(
                    f"{origin}The target has different whole numbers near {exact[0, column]} that are equal as 64-bit "
                    "floats; subtract the smallest of them first, or give them as text if they are names."
                )
        return numbers
    cells = values.reshape(-1).tolist()
    text_format = number_format or NumberFormat()
    numbers = np.array(
        [text_format.read([normal_text(cell)])[0] if isinstance(cell, str) else float(cell) for cell in cells]
    )
    not_read = np.flatnonzero(~np.isfinite(numbers))
    # Without a format, the texts of an array are labels, also if they look like numbers.
    if number_format is None or len(not_read):
        first_text = (k for k, cell in enumerate(cells) if isinstance(cell, str))
        index = int(not_read[0]) if len(not_read) else next(first_text)
        row = origin.row(index * len(values) // values.size)
        raise _not_a_number(cells[index], str(origin), row)
    return numbers.reshape(values.shape)


def _not_a_number(cell: object, file: str, row: int, requested: NumberFormat | None = None) -> DataError:
    """Return the error for a target that is not a number, in the format that the user has requested, if any."""
    like = f" like {requested.example()}" if requested else ""
    return DataError(
        f"{file}Regression needs numbers{like}, but the target has {cell!r} in row {row}; correct that cell"
        f"{missing_label_remedy(cell)}, or choose a classification task or another target."
    )


def missing_label_remedy(cell: object) -> str:
    """Return what to do if a text of the target means a missing label, for a message; empty for other labels."""
    option = missing_word_option(cell)
    return f", or use {option} and --drop-missing-target if its label is missing" if option else ""


def _distinct(values: Array) -> tuple[ClassLabel, ...]:
    """Return the sorted distinct values as Python scalars; values of different types are grouped by type."""
    if values.dtype.kind != "O":
        return tuple(np.unique(values).tolist())
    return tuple(sorted(set(values.tolist()), key=lambda value: (type(value).__name__, value)))


def _listing(labels: tuple[ClassLabel, ...]) -> str:
    shown = ", ".join(str(label) for label in labels[:8])
    return f"{shown}, ..." if len(labels) > 8 else shown


def _units_needed(n_outputs: int, needed: str, why: str) -> str:
    return f"The network has {n_outputs} output units, but this target needs {needed} ({why}); change the last layer."
