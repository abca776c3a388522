"""Check, before a network is built, that its loss and settings suit the target and that it fits into memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from chainrule.architecture import default_loss
from chainrule.data.target import Target
from chainrule.errors import InvalidInputError
from chainrule.losses import LOSSES
from chainrule.machine import machine_memory

__all__ = ["check_fits_memory", "check_suits_target"]

# The weights, the gradients, the two moments of Adam, and the last finite weights.
COPIES_IN_TRAINING = 5

_ONLY_FOR = {
    "binary": ("binary_cross_entropy", "binary_focal"),
    "multiclass": ("categorical_cross_entropy", "categorical_focal"),
    "regression": ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "pinball",
                   "multi_quantile", "poisson", "gaussian_negative_log_likelihood"),
}  # fmt: skip
_ALSO_FOR_CLASSES = ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "hinge", "squared_hinge")


def check_suits_target(target: Target, loss: str | None, for_classes: Sequence[str]) -> None:
    """Raise InvalidInputError if the loss is for another task, or if a regression has settings for classes.

    ``loss`` may be None for the default loss of the target. ``for_classes`` are the names of the given settings that
    are for classes only.
    """
    if target.task == "regression" and for_classes:
        raise InvalidInputError(f"{for_classes[0]} needs a target of classes, and this one is a number.")
    name = LOSSES.name_of(LOSSES.find(loss or default_loss(target)))
    allowed = _ONLY_FOR[target.task]
    if target.task != "regression":
        allowed += _ALSO_FOR_CLASSES
    if name not in allowed:
        raise InvalidInputError(
            f"The loss {name} does not suit a {target.task} target; choose one of {', '.join(allowed)}."
        )


def check_fits_memory(widths: Sequence[int], n_members: int = 1) -> None:
    """Raise InvalidInputError if networks of dense layers of these widths need more memory than the machine has."""
    needed = n_members * COPIES_IN_TRAINING * 4 * sum(a * b for a, b in itertools.pairwise(widths))
    memory = machine_memory()
    if needed > memory:
        raise InvalidInputError(
            f"{'A network' if n_members == 1 else f'An ensemble of {n_members} networks'} of "
            f"{'-'.join(map(str, widths))} units needs {needed // 10**9:,} GB of memory for training, and "
            f"this machine has {memory // 10**9:,} GB; choose smaller hidden layers."
        )
