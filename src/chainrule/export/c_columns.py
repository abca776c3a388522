"""How the cells of a table's columns are read, as arrays and structures of C."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from chainrule.data.columns import ColumnPlan
from chainrule.data.date_format import ISO_PATTERN, MONTHS, PATTERNS, TIME_PATTERN, WEEKDAYS, DateFormat
from chainrule.data.number_format import PYTHON_PATTERN, NumberFormat
from chainrule.export.c_text import array_of_numbers, array_of_texts, number
from chainrule.export.patterns import compile_pattern
from chainrule.types import Array

__all__ = ["CDefinitions", "decomposed", "months", "number_type"]

# The named groups of the patterns of dates, in the order in which read_date knows them.
_GROUPS = ("year", "month", "day", "first", "middle", "last", "mark", "name", "hour", "minute", "second", "fraction",
           "half", "zone", "weekday")  # fmt: skip
INTEGERS_A_LINE = 20


class CDefinitions:
    """Collects definitions of C; equal ones are written once. Their names begin with a prefix."""

    def __init__(self, prefix: str = "") -> None:
        self.texts: list[str] = []
        self._prefix = prefix
        self._names: dict[str, str] = {}

    def texts_named(self, texts: Sequence[str]) -> str:
        """Return the name of an array of texts."""
        return self._named("texts", lambda name: array_of_texts(name, texts), repr(("texts", tuple(texts))))

    def integers_named(self, values: Sequence[int]) -> str:
        """Return the name of an array of whole numbers."""
        return self._named("whole", lambda name: _array_of_integers(name, values), repr(("whole", tuple(values))))

    def doubles_named(self, values: Array) -> str:
        """Return the name of an array of doubles."""
        return self._named("exact", lambda name: array_of_numbers(name, values), repr(("exact", values.tolist())))

    def pointers_named(self, names: Sequence[str]) -> str:
        """Return the name of an array of arrays of whole numbers, given by their names."""
        key = repr(("pointers", tuple(names)))
        return self._named("arrays", lambda name: f"static const int *const {name}[] = {{{', '.join(names)}}};", key)

    def number_type(self, plan: ColumnPlan) -> str:
        """Return the name of the structure that says how a column writes its numbers."""
        text = number_type(self, plan.format if isinstance(plan.format, NumberFormat) else None, plan)
        return self._named("number", lambda name: f"static const number_type {name} = {{{text}}};", text)

    def date_type(self, plan: ColumnPlan) -> str:
        """Return the name of the structure that says how a column writes its dates."""
        date_format = plan.format if isinstance(plan.format, DateFormat) else None
        if date_format is None:
            date_format, patterns = DateFormat("ymd"), [ISO_PATTERN]
        else:
            patterns = [TIME_PATTERN] if date_format.time_only else list(PATTERNS)
        programs = [self.integers_named(compile_pattern(pattern, _GROUPS).code) for pattern in patterns]
        listed = self.pointers_named(programs)
        words = f"{self.texts_named(plan.missing_words)}, {len(plan.missing_words)}"
        text = f"{listed}, {len(programs)}, '{date_format.order[0]}', {words}, {int(plan.coerce)}"
        return self._named("date", lambda name: f"static const date_type {name} = {{{text}}};", text)

    def category_type(self, plan: ColumnPlan) -> str:
        """Return the name of the structure that knows the categories of a column."""
        spellings = {form: place for place, text in enumerate(plan.categories) for form in (decomposed(text), text)}
        words = {
            form: place
            for word, place in plan.spellings.items()
            for form in (word, _small_ascii(word.upper()), decomposed(word), _small_ascii(decomposed(word.upper())))
        }
        numbers = plan.number_codes if plan.from_numbers else {}
        missing, other, _, _ = plan.special_codes
        text = ", ".join(
            [
                *self._table(spellings),
                *self._table(words),
                *self._numbers(numbers),
                self.texts_named(plan.missing_words),
                f"{len(plan.missing_words)}, {missing}, {other}",
            ]
        )
        return self._named("category", lambda name: f"static const category_type {name} = {{{text}}};", text)

    def _table(self, places: dict[str, int]) -> list[str]:
        return [self.texts_named(list(places)), self.integers_named(list(places.values())), str(len(places))]

    def _numbers(self, places: dict[float, int]) -> list[str]:
        if not places:
            return ["NULL", "NULL", "0"]
        values = self._named(
            "exact",
            lambda name: f"static const double {name}[] = {{{', '.join(map(number, places))}}};",
            repr(("places", tuple(places))),
        )
        return [values, self.integers_named(list(places.values())), str(len(places))]

    def _named(self, kind: str, define: Callable[[str], str], key: str) -> str:
        if key not in self._names:
            name = self._names[key] = f"{self._prefix}{kind}_{len(self._names) + 1}"
            self.texts.append(define(name))
        return self._names[key]


def number_type(definitions: CDefinitions, number_format: NumberFormat | None, plan: ColumnPlan | None = None) -> str:
    """Return the values of a structure that says how numbers are written: as Python writes them, if by no format."""
    pattern = PYTHON_PATTERN if number_format is None else number_format.pattern
    known = number_format or NumberFormat()
    affixes = [definitions.integers_named([*map(ord, affix), 0]) for affix in known.affixes]
    written = [definitions.integers_named([*map(ord, word), 0]) for word, _ in known.words]
    factors = np.array([factor for _, factor in known.words])
    words = ("",) if plan is None else plan.missing_words
    parts = [
        definitions.integers_named(compile_pattern(pattern).code),
        definitions.integers_named([*map(ord, known.suffix), 0]),
        f"{definitions.pointers_named(affixes)}, {len(affixes)}",
        f"{definitions.pointers_named(written)}, {definitions.doubles_named(factors)}" if written else "NULL, NULL",
        f"{len(written)}, '{known.decimal}'",
        definitions.texts_named(words),
        str(len(words)),
        str(int(number_format is None)),
        str(int(plan is not None and plan.coerce)),
    ]
    return ", ".join(parts)


def decomposed(text: str) -> str:
    """Return a text in Unicode's decomposed form (NFD), as some systems write it."""
    return unicodedata.normalize("NFD", text)


def months() -> str:
    """Return the names of months and weekdays, in small letters, and the numbers of the months."""
    weekdays = sorted({form for name in WEEKDAYS for form in (name, decomposed(name))})
    names = {form: month for name, month in MONTHS.items() for form in (name, decomposed(name))}
    return "\n\n".join(
        [
            array_of_texts("month_words", list(names)),
            _array_of_integers("month_numbers", list(names.values())),
            array_of_texts("weekday_words", weekdays),
            f"#define MODEL_MONTH_WORDS {len(names)}\n#define MODEL_WEEKDAY_WORDS {len(weekdays)}",
        ]
    )


def _small_ascii(text: str) -> str:
    return "".join(character.lower() if character.isascii() else character for character in text)


def _array_of_integers(name: str, values: Sequence[int]) -> str:
    lines = [", ".join(map(str, values[at : at + INTEGERS_A_LINE])) for at in range(0, len(values), INTEGERS_A_LINE)]
    rows = ",\n    ".join(lines)
    return f"static const int {name}[{len(values) or 1}] = {{\n    {rows or 0}}};"
