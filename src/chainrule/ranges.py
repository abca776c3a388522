"""Ranges of numbers: for the outputs of layers, for the predictions that a loss accepts, and for settings."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass

from chainrule.errors import InvalidInputError, shown

__all__ = ["ANY_NUMBER", "Range", "check_count", "is_finite"]


@dataclass(frozen=True)
class Range:
    """An interval of numbers; ``includes_low`` and ``includes_high`` say whether its ends belong to it.

    ``sums_to_one`` says that the numbers of a row add up to 1, as the probabilities of classes do.

    >>> Range(0, 1).contains(Range(0, 1, includes_low=True))
    False
    >>> print(Range(0, math.inf, includes_low=True))
    numbers from 0 up
    """

    low: float
    high: float
    includes_low: bool = False
    includes_high: bool = False
    sums_to_one: bool = False

    def contains(self, other: Range) -> bool:
        """Tell whether every row of numbers that ``other`` allows is allowed here too."""
        low = self.low < other.low or (self.low == other.low and self.includes_low >= other.includes_low)
        high = other.high < self.high or (self.high == other.high and self.includes_high >= other.includes_high)
        return low and high and self.sums_to_one <= other.sums_to_one

    def includes(self, number: float) -> bool:
        """Tell whether the number lies in the interval."""
        above = self.low < number or (self.includes_low and self.low == number)
        return above and (number < self.high or (self.includes_high and self.high == number))

    def __str__(self) -> str:
        if self.sums_to_one:
            return "probabilities that sum to 1"
        if self.low == self.high:
            return f"{self.low:g} for every row"
        if self.low == -math.inf and self.high == math.inf:
            return "any number"
        low = f"{'from' if self.includes_low else 'above'} {_as_text(self.low)}"
        if self.high == math.inf:
            return f"numbers {low} up" if self.includes_low else f"numbers {low}"
        to = "and below" if not self.includes_high else "to" if self.includes_low else "and up to"
        return f"numbers {low} {to} {_as_text(self.high)}"


def _as_text(number: float) -> str:
    return f"{number:g}" if number % 1 == 0 else f"{number:.3g}"


#: The range of all finite numbers.
#:
#: :meta hide-value:
ANY_NUMBER = Range(-math.inf, math.inf)


def check_count(owner: str, name: str, value: object) -> int:
    """Return a setting that is a whole number >= 1; raise InvalidInputError for anything else."""
    if not is_finite(value) or value < 1 or value % 1 != 0:  # type: ignore[operator]
        raise InvalidInputError(f"The {name} of {owner} is {shown(value)}; give a whole number >= 1.")
    return int(value)  # type: ignore[call-overload, no-any-return]


def is_finite(value: object) -> bool:
    """Tell whether a setting is a finite number in the range of a float, and not text, a Boolean or a huge integer.

    >>> [is_finite(value) for value in (1, 0.5, True, "1", float("inf"), 10**400)]
    [True, True, False, False, False, False]
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
