"""Virtual adversarial training on both engines, compared with plain PyTorch and with finite differences."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from chainrule.activations import SigmoidActivation, SoftmaxActivation, TanhActivation
from chainrule.callbacks import Callback, TrainingRun
from chainrule.data import Dataset
from chainrule.data.batches import Batch
from chainrule.engines.virtual_adversarial import VirtualAdversary, first_change
from chainrule.errors import InvalidInputError
from chainrule.files import Checkpoint
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    EmbeddingLayer,
    EnsembleDenseLayer,
    EnsembleMeanLayer,
    RepeatLayer,
)
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array
from support.networks import bits_of, class_rows, history_without_seconds, network_of, regression_rows

EPSILON = 0.7


def make(*layers: Any, **settings: Any) -> NeuralNetwork:
    given = {"dtype": "float64", "loss": "categorical_cross_entropy", "vat_epsilon": EPSILON}
    return network_of(*layers, DenseLayer(3), SoftmaxActivation(), **{**given, **settings})


@pytest.mark.parametrize("engine", ["numpy", "layers", "torch"])
def test_the_steps_are_those_of_plain_pytorch(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Miyato et al. 2018, algorithm 1, with batch normalisation and sample weights."""
    if engine == "layers":
        monkeypatch.setattr("chainrule.kernels.active_set", lambda: "numpy")
    data, weights = class_rows(40), np.random.default_rng(0).uniform(0.2, 2, 40)
    given: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.5, "batch_size": 40, "epochs": 3}
    layers = (DenseLayer(6, (5,)), BatchNormalizationLayer(), TanhActivation())
    network = make(*layers, engine="torch" if engine == "torch" else "numpy", **given)
    linear, out = torch.nn.Linear(5, 6).double(), torch.nn.Linear(6, 3).double()
    for module, layer in ((linear, layers[0]), (out, network.layers[3])):
        module.load_state_dict({"weight": torch.tensor(layer.weights.T), "bias": torch.tensor(layer.biases)})
    norm = torch.nn.BatchNorm1d(6).double()
    model = torch.nn.Sequential(linear, norm, torch.nn.Tanh(), out)
    x, y, w = torch.tensor(data.X).double(), torch.tensor(data.y).long(), torch.tensor(weights / weights.mean())
    optimizer, kl = torch.optim.SGD(model.parameters(), 0.5), torch.nn.functional.kl_div
    losses = []
    for epoch in range(3):
        model.eval()
        p = model(x).log_softmax(1).detach()
        start = (x + torch.tensor(first_change(0, (epoch, 0), (40, 5), EPSILON))).requires_grad_()
        (slope,) = torch.autograd.grad(kl(model(start).log_softmax(1), p, log_target=True, reduction="sum"), start)
        changed = x + EPSILON * slope / slope.norm(dim=1, keepdim=True)
        model.train()
        statistics = copy.deepcopy(dict(norm.named_buffers()))
        term = (w * kl(model(changed).log_softmax(1), p, log_target=True, reduction="none").sum(1)).mean()
        optimizer.zero_grad()
        term.backward()
        norm.load_state_dict(statistics, strict=False)  # the changed rows are not counted in the running statistics
        plain = (w * torch.nn.functional.cross_entropy(model(x), y, reduction="none")).mean()
        plain.backward()
        optimizer.step()
        losses.append((plain + term).item())
    network.fit(data.X, data.y, weights)
    np.testing.assert_allclose(network.history["loss"], losses, rtol=1e-9)
    np.testing.assert_allclose(layers[0].weights, linear.weight.detach().T, rtol=1e-8)
    np.testing.assert_allclose(layers[1].state["running_mean"], norm.running_mean, rtol=1e-8)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mean_squared_error"])
def test_the_gradient_is_that_of_the_change_of_the_predictions(loss: str) -> None:
    """Compared with central differences of loss(p(x), f(x + r)), with p(x) and r held fixed."""
    rows, is_binary = regression_rows(30), loss == "binary_cross_entropy"
    X = np.asarray(rows.X, np.float64)
    y = (rows.y > 0) * 1.0 if is_binary else np.column_stack([rows.y, rows.y**2])
    last = (DenseLayer(1), SigmoidActivation()) if is_binary else (DenseLayer(2),)
    network = network_of(
        DenseLayer(4, (5,)), TanhActivation(), *last, dtype="float64", loss=loss, optimizer="sgd", learning_rate=1.0,
        batch_size=30, epochs=1, vat_epsilon=EPSILON,
    )  # fmt: skip
    plain = copy.deepcopy(network)
    plain.vat_epsilon = 0.0
    stack = copy.deepcopy(network.stack)
    adversary = VirtualAdversary(stack, stack.split_head(network.loss), EPSILON)
    changed, _ = adversary.change(Batch(X, y, None), (0, 0))
    np.testing.assert_allclose(np.linalg.norm(changed.inputs - X, axis=1), EPSILON)

    def term(values: Array) -> float:
        stack.vector.values[...] = values
        return network.loss.loss(changed.targets, stack.forward(changed.inputs))

    start = stack.vector.values.copy()
    moved = [one.fit(X, y).stack.vector.values for one in (plain, network)]
    for direction in np.random.default_rng(0).normal(size=(3, len(start))):
        difference = (term(start + 1e-6 * direction) - term(start - 1e-6 * direction)) / 2e-6
        assert (moved[0] - moved[1]) @ direction == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_run_is_resumed_bit_by_bit_and_both_engines_agree(engine: str, tmp_path: Path) -> None:
    class Stop(Callback):
        def on_batch_end(self, run: TrainingRun) -> None:
            if (run.epoch, run.batch) == (1, 2):
                run.interrupt("the test says so")

    def network(engine: str) -> NeuralNetwork:
        layers = (DenseLayer(6, (5,)), BatchNormalizationLayer(), TanhActivation(), DropoutLayer(0.2))
        settings = {"optimizer": "adam", "epochs": 3, "batch_size": 16, "metric": "accuracy", "ema_decay": 0.9}
        return make(*layers, engine=engine, **settings)

    data, path = class_rows(50), tmp_path / "run.safetensors"
    whole = network(engine).fit(data)
    network(engine).fit(data, callbacks=[Stop(), Checkpoint(path)])
    resumed = NeuralNetwork.resume(path, data)
    assert bits_of(resumed) == bits_of(whole)
    assert history_without_seconds(resumed) == history_without_seconds(whole)
    np.testing.assert_allclose(whole.predict(data), network("numpy").fit(data).predict(data), rtol=1e-8)


def test_networks_that_cannot_be_trained_so_are_refused() -> None:
    data, numbers = class_rows(20), regression_rows(20)
    refused: list[tuple[str, NeuralNetwork, Dataset]] = [
        ("a sparse matrix", make(), Dataset(sparse.csr_matrix(data.X), data.y)),
        ("codes of categories", make(EmbeddingLayer((3,), 2)), Dataset(data.y[:, None] * 1.0, data.y)),
        ("LBFGS minimises a fixed objective", make(optimizer="lbfgs"), data),
        ("MultiQuantile is not", network_of(DenseLayer(3), loss="multi_quantile", vat_epsilon=1.0), numbers),
        ("Hinge is not", network_of(DenseLayer(1), loss="hinge", vat_epsilon=1.0), class_rows(20, n_classes=2)),
        (
            "not for ensembles",
            network_of(RepeatLayer(2), EnsembleDenseLayer(1), EnsembleMeanLayer(), vat_epsilon=1.0),
            numbers,
        ),
    ]
    for message, network, rows in refused:
        with pytest.raises(InvalidInputError, match=message):
            network.fit(rows)
