"""The interface between the training loop and the engines."""

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

__all__ = ["Engine", "ErrorOf", "Evaluation", "Group", "Recorder", "Session", "SingleProcess", "TrainingPlan"]


@dataclass(frozen=True)
class TrainingPlan:
    """How a stack is trained: the settings of a network that a fit uses, under the same names.

    The first six settings describe a step. The objective is mean loss + penalty(weights). ``clip_norm`` is the largest
    norm of the gradient, to which longer gradients are scaled, and ``clip_value`` is then the largest absolute value of
    its elements. ``max_norm`` is the largest norm of the weights of a unit, to which they are scaled after every step
    (Srivastava et al. 2014). The other settings describe the batches, the epochs, the average of the weights, virtual
    adversarial training, and the metrics.
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
    vat_epsilon: float = 0.0
    metrics: Sequence[Metric] = ()

    def __post_init__(self) -> None:
        if self.clips and isinstance(self.optimizer, ObjectiveOptimizer):
            raise InvalidInputError(
                f"{type(self.optimizer).__name__} determines its own step lengths, so the gradient cannot be clipped; "
                "leave out clip_norm and clip_value."
            )
        if self.ema_decay is not None and self.swa_from is not None:
            raise InvalidInputError("ema_decay and swa_from are two averages of the weights; give only one of them.")

        if self.vat_epsilon and isinstance(self.optimizer, ObjectiveOptimizer):
            raise InvalidInputError(
                f"{type(self.optimizer).__name__} minimises a fixed objective, and that of virtual adversarial "
                "training changes in every step; leave out vat_epsilon, or choose an optimizer such as Adam."
            )

    @property
    def clips(self) -> bool:
        """Whether the gradient is clipped."""
        return self.clip_norm is not None or self.clip_value is not None


class Evaluation(NamedTuple):
    """The mean loss over some rows, without penalty, and the network's outputs for them."""

    loss: float
    predictions: Array


# A function of the outputs of some rows, and of the slice of these rows in all rows, that returns dL/d(outputs).
ErrorOf = Callable[[Array, slice], Array]
Recorder = Callable[[Array, Array | None, Array], None]


class Session(Protocol):
    """The training of one stack according to one plan."""

    def train_batches(
        self, batches: Batches, epoch: int, first_batch: int, rates: Array, record: Recorder | None
    ) -> None:
        """Take a step at each of these rates, on the batches of an epoch from ``first_batch`` on.

        The losses are added to the running mean.

        ``record``, if given, is called with targets, sample weights and network outputs of all rows, in their order:
        once, or once a batch.
        """

    def compute_gradient(self, batch: Batch) -> float:
        """Write the gradient of the mean loss over a batch to the stack's gradients, and return this loss."""

    def pop_mean_loss(self) -> float:
        """Return the mean loss over the rows of the steps since the last call, and start a new mean."""

    def batch_predictions(self) -> Array:
        """Return the outputs of the last training batch, before its update."""

    def gradient_norm(self) -> float:
        """Return the Euclidean norm of the last step's gradient, penalty included, before clipping."""

    def evaluate(self, inputs: Inputs, targets: Array, sample_weight: Array | None) -> Evaluation:
        """Return the loss and the predictions with the present weights."""

    def update_stack(self) -> None:
        """Copy the parameters and the state of the optimizer from the device to the stack and the optimizer."""

    def load_stack(self) -> None:
        """Copy the arrays of the stack, which may have been changed since :meth:`update_stack`, to the device."""

    def all_reduce_min(self, number: int) -> int:
        """Return the smallest of the numbers that the processes of this run pass; all of them must call the method."""

    def find_non_finite(self) -> str | None:
        """Return the name of an array of the network or the optimizer with a number that is not finite, or None."""

    def penalty_value(self) -> float:
        """Return the penalty on the present weights; 0 without a penalty."""

    def copy_weights(self) -> Any:
        """Return copies of all parameters and layer states on the device, for :meth:`restore_weights`."""

    def restore_weights(self, weights: Any) -> None:
        """Set the network to the result of :meth:`copy_weights`."""

    def read_weights(self) -> dict[str, Array]:
        """Return copies of all parameters and layer states as NumPy arrays."""

    def write_weights(self, weights: dict[str, Array]) -> None:
        """Set the network to the result of :meth:`read_weights`."""

    def read_state(self) -> dict[str, Array]:
        """Return copies of the other arrays that a training step depends on: optimizer and running mean."""

    def write_state(self, state: dict[str, Array]) -> None:
        """Set the optimizer and the running mean to the result of :meth:`read_state`."""


class Group(Protocol):
    """The processes that train one network together: one process, or those that torchrun has started."""

    @property
    def rank(self) -> int:
        """The number of this process; process 0 writes files and shows progress."""

    @property
    def size(self) -> int:
        """The number of processes."""

    @property
    def device(self) -> object:
        """The device of this process, such as ``cpu`` or ``cuda:1`` as text."""

    def same(self, number: int) -> bool:
        """Return whether all processes pass the same number."""

    def broadcast(self, value: Any) -> Any:
        """Return the value that process 0 passes."""


@dataclass(frozen=True)
class SingleProcess:
    """A group of one process."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    def same(self, number: int) -> bool:
        """Return True."""
        return True

    def broadcast(self, value: Any) -> Any:
        """Return the value."""
        return value


@runtime_checkable
class Engine(Protocol):
    """An object that trains stacks and computes predictions."""

    def open(self, stack: LayerStack, plan: TrainingPlan) -> Session:
        """Return a session that trains ``stack`` according to ``plan``."""

    def predict(self, stack: LayerStack, inputs: Inputs, *, n_layers: int | None = None) -> Array:
        """Return the outputs of the stack, or of its first layers, for any number of rows."""

    def input_gradient(
        self, stack: LayerStack, inputs: Inputs, error_of: ErrorOf, *, n_layers: int | None = None
    ) -> tuple[Array, Array]:
        """Return the outputs of the stack, or of its first layers, and dL/d(inputs), in inference.

        ``error_of`` returns dL/d(outputs) from outputs of some rows and the slice of these rows.
        """

    def join(self) -> Group:
        """Return the processes that train together. Raises InvalidInputError if the engine does not support them."""
