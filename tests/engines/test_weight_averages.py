"""Averages of the weights, over steps (EMA) and over epochs (SWA), and gradients clipped by value: on both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.activations import TanhActivation
from chainrule.callbacks import Callback, TrainingRun
from chainrule.errors import InvalidInputError
from chainrule.files import Checkpoint
from chainrule.layers import BatchNormalizationLayer, DenseLayer, DropoutLayer
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array
from support.networks import bits_of, history_without_seconds, network_of, regression_rows

ENGINES = ("numpy", "torch")
AVERAGES: list[dict[str, Any]] = [{"ema_decay": 0.9}, {"swa_from": 3}]
DATA, VALIDATION = regression_rows(50), regression_rows(30, seed=1)


def make(**settings: Any) -> NeuralNetwork:
    """A network with running statistics and noise, trained in short batches of which the last is shorter."""
    layers = (DenseLayer(6, (5,)), BatchNormalizationLayer(), TanhActivation(), DropoutLayer(0.2), DenseLayer(1))
    given: dict[str, Any] = {"dtype": "float64", "optimizer": "adam", "epochs": 5, "batch_size": 16}
    return network_of(*layers, **{**given, **settings})


class KeepWeights(Callback):
    """Keeps the weights after every step and every epoch."""

    def __init__(self) -> None:
        self.of_steps: list[dict[str, Array]] = []
        self.of_epochs: list[dict[str, Array]] = []

    def on_batch_end(self, run: TrainingRun) -> None:
        self.of_steps.append(run.stack.read_arrays())

    def on_epoch_end(self, run: TrainingRun) -> None:
        self.of_epochs.append(run.stack.read_arrays())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_moving_average_takes_in_every_step(engine: str) -> None:
    plain, kept = make(engine=engine), KeepWeights()
    average = {name: array.copy() for name, array in plain.stack.read_arrays().items()}
    plain.fit(DATA, callbacks=[kept])
    for weights in kept.of_steps:
        average = {name: 0.9 * mean + 0.1 * weights[name] for name, mean in average.items()}
    averaged = make(engine=engine, ema_decay=0.9).fit(DATA)
    assert averaged.history["loss"] == plain.history["loss"], "the steps are those without an average"
    for name, array in averaged.stack.read_arrays().items():
        is_statistic = "running" in name
        expected = kept.of_steps[-1][name] if is_statistic else average[name]
        np.testing.assert_allclose(array, expected, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_mean_over_epochs_begins_with_the_one_given(engine: str) -> None:
    plain, kept = make(engine=engine), KeepWeights()
    plain.fit(DATA, callbacks=[kept])
    averaged = make(engine=engine, swa_from=3).fit(DATA)
    assert averaged.history["loss"] == plain.history["loss"]
    for name, array in averaged.stack.read_arrays().items():
        expected = np.mean([weights[name] for weights in kept.of_epochs[2:]], axis=0)
        np.testing.assert_allclose(array, expected, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("average", AVERAGES, ids=str)
def test_the_average_is_validated_and_shown_to_callbacks(average: dict[str, Any], engine: str) -> None:
    kept = KeepWeights()
    network = make(engine=engine, **average).fit(DATA, validation=VALIDATION, callbacks=[kept])
    assert network.evaluate(VALIDATION)["loss"] == pytest.approx(network.history["validation_loss"][-1])
    assert bits_of(network) == {name: array.tobytes() for name, array in kept.of_epochs[-1].items()}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("average", AVERAGES, ids=str)
@pytest.mark.parametrize("batch", [2, 4])
def test_a_run_with_an_average_is_resumed_bit_by_bit(
    average: dict[str, Any], engine: str, batch: int, tmp_path: Path
) -> None:
    class Stop(Callback):
        def on_batch_end(self, run: TrainingRun) -> None:
            if (run.epoch, run.batch) == (3, batch):
                run.interrupt("the test says so")

    whole = make(engine=engine, **average).fit(DATA, validation=VALIDATION)
    path = tmp_path / "run.safetensors"
    make(engine=engine, **average).fit(DATA, validation=VALIDATION, callbacks=[Stop(), Checkpoint(path)])
    resumed = NeuralNetwork.resume(path, DATA, validation=VALIDATION)
    assert bits_of(resumed) == bits_of(whole)
    assert history_without_seconds(resumed) == history_without_seconds(whole)


def test_only_one_average_is_taken() -> None:
    with pytest.raises(InvalidInputError, match="ema_decay and swa_from are two averages"):
        make(ema_decay=0.9, swa_from=2).fit(DATA)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("by_layers", [False, True])
def test_clipping_bounds_every_number_of_the_gradient(engine: str, by_layers: bool) -> None:
    def move(**settings: Any) -> tuple[Array, float]:
        network = make(engine=engine, optimizer="sgd", learning_rate=1.0, epochs=1, batch_size=50, **settings)
        if by_layers:
            network.layers[3].lower = super(DropoutLayer, network.layers[3]).lower  # type: ignore[method-assign]
        before = network.stack.vector.values.copy()
        network.fit(DATA)
        return before - network.stack.vector.values, network.history["gradient_norm"][0]

    if by_layers and engine == "torch":
        pytest.skip("PyTorch computes programs only")
    gradient, norm = move()
    bound = float(np.median(np.abs(gradient)))
    clipped, told = move(clip_value=bound)
    np.testing.assert_allclose(clipped, np.clip(gradient, -bound, bound), rtol=1e-9, atol=1e-12)
    assert told == pytest.approx(norm), "the norm that is told is that before clipping"
    both, _ = move(clip_norm=norm / 2, clip_value=bound / 2)
    np.testing.assert_allclose(both, np.clip(gradient / 2, -bound / 2, bound / 2), rtol=1e-9, atol=1e-12)
