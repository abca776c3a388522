"""What the training loop asks of an engine, whatever does the arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from chainrule.data.batches import Batch, Batches
from chainrule.data.class_weights import ClassWeight
from chainrule.errors import InvalidInputError
from chainrule.losses import LossFunction
from chainrule.metrics import Metric
from chainrule.optimizer import ObjectiveOptimizer, Optimizer
from chainrule.penalties import Penalty
from chainrule.schedules import Schedule
from chainrule.stack import LayerStack
from chainrule.types import Array, Inputs

__all__ = ["Engine", "Evaluation", "Group", "Recorder", "Session", "SingleProcess", "TrainingPlan"]


@dataclass(frozen=True)
class TrainingPlan:
    """How a stack is trained: the settings of a network that a fit uses, under the same names.

    The first six describe a step. The objective is mean loss + penalty(weights). ``clip_norm`` scales the gradient of
    a step down to this global norm, and ``clip_value`` then bounds the size of each of its numbers. ``max_norm`` holds
    the norm of the weights that go into any one unit at or below this value after every step (Srivastava et al. 2014).
    The others describe the batches, the epochs, the average of the weights, and what is measured.
    """

    loss: LossFunction
    optimizer: Optimizer
    penalty: Penalty | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    max_norm: float | None = None
    epochs: int = 1
    batch_size: int = 32
    shuffle: bool = True
    label_smoothing: float = 0.0
    class_weight: ClassWeight | None = None
    schedule: Schedule | None = None
    ema_decay: float | None = None
    swa_from: int | None = None
    metrics: Sequence[Metric] = ()

    def __post_init__(self) -> None:
        if self.clips and isinstance(self.optimizer, ObjectiveOptimizer):
            raise InvalidInputError(
                f"{type(self.optimizer).__name__} finds its own step lengths, so there is nothing to clip; leave "
                "clip_norm and clip_value out."
            )
        if self.ema_decay is not None and self.swa_from is not None:
            raise InvalidInputError("ema_decay and swa_from are two averages of the weights; give only one of them.")

    @property
    def clips(self) -> bool:
        """Whether the gradient is clipped."""
        return self.clip_norm is not None or self.clip_value is not None


class Evaluation(NamedTuple):
    """The mean loss over some rows, without penalty, and the network's outputs for them."""

    loss: float
    predictions: Array


Recorder = Callable[[Array, Array | None, Array], None]


class Session(Protocol):
    """One stack being trained by one plan."""

    def train_batches(
        self, batches: Batches, epoch: int, first_batch: int, rates: Array, record: Recorder | None
    ) -> None:
        """Take a step at each of these rates, on the batches of an epoch from ``first_batch`` on.

        The losses are added to the running mean.

        ``record``, if given, is called with targets, sample weights and network outputs of all rows, in their order:
        once, or once a batch.
        """

    def compute_gradient(self, batch: Batch) -> float:
        """Fill the stack's gradients with those of the mean loss over a batch, and return that loss."""

    def pop_mean_loss(self) -> float:
        """Return the mean loss over the rows trained on since the last call, and start a new mean."""

    def batch_predictions(self) -> Array:
        """Return the outputs of the last training batch, before its update."""

    def gradient_norm(self) -> float:
        """Return the Euclidean norm of the last step's gradient, penalty included, before clipping."""

    def evaluate(self, inputs: Inputs, targets: Array, sample_weight: Array | None) -> Evaluation:
        """Measure the present weights on some rows."""

    def update_stack(self) -> None:
        """Bring the stack and the optimizer up to date, where what is trained lies elsewhere."""

    def load_stack(self) -> None:
        """Take up what somebody has written into the stack since :meth:`update_stack`."""

    def all_reduce_min(self, number: int) -> int:
        """Return the smallest of the numbers that the processes of this run give; all of them must ask."""

    def find_non_finite(self) -> str | None:
        """Name something in the network or the optimizer that is not finite; None if all is."""

    def penalty_value(self) -> float:
        """Return the penalty on the present weights; 0 where there is none."""

    def copy_weights(self) -> Any:
        """Return a copy of everything the network has learnt, where it lies, for :meth:`restore_weights`."""

    def restore_weights(self, kept: Any) -> None:
        """Set the network to what :meth:`copy_weights` returned."""

    def read_weights(self) -> dict[str, Array]:
        """Return copies of everything the network has learnt (parameters and layer state)."""

    def write_weights(self, weights: dict[str, Array]) -> None:
        """Put back what :meth:`read_weights` returned."""

    def read_state(self) -> dict[str, Array]:
        """Return copies of everything else a training step depends on (optimizer, running mean)."""

    def write_state(self, state: dict[str, Array]) -> None:
        """Put back what :meth:`read_state` returned."""


class Group(Protocol):
    """The processes that train one network together: one, or those that torchrun has started."""

    @property
    def rank(self) -> int:
        """Which of them this is; process 0 writes files and shows progress."""

    @property
    def size(self) -> int:
        """How many there are."""

    @property
    def device(self) -> object:
        """What this one computes on; as text, ``cpu`` or ``cuda:1``."""

    def same(self, number: int) -> bool:
        """Whether all processes give the same number."""

    def broadcast(self, value: Any) -> Any:
        """Return what process 0 gives."""


@dataclass(frozen=True)
class SingleProcess:
    """One process."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    def same(self, number: int) -> bool:
        """Whether the number is itself."""
        return True

    def broadcast(self, value: Any) -> Any:
        """Return the value."""
        return value


@runtime_checkable
class Engine(Protocol):
    """Something that can train a stack, and predict with it."""

    def open(self, stack: LayerStack, plan: TrainingPlan) -> Session:
        """Start training ``stack`` by ``plan``."""

    def predict(self, stack: LayerStack, inputs: Inputs, *, n_layers: int | None = None) -> Array:
        """Return the outputs of the stack, or of its first layers, for any number of rows."""

    def join(self) -> Group:
        """Return the processes that train together; raises InvalidInputError where the engine cannot."""
