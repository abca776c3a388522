"""The engine that trains with PyTorch, on GPUs and in several processes on one or several machines.

The layers become modules and the loss a function of tensors; the optimizers are those of chainrule. The fit loop, the
history, callbacks, schedules and files are the same as for the NumPy engine, and each engine can resume the runs of the
other. PyTorch is imported when the engine is first used.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from chainrule.engines.base import ErrorOf, Session, TrainingPlan
from chainrule.errors import InvalidInputError, check_one_of, missing_packages
from chainrule.stack import LayerStack
from chainrule.types import Array, Inputs

if TYPE_CHECKING:
    from chainrule.engines.torch_workers import Workers

__all__ = ["Precision", "TorchEngine", "check_installed"]

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class TorchEngine:
    """Training and prediction with PyTorch.

    Parameters
    ----------
    device
        ``"auto"`` (a GPU if there is one, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, ...
    precision
        ``"bfloat16"`` or ``"float16"`` for mixed precision: products in 16 bits, parameters and sums in 32 bits. With
        float16, the loss is scaled so that small gradients do not vanish. ``"float32"`` is the dtype of the network.
    compile
        Whether the network is compiled by ``torch.compile``, which takes about a minute and needs a C++ compiler.
    """

    device: str = "auto"
    precision: Precision = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        check_one_of("precision", self.precision, get_args(Precision))
        given: Any = self.device  # in a file, it may be any JSON value
        if not isinstance(given, str):
            raise InvalidInputError(f"device is {given!r}; give auto, cpu, cuda, cuda:1, mps, ...")

    def open(self, stack: LayerStack, plan: TrainingPlan) -> Session:
        """Return a session that trains ``stack`` according to ``plan``, together with the processes of torchrun."""
        check_installed()
        from chainrule.engines.torch_session import TorchSession

        return TorchSession(stack, plan, self.join(), self.precision, self.compile)

    def predict(self, stack: LayerStack, inputs: Inputs, *, n_layers: int | None = None) -> Array:
        """Return the outputs of the stack, or of its first layers, computed on the device of this process."""
        check_installed()
        from chainrule.engines.torch_inference import predict

        return predict(stack, inputs, n_layers, self.device)

    def input_gradient(
        self, stack: LayerStack, inputs: Inputs, error_of: ErrorOf, *, n_layers: int | None = None
    ) -> tuple[Array, Array]:
        """Return the outputs of the stack, or of its first layers, and dL/d(inputs), computed on the device."""
        check_installed()
        from chainrule.engines.torch_inference import input_gradient

        return input_gradient(stack, inputs, error_of, n_layers, self.device)

    def join(self) -> Workers:
        """Return the processes that train together: this process, or those that torchrun has started."""
        check_installed()
        from chainrule.engines.torch_workers import join

        return join(self.device)


def check_installed() -> None:
    """Raise InvalidInputError if PyTorch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise missing_packages("Working with PyTorch", "torch")
