"""PyTorch as the independent oracle: values, gradients and running statistics to 1e-10 in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.layers import BatchNormalizationLayer, DenseLayer, Layer, LayerNormalizationLayer

torch = pytest.importorskip("torch")

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def built(layer: Layer, shape: tuple[int, ...]) -> Any:
    layer.dtype = np.dtype(np.float64)
    layer.set_input_shape(shape)
    layer.initialize(rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for values in layer.parameter_views.values():
        values[...] = rng.normal(size=values.shape)
    return layer


def copy_into(module: Any, **arrays: Any) -> Any:
    module = module.double()
    with torch.no_grad():
        for name, values in arrays.items():
            getattr(module, name).copy_(torch.from_numpy(np.ascontiguousarray(values)))
    return module


def compare_step(layer: Any, module: Any, x: Any, error: Any, names: dict[str, Any]) -> None:
    """One training step on both sides: outputs, input error, and the gradients called ``names`` in PyTorch."""
    theirs = torch.from_numpy(x.copy()).requires_grad_()
    module.zero_grad()
    expected = module(theirs)
    expected.backward(torch.from_numpy(error))
    np.testing.assert_allclose(layer.forward_propagation(x, training=True), expected.detach().numpy(), **CLOSE)
    np.testing.assert_allclose(layer.backward_propagation(error), theirs.grad.numpy(), **CLOSE)
    for name, (parameter, transposed) in names.items():
        gradient = getattr(module, parameter).grad.numpy()
        np.testing.assert_allclose(layer.gradient_views[name], gradient.T if transposed else gradient, **CLOSE)


SCALE_AND_SHIFT = {"scale": ("weight", False), "shift": ("bias", False)}


def test_dense() -> None:
    rng = np.random.default_rng(2)
    layer = built(DenseLayer(4), (7,))
    module = copy_into(torch.nn.Linear(7, 4), weight=layer.weights.T, bias=layer.biases)
    names = {"weights": ("weight", True), "biases": ("bias", False)}
    for rows in (32, 5, 1):
        compare_step(layer, module, rng.normal(size=(rows, 7)), rng.normal(size=(rows, 4)), names)


@pytest.mark.parametrize(("momentum", "epsilon"), [(0.1, 1e-5), (0.3, 1e-2)])
def test_batch_normalization_over_twenty_steps(momentum: float, epsilon: float) -> None:
    rng = np.random.default_rng(3)
    layer = built(BatchNormalizationLayer(momentum, epsilon), (6,))
    module = copy_into(torch.nn.BatchNorm1d(6, eps=epsilon, momentum=momentum), weight=layer.scale, bias=layer.shift)
    for step in range(20):
        rows = 32 if step % 5 else 2 + step
        compare_step(layer, module, rng.normal(3, 2, (rows, 6)), rng.normal(size=(rows, 6)), SCALE_AND_SHIFT)
        with torch.no_grad():  # both go the same way downhill
            module.weight -= 0.1 * module.weight.grad
            module.bias -= 0.1 * module.bias.grad
        layer.parameter_views["scale"] -= 0.1 * layer.gradient_views["scale"]
        layer.parameter_views["shift"] -= 0.1 * layer.gradient_views["shift"]
    np.testing.assert_allclose(layer.running_mean, module.running_mean.numpy(), **CLOSE)
    np.testing.assert_allclose(layer.running_variance, module.running_var.numpy(), **CLOSE)
    module.eval()
    for rows in (9, 1):
        x = rng.normal(3, 2, (rows, 6))
        expected = module(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(layer.forward_propagation(x), expected, **CLOSE)


def test_batch_normalization_of_one_row_is_pytorchs_inference() -> None:
    rng = np.random.default_rng(4)
    layer = built(BatchNormalizationLayer(), (6,))
    layer.running_mean, layer.running_variance = rng.normal(size=6), rng.uniform(1, 2, 6)
    module = copy_into(
        torch.nn.BatchNorm1d(6),
        weight=layer.scale,
        bias=layer.shift,
        running_mean=layer.running_mean,
        running_var=layer.running_variance,
    ).eval()
    compare_step(layer, module, rng.normal(size=(1, 6)), rng.normal(size=(1, 6)), SCALE_AND_SHIFT)


@pytest.mark.parametrize("shape", [(6,), (3, 5)])
def test_layer_normalization(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    layer = built(LayerNormalizationLayer(1e-4), shape)
    module = copy_into(torch.nn.LayerNorm(shape, eps=1e-4), weight=layer.scale, bias=layer.shift)
    for rows in (32, 5, 1):
        compare_step(layer, module, rng.normal(2, 3, (rows, *shape)), rng.normal(size=(rows, *shape)), SCALE_AND_SHIFT)
    x = rng.normal(size=(4, *shape))
    np.testing.assert_allclose(layer.forward_propagation(x), module(torch.from_numpy(x)).detach().numpy(), **CLOSE)
