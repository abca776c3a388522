"""The errors of chainrule: one sentence each, that names what is wrong, where, and what to do about it.

Every error that a user can cause derives from :class:`ChainruleError`, so ``except ChainruleError`` catches them all
and the commands can print the sentence without a traceback.
"""

from __future__ import annotations

import difflib
import functools
import shlex
import sys
import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "EXTRAS",
    "CellError",
    "ChainruleError",
    "ChainruleWarning",
    "DataError",
    "DivergenceError",
    "InvalidInputError",
    "ModelFileError",
    "NotBuiltError",
    "array_place",
    "check_one_of",
    "counted",
    "listed",
    "missing_packages",
    "nearest_name",
    "nearest_names",
    "shell_command",
    "shown",
    "warn",
    "with_option",
]


LONGEST_SHOWN = 40  # characters of a value in a message
SHORTEST_START = 3  # characters of the start of a name that is meant


class ChainruleError(Exception):
    """Base class of every error that chainrule raises on purpose."""


class InvalidInputError(ChainruleError, ValueError):
    """An argument or an option has a value that cannot work."""


class DataError(InvalidInputError):
    """The data cannot be used as they are; the sentence names the file, column, row or value."""


class CellError(DataError):
    """A cell of a table does not have the format of its column.

    Attributes
    ----------
    row
        The number of its row, counted from 1.
    column
        The name of its column.
    value
        The cell.
    n_cells
        The number of such cells of the column, as far as they were counted.
    """

    def __init__(self, message: str, *, row: int, column: str, value: object, n_cells: int = 1) -> None:
        super().__init__(message)
        self.row, self.column, self.value, self.n_cells = row, column, value, n_cells

    def __reduce__(self) -> tuple[object, ...]:
        return functools.partial(type(self), **vars(self)), self.args


class ModelFileError(ChainruleError, ValueError):
    """A model file, checkpoint or run folder is missing, damaged, or of a kind this version cannot read."""


class NotBuiltError(ChainruleError, RuntimeError):
    """Something was asked of a network or layer before its input shape was known."""


class DivergenceError(ChainruleError, ArithmeticError):
    """Training met a number that is not finite; the network holds the weights of its last whole epoch."""


class ChainruleWarning(UserWarning):
    """Warning about data or settings that are valid but probably unintended."""


def warn(sentence: str, category: type[Warning] = ChainruleWarning) -> None:
    """Warn in the name of the line, outside this package, that called into it."""
    level, frame = 2, sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).split(".")[0] == "chainrule":
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    warnings.warn(sentence, category, stacklevel=level)


def check_one_of(what: str, given: object, known: Collection[str]) -> None:
    """Raise InvalidInputError for what is none of the known names.

    >>> check_one_of("The task", "binari", ["binary", "regression"])
    Traceback (most recent call last):
    chainrule.errors.InvalidInputError: The task is one of binary, regression, not 'binari'. Did you mean 'binary'?
    """
    if given not in known:
        raise InvalidInputError(f"{what} is one of {', '.join(known)}, not {given!r}.{nearest_name(str(given), known)}")


# chainrule itself is installed from its source, so a message that asked for chainrule[torch] would send people to a
# package index that does not have it.
#: What each extra of this project installs.
#:
#: :meta hide-value:
EXTRAS = {
    "app": ("starlette", "uvicorn"),
    "onnx": ("onnx", "onnxruntime"),
    "parquet": ("pyarrow",),
    "torch": ("torch",),
}


def listed(names: Sequence[str]) -> str:
    """Return names as they are listed in a sentence.

    >>> listed(["age", "town", "price"])
    'age, town and price'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def counted(n: int, what: str) -> str:
    """Return a number with a noun in the singular or plural.

    >>> counted(1, "row"), counted(1200, "cell")
    ('1 row', '1,200 cells')
    """
    return f"{n:,} {what}{'s' if n != 1 else ''}"


# Options of commands that have other names than the arguments.
_OPTIONS = {"dates": "date", "missing_words": "missing-word"}


def with_option(argument: str, value: str = "") -> str:
    """Return the name of an argument, and the option of ``chainrule train`` that does the same, with its value.

    >>> with_option("dates"), with_option("missing_words", "unknown")
    ('dates (--date)', 'missing_words (--missing-word unknown)')
    """
    return f"{argument} (--{' '.join(filter(None, [_OPTIONS.get(argument, argument), value]))})"


def missing_packages(what: str, extra: str) -> InvalidInputError:
    """Return the error to raise where something needs the packages of an extra, and they are not installed.

    >>> print(missing_packages("Reading Parquet", "parquet"))
    Reading Parquet needs packages that are not installed; install them with: python -m pip install pyarrow
    """
    return InvalidInputError(
        f"{what} needs packages that are not installed; install them with: python -m pip install "
        f"{' '.join(EXTRAS[extra])}"
    )


def nearest_name(name: str, known: Iterable[str], likeness: float = 0.75) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name nearest to ``name``, or ``""`` when none is near.

    ``likeness`` is the share of letters that two names must have in common, in order, for the one to be a misspelling
    of the other. A name that starts with ``name`` is near, too.

    >>> nearest_name("prise", ["price", "rooms"])
    " Did you mean 'price'?"
    """
    return nearest_names([name], known, likeness)


def nearest_names(names: Iterable[str], known: Iterable[str], likeness: float = 0.75) -> str:
    """Return the same for several names; only those that have a near name are in the question.

    >>> nearest_names(["prise", "romms", "day"], ["price", "rooms"])
    " Did you mean 'price' instead of 'prise' and 'rooms' instead of 'romms'?"
    """
    by_lower_case, asked = {candidate.lower(): candidate for candidate in known}, list(names)
    questions = []
    for name in asked:
        matches = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=likeness)
        if len(name) >= SHORTEST_START and not matches:
            matches = [candidate for candidate in by_lower_case if candidate.startswith(name.lower())]
        if matches:
            questions.append(f"'{by_lower_case[matches[0]]}'" + (f" instead of '{name}'" if len(asked) > 1 else ""))
    return f" Did you mean {listed(questions)}?" if questions else ""


def shown(value: object) -> str:
    """Return the ``repr`` of a value for a message, shortened if it is long.

    >>> shown("5"), shown(10**400)
    ("'5'", '1000000000000000000000000000000000000...')
    """
    try:
        text = repr(value)
    except ValueError:  # Python does not write integers of so many digits
        return "an integer of thousands of digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def array_place(*indices: Any) -> str:
    """Return the place of an element of an array for a message, from its indices.

    >>> array_place(2), array_place(2, 0)
    ('row 3 (counted from 1)', 'row 3, column 1 (counted from 1)')
    """
    row, *columns = (str(int(index) + 1) for index in indices)
    return f"row {row}" + f", column {', '.join(columns)}" * bool(columns) + " (counted from 1)"


def shell_command(*words: str | Path) -> str:
    """Return a ``chainrule`` command as a shell reads it, for messages that say what to type.

    >>> shell_command("resume", Path("my runs/a"))
    "chainrule resume 'my runs/a'"
    >>> shell_command("resume", Path("-a"))
    'chainrule resume ./-a'
    """
    # A path that begins with a hyphen would be taken for an option.
    shown = (f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words)
    return shlex.join(["chainrule", *shown])
