"""PyTorch as the independent oracle: the same weights and batches give the same gradients and the same training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule.activations import ACTIVATIONS, TanhActivation
from chainrule.data import Dataset
from chainrule.data.batches import Batch
from chainrule.engines import NumpyEngine, TrainingPlan
from chainrule.layers import BatchNormalizationLayer, DenseLayer, LayerNormalizationLayer
from chainrule.losses import LOSSES
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import (
    SGD,
    Adadelta,
    AdaGrad,
    Adam,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
)
from support.networks import class_rows, network_of, regression_rows

torch = pytest.importorskip("torch")
from support.torch_networks import (  # noqa: E402  (it needs PyTorch)
    ACTIVATION_PAIRS,
    LOSS_PAIRS,
    parameter_groups,
    torch_twin,
    torch_vector,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch's threads only get in each other's way here; NAdam keeps a scalar in the default precision."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Gradients -------------------------------------------------------------------------------------

HEADS = {
    "binary_cross_entropy": "sigmoid",
    "binary_focal": "sigmoid",
    "multi_label_cross_entropy": "sigmoid",
    "negative_log_likelihood": "log_softmax",
    "categorical_cross_entropy": "softmax",
    "categorical_focal": "softmax",
    "kl_divergence": "softmax",
    "dice": "sigmoid",
    "mean_squared_logarithmic_error": "softplus",
}


# Losses that compare the outputs of a row with one another.
OF_ROWS = {
    "categorical_cross_entropy", "categorical_focal", "kl_divergence", "cosine_similarity", "multi_margin",
    "negative_log_likelihood",
}  # fmt: skip


def test_every_activation_and_loss_has_a_pair() -> None:
    firsts = {ACTIVATIONS.name_of(cls) for cls in ACTIVATIONS.classes.values()} - {"prelu"}  # tests/layers has PReLU
    assert firsts == ACTIVATION_PAIRS.keys()
    assert {LOSSES.name_of(cls) for cls in LOSSES.classes.values()} == LOSS_PAIRS.keys()


def targets_for(loss: str, n_outputs: int, rng: np.random.Generator) -> Any:
    if loss in OF_ROWS and loss != "cosine_similarity":
        return np.eye(n_outputs)[rng.integers(0, n_outputs, 20)]
    if loss == "mean_squared_logarithmic_error":
        return rng.poisson(2.0, (20, n_outputs)).astype(float)
    if loss in HEADS or "hinge" in loss:
        return rng.integers(0, 2, (20, n_outputs)).astype(float)
    return rng.poisson(2.0, (20, n_outputs)) + (0.0 if loss == "poisson" else rng.normal(size=(20, n_outputs)))


@pytest.mark.parametrize("activation", ACTIVATION_PAIRS)
def test_gradients_in_float64(activation: str) -> None:
    """Under every loss, of weighted rows, for a hidden layer of each kind."""
    for loss in LOSS_PAIRS:
        for n_outputs in (3,) if loss in OF_ROWS else (1, 3):
            check_gradients_in_float64(activation, loss, n_outputs)


def check_gradients_in_float64(activation: str, loss: str, n_outputs: int) -> None:
    """Compare the gradients; the head is fused on our side and in two steps on theirs."""
    rng = np.random.default_rng(len(activation) * 31 + len(loss))
    head = HEADS.get(loss, "")
    layers = [DenseLayer(6, (5,), biases_initializer="normal"), ACTIVATIONS.classes[activation]()]
    layers += [LayerNormalizationLayer(), DenseLayer(LOSSES.create(loss).n_outputs(n_outputs))]
    network = network_of(*layers, *([ACTIVATIONS.classes[head]()] if head else []), loss=loss, dtype="float64")
    twin = torch_twin(network, {1: activation, 4: head})
    X, y, weights = rng.normal(size=(20, 5)), targets_for(loss, n_outputs, rng), rng.uniform(0.5, 2, 20)
    weights /= weights.mean()

    outputs = twin(torch.from_numpy(X))
    elements = LOSS_PAIRS[loss](outputs, torch.from_numpy(y))
    expected = (elements.mean(1) * torch.from_numpy(weights)).mean()
    expected.backward()

    session: Any = NumpyEngine().open(network.stack, TrainingPlan(network.loss, SGD()))
    value = session.compute_gradient(Batch(X, y, weights))
    assert value == pytest.approx(float(expected.detach()), rel=1e-10)
    np.testing.assert_allclose(network.predict(X), outputs.detach().numpy(), rtol=1e-10, atol=1e-13)
    theirs = torch_vector(twin, network, gradients=True)
    assert np.linalg.norm(network.stack.vector.gradients - theirs) <= 1e-10 * np.linalg.norm(theirs)


@pytest.mark.parametrize(
    ("head", "loss"), [("sigmoid", "binary_cross_entropy"), ("softmax", "categorical_cross_entropy")]
)
def test_fused_heads_where_two_steps_would_break_down(head: str, loss: str) -> None:
    """Confident mistakes in float32: PyTorch's losses of the logits are finite, and so are ours."""
    network = network_of(DenseLayer(3, (3,)), ACTIVATIONS.classes[head](), loss=loss)
    network.layers[0].parameter_views["weights"][...] = np.eye(3) * 200
    X = np.array([[1, 0, -1], [-1, 1, 0], [0.1, 0.2, 0.3]], np.float32)
    y = np.eye(3, dtype=np.float32)[[2, 0, 1]]
    twin = torch_twin(network, {1: "linear"})
    functional = torch.nn.functional
    logits = twin[0](torch.from_numpy(X))
    reference = {
        "sigmoid": lambda: functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(y)),
        "softmax": lambda: functional.cross_entropy(logits, torch.from_numpy(y)),
    }[head]()
    reference.backward()
    session: Any = NumpyEngine().open(network.stack, TrainingPlan(network.loss, SGD()))
    assert session.compute_gradient(Batch(X, y, None)) == pytest.approx(float(reference.detach()), rel=1e-6)
    theirs = torch_vector(torch.nn.Sequential(twin[0]), network, gradients=True)
    np.testing.assert_allclose(network.stack.vector.gradients, theirs, rtol=1e-5, atol=1e-7)


# Training --------------------------------------------------------------------------------------

N_EPOCHS, BATCH_SIZE = 10, 16  # of 80 rows: 50 steps


def train_twin(
    twin: Any, data: Dataset, optimizer: Any, loss: str, *, clip_norm: float | None = None, l2: float = 0.0
) -> list[float]:
    """The plain PyTorch loop over the rows in their order; returns the mean loss of each epoch."""
    X, y = torch.from_numpy(data.X.astype(np.float32)), torch.from_numpy(data.outputs(1))
    weights = torch.ones(len(X))
    if data.sample_weight is not None:
        weights = torch.from_numpy((data.sample_weight / data.sample_weight.mean()).astype(np.float32))
    twin.train()
    losses = []
    for _ in range(N_EPOCHS):
        total = 0.0
        for start in range(0, len(X), BATCH_SIZE):
            rows = slice(start, start + BATCH_SIZE)
            optimizer.zero_grad()
            value = (LOSS_PAIRS[loss](twin(X[rows]), y[rows]).mean(1) * weights[rows]).mean()
            penalty = l2 / 2 * sum((parameter**2).sum() for parameter in twin.parameters() if parameter.ndim == 2)
            (value + penalty).backward()
            if clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(twin.parameters(), clip_norm)
            optimizer.step()
            total += float(value.detach()) * len(X[rows])
        losses.append(total / len(X))
    return losses


def deep_network(*extra: Any, **settings: Any) -> tuple[NeuralNetwork, dict[int, str]]:
    layers = [DenseLayer(16, (5,)), *extra, TanhActivation(), DenseLayer(12), TanhActivation(), DenseLayer(1)]
    names = {i: "tanh" for i, layer in enumerate(layers) if isinstance(layer, TanhActivation)}
    settings = {"epochs": N_EPOCHS, "batch_size": BATCH_SIZE, "shuffle": False, "loss": "mse", **settings}
    return network_of(*layers, **settings), names


def assert_same_training(network: NeuralNetwork, twin: Any, losses: list[float], rtol: float = 1e-5) -> None:
    ours, theirs = network.stack.vector.values, torch_vector(twin, network)
    assert np.linalg.norm(ours - theirs) <= rtol * np.linalg.norm(theirs)
    np.testing.assert_allclose(network.history["loss"], losses, rtol=10 * rtol)
    assert losses[-1] < 0.9 * losses[0], "nothing was learnt, so this comparison tells little"


# Our optimizer, PyTorch's, its settings, and the decay of the weight matrices.
OPTIMIZER_PAIRS: list[tuple[Optimizer, str, dict[str, Any], float]] = [
    (SGD(0.05), "SGD", {"lr": 0.05}, 0),
    (SGD(0.02, momentum=0.9), "SGD", {"lr": 0.02, "momentum": 0.9}, 0),
    (SGD(0.02, momentum=0.9, nesterov=True), "SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}, 0),
    (AdaGrad(0.05), "Adagrad", {"lr": 0.05}, 0),
    (RMSprop(0.002), "RMSprop", {"lr": 0.002}, 0),
    (RMSprop(0.002, momentum=0.5, centered=True), "RMSprop", {"lr": 0.002, "momentum": 0.5, "centered": True}, 0),
    (Adadelta(2.0), "Adadelta", {"lr": 2.0}, 0),
    (Adam(0.003), "Adam", {"lr": 0.003}, 0),
    (AdamW(0.003, weight_decay=0.1), "AdamW", {"lr": 0.003}, 0.1),
    (NAdam(0.003), "NAdam", {"lr": 0.003}, 0),
    (RAdam(0.003), "RAdam", {"lr": 0.003}, 0),
]


@pytest.mark.parametrize(
    ("ours", "name", "settings", "decay"), OPTIMIZER_PAIRS, ids=[f"{p[1]}-{i}" for i, p in enumerate(OPTIMIZER_PAIRS)]
)
def test_fifty_steps_of_every_optimizer(ours: Optimizer, name: str, settings: dict[str, Any], decay: float) -> None:
    data = regression_rows(80)
    network, names = deep_network(optimizer=ours)
    twin = torch_twin(network, names)
    optimizer = getattr(torch.optim, name)(parameter_groups(twin, decay), **settings)
    losses = train_twin(twin, data, optimizer, "mean_squared_error")
    assert_same_training(network.fit(data), twin, losses)


def test_fifty_full_batches_of_rprop() -> None:
    data = regression_rows(80)
    network, names = deep_network(optimizer=Rprop(0.001))
    network.epochs = 50
    twin = torch_twin(network, names)
    optimizer = torch.optim.Rprop(twin.parameters(), lr=0.001)
    X, y = torch.from_numpy(data.X.astype(np.float32)), torch.from_numpy(data.outputs(1))
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        value = torch.nn.functional.mse_loss(twin(X), y)
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    assert_same_training(network.fit(data), twin, losses)


@pytest.mark.parametrize(
    "option", ["l2", "clip_norm", "batch norm", "layer norm", "weights", "balanced classes", "everything"]
)
def test_fifty_steps_with_options(option: str) -> None:
    everything = option == "everything"
    weights = np.random.default_rng(0).uniform(0, 3, 80) if option in ("weights", "everything") else None
    data = regression_rows(80, sample_weight=weights)
    network, names = deep_network(
        *([BatchNormalizationLayer()] if everything or option == "batch norm" else []),
        *([LayerNormalizationLayer()] if option == "layer norm" else []),
        optimizer=SGD(0.05, momentum=0.9),
        l2=0.01 if everything or option == "l2" else 0.0,
        clip_norm=0.3 if everything or option == "clip_norm" else None,
    )
    loss = "mean_squared_error"
    if option == "balanced classes":
        data, loss = class_rows(80, n_classes=2), "binary_cross_entropy"
        data = data.take(np.flatnonzero((data.y == 0) | (np.arange(80) < 60)))
        network, names = deep_network(optimizer=SGD(0.05, momentum=0.9), loss="bce", class_weight="balanced")
        network.add(ACTIVATIONS.classes["sigmoid"]())
        names[5] = "sigmoid"
    twin = torch_twin(network, names)
    if option == "balanced classes":
        network.fit(data)
        counts = np.bincount(data.y)
        data = Dataset(data.X, data.y, sample_weight=len(data) / (2 * counts[data.y]))
    else:
        network.fit(data)
    # An L2 penalty is weight decay, but PyTorch decays after clipping; we clip the gradient of the whole objective.
    groups = parameter_groups(twin, 0.01 if option == "l2" else 0.0)
    clip_norm, l2 = network.clip_norm, 0.01 if everything else 0.0
    losses = train_twin(twin, data, torch.optim.SGD(groups, lr=0.05, momentum=0.9), loss, clip_norm=clip_norm, l2=l2)
    if clip_norm is not None:
        assert max(network.history["gradient_norm"]) > clip_norm, "nothing was clipped"
    assert_same_training(network, twin, losses)
    if everything:
        running = twin[1].running_var.numpy()
        np.testing.assert_allclose(network.layers[1].state["running_variance"], running, rtol=1e-4)
    twin.eval()
    with torch.no_grad():
        expected = twin(torch.from_numpy(data.X.astype(np.float32))).numpy()
    np.testing.assert_allclose(network.predict(data), expected, rtol=1e-3, atol=1e-4)
