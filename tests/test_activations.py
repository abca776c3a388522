"""The activations against PyTorch, and what is particular to one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule.activations import (
    ACTIVATIONS,
    CustomActivation,
    ELUActivation,
    GaussianActivation,
    LeakyReLUActivation,
    PReLUActivation,
    SELUActivation,
    SmoothClipActivation,
    SoftmaxActivation,
)
from chainrule.errors import InvalidInputError

torch = pytest.importorskip("torch")

# name: PyTorch's function, and settings other than the defaults to try as well
ORACLE: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "linear": (lambda z: z * 1, {}),
    "sigmoid": (torch.sigmoid, {}),
    "tanh": (torch.tanh, {}),
    "softmax": (lambda z: torch.softmax(z, dim=-1), {}),
    "gaussian": (lambda z: torch.exp(-(z**2)), {}),
    "softsign": (torch.nn.functional.softsign, {}),
    # PyTorch's own hardsigmoid multiplies its float64 gradient by 1/6 rounded to float32: 3e-8 off.
    "hard_sigmoid": (lambda z: torch.nn.functional.relu6(z + 3) / 6, {}),
    "smooth_clip": (lambda z, limit=3.0: z / torch.sqrt(1 + (z / limit) ** 2), {"limit": 0.7}),
    "relu": (torch.relu, {}),
    "leaky_relu": (torch.nn.functional.leaky_relu, {"negative_slope": 0.3}),
    "elu": (torch.nn.functional.elu, {"alpha": 0.7}),
    "selu": (torch.nn.functional.selu, {}),
    "gelu": (torch.nn.functional.gelu, {"approximate": "tanh"}),
    "celu": (torch.nn.functional.celu, {"alpha": 0.5}),  # PyTorch rounds 1 / alpha to float32
    "hard_swish": (torch.nn.functional.hardswish, {}),
    "log_softmax": (lambda z: torch.log_softmax(z, dim=-1), {}),
    "silu": (torch.nn.functional.silu, {}),
    "mish": (torch.nn.functional.mish, {}),
    "softplus": (lambda z, beta=1.0: torch.nn.functional.softplus(z, beta, threshold=40), {"beta": 2.5}),
    "prelu": (lambda z, initial_slope=0.25: torch.prelu(z, torch.tensor([initial_slope], dtype=z.dtype)),
              {"initial_slope": -0.1}),
}  # fmt: skip


def test_the_table_has_every_activation() -> None:
    assert ORACLE.keys() == {ACTIVATIONS.name_of(cls) for cls in ACTIVATIONS.classes.values()}


def test_a_smooth_clip_of_extreme_numbers_is_its_limit() -> None:
    clip = SmoothClipActivation(limit=2.0)
    for dtype in (np.float32, np.float64):
        extreme = np.array([[-np.finfo(dtype).max, -1e12, 0, 1e-20, 1e30]], dtype)
        np.testing.assert_allclose(clip.activation_function(extreme), [[-2, -2, 0, 1e-20, 2]], rtol=1e-6)
        np.testing.assert_allclose(clip.derivative(extreme), [[0, 0, 1, 1, 0]], atol=1e-30)
    with pytest.raises(
        InvalidInputError, match=r"limit of SmoothClipActivation is 0\.0; allowed are finite numbers above 0"
    ):
        SmoothClipActivation(limit=0.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
@pytest.mark.parametrize("name", ORACLE)
def test_values_and_gradients_are_those_of_pytorch(name: str, dtype: Any, tolerance: float) -> None:
    function, others = ORACLE[name]
    rng = np.random.default_rng(0)
    z, error = (3 * rng.standard_normal((16, 5))).astype(dtype), rng.standard_normal((16, 5)).astype(dtype)
    z[0] = [0, 3, -3, 12, -12]  # the kinks too
    for settings in ({}, others):
        layer = ACTIVATIONS.create(name, **settings)
        layer.dtype = np.dtype(dtype)
        layer.set_input_shape((5,))
        layer.initialize()
        theirs_in = torch.tensor(z, requires_grad=True)
        theirs = function(theirs_in, **settings)
        theirs.backward(torch.tensor(error))
        ours = layer.forward_propagation(z, training=True)
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(layer.backward_propagation(error), theirs_in.grad.numpy(), rtol=tolerance,
                                   atol=tolerance)  # fmt: skip


def test_the_slope_of_prelu_learns_as_in_pytorch() -> None:
    rng = np.random.default_rng(0)
    z, error = rng.standard_normal((16, 5)), rng.standard_normal((16, 5))
    theirs = torch.nn.PReLU(dtype=torch.float64)
    theirs(torch.tensor(z)).backward(torch.tensor(error))
    layer = PReLUActivation()
    layer.dtype = np.dtype(np.float64)
    layer.set_input_shape((5,))
    layer.forward_propagation(z, training=True)
    layer.backward_propagation(error)
    np.testing.assert_allclose(layer.gradient_views["slope"], theirs.weight.grad.numpy(), rtol=1e-10)
    layer.needs_input_error = False
    layer.gradient_views["slope"][...] = 0
    assert layer.backward_propagation(error) is None
    np.testing.assert_allclose(layer.gradient_views["slope"], theirs.weight.grad.numpy(), rtol=1e-10)


def test_slopes_of_units_learn_as_in_pytorch() -> None:
    rng = np.random.default_rng(0)
    z, error = rng.standard_normal((16, 5)), rng.standard_normal((16, 5))
    theirs = torch.nn.PReLU(5, dtype=torch.float64)
    theirs(torch.tensor(z)).backward(torch.tensor(error))
    layer = PReLUActivation(shared=False)
    layer.dtype = np.dtype(np.float64)
    layer.set_input_shape((5,))
    layer.initialize()
    layer.forward_propagation(z, training=True)
    layer.backward_propagation(error)
    np.testing.assert_allclose(layer.gradient_views["slope"], theirs.weight.grad.numpy(), rtol=1e-12)
    with pytest.raises(InvalidInputError, match="shared of PReLUActivation is 'yes'"):
        PReLUActivation(shared="yes")  # type: ignore[arg-type]


def test_the_slope_of_prelu_is_a_parameter_that_no_penalty_touches() -> None:
    layer = PReLUActivation(0.1)
    assert layer.parameters() == 1
    assert layer.penalized_parameters == ()
    assert layer.slope == pytest.approx([0.1])
    layer.set_input_shape((2,))
    layer.slope = 0.5
    assert layer.activation_function([[-2.0, 2.0]]).tolist() == [[-1.0, 2.0]]
    vector, gradients = np.zeros(1, np.float32), np.zeros(1, np.float32)
    layer.bind({"slope": vector}, {"slope": gradients})
    assert vector[0] == 0.5
    layer.forward_propagation([[-2.0, 2.0]], training=True)
    before = gradients.copy()
    layer.derivative([[-2.0, 2.0]])
    assert np.array_equal(gradients, before), "asking for the derivative is not training"
    layer.backward_propagation([[1.0, 1.0]])
    assert gradients[0] == -2


def test_the_derivative_of_softmax_is_its_jacobian() -> None:
    z = np.random.default_rng(0).standard_normal((2, 4, 3))
    jacobian = SoftmaxActivation().derivative(z)
    assert jacobian.shape == (2, 4, 3, 3)
    theirs = torch.autograd.functional.jacobian(lambda row: torch.softmax(row, -1), torch.tensor(z[1, 2])).numpy()
    np.testing.assert_allclose(jacobian[1, 2], theirs, atol=1e-12)
    np.testing.assert_allclose(jacobian.sum(axis=-1), 0, atol=1e-15)


def test_selu_keeps_mean_and_variance() -> None:
    z = np.random.default_rng(0).standard_normal(400_000)
    output = SELUActivation().activation_function(z)
    assert output.mean() == pytest.approx(0, abs=0.01)
    assert output.var() == pytest.approx(1, abs=0.01)


def test_other_names() -> None:
    for other, name in {
        "identity": "linear",
        "swish": "silu",
        "logistic": "sigmoid",
        "Leaky ReLU": "leaky_relu",
    }.items():
        assert ACTIVATIONS.find(other) is ACTIVATIONS.find(name)
    with pytest.raises(InvalidInputError, match="Did you mean 'gaussian'"):
        ACTIVATIONS.find("gausian")


def test_settings_that_cannot_work_are_refused() -> None:
    for wrong in (
        lambda: LeakyReLUActivation(np.nan),
        lambda: ELUActivation(-1),
        lambda: PReLUActivation(np.inf),
        lambda: PReLUActivation(4),
    ):
        with pytest.raises(InvalidInputError, match=r"finite|above -1 and below 1"):
            wrong()


def test_a_users_own_activation_has_its_own_name() -> None:
    own = CustomActivation(GaussianActivation().activation_function, GaussianActivation().derivative, name="bell")
    assert own.layer_name() == "bell"
    assert own.activation_function(np.zeros((1, 1))).tolist() == [[1.0]]
