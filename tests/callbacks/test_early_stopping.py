"""Early stopping in every form, on histories written by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chainrule.activations import TanhActivation
from chainrule.callbacks import Callback, EarlyStopping, ReduceOnPlateau, TrainingRun
from chainrule.errors import InvalidInputError
from chainrule.history import History
from chainrule.layers import DenseLayer
from support.networks import bits_of, network_of, regression_rows
from support.runs import play

NAN = math.nan

# The settings, the loss of each epoch, and the epoch after which the run stops (None: it goes to its end).
CASES: dict[str, tuple[dict[str, Any], list[float], int | None]] = {
    "patience": ({"patience": 2}, [5, 4, 4, 5, 3, 2], 4),
    "patience is counted anew after a best": ({"patience": 2}, [5, 6, 4, 5, 3, 3, 3, 1], 7),
    "patience not used up": ({"patience": 3}, [5, 4, 5, 5, 3, 4], None),
    "an equal value is no new best": ({"patience": 2}, [5, 5, 5, 1], 3),
    "too small a gain is none": ({"patience": 2, "min_delta": 1}, [5, 4.5, 4.2, 1], 3),
    "small gains add up": ({"patience": 2, "min_delta": 1}, [5, 4.5, 3.9, 3.5, 2.8], None),
    "small gains do not add up with tol": ({"patience": 2, "tol": 1}, [5, 4.5, 3.9, 3.5, 2.8], 3),
    "a gain above tol restarts the patience": ({"patience": 2, "tol": 1}, [5, 4.5, 3.4, 3.5, 2.3, 2.2, 2.1, 2], 7),
    "relative gain": ({"patience": 2, "min_delta": 0.1, "relative": True}, [0.5, 0.46, 0.455, 0.1], 3),
    "relative gain is enough": ({"patience": 2, "min_delta": 0.1, "relative": True}, [0.5, 0.46, 0.44, 0.1], None),
    "NaN is no best": ({"patience": 2}, [5, NAN, NAN, 1], 3),
    "NaN at first": ({"patience": 3}, [NAN, NAN, 3, 2, 1], None),
    "NaN from the start": ({"patience": 2}, [NAN, NAN, 3, 2, 1], 2),
    "NaN for as long as the minimum of epochs": ({"patience": 1, "min_epochs": 3}, [NAN, NAN, NAN, 1], 3),
    "infinity is no best": ({"patience": 2}, [math.inf, -math.inf, 3], 2),
    "window": ({"patience": None, "tolerance": 0.1, "window": 3}, [5, 4, 4.05, 3.95, 1], 4),
    "window measured from its first": ({"patience": None, "tolerance": 0.1, "window": 3}, [4, 3.92, 3.84, 3.76], None),
    "the lab's criterion": ({"patience": None, "tolerance": 1e-2}, [1, 0.5, 0.5, 0.495, 0.505, 0.509, 0], 6),
    "a window needs all its epochs": ({"patience": None, "tolerance": 9, "window": 5}, [1, 1, 1, 1], None),
    "change": ({"patience": None, "delta": 0.1}, [5, 4, 3.95, 1], 3),
    "change upwards counts too": ({"patience": None, "delta": 0.1}, [5, 4, 4.05, 1], 3),
    "change not below delta": ({"patience": None, "delta": 0.5}, [5, 4.5, 4, 3.5], None),
    "minimum of epochs": ({"patience": 1, "min_epochs": 4}, [5, 5, 5, 5, 5, 5], 4),
    "minimum of epochs, good by then": ({"patience": 2, "min_epochs": 4}, [5, 6, 7, 1, 2, 0], None),
    "the first criterion to hold": ({"patience": 3, "delta": 0.1}, [5, 6, 6.05, 7], 3),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("first_epoch", [0, 7])
def test_when_it_stops(name: str, first_epoch: int) -> None:
    settings, losses, expected = CASES[name]
    stopping = EarlyStopping(monitor="loss", **settings)
    run = play(
        {"loss": losses}, stopping, epoch=first_epoch, first_epoch=first_epoch, last_epoch=first_epoch + len(losses)
    )
    assert (run.epoch - first_epoch if run.stop_reason else None) == expected


def test_reasons_in_words() -> None:
    def reason(values: list[float], **settings: Any) -> str | None:
        return play({"loss": [*values, 0]}, EarlyStopping(monitor="loss", **settings)).stop_reason

    assert reason([3, 2.5, 3, 3], patience=2) == "loss has not improved for 2 epochs; its best was 2.5 in epoch 2"
    assert (
        reason([1, 1, 1], patience=None, tolerance=0.01, window=3) == "loss stayed within +-0.01 for 3 epochs in a row"
    )
    assert reason([NAN, NAN], patience=2) == "loss has not improved for 2 epochs; it was never a finite number"
    assert reason([1, 1], patience=None, delta=1e-5) == "loss changed by less than 1e-05 from one epoch to the next"


def test_after_the_last_epoch_there_is_nothing_to_stop() -> None:
    stopping = EarlyStopping(monitor="loss", patience=2)
    run = play({"loss": [3, 2.5, 3, 3]}, stopping)
    assert run.stop_reason is None
    assert (stopping.best_epoch, run.session.read_weights()["w"]) == (2, [2.0]), "the best weights are restored"


def test_a_gap_between_training_and_validation_stops_too() -> None:
    columns = {"loss": [1, 0.8, 0.5], "validation_loss": [1.1, 1.2, 1.3]}
    run = play(columns, EarlyStopping(patience=None, max_gap=0.3))
    assert run.epoch == 2
    assert run.stop_reason == "the validation loss exceeds the training loss by 0.4, more than 0.3"


def test_what_is_watched_by_default_and_which_way_is_better() -> None:
    both = {"loss": [5, 4, 3, 2], "validation_loss": [1, 2, 3, 4], "accuracy": [0.1, 0.2, 0.3, 0.4]}
    both["validation_accuracy"] = both["accuracy"]
    assert play(both, EarlyStopping(patience=2)).epoch == 3, "the validation loss, where there is one"
    assert play({"loss": both["loss"]}, EarlyStopping(patience=2)).epoch == 4
    assert play(both, EarlyStopping("accuracy", patience=2)).stop_reason is None, "more accuracy is better"
    assert play(both, EarlyStopping("validation_accuracy", patience=2)).stop_reason is None
    falling = {**both, "accuracy": [0.4, 0.3, 0.2, 0.1]}
    assert play(falling, EarlyStopping("accuracy", patience=2)).epoch == 3


def scikit_learns_last_epoch(losses: list[float], tol: float, n_iter_no_change: int) -> int | None:
    """Where ``_update_no_improvement_count`` of scikit-learn's MLP stops."""
    best, count = math.inf, 0
    for epoch, loss in enumerate(losses, 1):
        count = count + 1 if loss > best - tol else 0
        best = min(best, loss)
        if count > n_iter_no_change and epoch < len(losses):
            return epoch
    return None


@pytest.mark.parametrize("seed", range(20))
def test_with_tol_it_stops_where_scikit_learn_stops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    losses = (np.exp(-np.arange(60) / rng.uniform(3, 30)) + rng.normal(0, rng.uniform(0, 0.05), 60)).tolist()
    tol, n_iter_no_change = float(rng.choice([0.001, 0.01, 0.03])), int(rng.integers(1, 10))
    stopping = EarlyStopping(monitor="loss", patience=n_iter_no_change + 1, tol=tol)
    run = play({"loss": losses}, stopping)
    stopped = run.epoch if run.stop_reason else None
    assert stopped == scikit_learns_last_epoch(losses, tol, n_iter_no_change)
    assert stopping.best_value == min(losses[: run.epoch])
    assert stopping.best_epoch == 1 + int(np.argmin(losses[: run.epoch]))


@pytest.mark.parametrize(("restore", "weights"), [(True, 2.0), (False, 4.0)])
def test_the_weights_of_the_best_epoch_are_given_back(restore: bool, weights: float) -> None:
    stopping = EarlyStopping("loss", patience=2, restore_best=restore)
    run = play({"loss": [3, 1, 2, 2, 2]}, stopping)
    assert (stopping.best_epoch, stopping.best_value, run.epoch) == (2, 1, 4)
    assert run.session.read_weights()["w"] == weights


def test_the_best_epoch_is_given_back_at_a_normal_end_too_but_not_on_an_interrupt() -> None:
    assert play({"loss": [1, 2, 3]}, EarlyStopping("loss", patience=9)).session.read_weights()["w"] == 1

    class Interrupt(Callback):
        def on_epoch_end(self, run: TrainingRun) -> None:
            if run.epoch == 2:
                run.interrupt("Ctrl-C")

    run = play({"loss": [1, 2, 3]}, EarlyStopping("loss", patience=9), Interrupt())
    assert run.session.read_weights()["w"] == 2


def test_steps_after_the_best_epoch_are_undone_even_inside_the_next() -> None:
    """When an error ends a run in the middle of an epoch, the weights are not those of the epoch before any more."""
    stopping = EarlyStopping("loss", patience=9)
    run = play({"loss": [2, 1]}, stopping, end=False)
    run.session.write_weights({"w": np.array([2.5])})
    stopping.on_fit_end(run)
    assert run.session.read_weights()["w"] == 2


def test_what_it_remembers_goes_through_a_checkpoint() -> None:
    first = EarlyStopping("loss", patience=3)
    play({"loss": [3, 1, 2]}, first, end=False)
    second = EarlyStopping("loss", patience=3)
    second.write_state(first.read_state())
    assert (second.best_value, second.best_epoch) == (1, 2)
    assert second.read_state().keys() == first.read_state().keys() == {"best_value", "best_epoch", "last_progress", "w"}


def test_the_last_progress_goes_through_a_checkpoint() -> None:
    before, after = (EarlyStopping("loss", patience=3, tol=1) for _ in range(2))
    play({"loss": [5, 4.5, 4.2]}, before)
    after.write_state(before.read_state())
    assert after.best_epoch == 3
    columns = {"loss": [5, 4.5, 4.2, 4.1, 4.0]}
    run = play(columns, after, history=History({"epoch": [1, 2, 3], **columns}), epoch=3)
    assert run.epoch == 4


def test_a_second_fit_begins_afresh() -> None:
    stopping = EarlyStopping("loss", patience=2)
    play({"loss": [1, 2, 3]}, stopping)
    assert play({"loss": [9, 8, 7, 6]}, stopping).stop_reason is None
    assert stopping.best_value == 6


def test_a_real_run_ends_with_the_weights_of_its_best_epoch() -> None:
    data, other = regression_rows(60), regression_rows(60, seed=5)
    kept = {}

    class Keep(Callback):
        def on_epoch_end(self, run: TrainingRun) -> None:
            kept[run.epoch] = bits_of(network)

    stopping = EarlyStopping(patience=5)
    network = network_of(
        DenseLayer(30, (5,)), TanhActivation(), DenseLayer(1), optimizer="adam", learning_rate=0.05, epochs=200
    )
    network.fit(data, validation=other, callbacks=[Keep(), stopping])
    assert stopping.best_epoch < network.history.n_epochs == stopping.best_epoch + 5
    assert stopping.best_epoch == 1 + int(np.argmin(network.history["validation_loss"]))
    assert bits_of(network) == kept[stopping.best_epoch]
    assert network.evaluate(other)["loss"] == pytest.approx(min(network.history["validation_loss"]))


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_the_weights_before_the_first_epoch_may_be_the_best(engine: str) -> None:
    rows = regression_rows()
    for rate, improves in ((0.01, True), (50.0, False)):
        model = network_of(DenseLayer(1), epochs=8, learning_rate=rate, optimizer="adam", seed=0, engine=engine)
        model.stack.build(rows.X.shape[1:])
        start = model.evaluate(rows)["loss"]
        stopping = EarlyStopping(patience=2, from_start=True)
        model.fit(rows, validation=rows, callbacks=[stopping])
        assert (stopping.best_epoch > 0) == improves
        assert model.evaluate(rows)["loss"] == pytest.approx(stopping.best_value)
        assert improves or stopping.best_value == pytest.approx(start)
        assert improves or model.history.n_epochs == 2
    with pytest.raises(InvalidInputError, match="from_start=True needs the monitor 'validation_loss'"):
        model.fit(rows, callbacks=[EarlyStopping(from_start=True)])


# What cannot be watched ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("monitor", "validation", "words"),
    [
        ("los", False, "Did you mean 'loss'"),
        ("acuracy", False, "Did you mean 'accuracy'"),
        ("validation_acuracy", True, "Did you mean 'validation_accuracy'"),
        ("validation_loss", False, "give fit a validation set"),
        ("val_loss", False, "give fit a validation set"),
        ("nothing like it", False, "Recorded are: loss, accuracy"),
    ],
)
@pytest.mark.parametrize("cls", [EarlyStopping, ReduceOnPlateau])
def test_an_unknown_quantity_is_refused_before_training(cls: Any, monitor: str, validation: bool, words: str) -> None:
    columns = {"loss": [1.0], "accuracy": [1.0]} | ({"validation_loss": [1.0]} if validation else {})
    with pytest.raises(InvalidInputError, match=words):
        play(columns, cls(monitor=monitor))


@pytest.mark.parametrize(
    ("elsewhere", "here", "values"),
    [
        ("val_loss", "validation_loss", [1.0, 0.5, 0.6, 0.7]),
        ("val_accuracy", "validation_accuracy", [0.1, 0.5, 0.4, 0.3]),
        ("acc", "accuracy", [0.1, 0.5, 0.4, 0.3]),
    ],
)
def test_a_quantity_may_go_by_the_name_that_other_libraries_use(elsewhere: str, here: str, values: list[float]) -> None:
    columns = {"loss": [1.0] * 4, "accuracy": [1.0] * 4, "validation_loss": [1.0] * 4} | {here: values}
    stopping = EarlyStopping(monitor=elsewhere, patience=2)
    play(columns, stopping)
    assert (stopping.best_epoch, stopping.best_value) == (2, 0.5)


def test_the_objective_can_be_watched() -> None:
    stopping = EarlyStopping("objective", patience=9)
    play({"loss": [3, 2, 1.5]}, stopping)
    assert (stopping.best_epoch, stopping.best_value) == (3, 1.5)
    network = network_of(DenseLayer(1, (5,)), epochs=3, l2=10.0, learning_rate=1e-3)
    network.fit(regression_rows(), callbacks=[stopping])
    assert stopping.best_value == min(network.history["objective"])
    assert network.history.last("objective") == network.history.last("loss") + network.history.last("penalty")


@pytest.mark.parametrize(
    "settings",
    [{"patience": 0}, {"patience": None}, {"min_delta": -1}, {"patience": None, "tolerance": 1, "window": 1},
     {"delta": NAN}, {"min_epochs": -1}, {"max_gap": -1}, {"tol": -1}],
)  # fmt: skip
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="EarlyStopping"):
        EarlyStopping(**settings)


# Lowering the rate --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "losses", "factors"),
    [
        ({"patience": 2, "factor": 0.5}, [5, 5, 5, 5, 5, 5], [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 2, "factor": 0.5}, [5, 5, 4, 4, 4, 3], [1, 1, 1, 1, 0.5, 0.5]),
        ({"patience": 1, "factor": 0.1, "min_factor": 0.05}, [5, 5, 5, 5], [1, 0.1, 0.05, 0.05]),
        ({"patience": 1, "factor": 0.5, "min_delta": 1}, [5, 4.5, 3.5, 3], [1, 0.5, 0.5, 0.25]),
        ({"patience": 1, "factor": 0.5}, [NAN, 3, 2, 2], [1, 1, 1, 0.5]),
        ({"patience": 2, "factor": 0.5, "min_delta": 0, "tol": 1}, [5, 4.5, 3.9, 3.5, 2.4], [1, 1, 0.5, 0.5, 0.5]),
    ],
)
def test_the_rate_is_lowered_on_a_plateau(settings: dict[str, Any], losses: list[float], factors: list[float]) -> None:
    seen = []

    class Look(Callback):
        def on_epoch_end(self, run: TrainingRun) -> None:
            seen.append(run.rate_factor)

    play({"loss": losses}, ReduceOnPlateau(**settings), Look())
    np.testing.assert_allclose(seen, factors)


@pytest.mark.parametrize("settings", [{}, {"cooldown": 3}, {"cooldown": 2, "relative": True, "min_delta": 0.06}])
def test_the_rate_is_lowered_where_pytorch_lowers_it(settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    losses = [5, 4, *(4.0 - 0.1 * i for i in range(8)), *[3.5] * 9, 3.2, 3.1, 3.1, 3.1, 3.1, 3.1]
    seen, expected = [], []

    class Look(Callback):
        def on_epoch_end(self, run: TrainingRun) -> None:
            seen.append(run.rate_factor)

    play({"loss": losses}, ReduceOnPlateau(patience=3, factor=0.5, **settings), Look())
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    mode = "rel" if settings.get("relative") else "abs"
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=2, threshold=settings.get("min_delta", 1e-4), threshold_mode=mode,
        cooldown=settings.get("cooldown", 0),
    )  # fmt: skip
    for loss in losses:
        scheduler.step(loss)
        expected.append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(seen, expected)
    assert seen[-1] < 0.5


def test_a_second_fit_is_no_plateau_of_the_first() -> None:
    plateau = ReduceOnPlateau(patience=2)
    play({"loss": [1, 1]}, plateau)
    assert play({"loss": [9, 8, 7]}, plateau).rate_factor == 1


def test_a_lower_rate_is_what_the_next_epoch_trains_with() -> None:
    network = network_of(DenseLayer(1, (5,)), learning_rate=1e-9, epochs=4)
    network.fit(regression_rows(), callbacks=[ReduceOnPlateau(patience=1, factor=0.5, min_delta=0.1)])
    np.testing.assert_allclose(network.history["learning_rate"], [1e-9, 1e-9, 5e-10, 2.5e-10])


def test_a_rate_that_is_lowest_already_stops_the_run() -> None:
    network = network_of(DenseLayer(1, (5,)), learning_rate=1e-9, epochs=9)
    plateau = ReduceOnPlateau(patience=1, factor=0.5, min_delta=0.1, lowest_rate=6e-10)
    network.fit(regression_rows(), callbacks=[plateau])
    np.testing.assert_allclose(network.history["learning_rate"], [1e-9, 1e-9, 5e-10])
    assert network.stop_reason == "loss has not improved for 1 epochs, at learning rate 5e-10"


@pytest.mark.parametrize(
    "settings",
    [
        {"factor": 1},
        {"factor": 0},
        {"patience": 0},
        {"cooldown": -1},
        {"relative": 3},
        {"tol": -1},
        {"lowest_rate": -1},
    ],
)
def test_impossible_plateaus_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="ReduceOnPlateau"):
        ReduceOnPlateau(**settings)
