"""What a target and a machine allow of a network, asked before it is built."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from chainrule.architecture import default_loss
from chainrule.data.target import Target
from chainrule.errors import InvalidInputError
from chainrule.losses import LOSSES
from chainrule.machine import machine_memory

__all__ = ["check_fits_memory", "check_suits_target"]

# Weights, gradients, two moments of Adam, and the last finite weights.
COPIES_IN_TRAINING = 5

_ONLY_FOR = {
    "binary": ("binary_cross_entropy", "binary_focal"),
    "multiclass": ("categorical_cross_entropy", "categorical_focal"),
    "regression": ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "pinball",
                   "poisson", "gaussian_negative_log_likelihood"),
}  # fmt: skip
_FOR_CLASSES_TOO = ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "hinge", "squared_hinge")


def check_suits_target(target: Target, loss: str | None, for_classes: Sequence[str]) -> None:
    """Raise InvalidInputError for a loss of another task (None is the target's own), and for what only classes have.

    ``for_classes`` are the names of the settings given that act on classes only.
    """
    if target.task == "regression" and for_classes:
        raise InvalidInputError(f"{for_classes[0]} needs a target of classes, and this one is a number.")
    name = LOSSES.name_of(LOSSES.find(loss or default_loss(target)))
    suited = _ONLY_FOR[target.task]
    if target.task != "regression":
        suited += _FOR_CLASSES_TOO
    if name not in suited:
        raise InvalidInputError(
            f"The loss {name} does not suit a {target.task} target; take one of {', '.join(suited)}."
        )


def check_fits_memory(widths: Sequence[int]) -> None:
    """Raise InvalidInputError for dense layers between so many units that this machine cannot train."""
    needed = COPIES_IN_TRAINING * 4 * sum(a * b for a, b in itertools.pairwise(widths))
    memory = machine_memory()
    if needed > memory:
        raise InvalidInputError(
            f"A network of {'-'.join(map(str, widths))} units takes {needed // 10**9:,} GB in training, and this "
            f"machine has {memory // 10**9:,} GB; choose smaller hidden layers."
        )
