"""What happened in every epoch of a training run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from chainrule.errors import InvalidInputError

__all__ = ["History"]

_INFINITIES = ("inf", "-inf")


class History(Mapping[str, list[float]]):
    """One list for each recorded quantity, one element an epoch.

    >>> history = History()
    >>> history.append({"epoch": 1, "loss": 0.5})
    >>> history.append({"epoch": 2, "loss": 0.25, "validation_loss": 0.3})
    >>> history["loss"]
    [0.5, 0.25]
    >>> history["validation_loss"]
    [nan, 0.3]
    >>> history.last("loss")
    0.25
    """

    def __init__(self, columns: Mapping[str, Sequence[float | None]] | None = None) -> None:
        self._columns: dict[str, list[float]] = {
            name: [math.nan if value is None else value for value in values] for name, values in (columns or {}).items()
        }

    @classmethod
    def from_dict(cls, given: Any) -> Self:
        """Return what :meth:`to_dict` described; raise InvalidInputError for anything else."""
        columns = {} if given is None else given
        if not isinstance(columns, dict) or not all(isinstance(values, list) for values in columns.values()):
            raise InvalidInputError("A history is a list of numbers for each quantity.")
        if len({len(values) for values in columns.values()}) > 1:
            raise InvalidInputError("The quantities of a history have different numbers of epochs.")
        return cls({name: [_from_json(value) for value in values] for name, values in columns.items()})

    def __getitem__(self, name: str) -> list[float]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"History({self.n_epochs} epochs: {', '.join(self._columns) or 'nothing recorded'})"

    @property
    def n_epochs(self) -> int:
        """The number of epochs recorded."""
        return max((len(values) for values in self._columns.values()), default=0)

    def append(self, row: Mapping[str, float]) -> None:
        """Record one epoch; quantities that it lacks, or that earlier epochs lacked, are NaN there."""
        n_before = self.n_epochs
        for name in [name for name in row if name not in self._columns]:
            self._columns[name] = [math.nan] * n_before
        for name, values in self._columns.items():
            values.append(float(row.get(name, math.nan)))

    def last(self, name: str) -> float:
        """Return the newest value of ``name``, or NaN when it was never recorded."""
        values = self._columns.get(name)
        return values[-1] if values else math.nan

    def to_csv(self) -> str:
        """Return the table as CSV text, one line an epoch; every number reads back to the same float."""
        lines = [",".join(self._columns)]
        lines += [
            ",".join("" if math.isnan(v) else repr(v) for v in row) for row in zip(*self._columns.values(), strict=True)
        ]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, list[float | str | None]]:
        """Return lists that JSON can hold, by name; NaN is None there, and infinity a word. See :meth:`from_dict`."""
        return {name: [_as_json(value) for value in values] for name, values in self._columns.items()}


def _from_json(value: Any) -> float:
    if value is None:
        return math.nan
    if value not in _INFINITIES and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidInputError("A history holds something that is no number.")
    try:
        return float(value)
    except OverflowError:
        raise InvalidInputError("A history holds a number that is too large for a float.") from None


def _as_json(value: float) -> float | str | None:
    return value if math.isfinite(value) else None if math.isnan(value) else str(value)
