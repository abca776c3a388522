"""Layers that do not train, and layers with a learning rate of their own: on both engines, and as PyTorch's groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chainrule.activations import PReLUActivation, TanhActivation
from chainrule.errors import InvalidInputError
from chainrule.inspection import check_gradients
from chainrule.layers import DenseLayer, Layer, LayerNormalizationLayer, Sequential
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS, ObjectiveOptimizer, Optimizer
from chainrule.penalties import L1, L2, ElementwisePenalty
from chainrule.types import Array
from support.networks import bits_of, network_of, regression_rows

ENGINES = ("numpy", "torch")
DATA = regression_rows(40)
STEPPING = sorted(name for name, cls in OPTIMIZERS.classes.items() if not issubclass(cls, ObjectiveOptimizer))


class UnitSteps(Optimizer):
    """A rule that does not take the learning rate."""

    learning_rate = 1.0

    def rule(self, weights: Any, gradient: Any) -> Any:
        return weights - 0.01 * np.sign(gradient)


class ByItsLayers(TanhActivation):
    """An activation that cannot be compiled, so that the network is trained by its layers."""

    def lower(self, program: Any, x: Any) -> Any:
        return Layer.lower(self, program, x)


def make(engine: str = "numpy", activation: Layer | None = None, first: Any = (), **settings: Any) -> NeuralNetwork:
    given: dict[str, Any] = {"dtype": "float64", "epochs": 4, "batch_size": 16, **settings}
    layers = (DenseLayer(6, (5,), **dict(first)), activation or TanhActivation(), DenseLayer(4), PReLUActivation())
    return network_of(*layers, DenseLayer(1, rate_factor=0.5), engine=engine, **given)


def arrays_of(network: NeuralNetwork) -> dict[str, Array]:
    return network.stack.read_arrays()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", STEPPING)
def test_a_layer_that_does_not_train_keeps_its_bits(optimizer: str, engine: str) -> None:
    network = make(engine, first={"trainable": False}, optimizer=optimizer, l2=0.1, max_norm=0.1, batch_size=40)
    network.layers[4].rate_factor = 1.0
    before = arrays_of(network)
    network.fit(DATA)
    for name, array in arrays_of(network).items():
        assert np.array_equal(array, before[name]) is name.startswith("0."), name


@pytest.mark.parametrize("engine", ["numpy", "torch", "layers"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "NAdam", "RMSprop"])
def test_factors_are_the_rates_of_groups_in_pytorch(optimizer: str, engine: str) -> None:
    settings = {"learning_rate": 0.01, **({"weight_decay": 0.1} if optimizer == "AdamW" else {})}
    own = OPTIMIZERS.find(optimizer)(**settings)
    activation = ByItsLayers() if engine == "layers" else None
    first = {"rate_factor": 0.25}
    network = make(engine.replace("layers", "numpy"), activation, first, optimizer=own, epochs=20, batch_size=40)
    plain = make(first=first)
    plain.layers[1].trainable = False  # the module is PyTorch's all the same
    module = plain.to_torch().double()
    linear = [part for part in module.modules() if isinstance(part, torch.nn.Linear)]
    slopes = [part for part in module.modules() if isinstance(part, torch.nn.PReLU)]
    decay = settings.get("weight_decay", 0.0)
    groups: list[dict[str, Any]] = []
    for part, factor in zip([*linear, *slopes], (0.25, 1.0, 0.5, 1.0), strict=True):
        for name, parameter in part.named_parameters():
            is_decayed = name == "weight" and isinstance(part, torch.nn.Linear)
            own_decay = {"weight_decay": decay if is_decayed else 0.0}
            groups.append({"params": [parameter], "lr": 0.01 * factor, **own_decay})
    steps = getattr(torch.optim, optimizer)(groups, lr=0.01)
    X, y = torch.tensor(DATA.X, dtype=torch.float64), torch.tensor(DATA.y, dtype=torch.float64)[:, None]
    for _ in range(20):
        steps.zero_grad()
        torch.nn.functional.mse_loss(module(X), y).backward()
        steps.step()
    network.fit(DATA)
    for index, part in zip((0, 2, 4), linear, strict=True):
        np.testing.assert_allclose(network.layers[index].weights, part.weight.detach().numpy().T, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(network.layers[index].biases, part.bias.detach().numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_gradient_of_what_does_not_train_counts_nowhere(engine: str) -> None:
    """A network whose first layers are frozen takes the steps of its other layers on their outputs."""
    whole = make(engine, first={"trainable": False}, clip_norm=0.1, optimizer="adam")
    rest = network_of(DenseLayer(4, (6,)), PReLUActivation(), DenseLayer(1, rate_factor=0.5), dtype="float64",
                      epochs=4, batch_size=16, clip_norm=0.1, optimizer="adam", engine=engine)  # fmt: skip
    for own, given in zip(rest.layers, whole.layers[2:], strict=True):
        for name, values in given.parameter_views.items():
            own.set_array(name, values)
    inner = np.tanh(DATA.X @ whole.layers[0].weights + whole.layers[0].biases)
    whole.fit(DATA)
    rest.fit(inner, DATA.y)
    np.testing.assert_allclose(whole.history["loss"], rest.history["loss"], rtol=1e-8)
    np.testing.assert_allclose(whole.history["gradient_norm"], rest.history["gradient_norm"], rtol=1e-8)


def test_a_container_says_it_for_the_layers_inside() -> None:
    inside = [DenseLayer(4, trainable=False), LayerNormalizationLayer(rate_factor=0.5), DenseLayer(3)]
    network = network_of(Sequential(inside, rate_factor=0.5), DenseLayer(1), epochs=1)
    network.stack.build((5,))
    factors = {block.name: block.rate_factor for block in network.stack.vector.blocks if block.layer == 0}
    assert factors == {
        "0.weights": 0.0, "0.biases": 0.0, "1.scale": 0.25, "1.shift": 0.25, "2.weights": 0.5, "2.biases": 0.5,
    }  # fmt: skip


def test_what_is_frozen_may_be_trained_later() -> None:
    network = make(first={"trainable": False}).fit(DATA)
    frozen = network.layers[0].weights.copy()
    network.layers[0].trainable = True
    network.fit(DATA)
    assert not np.array_equal(network.layers[0].weights, frozen)


def test_files_keep_it(tmp_path: Path) -> None:
    network = make(first={"trainable": False, "rate_factor": 0.25}).fit(DATA)
    network.save(tmp_path / "network.safetensors")
    loaded = NeuralNetwork.load(tmp_path / "network.safetensors")
    assert [layer.trainable for layer in loaded.layers] == [False, True, True, True, True]
    assert [layer.rate_factor for layer in loaded.layers] == [0.25, 1.0, 1.0, 1.0, 0.5]
    assert bits_of(loaded) == bits_of(network)


@pytest.mark.parametrize(
    ("settings", "optimizer", "sentence"),
    [
        ({"trainable": False}, "lbfgs", "LBFGS trains all parameters alike"),
        ({"rate_factor": 0.5}, UnitSteps, "UnitSteps computes its own step lengths; leave out the setting rate_factor"),
        ({"rate_factor": -1}, "adam", "rate_factor is -1; allowed are finite numbers from 0 up"),
    ],
)
def test_what_cannot_be_done_is_refused(settings: dict[str, Any], optimizer: Any, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        make(first=settings, optimizer=optimizer).fit(DATA)


@pytest.mark.parametrize("engine", ["numpy", "torch", "layers"])
def test_a_layer_has_a_penalty_of_its_own_beside_that_of_the_network(engine: str) -> None:
    activation = ByItsLayers() if engine == "layers" else None
    first: dict[str, Any] = {"penalty": L1(0.1)}
    network = make(engine.replace("layers", "numpy"), activation, first, l2=0.2, optimizer="sgd", learning_rate=1.0,
                   epochs=1, batch_size=40)  # fmt: skip
    network.layers[4].rate_factor = 1.0
    network.layers[4].penalty = "l2"
    plain = make(optimizer="sgd", learning_rate=1.0, epochs=1, batch_size=40)
    plain.layers[4].rate_factor = 1.0
    before = arrays_of(network)
    network.fit(DATA)
    plain.fit(DATA)
    found, without = arrays_of(network), arrays_of(plain)
    own = {"0.weights": 0.1 * np.sign(before["0.weights"]), "4.weights": 1e-4 * before["4.weights"]}
    for name, array in without.items():
        gradient = own.get(name, 0.0) + (0.2 * before[name] if "weights" in name else 0.0)
        np.testing.assert_allclose(found[name], array - gradient, rtol=1e-9, atol=1e-12, err_msg=name)
    weights = {name: array for name, array in found.items() if "weights" in name}
    value = 0.1 * sum(np.square(array).sum() for array in weights.values()) + 0.1 * np.abs(found["0.weights"]).sum()
    value += 0.5e-4 * np.square(found["4.weights"]).sum()
    assert network.history["penalty"][0] == pytest.approx(value, rel=1e-6)


@dataclass(frozen=True)
class Quartic(ElementwisePenalty):
    """A user's own penalty: rate * sum w^4."""

    rate: float = 0.5

    def element_value(self, weights: Array) -> Array:
        return self.rate * weights**4

    def element_derivative(self, weights: Array) -> Array:
        return 4 * self.rate * weights**3


def test_a_penalty_of_a_users_own_acts_on_both_engines() -> None:
    first, second = (make(engine, first={"penalty": Quartic()}, penalty=Quartic(0.1)).fit(DATA) for engine in ENGINES)
    np.testing.assert_allclose(first.history["penalty"], second.history["penalty"], rtol=1e-8)
    for name, array in arrays_of(first).items():
        np.testing.assert_allclose(array, arrays_of(second)[name], rtol=1e-7, atol=1e-10)


def test_the_penalty_of_a_layer_is_checked_saved_and_added_to_that_of_its_container(tmp_path: Path) -> None:
    inside = [DenseLayer(4, penalty="l1"), TanhActivation(), DenseLayer(3)]
    network = network_of(Sequential(inside, penalty=L2(0.5)), DenseLayer(1), optimizer="lbfgs", dtype="float64")
    network.fit(DATA)
    assert network.history["penalty"][-1] < network.history["penalty"][0]
    assert check_gradients(network, DATA)
    network.save(tmp_path / "network")
    (container, _) = NeuralNetwork.load(tmp_path / "network").layers
    assert isinstance(container, Sequential)
    assert container.penalties() == {"0.weights": (L1(), L2(0.5)), "2.weights": (L2(0.5),)}
    with pytest.raises(InvalidInputError, match="no penalty called 'l3'"):
        DenseLayer(3, penalty="l3")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon", "adafactor"])
def test_weight_decay_can_be_switched_off_for_a_layer(optimizer: str, engine: str, tmp_path: Path) -> None:
    def fitted(weight_decay: float, *decays: bool) -> NeuralNetwork:
        layers = [DenseLayer(6, (5,), decays=decays[0]), TanhActivation(), DenseLayer(1, decays=decays[1])]
        decaying = OPTIMIZERS.create(optimizer, weight_decay=weight_decay)
        return network_of(*layers, engine=engine, optimizer=decaying, dtype="float64", epochs=3).fit(DATA)

    without = fitted(0.0, True, True)
    assert bits_of(fitted(0.5, False, False)) == bits_of(without)
    some, every = fitted(0.5, False, True), fitted(0.5, True, True)
    assert len({one.stack.vector.values.tobytes() for one in (without, some, every)}) == 3
    some.save(tmp_path / "file")
    assert [layer.decays for layer in NeuralNetwork.load(tmp_path / "file").layers] == [False, True, True]


def test_a_container_switches_weight_decay_off_for_all_layers_inside() -> None:
    network = network_of(Sequential([DenseLayer(4), DenseLayer(3)], decays=False), DenseLayer(1))
    network.stack.build((5,))
    assert {block.name for block in network.stack.vector.blocks if block.decays} == {"weights"}
