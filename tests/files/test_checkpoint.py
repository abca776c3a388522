"""When checkpoints are written, and which epoch the best one is. That they resume exactly: tests/test_training.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.activations import TanhActivation
from chainrule.callbacks import Callback, EarlyStopping, ReduceOnPlateau, TrainingRun
from chainrule.errors import InvalidInputError, ModelFileError
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
    with pytest.raises(InvalidInputError, match=r"allowed are (whole numbers from 1 up|.*above 0)"):
        Checkpoint("x", **settings)


def test_an_unknown_monitor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="validation set"):
        network_of(DenseLayer(1, (5,))).fit(DATA, callbacks=[Checkpoint(tmp_path / "x", monitor="validation_loss")])


# A file for every epoch -----------------------------------------------------------------------------------------


def small_network(**settings: Any) -> NeuralNetwork:
    return network_of(DenseLayer(8, (5,)), TanhActivation(), DenseLayer(1), metric="r2", **{"epochs": 7, **settings})


class SaveByHand(Callback):
    """A user's own callback that saves the network every second epoch, by its own means."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bits: dict[int, dict[str, bytes]] = {}

    def on_epoch_end(self, run: TrainingRun) -> None:
        if run.epoch % 2 == 0:
            run.save(self.folder / f"{run.epoch}.safetensors")
            self.bits[run.epoch] = {name: array.tobytes() for name, array in run.session.read_weights().items()}


def test_the_epoch_in_the_name_keeps_every_file(tmp_path: Path) -> None:
    network = small_network()
    network.fit(DATA, callbacks=[Checkpoint(tmp_path / "at {epoch:02d}" / "net-{epoch}.safetensors", every=3)])
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.safetensors"))
    assert names == [f"at 0{epoch}/net-{epoch}.safetensors" for epoch in (3, 6, 7)]
    for epoch in (3, 6, 7):
        loaded = NeuralNetwork.load(tmp_path / f"at 0{epoch}" / f"net-{epoch}.safetensors")
        assert bits_of(loaded) == bits_of(small_network(epochs=epoch).fit(DATA))


@pytest.mark.parametrize("monitor", [None, "validation_r2"])
def test_the_best_of_the_files_is_the_one_with_the_best_curve(tmp_path: Path, monitor: str | None) -> None:
    pattern = tmp_path / "{epoch}.safetensors"
    (tmp_path / "of-another-kind.safetensors").write_bytes(b"no network")
    # At this rate the validation loss goes up and down.
    network = small_network(epochs=20, optimizer="adam", learning_rate=0.3)
    network.fit(DATA, validation=OTHER, callbacks=[Checkpoint(pattern, every=1)])
    values = network.history[monitor or "validation_loss"]
    expected = int(np.argmax(values) if monitor == "validation_r2" else np.argmin(values)) + 1
    assert expected < 20, "or the last would do"
    best = NeuralNetwork.load_best(pattern, monitor)
    assert best.history.n_epochs == expected
    assert bits_of(best) == bits_of(NeuralNetwork.load(tmp_path / f"{expected}.safetensors"))


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_callback_saves_the_network_as_it_stands(tmp_path: Path, engine: Any) -> None:
    network = small_network(engine=engine)
    by_hand = SaveByHand(tmp_path)
    network.fit(DATA, validation=OTHER, callbacks=[by_hand])
    assert sorted(by_hand.bits) == [2, 4, 6]
    for epoch, bits in by_hand.bits.items():
        saved = NeuralNetwork.load(tmp_path / f"{epoch}.safetensors")
        assert bits_of(saved) == bits
        assert saved.history.n_epochs == epoch
    best = NeuralNetwork.load_best(tmp_path / "{epoch}.safetensors")
    validation = network.history["validation_loss"]
    assert best.history.n_epochs == min((2, 4, 6), key=lambda epoch: validation[epoch - 1])


def test_a_checkpoint_from_inside_an_epoch_is_named_by_it_and_is_no_best(tmp_path: Path) -> None:
    class Interrupt(Callback):
        def on_batch_end(self, run: TrainingRun) -> None:
            if run.epoch == 2 and run.batch == 1:
                run.interrupt("enough")

    pattern = tmp_path / "{epoch}"
    small_network(batch_size=10).fit(DATA, callbacks=[Checkpoint(pattern, every=2), Interrupt()])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]
    assert NeuralNetwork.load_best(pattern).history.n_epochs == 2
    (tmp_path / "2").unlink()
    with pytest.raises(ModelFileError, match=r"no file '.*' of a whole epoch"):
        NeuralNetwork.load_best(pattern)


def test_what_cannot_be_the_best_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"'{epoch\.\.\.}' in it is no format of a whole number"):
        Checkpoint("epoch-{epoch:x y}.safetensors")
    with pytest.raises(InvalidInputError, match=r"has no '{epoch}'"):
        NeuralNetwork.load_best(tmp_path / "*.safetensors")
    with pytest.raises(ModelFileError, match="There is no file"):
        NeuralNetwork.load_best(tmp_path / "{epoch}")
    small_network(epochs=1).fit(DATA, callbacks=[Checkpoint(tmp_path / "{epoch}")])
    with pytest.raises(InvalidInputError, match=r"no 'validation_loss' in its history.*Recorded are: epoch, loss, r2"):
        NeuralNetwork.load_best(tmp_path / "{epoch}", "validation_loss")
