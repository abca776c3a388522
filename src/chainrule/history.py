"""What happened in every epoch of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from chainrule.errors import InvalidInputError, nearest_name
from chainrule.metrics import find_metric
from chainrule.named import checked

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["History", "quantity_name"]

_INFINITIES = ("inf", "-inf")

# What Keras, skorch and the lecture notes put before a name, and what stands there here.
_PREFIXES = {"val_": "validation_", "valid_": "validation_", "train_": "", "training_": ""}


def quantity_name(name: str) -> str:
    """Return what a quantity that is called ``name`` elsewhere is called in a history.

    >>> [quantity_name(name) for name in ("val_loss", "train_acc", "val_mse", "lr", "gradient_norm")]
    ['validation_loss', 'accuracy', 'validation_mean_squared_error', 'learning_rate', 'gradient_norm']
    """
    here = name
    for prefix, ours in _PREFIXES.items():
        if name.startswith(prefix):
            here = ours + name.removeprefix(prefix)
    prefix = "validation_" if here.startswith("validation_") else ""
    base = here.removeprefix(prefix)
    if base == "lr":
        return f"{prefix}learning_rate"
    try:
        return prefix + find_metric(base).name
    except InvalidInputError:
        return here


@checked
class History(dict[str, list[float]]):
    """One list per recorded quantity, with one element per epoch.

    The names that other libraries use work as well: ``history["val_loss"]`` is ``history["validation_loss"]``. The sum
    of loss and penalty, which training minimises, is ``history["objective"]``.

    >>> history = History()
    >>> history.append({"epoch": 1, "loss": 0.5})
    >>> history.append({"epoch": 2, "loss": 0.25, "validation_loss": 0.3})
    >>> history["loss"]
    [0.5, 0.25]
    >>> history["val_loss"]
    [nan, 0.3]
    >>> history.last("loss"), history["objective"]
    (0.25, [0.5, 0.25])
    """

    def __init__(self, columns: Mapping[str, Sequence[float | None]] | None = None) -> None:
        super().__init__(
            (name, [math.nan if value is None else value for value in values])
            for name, values in (columns or {}).items()
        )

    @classmethod
    def from_dict(cls, given: Any) -> Self:
        """Return what :meth:`to_dict` described; raise InvalidInputError for anything else."""
        columns = {} if given is None else given
        if not isinstance(columns, dict) or not all(isinstance(values, list) for values in columns.values()):
            raise InvalidInputError("A history is a list of numbers for each quantity.")
        if len({len(values) for values in columns.values()}) > 1:
            raise InvalidInputError("The quantities of a history have different numbers of epochs.")
        return cls({name: [_from_json(value) for value in values] for name, values in columns.items()})

    def __missing__(self, name: str) -> list[float]:
        if name == "objective" and "loss" in self:
            penalties = self.get("penalty", [0.0] * self.n_epochs)
            return [loss + (0 if math.isnan(p) else p) for loss, p in zip(self["loss"], penalties, strict=True)]
        here = quantity_name(name)
        if super().__contains__(here):
            return self[here]
        raise KeyError(
            f"{name!r} is not in the history, which has {', '.join(self) or 'no epoch yet'}.{nearest_name(name, self)}"
        )

    def __contains__(self, name: object) -> bool:
        is_in = super().__contains__
        if name == "objective":
            return is_in("loss")
        return is_in(name) or (isinstance(name, str) and is_in(quantity_name(name)))

    def get(self, name: str, default: Any = None) -> Any:
        """Return the values of ``name``, or ``default`` when it was never recorded."""
        try:
            return self[name]
        except KeyError:
            return default

    def __repr__(self) -> str:
        return f"History({self.n_epochs} epochs: {', '.join(self) or 'nothing recorded'})"

    @property
    def n_epochs(self) -> int:
        """The number of epochs recorded."""
        return max((len(values) for values in self.values()), default=0)

    def append(self, row: Mapping[str, float]) -> None:
        """Record one epoch; quantities that it lacks, or that earlier epochs lacked, are NaN there."""
        n_before, known = self.n_epochs, set(self)
        for name in row:
            if name not in known:
                self[name] = [math.nan] * n_before
        for name, values in self.items():
            values.append(float(row.get(name, math.nan)))

    def last(self, name: str) -> float:
        """Return the newest value of ``name``, or NaN when it was never recorded."""
        if name == "objective" and name in self:
            penalty = self.last("penalty")
            return self.last("loss") + (0.0 if math.isnan(penalty) else penalty)
        values = self.get(name)
        return values[-1] if values else math.nan

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas data frame with one row per epoch and one column per quantity."""
        import pandas as pd

        frame = pd.DataFrame(self)
        return frame.astype({"epoch": int}) if "epoch" in frame and frame["epoch"].notna().all() else frame

    def to_csv(self) -> str:
        """Return the table as CSV text, one line per epoch; every number reads back to the same float."""
        lines = [",".join(self)]
        lines += [",".join("" if math.isnan(v) else repr(v) for v in row) for row in zip(*self.values(), strict=True)]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, list[float | str | None]]:
        """Return lists that JSON can hold, by name; NaN is None there, and infinity a word. See :meth:`from_dict`."""
        return {name: [_as_json(value) for value in values] for name, values in self.items()}


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
