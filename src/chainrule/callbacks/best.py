"""The best value so far of a quantity that a callback watches."""

from __future__ import annotations

import math
from typing import Any, final

from chainrule.callbacks.base import TrainingRun
from chainrule.errors import InvalidInputError

__all__ = ["BestValue"]


@final
class BestValue:
    """What a callback watches, and the best that it has seen of it.

    Attributes
    ----------
    name
        The quantity of the history, from :meth:`watch` on.
    value
        The best value so far; None as long as no finite one came.
    """

    def __init__(self) -> None:
        self.name = ""
        self.value: float | None = None
        self._sign = 1

    def watch(self, run: TrainingRun, monitor: str | None) -> None:
        """Check that ``monitor``, or else the run's default, will be recorded; forget the best of an earlier fit."""
        self.name = run.check_monitor(monitor or run.default_monitor)
        self._sign = 1 if run.lower_is_better(self.name) else -1
        if run.is_fresh:
            self.value = None

    def is_new(self, value: float, min_delta: float = 0.0, *, relative: bool = False) -> bool:
        """Tell whether :meth:`is_better` holds for ``value``, and then remember it as the best."""
        if not self.is_better(value, min_delta, relative=relative):
            return False
        self.value = value
        return True

    def is_better(self, value: float, min_delta: float = 0.0, *, relative: bool = False) -> bool:
        """Tell whether ``value`` is the first finite one, or better than the best by more than ``min_delta``.

        With ``relative``, ``min_delta`` is a share of the best.
        """
        if not math.isfinite(value):
            return False
        if self.value is None:
            return True
        needed = min_delta * abs(self.value) if relative else min_delta
        return self._sign * (self.value - value) > needed

    def restore(self, value: Any) -> None:
        """Take back a ``value`` that was kept in a file."""
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InvalidInputError(f"The best value so far is {str(value)[:40]!r}, which is not a number.")
        self.value = None if value is None else float(value)
