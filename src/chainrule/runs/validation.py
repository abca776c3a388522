"""Check, before a network is built, that its loss and settings suit the target and that it fits into memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from chainrule.activations import SigmoidActivation, SoftmaxActivation
from chainrule.architecture import default_loss
from chainrule.data.target import Target
from chainrule.errors import InvalidInputError
from chainrule.losses import LOSSES, LossFunction
from chainrule.machine import machine_memory

__all__ = ["check_fits_memory", "check_suits_target"]

# The weights, the gradients, the two moments of Adam, and the last finite weights.
COPIES_IN_TRAINING = 5


def check_suits_target(target: Target, loss: str | None, for_classes: Sequence[str]) -> None:
    """Raise InvalidInputError if the loss is for another task, or if a regression has settings for classes.

    ``loss`` may be None for the default loss of the target. ``for_classes`` are the names of the given settings that
    are for classes only.
    """
    if target.task == "regression" and for_classes:
        raise InvalidInputError(f"{for_classes[0]} needs a target of classes, and this one is a number.")
    found = LOSSES.find(loss or default_loss(target))
    if not _suits(found, target):
        allowed = [name for name, cls in LOSSES.classes.items() if _suits(cls, target)]
        raise InvalidInputError(
            f"The loss {LOSSES.name_of(found)} does not suit a {target.task} target; choose one of "
            f"{', '.join(allowed)}."
        )


def _suits(loss: type[LossFunction], target: Target) -> bool:
    """Return whether a loss takes the targets, and the outputs of a network for them."""
    if loss.compares_outputs and target.n_outputs == 1:
        return False
    if target.task == "regression":
        return loss.is_regression
    ends = SigmoidActivation if target.task == "binary" else SoftmaxActivation
    return loss.for_classes and loss.fuses_with in (None, ends)


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
