"""Encode tables with numbers, categories, dates and missing values as matrices."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias, cast, get_args

import numpy as np

from chainrule.data.cells import DATE_PARTS, UNNAMED, Origin
from chainrule.data.columns import ColumnPlan, MissingRule, NumberPlan, UnknownCategories
from chainrule.data.date_format import DateFormat, DateOrder
from chainrule.data.feature_plan import FeaturePlan
from chainrule.data.inputs import is_frame
from chainrule.data.number_format import NumberSeparators, split_separators
from chainrule.data.parts import listing
from chainrule.data.summaries import ColumnSummary, NumberSummary, Reading
from chainrule.data.text_columns import NO_CONVENTIONS, ColumnOptions, Conventions, ReadAs
from chainrule.data.texts import normal_text
from chainrule.errors import (
    CellError,
    DataError,
    InvalidInputError,
    check_one_of,
    counted,
    listed,
    nearest_name,
    nearest_names,
    warn,
    with_option,
)
from chainrule.named import checked
from chainrule.types import Array, is_sparse

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ColumnChoices",
    "Scaling",
    "TablePreprocessor",
    "as_frame",
    "check_column_names",
    "has_column_names",
]

Scaling: TypeAlias = Literal["standard", "robust", "quantile", "range", "none"]

# A column whose values all differ is an id and is dropped, unless the table has too few rows to be sure.
MIN_ROWS_FOR_ID = 50
# Categories with a smaller share of the rows are combined into one category.
MIN_CATEGORY_SHARE = 0.001
# The bound of numbers that are scaled by the interquartile range, and the number of quantiles that have a score.
ROBUST_LIMIT = 3.0
N_QUANTILES = 33
MAX_SAMPLE_LENGTH = 60
# The maximum number of additional columns with invalid cells that a message names.
MAX_INVALID_COLUMNS = 5
# Columns whose different texts are more than this share of the rows are dropped: hardly any text is repeated.
MAX_SHARE_OF_CATEGORIES = 0.5
# Texts of more words, on average, are free text.
MIN_WORDS_OF_FREE_TEXT, FREE_TEXT = 3, "free text, which is not used"
# The names of columns that contain row numbers, and of columns that contain ids.
_ROW_NUMBER = re.compile(
    r"(column_\d+|unnamed:? ?\d+|index|idx|level_0|row(_?(names?|number|num|no|nr|id))?|nr\.?|no\.?|n[º°]\.?|num|#|)",
    re.IGNORECASE,
)
_ID = re.compile(
    r"(?i:(?:^|[_\W])(?:(?:ids?|uuid|guid)(?:$|[_\W])|(?:key|ref|reference|serial|pk|sku)$))|(?<=[a-z])(?:Id|ID|Ref|Key)$"
)


class ColumnChoices(NamedTuple):
    """The columns that parameters name, in normal form, with the given separators and orders."""

    categorical: tuple[str, ...]
    drop: tuple[str, ...]
    numeric: dict[str, NumberSeparators | None]
    dates: dict[str, DateOrder | None]
    missing_words: tuple[str, ...]

    def of_column(self, name: str) -> ColumnOptions:
        """Return the options of a column."""
        read_as: ReadAs = "auto"
        if name in self.categorical:
            read_as = "category"
        elif name in self.numeric:
            read_as = "number"
        elif name in self.dates:
            read_as = "date"
        return ColumnOptions(read_as, self.numeric.get(name), self.dates.get(name), self.missing_words)


@checked
@dataclass(eq=False, repr=False)
class TablePreprocessor:
    """Encode frames as float32 matrices. The encoding is fitted to the training rows.

    - Numbers x are scaled by one of these rules, with statistics of the training rows:

      - ``scaling="standard"``: ``z = (x - mean) / standard deviation``;
      - ``"robust"``: ``z = (x - median) / (q75 - q25)``, with the quartiles q25 and q75, and then
        ``z / sqrt(1 + (z / 3)^2)``, which is between -3 and 3, so that outliers have little influence;
      - ``"quantile"``: the normal score of x, which is the quantile of the standard normal distribution at the rank of
        x among the training rows; linear between 33 quantiles, and constant below the smallest and above the largest;
      - ``"range"``: ``z = (x - minimum) / (maximum - minimum)``;
      - ``"none"``: x.

      Missing numbers become the training median, the training mean (``missing="mean"``), or 0 after
      scaling (``"zero"``: the mean of a standardised column, the smallest number of a column scaled to a range). If the
      training rows have missing numbers, another column of 0 and 1 indicates them.
    - Categories become one 0/1 column per value, or a single column for two values. Categories that are not among the
      ``max_categories`` most frequent, or that are rarer than one row in a thousand, share a column "other". Unknown
      categories use this column, or are all 0 without it. A missing category is a category.
    - Dates become year, month, weekday, days since 1970 and hour of the day, as far as they vary, scaled like numbers.
      Times without a date become the hour.
    - Columns without information are dropped, with the reason in :attr:`columns`: constant and empty columns, text with
      a different value in every row, and row numbers.

    The type of a column of text, and the format of its numbers and dates, are determined from the training rows, as a
    :class:`ColumnPlan`; :meth:`explain` returns a line for each column. :meth:`transform` accepts the columns in any
    order and ignores other columns; a missing column is a ``DataError``. White space around names and cells, and their
    Unicode normalization form, are ignored.

    The class has the interface of scikit-learn's transformers, so it can be a step of a ``Pipeline`` or a
    ``ColumnTransformer``. :meth:`to_dict` returns a fitted preprocessor as JSON values.

    Parameters
    ----------
    categorical, numeric, dates
        Columns to read as categories, as numbers and as dates, whatever they contain. In columns of numbers and dates
        that are named here, a cell that cannot be read is missing. ``"name=dmy"`` and ``"name=mdy"`` set the order of
        01/02/2023 in a column of dates, and ``"name=1.234,5"`` and ``"name=1,234.5"`` the separators in a column of
        numbers.
    drop
        Columns to drop.
    missing_words
        Words for missing values, in addition to the standard ones. A number, such as ``"-1"``, matches every spelling
        of it.
    max_categories
        The maximum number of categories of a column that have their own output.
    scaling, missing
        The scaling of numbers, and the replacement of missing numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"area": [50.0, 70.0, None], "town": ["Porto", "Faro", "Porto"]})
    >>> table = TablePreprocessor().fit(frame)
    >>> table.transform(frame).shape
    (3, 3)
    """

    categorical: Sequence[str] = ()
    drop: Sequence[str] = ()
    max_categories: int = 64
    scaling: Scaling = "standard"
    missing: MissingRule = "median"
    _: KW_ONLY
    numeric: Sequence[str] = ()
    dates: Sequence[str] = ()
    missing_words: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._columns: tuple[ColumnPlan, ...] = ()
        self._has_names = True

    @property
    def columns(self) -> tuple[ColumnPlan, ...]:
        """The plan of each column of the training rows; empty before :meth:`fit`."""
        return self._columns

    # Fitting ---------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Self:
        """Determine the encoding from the training rows. Return the preprocessor.

        Parameters
        ----------
        X
            A pandas or polars frame, a dictionary of lists, or an array of two dimensions, whose columns are then named
            x1, x2, ...
        y
            Ignored.
        """
        self._has_names = has_column_names(X)
        return self.fit_frame(X)

    def fit_frame(self, frame: Any, origin: Origin = UNNAMED, target_conventions: Conventions = NO_CONVENTIONS) -> Self:
        """Determine the encoding from the training rows. Return the preprocessor.

        ``origin`` contains the file and the numbers of the rows, for messages. ``target_conventions`` are the decimal
        separator and the order of dates that the target column determines.
        """
        table = as_frame(frame)
        _check_has_rows(table)
        summaries = self.new_summaries(list(table.columns))
        for name, summary in summaries.items():
            if summary is not None:
                summary.add(table[name], origin=origin)
        return self.fit_summaries(summaries, target_conventions)

    def fit_summaries(
        self, summaries: Mapping[str, ColumnSummary | None], target_conventions: Conventions = NO_CONVENTIONS
    ) -> Self:
        """Determine the encoding from the summaries of the training rows. Return the preprocessor.

        The summaries were made by :meth:`new_summaries`, and all rows were added to them. A column without a summary is
        dropped.
        """
        conventions = Conventions.union(
            [target_conventions, *(summary.conventions() for summary in summaries.values() if summary is not None)]
        )
        plans, errors = [], []
        for name, summary in summaries.items():
            try:
                plans.append(self._plan(name, summary, conventions))
            except CellError as error:
                errors.append(error)
        if errors:
            raise _combine_errors(errors)
        if all(plan.kind == "dropped" for plan in plans):
            reasons = "; ".join(f"{plan.name}: {plan.reason}" for plan in plans[:4])
            has_one_row = any(summary is not None and summary.n_rows == 1 for summary in summaries.values())
            few = "; there is only 1 sample" if has_one_row else ""
            raise DataError(f"No column of the table can be used as an input ({reasons or 'it has none'}{few}).")
        free_text = [repr(plan.name) for plan in plans if plan.reason.endswith(FREE_TEXT)]
        if free_text:
            columns = (
                f"columns {listed(free_text)} contain" if len(free_text) > 1 else f"column {free_text[0]} contains"
            )
            warn(
                f"The {columns} free text, which is not used; drop it with {with_option('drop')} to omit this warning, "
                f"or list it under {with_option('categorical')} if its values repeat."
            )
        self._columns = tuple(plans)
        return self

    def new_summaries(self, names: Sequence[str], max_texts: int | None = None) -> dict[str, ColumnSummary | None]:
        """Return an empty summary for each column of a table; None for dropped columns."""
        self.check_names(names)
        choices = self.choices()
        return {
            name: None if name in choices.drop else ColumnSummary(name, choices.of_column(name), max_texts=max_texts)
            for name in map(normal_text, names)
        }

    def choices(self) -> ColumnChoices:
        """Return the columns that parameters name. Raises ``InvalidInputError`` for invalid parameters."""
        for option, given, known in (("scaling", self.scaling, Scaling), ("missing", self.missing, MissingRule)):
            check_one_of(option, given, get_args(known))
        if type(self.max_categories) is not int or self.max_categories < 1:
            raise InvalidInputError(f"max_categories must be a whole number >= 1, not {self.max_categories!r}.")
        choices = ColumnChoices(
            tuple(_texts("categorical", self.categorical)),
            tuple(_texts("drop", self.drop)),
            dict(map(split_separators, _texts("numeric", self.numeric))),
            dict(map(_date_order, _texts("dates", self.dates))),
            tuple(_texts("missing_words", self.missing_words)),
        )
        owners: dict[str, str] = {}
        for option in ("categorical", "numeric", "dates"):
            for name in getattr(choices, option):
                other = owners.setdefault(name, option)
                if other != option:
                    raise InvalidInputError(
                        f"{with_option(other)} and {with_option(option)} both name the column {name!r}; name it once."
                    )
        return choices

    def check_names(
        self, names: Iterable[str], *, target: str = "", other_options: Mapping[str, str | None] = MappingProxyType({})
    ) -> None:
        """Raise ``DataError`` if an option names the target or a column that is not among ``names``.

        ``other_options`` contains the columns of further options by the name of the option.
        """
        known = [name for name in map(normal_text, names) if name != target]
        options: dict[str, Iterable[str]] = {option: [name] for option, name in other_options.items() if name}
        choices = self.choices()
        options |= {"categorical": choices.categorical, "drop": choices.drop}
        options |= {"numeric": choices.numeric, "dates": choices.dates}
        wrong = [(name, option) for option, columns in options.items() for name in columns if name not in known]
        it_has = f" It has {listing(known)}."
        for name, option in wrong:
            if name == target:
                raise DataError(f"{with_option(option)} names the column {name!r}, which is the target.")
        if len(wrong) == 1:
            name, option = wrong[0]
            raise DataError(
                f"{with_option(option)} names the column {name!r}, which the table does not have."
                f"{nearest_name(name, known) or it_has}"
            )
        if wrong:
            shown = listed([f"{name!r} for {with_option(option)}" for name, option in wrong])
            hint = nearest_names([name for name, _ in wrong], known) or it_has
            raise DataError(f"The table does not have the columns {shown}.{hint}")

    def named_columns(self) -> set[str]:
        """Return the columns that parameters name, other than ``drop``."""
        choices = self.choices()
        return {*choices.categorical, *choices.numeric, *choices.dates}

    def for_inputs(self, target: str) -> tuple[TablePreprocessor, NumberSeparators | None]:
        """Return a preprocessor for the inputs, and the separators of the numbers of the target.

        The preprocessor has the same options, without the entry of ``numeric`` for the target.
        """
        separators = self.choices().numeric.get(target)
        if separators is None:
            return self, None
        numeric = [entry for entry in self.numeric if split_separators(entry)[0] != target]
        return TablePreprocessor.from_dict({**self.to_dict(), "numeric": numeric}), separators

    # Encoding --------------------------------------------------------------------------------------------------------

    def transform(self, X: Any) -> Any:
        """Return the (rows, features) float32 matrix of rows with the columns of the training rows.

        The columns of a frame are found by their names. Those of an array must be the columns of the training rows.
        After :meth:`set_output`, the result is a frame.
        """
        self._check_fitted()
        features = self.encode(X)
        if self._has_names and not has_column_names(X):
            own_name = type(self).__name__
            warn(f"X does not have valid feature names, but {own_name} was fitted with feature names", UserWarning)
        if "sklearn" not in sys.modules:  # then no other container has been chosen
            return features
        from sklearn.utils._set_output import _wrap_data_with_container

        return _wrap_data_with_container("transform", features, X, self)

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Determine the encoding from the training rows, and return their matrix."""
        return self.fit(X).transform(X)

    def encode(self, X: Any, origin: Origin = UNNAMED, unknown: UnknownCategories | None = None) -> Array:
        """Return the result of :meth:`transform` as an array.

        ``origin`` contains the file and the numbers of the rows, for messages. The rows with unknown categories are
        counted for each column in ``unknown``.
        """
        table = as_frame(X)
        _check_has_rows(table)
        if not has_column_names(X):
            table = self._with_names(table)
        plan = self.feature_plan
        columns = self._find_columns(table, plan.columns, origin)
        values, errors = [], []
        for column, cells in zip(plan.columns, columns, strict=True):
            try:
                values.append(column.read_column(cells, origin, unknown))
            except CellError as error:
                errors.append(error)
        if errors:
            raise _combine_errors(errors)
        return plan.encode(values, origin)

    def read(self, frame: Any, origin: Origin = UNNAMED) -> pd.DataFrame:
        """Return the used columns of a frame as numbers, dates and categories.

        Numbers are float64, dates are datetime64 in UTC, and categories are texts in the spelling of the training rows.
        Missing cells are NaN, NaT or None.
        """
        import pandas as pd

        self._check_fitted()
        table = as_frame(frame)
        plans = self.feature_plan.columns
        columns: dict[str, Any] = {}
        for plan, column in zip(plans, self._find_columns(table, plans, origin), strict=True):
            is_category = plan.kind == "category"
            columns[plan.name] = plan.read_texts(column) if is_category else plan.read_column(column, origin)
        return pd.DataFrame(columns, index=table.index)

    @property
    def takes_arrays(self) -> bool:
        """Whether the columns have the names of those of an array, as if the training rows were an array."""
        return all(plan.name == f"x{k}" for k, plan in enumerate(self.columns, 1))

    @property
    def feature_plan(self) -> FeaturePlan:
        """The encoding of the whole table, compiled to arrays."""
        self._check_fitted()
        return FeaturePlan.of(self.columns)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the columns of the matrix: ``age``, ``age (missing)``, ``town=Porto``, ``town (other)``, ..."""
        self._check_fitted()
        return tuple(name for plan in self.columns for name in plan.output_names)

    def describe(self) -> list[dict[str, Any]]:
        """Return a dictionary for each column for a report: its name, its kind, its features and their scaling."""
        self._check_fitted()
        rows = []
        for plan in self.columns:
            row: dict[str, Any] = {"name": plan.name, "kind": plan.kind, "missing": plan.n_missing}
            row["outputs"] = list(plan.output_names)
            row["explanation"] = plan.explain()
            if plan.kind == "dropped":
                row["reason"] = plan.reason
            if plan.kind == "category":
                row["categories"] = list(plan.categories)
            for number in plan.numbers[:1]:
                row |= {"fill": number.fill, "fill_rule": number.fill_rule}
                row |= {"center": number.center, "scale": number.scale, "bend": number.bend}
            rows.append(row)
        return rows

    def explain(self) -> list[str]:
        """Return a line for each column: its detected type and format with an example, or why it was dropped."""
        self._check_fitted()
        return [plan.explain() for plan in self.columns]

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters and the columns as JSON values."""
        choices = self.choices()
        return {
            "categorical": list(choices.categorical),
            "drop": list(choices.drop),
            "numeric": _texts("numeric", self.numeric),
            "dates": _texts("dates", self.dates),
            "missing_words": list(choices.missing_words),
            "max_categories": self.max_categories,
            "scaling": self.scaling,
            "missing": self.missing,
            "columns": [plan.to_dict() for plan in self.columns],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TablePreprocessor:
        """Return a preprocessor from the values of :meth:`to_dict`. Raises ``InvalidInputError`` for invalid values."""
        new = {key: values[key] for key in ("numeric", "dates", "missing_words") if key in values}  # since version 0.2
        columns, texts = values.get("columns"), [values.get("categorical"), values.get("drop"), *new.values()]
        if (
            len(new) not in (0, 3)
            or not all(isinstance(entry, list) and all(isinstance(text, str) for text in entry) for entry in texts)
            or not isinstance(columns, list)
            or not all(isinstance(plan, Mapping) for plan in columns)
        ):
            raise InvalidInputError(
                "The description of a table preprocessor needs its columns and its lists of column names."
            )
        preprocessor = cls(
            values["categorical"],
            values["drop"],
            values.get("max_categories", None),  # None is invalid
            values.get("scaling", None),  # None is invalid
            values.get("missing", "median"),  # the only rule of early versions
            **new,
        )
        preprocessor.choices()
        preprocessor._columns = tuple(ColumnPlan.from_dict(plan) for plan in columns)
        if len({plan.name for plan in preprocessor.columns}) < len(columns):
            raise InvalidInputError("The description of a table preprocessor contains a column twice.")
        return preprocessor

    def _check_fitted(self) -> None:
        if not self.columns:
            from sklearn.utils.validation import check_is_fitted

            check_is_fitted(self)

    def _with_names(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return rows that were given as an array, with the names of the columns of the training rows."""
        if table.shape[1] != len(self.columns):
            raise DataError(
                f"X has {table.shape[1]} features, but {type(self).__name__} is expecting {len(self.columns)} features "
                "as input."
            )
        return table.set_axis([plan.name for plan in self.columns], axis=1)

    def _find_columns(self, table: pd.DataFrame, plans: Sequence[ColumnPlan], origin: Origin) -> list[pd.Series[Any]]:
        """Return the columns of a table that have these plans."""
        names = [normal_text(plan.name) for plan in plans]
        missing = [name for name in names if name not in table.columns]
        if missing:
            unknown = sorted(set(table.columns) - {normal_text(column.name) for column in self.columns})
            n_more = len(missing) - MAX_INVALID_COLUMNS
            shown = [*map(repr, missing[:MAX_INVALID_COLUMNS]), *([f"{n_more} more"] if n_more > 0 else [])]
            columns = f"column{'s' if len(missing) > 1 else ''} {listed(shown)}"
            hint = nearest_names(missing[:MAX_INVALID_COLUMNS], unknown)
            raise DataError(f"{origin}The table has no {columns}, which the training data had.{hint}")
        return [table[name] for name in names]

    # The interface of scikit-learn -----------------------------------------------------------------------------------
    # It is imported where it is used, because the import takes as long as a small fit.

    _sklearn_auto_wrap_output_keys = frozenset({"transform"})

    @property
    def n_features_in_(self) -> int:
        """The number of columns of the training rows, including dropped ones."""
        if not self.columns:
            raise AttributeError("This TablePreprocessor is not fitted yet.")
        return len(self.columns)

    @property
    def feature_names_in_(self) -> Array:
        """The names of the columns of the training rows, if these were a frame."""
        if not self.columns or not self._has_names:
            raise AttributeError("This TablePreprocessor is not fitted to a frame.")
        return np.array([plan.name for plan in self.columns], object)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Return :attr:`feature_names` as an array.

        ``input_features`` are the names of the columns of an array. For a frame, they must be its names.
        """
        self._check_fitted()
        names = [plan.name for plan in self.columns]
        given = names if input_features is None else [*map(str, input_features)]
        if len(given) != len(names):
            raise InvalidInputError(f"input_features should have length equal to number of features ({len(names)}).")
        if self._has_names and given != names:
            raise InvalidInputError("input_features is not equal to feature_names_in_")
        renamed = [
            new + name.removeprefix(plan.name)
            for plan, new in zip(self.columns, given, strict=True)
            for name in plan.output_names
        ]
        return np.array(renamed, object)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; ``deep`` has no effect."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params: Any) -> Self:
        """Set parameters. Return the preprocessor."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise InvalidInputError(
                    f"Invalid parameter {name!r} for estimator {self}. Valid parameters are: {[*known]!r}."
                    f"{nearest_name(name, known)}"
                )
            setattr(self, name, value)
        return self

    def set_output(self, *, transform: Literal["default", "pandas", "polars"] | None = None) -> Self:
        """Choose the container of the results of :meth:`transform`: an array or a frame. Return the preprocessor."""
        if transform is not None:
            check_one_of("transform", transform, ("default", "pandas", "polars"))
            self._sklearn_output_config = {"transform": transform}
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self.columns)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(allow_nan=True, categorical=True, string=True),
        )

    def __repr__(self) -> str:
        changed = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) is not field.default
        ]
        return f"TablePreprocessor({', '.join(changed)})"

    def _repr_html_(self) -> str:
        from sklearn.utils import estimator_html_repr

        html: str = estimator_html_repr(self)
        return html

    # Plans -----------------------------------------------------------------------------------------------------------

    def _plan(self, name: str, summary: ColumnSummary | None, conventions: Conventions) -> ColumnPlan:
        if summary is None:
            return ColumnPlan(name, "dropped", "as requested")
        reading = summary.read(conventions)
        make = self._category_plan if reading.kind == "category" else self._number_plan
        plan = make(name, summary, reading)
        sample = reading.sample or summary.sample
        is_cut = len(sample) > MAX_SAMPLE_LENGTH  # the cut text of a number may be another number
        return replace(
            plan,
            format=None if plan.kind == "dropped" else reading.format,
            missing_words=reading.missing_words,
            coerce=plan.kind in ("number", "date") and summary.options.read_as != "auto",
            from_numbers=reading.from_numbers,
            note="; ".join(filter(None, [*reading.notes, plan.note])),
            sample="" if is_cut and plan.kind in ("number", "date") else sample[:MAX_SAMPLE_LENGTH],
        )

    def _number_plan(self, name: str, summary: ColumnSummary, reading: Reading) -> ColumnPlan:
        n_missing, kind = reading.n_missing, reading.kind
        parts = DATE_PARTS if kind == "date" else ("",)
        time_only = isinstance(reading.format, DateFormat) and reading.format.time_only
        note, is_id = "", kind == "number" and summary.options.read_as == "auto" and _ID.search(name) is not None
        if is_id:
            note = f"its name is that of an id; if it is one, drop it or list it under {with_option('categorical')}"
        if reading.all_different and reading.n_rows > MIN_ROWS_FOR_ID and summary.options.read_as == "auto":
            low, width = reading.numbers[0].low, reading.numbers[0].width
            are_row_numbers = width < 2 * reading.n_rows and 0 <= low < reading.n_rows
            what = f"{'row numbers' if are_row_numbers else 'ids'}, a different whole number in every row"
            if is_id or (_ROW_NUMBER.fullmatch(name) and width < 2 * reading.n_rows):
                return ColumnPlan(name, "dropped", f"it contains {what}", n_missing)
            if are_row_numbers:
                note = f"it may contain {what}; drop it with {with_option('drop')} if it says nothing about the target"
        numbers = tuple(
            plan
            for part, number in zip(parts, reading.numbers, strict=True)
            if part == "hour" or not time_only
            for plan in self._scale(f"{name} {part}" if part else name, number)
        )
        if not numbers:
            if n_missing == 0 or kind == "date":
                rows = "every row" if n_missing == 0 else "every row that is not empty"
                return ColumnPlan(name, "dropped", f"{rows} has {summary.sample[:MAX_SAMPLE_LENGTH]!r}", n_missing)
            # The indicator of missing cells is the only information in a constant column.
            constant = reading.numbers[0].low
            numbers = (NumberPlan(name, constant, constant, 1.0, self.missing),)
        return ColumnPlan(name, kind, n_missing=n_missing, numbers=numbers, missing_indicator=n_missing > 0, note=note)

    def _scale(self, output: str, present: NumberSummary) -> list[NumberPlan]:
        """Return the plan of one number; an empty list if it is constant except for rounding."""
        if present.is_constant:
            return []
        center, scale, limit = 0.0, 1.0, 0.0
        knots: tuple[float, ...] = ()
        scores: tuple[float, ...] = ()
        if self.scaling == "range":
            center, scale = present.low, present.width
        elif self.scaling == "standard":
            center, scale = present.mean, present.deviation if present.deviation > 0 else present.high - present.low
        elif self.scaling in ("robust", "quantile"):
            center = present.median
            lower, upper = np.quantile(present.sample, (0.25, 0.75)) if len(present.sample) else (0.0, 0.0)
            scale = float(upper - lower) or present.width / 2
            limit = ROBUST_LIMIT if self.scaling == "robust" else 0.0
            if self.scaling == "quantile" and len(present.sample):
                knots, scores = _scores_of_quantiles((present.sample - center) / scale)
        fill = {"median": present.median, "mean": present.mean, "zero": center}[self.missing]
        return [NumberPlan(output, fill, center, scale, self.missing, limit, knots, scores)]

    def _category_plan(self, name: str, summary: ColumnSummary, reading: Reading) -> ColumnPlan:
        counts, n_missing, n_rows = reading.counts, reading.n_missing, reading.n_rows
        has_more = reading.has_dropped_texts
        n_categories = reading.n_categories
        if not n_categories and not has_more:
            return ColumnPlan(name, "dropped", "it has no value in any row", n_missing)
        if reading.reason:
            return ColumnPlan(name, "dropped", reading.reason, n_missing)
        n_present = n_rows - n_missing
        are_rare = n_present > MIN_ROWS_FOR_ID and n_categories > MAX_SHARE_OF_CATEGORIES * n_present
        if are_rare and summary.options.read_as == "auto":
            texts = [text for text, _ in counts] or [summary.sample]
            n_words = sum(len(text.split()) for text in texts) / len(texts)
            kind = FREE_TEXT if n_words > MIN_WORDS_OF_FREE_TEXT else "a name or an id"
            rows = "every row has" if n_categories == n_present else f"{n_present:,} rows have {n_categories:,}"
            values = "a different value" if n_categories == n_present else "different values"
            return ColumnPlan(name, "dropped", f"{rows} {values}, like {kind}", n_missing)
        if n_categories == 1 and n_missing == 0 and not has_more:
            return ColumnPlan(name, "dropped", f"every row has {counts[0][0][:MAX_SAMPLE_LENGTH]!r}")
        min_count = math.ceil(n_rows * MIN_CATEGORY_SHARE)
        kept = [text for text, count in counts[: self.max_categories] if count >= min_count]
        if not kept:
            return ColumnPlan(name, "dropped", "each of its values is in less than one row in a thousand", n_missing)
        return ColumnPlan(
            name,
            "category",
            n_missing=n_missing,
            categories=tuple(sorted(kept)),
            missing_category=n_missing > 0,
            other=has_more or len(kept) < n_categories,
        )


def _combine_errors(errors: Sequence[CellError]) -> CellError:
    """Return the error of the first column with an invalid cell, with the other columns added to its message."""
    first, *others = errors
    if not others:
        return first
    n_more = len(others) - MAX_INVALID_COLUMNS
    shown = [
        f"{error.column!r} (row {error.row} has {error.value!r}"
        + (f", and {counted(error.n_cells - 1, 'cell')} more)" if error.n_cells > 1 else ")")
        for error in others[:MAX_INVALID_COLUMNS]
    ]
    shown += [f"{n_more} more"] if n_more > 0 else []
    columns = "column" if len(others) == 1 else "columns"
    return CellError(
        f"{first} The same holds for the {columns} {listed(shown)}.",
        row=first.row, column=first.column, value=first.value, n_cells=first.n_cells,
    )  # fmt: skip


def _scores_of_quantiles(scaled: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the quantiles of scaled numbers, and the quantiles of the normal distribution at the same levels.

    Equal quantiles are merged, with the mean of their scores. The result is empty if all quantiles are equal.
    """
    from statistics import NormalDist

    levels = np.linspace(0, 1, N_QUANTILES)
    bound = 1 / (4 * (N_QUANTILES - 1))  # instead of the levels 0 and 1, whose scores are infinite
    scores = [*map(NormalDist().inv_cdf, np.clip(levels, bound, 1 - bound).tolist())]
    # Knots that are equal in float32, which exported models use, would cause a division by 0. A column with a tiny
    # scale may have scaled numbers outside the range of float32.
    most = float(np.finfo(np.float32).max)
    knots, codes = np.unique(np.float32(np.clip(np.quantile(scaled, levels), -most, most)), return_inverse=True)
    if len(knots) < 2:
        return (), ()
    means = np.bincount(codes, scores) / np.bincount(codes)
    return tuple(knots.astype(np.float64).tolist()), tuple(means.tolist())


def _check_has_rows(table: pd.DataFrame) -> None:
    if len(table) == 0:
        raise DataError("The table has no rows.")


def _texts(option: str, texts: Sequence[str]) -> list[str]:
    """Return the texts of an option in normal form."""
    if isinstance(texts, str):
        what = "texts" if option == "missing_words" else "column names"
        raise InvalidInputError(f"{option} must be a list of {what}, not one text; write {option}=[{texts!r}].")
    return [normal_text(str(text)) for text in texts]


def _date_order(entry: str) -> tuple[str, DateOrder | None]:
    """Return the name and the order of ``name`` or ``name=dmy``."""
    name, _, order = entry.rpartition("=")
    if not name or not re.fullmatch("[dmy]+", order):
        return entry, None
    check_one_of(f"The order of the dates of {name!r}", order, get_args(DateOrder))
    return normal_text(name), cast("DateOrder", order)


def has_column_names(table: Any) -> bool:
    """Return whether rows are a frame or a dictionary, whose columns have names."""
    return is_frame(table) or (isinstance(table, Mapping) and not is_sparse(table))


def as_frame(table: Any) -> pd.DataFrame:
    """Return rows as a pandas frame whose column names are texts.

    The rows are a pandas or polars frame, a dictionary of lists, or an array with two dimensions.
    """
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        frame = table
    elif is_frame(table) and hasattr(table, "to_pandas"):
        frame = table.to_pandas()
    elif has_column_names(table):
        frame = pd.DataFrame(dict(table))
    else:
        from sklearn.utils import check_array

        array = check_array(table, dtype=None, ensure_all_finite=False)
        frame = pd.DataFrame(array, columns=[f"x{column + 1}" for column in range(array.shape[1])])
    return frame.set_axis(check_column_names(frame), axis=1).reset_index(drop=True)


def check_column_names(frame: Any) -> list[str]:
    """Return the names of the columns of a frame as texts in normal form. Raises ``DataError`` if some are equal."""
    names = [normal_text(str(name)) for name in frame.columns]
    repeated = listed([repr(name) for name, n in Counter(names).items() if n > 1])
    if repeated:
        raise DataError(f"The table has more than one column named {repeated}; give them different names.")
    return names
