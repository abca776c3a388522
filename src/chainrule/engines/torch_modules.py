"""The modules that PyTorch has no standard one for, and those of training that see to it that processes agree."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from chainrule.activations import ActivationLayer
from chainrule.formulas import values_of
from chainrule.formulas.translate import evaluate_torch
from chainrule.program import MapFormula

if TYPE_CHECKING:
    from chainrule.engines.torch_workers import BatchShare

__all__ = [
    "BatchNormalization",
    "Formula",
    "GaussianNoise",
    "InputScale",
    "LearntSlope",
    "Noise",
    "SharedDropout",
    "SharedGaussianNoise",
    "Standardize",
    "shared_module",
]


class Formula(nn.Module):
    """An activation that PyTorch does not have, computed from its formulas, and so is its derivative.

    (PyTorch's derivative of a formula with ``abs`` or ``where`` can be wrong where its branches meet.)
    """

    def __init__(self, layer: ActivationLayer) -> None:
        super().__init__()
        self._layer, self._traced = layer, layer.formulas()
        for name, values in layer.parameter_views.items():
            self.register_parameter(name, nn.Parameter(torch.from_numpy(values.copy())))

    @property
    def layer(self) -> ActivationLayer:
        """A copy of the activation, with its first parameters."""
        return copy.deepcopy(self._layer)

    def forward(self, x: Tensor) -> Tensor:
        settings = dict(zip(self._traced.settings, values_of(self._layer, self._traced.settings), strict=True))
        output: Tensor = _Apply.apply(x, self._traced, settings, *self.parameters())  # type: ignore[no-untyped-call]
        return output


def _named(traced: MapFormula, parameters: Sequence[Tensor]) -> dict[str, Tensor]:
    return dict(zip(traced.parameters, parameters, strict=True))


class _Apply(torch.autograd.Function):
    """f(x), with dL/dx and dL/d(parameter) by the formulas of the layer."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, traced: MapFormula, settings: dict[str, float], *parameters: Tensor) -> Tensor:
        symbols: dict[str, Tensor | float] = {**settings, **_named(traced, parameters), "x": x}
        return evaluate_torch([traced.result], symbols)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.traced, ctx.settings, *parameters = inputs
        ctx.save_for_backward(x, output, *parameters)

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        x, output, *parameters = ctx.saved_tensors
        traced: MapFormula = ctx.traced
        symbols = {**ctx.settings, **_named(traced, parameters)}
        symbols |= {"x": x, "output": output, "error": error}
        input_error, *terms = evaluate_torch([traced.input_errors["x"], *traced.terms.values()], symbols)
        sums = [term.reshape(-1, p.numel()).sum(0) for term, p in zip(terms, parameters, strict=True)]
        return input_error, None, None, *sums


class InputScale(nn.Module):
    """y = x * scale, with a learnt factor for each input."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Standardize(nn.Module):
    """y = (x - mean) / scale, with fixed numbers."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale


class GaussianNoise(nn.Module):
    """In training y = x + standard_deviation * n, n drawn from N(0, 1); the identity otherwise."""

    def __init__(self, standard_deviation: float) -> None:
        super().__init__()
        self.standard_deviation = standard_deviation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.standard_deviation * torch.randn_like(x) if self.training else x


class Noise:
    """Where the noise of a training batch comes from: seeded for the batch, drawn for all of its rows.

    Each process draws the noise of the whole batch and takes that of its own rows, so that any number of processes
    train alike, and a resumed run draws what the run that never stopped would have drawn.
    """

    def __init__(self, device: torch.device, share: BatchShare) -> None:
        self.generator = torch.Generator(device)
        self.share = share
        self.seed = 0

    def begin(self, seed: int) -> None:
        """Start the noise of a batch."""
        self.seed = seed
        self.begin_again()

    def begin_again(self) -> None:
        """Start the same noise again."""
        self.generator.manual_seed(self.seed)

    def _all_rows(self, x: Tensor) -> Tensor:
        return torch.empty((self.share.n_rows, *x.shape[1:]), dtype=x.dtype, device=x.device)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def kept(self, x: Tensor, rate: float) -> Tensor:
        """Return 1 / (1 - rate) for what is kept and 0 for what is dropped, for this process's rows."""
        kept = self._all_rows(x).bernoulli_(1 - rate, generator=self.generator)[self.share.rows]
        return kept.div_(1 - rate)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def normal(self, x: Tensor) -> Tensor:
        """Return numbers from N(0, 1), for this process's rows."""
        return self._all_rows(x).normal_(generator=self.generator)[self.share.rows]


class SharedDropout(nn.Module):
    """Dropout whose choice depends on the seed and the batch alone."""

    def __init__(self, rate: float, noise: Noise) -> None:
        super().__init__()
        self.rate, self.noise = rate, noise

    def forward(self, x: Tensor) -> Tensor:
        return x * self.noise.kept(x, self.rate) if self.training else x


class SharedGaussianNoise(nn.Module):
    """Gaussian noise that depends on the seed and the batch alone."""

    def __init__(self, standard_deviation: float, noise: Noise) -> None:
        super().__init__()
        self.standard_deviation, self.noise = standard_deviation, noise

    def forward(self, x: Tensor) -> Tensor:
        return x + self.standard_deviation * self.noise.normal(x) if self.training else x


class BatchNormalization(nn.BatchNorm1d):
    """Batch normalisation by the statistics of the whole batch, whichever processes hold its rows.

    A batch of one row has no variance: it is normalised by the running statistics and leaves them as they are, where
    PyTorch stops. (``nn.SyncBatchNorm`` does that for GPUs only.)
    """

    def __init__(self, like: nn.BatchNorm1d, share: BatchShare) -> None:
        super().__init__(like.num_features, like.eps, like.momentum, dtype=like.weight.dtype, device=like.weight.device)
        self.load_state_dict(like.state_dict())
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        n_rows = self.share.n_rows
        if not self.training or n_rows == 1:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if self.share.workers.size == 1:
            return super().forward(x)
        x = x.to(self.weight.dtype)  # sums of 16 bits would not do
        mean = self.share.workers.sum(x.sum(0)) / n_rows
        centered = x - mean
        variance = self.share.workers.sum(centered.square().sum(0)) / n_rows
        with torch.no_grad():
            assert self.running_mean is not None  # it is switched off nowhere
            assert self.running_var is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n_rows / (n_rows - 1)), self.momentum)
        return self.weight * centered * torch.rsqrt(variance + self.eps) + self.bias


class LearntSlope(nn.PReLU):
    """PReLU as a formula: PyTorch cannot take the derivative of its own for many rows at a time (``torch.vmap``)."""

    def __init__(self, like: nn.PReLU) -> None:
        super().__init__(like.num_parameters)
        self.weight = like.weight

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.weight * x)


def shared_module(part: nn.Module, noise: Noise) -> nn.Module:
    """Return the form of a module that trains alike in any number of processes, and by every optimizer."""
    match part:
        case nn.PReLU():
            return LearntSlope(part)
        case nn.Dropout():
            return SharedDropout(part.p, noise)
        case GaussianNoise():
            return SharedGaussianNoise(part.standard_deviation, noise)
        case nn.BatchNorm1d():
            return BatchNormalization(part, noise.share)
    return part
