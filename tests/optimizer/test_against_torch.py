"""Fifty steps beside PyTorch's optimizer of the same name, in both precisions, with both kernel sets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chainrule import kernels
from chainrule.optimizer import (
    ASGD,
    SGD,
    Adadelta,
    Adafactor,
    AdaGrad,
    Adam,
    Adamax,
    AdamW,
    Muon,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
)
from chainrule.types import Array

torch = pytest.importorskip("torch")

N_STEPS = 50
SHAPE = (7, 5)
# Our optimizer, PyTorch's, and PyTorch's settings where they are spelled otherwise or differ.
CASES: list[tuple[Any, str, dict[str, Any]]] = [
    (SGD(0.05), "SGD", {"lr": 0.05}),
    (SGD(0.02, momentum=0.9), "SGD", {"lr": 0.02, "momentum": 0.9}),
    (SGD(0.02, momentum=0.9, nesterov=True), "SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    (AdaGrad(), "Adagrad", {}),
    (AdaGrad(0.1, initial_total=0.3), "Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.3}),
    (RMSprop(), "RMSprop", {}),
    (RMSprop(momentum=0.5), "RMSprop", {"momentum": 0.5}),
    (RMSprop(0.003, alpha=0.9, centered=True), "RMSprop", {"lr": 0.003, "alpha": 0.9, "centered": True}),
    (RMSprop(0.001, momentum=0.9, centered=True), "RMSprop", {"lr": 0.001, "momentum": 0.9, "centered": True}),
    (Adadelta(), "Adadelta", {}),
    (Adam(), "Adam", {}),
    (Adam(weight_decay=0.3), "Adam", {"weight_decay": 0.3, "decoupled_weight_decay": True}),
    (Adam(0.05, amsgrad=True), "Adam", {"lr": 0.05, "amsgrad": True}),
    (AdamW(0.05, beta2=0.9, amsgrad=True), "AdamW", {"lr": 0.05, "betas": (0.9, 0.9), "amsgrad": True}),
    (Adamax(), "Adamax", {}),
    (Adamax(0.05, beta1=0.8, beta2=0.9, epsilon=1e-4), "Adamax", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-4}),
    (ASGD(0.05), "ASGD", {"lr": 0.05}),
    (
        ASGD(0.05, shrinkage=0.1, power=0.5, first_averaged=10),
        "ASGD",
        {"lr": 0.05, "lambd": 0.1, "alpha": 0.5, "t0": 10},
    ),
    (Adafactor(), "Adafactor", {"eps": (1.1920929e-7, 1e-3)}),
    (
        Adafactor(0.3, decay_power=0.5, epsilon=1e-5, smallest_scale=0.1, clip_threshold=1.5, weight_decay=0.2),
        "Adafactor",
        {"lr": 0.3, "beta2_decay": -0.5, "eps": (1e-5, 0.1), "d": 1.5, "weight_decay": 0.2},
    ),
    (SGD(0.02, 0.9, dampening=0.5), "SGD", {"lr": 0.02, "momentum": 0.9, "dampening": 0.5}),
    (NAdam(weight_decay=0.3), "NAdam", {"weight_decay": 0.3, "decoupled_weight_decay": True}),
    (RAdam(weight_decay=0.3), "RAdam", {"weight_decay": 0.3, "decoupled_weight_decay": True}),
    (Adam(0.05, beta1=0.8, beta2=0.9, epsilon=1e-4), "Adam", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-4}),
    (AdamW(), "AdamW", {}),
    (AdamW(0.03, weight_decay=0.5), "AdamW", {"lr": 0.03, "weight_decay": 0.5}),
    (NAdam(), "NAdam", {}),
    (NAdam(0.02, momentum_decay=0.1), "NAdam", {"lr": 0.02, "momentum_decay": 0.1}),
    (RAdam(), "RAdam", {}),
    (RAdam(0.02, beta2=0.9), "RAdam", {"lr": 0.02, "betas": (0.9, 0.9)}),
    (Rprop(), "Rprop", {}),
    (Rprop(0.1, increase=1.5, decrease=0.3), "Rprop", {"lr": 0.1, "etas": (0.3, 1.5)}),
]
IDS = [f"{type(ours).__name__}-{i}" for i, (ours, _, _) in enumerate(CASES)]


@pytest.fixture(params=["numpy", "numba"])
def kernel_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take the steps in compiled code, or in NumPy."""
    monkeypatch.setattr(kernels, "active_set", lambda: request.param)
    return str(request.param)


@pytest.fixture
def default_dtype() -> Any:
    """Let PyTorch keep its scalars (NAdam's momentum product) in the precision of the test."""
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


class SmoothProblem:
    """sum log cosh(A w - b): smooth, convex, curved differently everywhere; its gradient is A^T tanh(A w - b)."""

    def __init__(self, dtype: Any, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        size = math.prod(SHAPE)
        self.A = rng.normal(size=(60, size)).astype(dtype) / 3
        self.b = rng.normal(size=60).astype(dtype)
        self.start = rng.normal(size=SHAPE).astype(dtype)

    def gradient(self, weights: Array) -> Array:
        return np.asarray(self.A.T @ np.tanh(self.A @ weights.reshape(-1) - self.b)).reshape(SHAPE)


def steps_of_torch(
    name: str, settings: dict[str, Any], problem: SmoothProblem, transposed: bool = False
) -> list[Array]:
    """The weights after every step; ``transposed`` where the layout (units, inputs) matters."""
    turn = (lambda a: a.T) if transposed else (lambda a: a)
    parameter = torch.nn.Parameter(torch.from_numpy(turn(problem.start).copy()))
    optimizer = (
        getattr(torch.optim, name)([parameter], foreach=False, **settings)
        if name != "Muon"
        else (torch.optim.Muon([parameter], **settings))
    )
    path = []
    for _ in range(N_STEPS):
        weights = turn(parameter.detach().numpy()).copy()
        parameter.grad = torch.from_numpy(turn(problem.gradient(weights)).copy())
        optimizer.step()
        path.append(turn(parameter.detach().numpy()).copy())
    return path


def assert_same_path(ours: Any, theirs: list[Array], problem: SmoothProblem) -> None:
    dtype = problem.start.dtype
    tolerance = 1e-5 if dtype == np.float32 else 1e-10
    weights, optimizer = problem.start.copy(), ours.fresh()
    for step, expected in enumerate(theirs):
        optimizer.update(weights, problem.gradient(weights))
        assert np.abs(weights - expected).max() <= tolerance * np.abs(expected).max(), f"step {step + 1}"
    assert np.abs(weights - problem.start).max() > 1e-3, "nothing moved"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("ours", "name", "settings"), CASES, ids=IDS)
def test_same_path(
    ours: Any, name: str, settings: dict[str, Any], dtype: Any, kernel_set: str, default_dtype: Any
) -> None:
    default_dtype(torch.float32 if dtype is np.float32 else torch.float64)
    problem = SmoothProblem(dtype)
    assert_same_path(ours, steps_of_torch(name, settings, problem), problem)


@pytest.mark.parametrize("variant", ["minus", "plus", "improved_plus"])
def test_torchs_rprop_is_the_improved_minus_and_no_other(variant: Any) -> None:
    problem = SmoothProblem(np.float64)
    optimizer, weights = Rprop(5.0, variant=variant), problem.start.copy()
    theirs = steps_of_torch("Rprop", {"lr": 5.0}, problem)
    for _ in range(N_STEPS):
        optimizer.loss = float(np.log(np.cosh(problem.A @ weights.reshape(-1) - problem.b)).sum())
        optimizer.update(weights, problem.gradient(weights))
    assert np.abs(weights - theirs[-1]).max() > 1e-6


MUON_CASES: list[tuple[Muon, dict[str, Any]]] = [
    (Muon(0.02, adjust="original"), {"lr": 0.02}),
    (Muon(0.02), {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw"}),
    (
        Muon(0.02, momentum=0.8, nesterov=False, weight_decay=0.5, newton_schulz_steps=3, adjust="original"),
        {"lr": 0.02, "momentum": 0.8, "nesterov": False, "weight_decay": 0.5, "ns_steps": 3},
    ),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("ours", "settings"), MUON_CASES)
def test_muon_has_the_same_path_where_torch_keeps_the_precision(
    ours: Muon, settings: dict[str, Any], dtype: Any, kernel_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch does the Newton-Schulz iterations in bfloat16, three digits; here it is kept from rounding."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    problem = SmoothProblem(dtype)
    assert_same_path(ours, steps_of_torch("Muon", settings, problem, transposed=True), problem)


def test_muon_is_near_torch_as_it_is() -> None:
    problem = SmoothProblem(np.float32)
    theirs = steps_of_torch("Muon", {"lr": 0.02}, problem, transposed=True)[0]
    ours = Muon(0.02, adjust="original").update(problem.start.copy(), problem.gradient(problem.start))
    step = np.abs(theirs - problem.start).max()
    assert np.abs(ours - theirs).max() < 0.03 * step


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adafactor_keeps_all_squares_of_a_vector(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    weights, gradients = rng.normal(size=9).astype(dtype), rng.normal(size=(5, 9)).astype(dtype)
    parameter = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    theirs, ours = torch.optim.Adafactor([parameter], foreach=False, eps=(1e-7, 1e-3)), Adafactor(epsilon=1e-7)
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient)
        theirs.step()
        ours.update(weights, gradient)
    np.testing.assert_allclose(weights, parameter.detach().numpy(), rtol=1e-5)
    assert ours.state["squares"].shape == (9,)


def test_asgd_averages_as_pytorch_does(default_dtype: Any) -> None:
    default_dtype(torch.float64)
    problem = SmoothProblem(np.float64)
    weights, ours = problem.start.copy(), ASGD(0.05, first_averaged=5)
    parameter = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    theirs = torch.optim.ASGD([parameter], lr=0.05, t0=5, foreach=False)
    for _ in range(20):
        gradient = problem.gradient(weights)
        parameter.grad = torch.from_numpy(gradient.copy())
        theirs.step()
        ours.update(weights, gradient)
    np.testing.assert_allclose(ours.state["average"].reshape(SHAPE), theirs.state[parameter]["ax"].numpy(), rtol=1e-12)
    assert np.abs(ours.state["average"].reshape(SHAPE) - weights).max() > 1e-3
