"""When checkpoints are written, and which epoch the best one is. That they resume exactly: tests/test_training.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.activations import TanhActivation
from chainrule.callbacks import Callback, EarlyStopping, ReduceOnPlateau, TrainingRun
from chainrule.errors import InvalidInputError
from chainrule.files import Checkpoint, read_model_file
from chainrule.layers import DenseLayer
from chainrule.neuralnet import NeuralNetwork
from support.networks import bits_of, network_of, regression_rows

DATA, OTHER = regression_rows(40), regression_rows(40, seed=3)


def places_of(path: Path, *callbacks: Callback, **checkpoint: Any) -> list[tuple[int, int]]:
    """Every (epoch, batch) at which the file is written."""
    places: list[tuple[int, int]] = []

    class Watch(Callback):
        order = Checkpoint.order + 1
        content = b""

        def look(self, run: TrainingRun) -> None:
            if path.exists() and path.read_bytes() != self.content:
                self.content = path.read_bytes()
                places.append((run.epoch, run.batch))

        on_batch_end = on_epoch_end = on_fit_end = look

    network = network_of(DenseLayer(1, (5,)), epochs=5, batch_size=10)
    network.fit(DATA, callbacks=[Watch(), *callbacks, Checkpoint(path, **checkpoint)])
    return places


def test_every_epoch_and_every_few(tmp_path: Path) -> None:
    assert places_of(tmp_path / "a") == [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]
    assert places_of(tmp_path / "b", every=2) == [(2, 0), (4, 0), (5, 0)], "and always the last"
    assert places_of(tmp_path / "c", every=5, every_batches=3) == [(epoch, 3) for epoch in range(5)] + [(5, 0)]
    stopping = EarlyStopping("loss", patience=None, delta=1e9)
    assert places_of(tmp_path / "d", stopping, every=5) == [(2, 0)], "and where the run was stopped"


def test_every_few_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    class Tick(Callback):
        """A batch takes a second."""

        def on_batch_end(self, run: TrainingRun) -> None:
            clock[0] += 1

    monkeypatch.setattr("chainrule.files.checkpoint.time.monotonic", lambda: clock[0])
    places = places_of(tmp_path / "a", Tick(), every=5, every_seconds=2.5)
    assert places == [(0, 3), (1, 2), (2, 1), (3, 1), (4, 1), (5, 0)], "not at the end of an epoch, of four batches"
    assert places_of(tmp_path / "b", Tick(), every=1, every_seconds=3) == [
        place for epoch in range(5) for place in ((epoch, 3), (epoch + 1, 0))
    ]


def test_the_best_epoch_has_its_own_file(tmp_path: Path) -> None:
    kept = {}

    class Keep(Callback):
        def on_epoch_end(self, run: TrainingRun) -> None:
            kept[run.epoch] = bits_of(network)

    network = network_of(
        DenseLayer(30, (5,)), TanhActivation(), DenseLayer(1), optimizer="adam", learning_rate=0.05, epochs=30
    )
    path, best_path = tmp_path / "last", tmp_path / "best"
    network.fit(DATA, validation=OTHER, callbacks=[Keep(), Checkpoint(path, best_path=best_path)])
    losses = network.history["validation_loss"]
    best = 1 + losses.index(min(losses))
    assert 1 < best < 30
    metadata, arrays = read_model_file(best_path, "checkpoint")
    assert metadata["training"]["epoch"] == best
    weights = {name.removeprefix("weights/"): a.tobytes() for name, a in arrays.items() if name.startswith("weights/")}
    assert weights == kept[best]
    assert bits_of(NeuralNetwork.resume(best_path, DATA, validation=OTHER)) == bits_of(network)


def test_losses_that_are_not_finite_are_no_best_and_can_be_kept(tmp_path: Path) -> None:
    values = iter([math.nan, math.inf, 3.0, 2.0])

    def odd(y_true: Any, y_pred: Any) -> float:
        return next(values)

    odd.greater_is_better = False  # type: ignore[attr-defined]
    path, best_path = tmp_path / "last", tmp_path / "best"
    network = network_of(DenseLayer(1, (5,)), metric=odd, epochs=3)
    callbacks = [EarlyStopping("odd"), ReduceOnPlateau("odd"), Checkpoint(path, best_path=best_path, monitor="odd")]
    network.fit(DATA, callbacks=callbacks)
    again = [EarlyStopping("odd"), ReduceOnPlateau("odd")]
    resumed = NeuralNetwork.resume(best_path, DATA, callbacks=again, custom_objects={"odd": odd})
    np.testing.assert_array_equal(resumed.history["odd"], [math.nan, math.inf, 3.0])
    assert callbacks[0].best_epoch == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("settings", [{"every": 0}, {"every_batches": 0}, {"every_seconds": 0}])
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"at least 1|above 0"):
        Checkpoint("x", **settings)


def test_an_unknown_monitor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="validation set"):
        network_of(DenseLayer(1, (5,))).fit(DATA, callbacks=[Checkpoint(tmp_path / "x", monitor="validation_loss")])
