"""The optimizers as PyTorch's, and their states in our arrays, so that a run can go on with either engine.

PyTorch keeps the state of every parameter by itself; ours are vectors over all parameters. A table says what each of
our vectors is called there. Optimizers that PyTorch does not have, such as user-defined ones, use their traced
rule, or run on the host if it cannot be traced. Muon is written here: PyTorch does its iterations in bfloat16.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from chainrule import optimizer as ours
from chainrule.formulas.translate import evaluate_torch
from chainrule.optimizer import Optimizer
from chainrule.optimizer.base import TracedRule
from chainrule.optimizer.muon import COEFFICIENTS, SMALLEST_NORM
from chainrule.parameters import ParameterBlock, ParameterVector
from chainrule.stack import LayerStack
from chainrule.types import Array

if TYPE_CHECKING:
    from chainrule.engines.torch_modules import LayerModule

__all__ = ["Slot", "Steps", "slots_of", "steps_of"]


@dataclass(frozen=True)
class Slot:
    """A parameter of the module, and the block of our vector that it is."""

    parameter: nn.Parameter
    block: ParameterBlock

    def read(self, values: Tensor, vector: Array) -> None:
        """Copy a tensor of the parameter's shape into the block's part of a vector."""
        self.block.view(vector)[...] = values.detach().cpu().numpy()

    def written(self, vector: Array) -> Tensor:
        """Return the block's part of a vector as a new tensor beside the parameter."""
        return torch.from_numpy(self.block.view(vector).copy()).to(self.parameter.device)

    def load(self, vector: Array) -> None:
        """Set the parameter to the block's part of a vector."""
        with torch.no_grad():
            self.parameter.copy_(torch.from_numpy(self.block.view(vector)))


def slots_of(stack: LayerStack, module: nn.Sequential) -> list[Slot]:
    """Return a slot for each block of the stack's vector, in their order."""
    parts = cast("list[LayerModule]", list(module))
    blocks = stack.vector.blocks
    return [Slot(cast("nn.Parameter", parts[block.layer].tensor(block.name)), block) for block in blocks]


class Steps(ABC):
    """How the parameters move; the state lies in ``optimizer.state`` whenever it is read or written."""

    def __init__(self, optimizer: Optimizer, slots: Sequence[Slot], vector: ParameterVector) -> None:
        self.optimizer, self.slots, self.vector = optimizer, slots, vector

    @abstractmethod
    def step(self, learning_rate: float) -> None:
        """Take a step along the gradients that the parameters have."""

    def tensors(self) -> list[Tensor]:
        """Return the parts of the state that lie beside the parameters."""
        return []

    @abstractmethod
    def read_state(self) -> None:
        """Bring ``optimizer.state`` up to date."""

    @abstractmethod
    def write_state(self) -> None:
        """Take up what ``optimizer.state`` holds."""


def steps_of(optimizer: Optimizer, slots: Sequence[Slot], vector: ParameterVector) -> Steps:
    """Return the steps of this optimizer on the parameters; its state is taken up."""
    build, rule = _TRANSLATIONS.get(type(optimizer)), optimizer.traced()
    if build is not None:
        return TorchSteps(optimizer, slots, vector, build)
    return HostSteps(optimizer, slots, vector) if rule is None else RuleSteps(optimizer, slots, vector, rule)


class HostSteps(Steps):
    """Steps of our own optimizer, on the host: gradients go there, and parameters come back."""

    def step(self, learning_rate: float) -> None:
        """Take a step."""
        vector = self.vector
        for slot in self.slots:
            assert slot.parameter.grad is not None  # every parameter has a part in the loss
            slot.read(slot.parameter.grad, vector.gradients)
            slot.read(slot.parameter, vector.values)
        self.optimizer.step(vector.values, vector.gradients, learning_rate)
        for slot in self.slots:
            slot.load(vector.values)

    def read_state(self) -> None:
        """The state is the optimizer's own."""

    def write_state(self) -> None:
        """The state is the optimizer's own."""


class RuleSteps(Steps):
    """Steps by the traced rule of an optimizer, on tensors."""

    def __init__(self, optimizer: Optimizer, slots: Sequence[Slot], vector: ParameterVector, rule: TracedRule) -> None:
        super().__init__(optimizer, slots, vector)
        self.rule, self.states = rule, [dict[str, Tensor]() for _ in slots]
        self.write_state()

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Take a step."""
        rule, optimizer = self.rule, self.optimizer
        step = optimizer.begin_step(learning_rate)
        for slot, state in zip(self.slots, self.states, strict=True):
            numbers = rule.numbers(optimizer, learning_rate, step, decays=slot.block.penalized)
            symbols: dict[str, Tensor | float] = dict(zip(rule.loop.settings, numbers, strict=True))
            assert slot.parameter.grad is not None  # every parameter has a part in the loss
            symbols |= {"weights": slot.parameter, "gradient": slot.parameter.grad, **state}
            results = evaluate_torch(list(rule.results.values()), symbols)
            # A result may be a tensor that is about to be written.
            written = [slot.parameter, *(state[name] for name in rule.state)]
            fresh = [result.clone() if any(result is one for one in written) else result for result in results]
            for tensor, result in zip(written, fresh, strict=True):
                tensor.copy_(result)

    def tensors(self) -> list[Tensor]:
        """Return the tensors of the state."""
        return [tensor for state in self.states for tensor in state.values()]

    def read_state(self) -> None:
        """Copy the tensors into our arrays."""
        for slot, state in zip(self.slots, self.states, strict=True):
            for name, tensor in state.items():
                slot.read(tensor, self.optimizer.state[name])

    def write_state(self) -> None:
        """Copy our arrays into the tensors."""
        for slot, state in zip(self.slots, self.states, strict=True):
            state.update({name: slot.written(self.optimizer.state[name]) for name in self.rule.state})


@dataclass(frozen=True)
class _Translation:
    """How to make PyTorch's optimizer of ours, from groups of parameters, and what it calls our vectors."""

    build: Callable[[Any, list[dict[str, Any]]], torch.optim.Optimizer]
    vectors: Mapping[str, str]


class TorchSteps(Steps):
    """Steps of an optimizer of PyTorch's kind."""

    def __init__(
        self, optimizer: Optimizer, slots: Sequence[Slot], vector: ParameterVector, translation: _Translation
    ) -> None:
        super().__init__(optimizer, slots, vector)
        self.vectors = {name: theirs for name, theirs in translation.vectors.items() if name in optimizer.state}
        groups: dict[bool, dict[str, Any]] = {}
        decays = getattr(optimizer, "weight_decay", 0.0) != 0
        for slot in slots:  # in as few groups as can be, for each is a call
            key = slot.block.penalized or not decays
            group = groups.setdefault(key, {"params": []})
            group["params"].append(slot.parameter)
            if not key:
                group["weight_decay"] = 0.0
        self.torch_optimizer = translation.build(optimizer, list(groups.values()))
        self.write_state()

    def step(self, learning_rate: float) -> None:
        """Take a step."""
        for group in self.torch_optimizer.param_groups:
            group["lr"] = learning_rate
        self.torch_optimizer.step()

    def tensors(self) -> list[Tensor]:
        """Return the parts of the state that lie beside the parameters."""
        states = [self.torch_optimizer.state[slot.parameter] for slot in self.slots]
        return [state[name] for state in states for name in self.vectors.values()]

    def read_state(self) -> None:
        """Copy PyTorch's state into our arrays."""
        state = self.optimizer.state
        for slot in self.slots:
            theirs = self.torch_optimizer.state[slot.parameter]
            for our_name, their_name in self.vectors.items():
                slot.read(theirs[their_name], state[our_name])
            if "steps" in state:
                state["steps"][0] = int(theirs["step"])
            if "momentum_product" in state:
                state["momentum_product"][0] = float(theirs["mu_product"])

    def write_state(self) -> None:
        """Copy our arrays into PyTorch's state; those of a new run are PyTorch's first values, too."""
        state = self.optimizer.state
        for slot in self.slots:
            theirs = self.torch_optimizer.state[slot.parameter]
            for our_name, their_name in self.vectors.items():
                theirs[their_name] = slot.written(state[our_name])
            fused = self.torch_optimizer.defaults.get("fused")
            steps = torch.tensor(float(state["steps"][0]) if "steps" in state else 0.0, dtype=torch.float32)
            theirs["step"] = steps.to(slot.parameter.device) if fused else steps
            if "momentum_product" in state:
                theirs["mu_product"] = torch.tensor(float(state["momentum_product"][0]), dtype=torch.float64)


class Muon(torch.optim.Optimizer):
    """The steps of :class:`chainrule.optimizer.Muon`, with iterations in the weights' own precision."""

    def __init__(self, groups: list[dict[str, Any]], like: ours.Muon) -> None:
        super().__init__(groups, {"lr": like.learning_rate, "weight_decay": like.weight_decay})
        self.like = like

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step: Newton-Schulz for matrices, AdamW for the rest."""
        for group in self.param_groups:
            for weights in group["params"]:
                state = self.state[weights]
                state["step"] += 1
                weights.mul_(1 - group["lr"] * group["weight_decay"])
                if weights.ndim == 2:
                    self._step_matrix(weights, weights.grad, state["mean"], group["lr"])
                else:
                    self._step_rest(weights, weights.grad, state, group["lr"])

    def _step_matrix(self, weights: Tensor, gradient: Tensor, mean: Tensor, rate: float) -> None:
        like = self.like
        mean.lerp_(gradient, 1 - like.momentum)
        direction = gradient.lerp(mean, like.momentum) if like.nesterov else mean
        rows, columns = weights.shape
        if like.adjust == "original":
            scale = math.sqrt(max(1.0, columns / rows))
        else:
            scale = 0.2 * math.sqrt(max(rows, columns))
        weights.add_(_orthogonalized(direction, like.newton_schulz_steps), alpha=-rate * scale)

    def _step_rest(self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], rate: float) -> None:
        like, t = self.like, int(state["step"])
        mean, square = state["mean"], state["square"]
        mean.lerp_(gradient, 1 - like.beta1)
        square.lerp_(gradient.square(), 1 - like.beta2)
        scale = square.sqrt().div_(math.sqrt(1 - like.beta2**t)).add_(like.epsilon)
        weights.addcdiv_(mean, scale, value=-rate / (1 - like.beta1**t))


def _orthogonalized(matrix: Tensor, n_steps: int) -> Tensor:
    """Push all singular values of the matrix towards 1; see :func:`chainrule.optimizer.muon.orthogonalize`."""
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / torch.linalg.vector_norm(x).clamp_min(SMALLEST_NORM)
    a, b, c = COEFFICIENTS
    for _ in range(n_steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def _adam(cls: type[torch.optim.Optimizer], **more: str) -> _Translation:
    """Return the translation of one of Adam's kin; ``more`` names settings as PyTorch has them, and as we do."""

    def build(optimizer: Any, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        settings = {theirs: getattr(optimizer, name) for theirs, name in more.items()}
        if cls in (torch.optim.Adam, torch.optim.AdamW):
            settings["fused"] = True
        betas = (optimizer.beta1, optimizer.beta2)
        return cls(groups, lr=optimizer.learning_rate, betas=betas, eps=optimizer.epsilon, **settings)  # type: ignore[call-arg]

    return _Translation(build, {"mean": "exp_avg", "square": "exp_avg_sq"})


_TRANSLATIONS: dict[type[Optimizer], _Translation] = {
    ours.SGD: _Translation(
        lambda o, groups: torch.optim.SGD(groups, o.learning_rate, o.momentum, nesterov=o.nesterov, fused=True),
        {"retained_gradient": "momentum_buffer"},
    ),
    ours.Adam: _adam(torch.optim.Adam),
    ours.AdamW: _adam(torch.optim.AdamW, weight_decay="weight_decay"),
    ours.NAdam: _adam(torch.optim.NAdam, momentum_decay="momentum_decay"),
    ours.RAdam: _adam(torch.optim.RAdam),
    ours.RMSprop: _Translation(
        lambda o, groups: torch.optim.RMSprop(
            groups, o.learning_rate, o.alpha, o.epsilon, momentum=o.momentum, centered=o.centered
        ),
        {"square": "square_avg", "mean": "grad_avg", "retained": "momentum_buffer"},
    ),
    ours.AdaGrad: _Translation(
        lambda o, groups: torch.optim.Adagrad(groups, o.learning_rate, eps=o.epsilon), {"total": "sum"}
    ),
    ours.Adadelta: _Translation(
        lambda o, groups: torch.optim.Adadelta(groups, o.learning_rate, o.rho, o.epsilon),
        {"square": "square_avg", "square_move": "acc_delta"},
    ),
    ours.Muon: _Translation(lambda o, groups: Muon(groups, o), {"mean": "mean", "square": "square"}),
}
