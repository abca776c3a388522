"""Temperatures and intervals from held-out rows, in predictions, files and exports."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit, softmax
from sklearn.metrics import log_loss

from chainrule import MLPRegressor
from chainrule.activations import SigmoidActivation, SoftmaxActivation
from chainrule.architecture import build_network
from chainrule.calibration import Calibration, fit_temperature, temper
from chainrule.callbacks import Callback
from chainrule.data import Dataset, Target
from chainrule.errors import InvalidInputError, ModelFileError
from chainrule.export.torch_program import build_torch_program, torch_inputs
from chainrule.files import read_model_file, write_model_file
from chainrule.layers import DenseLayer
from chainrule.losses import GaussianNegativeLogLikelihood, MultiQuantile
from chainrule.losses.base import Band
from chainrule.model import Model, TargetScaling
from chainrule.runs import TrainOptions, code_for_training, predict, train, train_run
from chainrule.types import Array
from support.commands import chainrule
from support.exported import check_numbers
from support.networks import network_of
from support.onnx_runs import assert_predicts_alike

pytestmark = pytest.mark.usefixtures("without_figures")

ROWS = np.random.default_rng(3).normal(size=(60, 4)).astype(np.float32)


def tempered_model(n_classes: int, temperature: float = 2.5) -> Model:
    last = (DenseLayer(1, (4,)), SigmoidActivation()) if n_classes == 2 else (DenseLayer(3, (4,)), SoftmaxActivation())
    target = Target("binary", ("no", "yes")) if n_classes == 2 else Target("multiclass", ("a", "b", "c"))
    network = network_of(*last, loss="binary_cross_entropy" if n_classes == 2 else "categorical_cross_entropy")
    network.layers[0].weights = 4 * network.layers[0].weights
    return Model(network, target, calibration=Calibration(60, temperature))


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_temperature_divides_the_logits(temperature: float) -> None:
    z = np.random.default_rng(0).normal(scale=4, size=(50, 3))
    np.testing.assert_allclose(temper(softmax(z, axis=1), temperature), softmax(z / temperature, axis=1), rtol=1e-10)
    p = temper(expit(z[:, :1]), temperature)
    np.testing.assert_allclose(p, expit(z[:, :1] / temperature), rtol=1e-9)
    certain = temper(np.array([[1.0], [0.0]]), 2.0)
    assert 0.999 < certain[0, 0] < 1
    assert 0 < certain[1, 0] < 0.001


def test_a_temperature_keeps_the_order_of_small_probabilities() -> None:
    small = np.array([[1e-20], [1e-12], [1e-9], [1e-7]])
    np.testing.assert_allclose(temper(small, 4.0)[:, 0], 1 / (1 + small[:, 0] ** -0.25), rtol=1e-3)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_temperature_minimises_the_log_loss_of_held_out_rows(n_classes: int) -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(scale=2, size=(3_000, n_classes))
    y = np.array([rng.choice(n_classes, p=softmax(row)) for row in z])
    too_sure = softmax(3 * z, axis=1)
    given = too_sure[:, 1:] if n_classes == 2 else too_sure
    found = fit_temperature(given, y)
    assert found == pytest.approx(3, rel=0.1)
    losses = [log_loss(y, softmax(3 * z / t, axis=1)) for t in (found * 0.95, found, found * 1.05)]
    assert losses[1] == min(losses)
    weights = np.where(rng.random(len(y)) < 0.5, 0.0, 1.0)
    kept = weights > 0
    assert fit_temperature(given, y, weights) == pytest.approx(fit_temperature(given[kept], y[kept]), rel=0.01)


def test_few_rows_that_are_all_right_give_no_extreme_temperature() -> None:
    assert 0.5 < fit_temperature(np.array([[0.1], [0.9], [0.8]]), np.array([0, 1, 1])) < 1


@pytest.mark.parametrize("n_classes", [2, 3])
def test_files_and_exports_have_the_temperature(n_classes: int, tmp_path: Path) -> None:
    model = tempered_model(n_classes)
    bare = Model(model.network, model.target)
    p = bare.outputs(ROWS).astype(np.float64)
    expected = expit(logit(p) / 2.5) if n_classes == 2 else softmax(np.log(p) / 2.5, axis=1)
    np.testing.assert_allclose(model.outputs(ROWS), expected, rtol=1e-6)
    assert model.predict(ROWS).tolist() == bare.predict(ROWS).tolist()
    model.save(tmp_path / "model.safetensors")
    assert np.array_equal(Model.load(tmp_path / "model.safetensors").predict_proba(ROWS), model.predict_proba(ROWS))
    tolerance = 1e-4 if n_classes == 2 else 1e-6  # near 1, float32 has few digits of the distance from 1
    for to in ("c", "js"):
        check_numbers(to, model, ROWS, tmp_path, tolerance)
    assert_predicts_alike(model, ROWS, tolerance)
    probabilities = build_torch_program(model).module()(torch_inputs(model, ROWS))["probabilities"]
    np.testing.assert_allclose(probabilities, model.predict_proba(ROWS), atol=tolerance)


@pytest.mark.parametrize(("n_rows", "alpha", "rank"), [(9, 0.1, 9), (99, 0.1, 90), (100, 0.1, 91), (20, 0.5, 11)])
def test_the_margin_is_the_quantile_of_split_conformal_prediction(n_rows: int, alpha: float, rank: int) -> None:
    errors = np.random.default_rng(0).normal(size=(n_rows, 1))
    predicted = np.linspace(-3, 3, n_rows)[:, None]
    calibration = Calibration.of_numbers(predicted + errors, Band(predicted, predicted, np.ones_like(predicted)))
    (margin,) = np.sort(np.abs(errors), axis=0)[rank - 1]
    lower, upper = calibration.interval(Band(*np.array([[[5.0]], [[5.0]], [[1.0]]])), alpha)
    assert (lower[0, 0], upper[0, 0]) == pytest.approx((5 - margin, 5 + margin))


def test_scores_of_many_rows_keep_their_quantiles() -> None:
    errors = np.random.default_rng(0).normal(size=(20_000, 2))
    kept = Calibration.of_numbers(errors, Band(0 * errors, 0 * errors, 1 + 0 * errors))
    assert [len(column) for column in kept.scores] == [999, 999]
    for alpha in (0.5, 0.1, 0.01):
        margin = kept.interval(Band(np.zeros((1, 2)), np.zeros((1, 2)), np.ones((1, 2))), alpha)[1, 0]
        np.testing.assert_allclose(margin, np.quantile(np.abs(errors), 1 - alpha, axis=0), rtol=0.01)


def noisy_lines(n_rows: int, seed: int) -> tuple[Array, Array]:
    """Rows with noise that grows from 0.1 to 2.1 with x."""
    rng = np.random.default_rng(seed)
    x = rng.random((n_rows, 1))
    return x, 100 + 20 * x[:, 0] + (0.1 + 2 * x[:, 0]) * rng.normal(size=n_rows)


@pytest.mark.parametrize("loss", ["mean_squared_error", "gaussian_nll", "multi_quantile:quantiles=(0.1,0.5,0.9)"])
def test_intervals_cover_the_share_that_is_asked_for(loss: str, tmp_path: Path) -> None:
    (X, y), (X_held_out, y_held_out), (X_test, y_test) = (
        noisy_lines(n, seed) for seed, n in enumerate((400, 800, 4_000))
    )
    target, scaling = Target("regression"), TargetScaling.learn(y)
    network = build_network(1, target, hidden=(16,), loss=loss, epochs=60, learning_rate=0.01, batch_size=32, seed=0)
    network.fit(Dataset(X, scaling.apply(y), target=target))
    model = Model(network, target, scaling=scaling).calibrated(X_held_out, y_held_out)
    model.save(tmp_path / "model.safetensors")
    model = Model.load(tmp_path / "model.safetensors")
    for alpha in (0.1, 0.3):
        lower, upper = model.predict_interval(X_test, alpha).T
        assert np.mean((lower <= y_test) & (y_test <= upper)) == pytest.approx(1 - alpha, abs=0.03)
    widths = [np.mean((upper - lower)[(X_test[:, 0] > low) & (X_test[:, 0] < low + 0.2)]) for low in (0, 0.8)]
    assert (widths[1] > 2 * widths[0]) == (loss != "mean_squared_error")


def test_quantiles_do_not_cross_and_are_in_the_units_of_the_target() -> None:
    loss = MultiQuantile((0.1, 0.4, 0.9))
    assert MultiQuantile(np.array([0.1, 0.4, 0.9])) == loss
    network = network_of(DenseLayer(6, (4,)), loss=loss)
    model = Model(network, Target("regression", n_columns=2), scaling=TargetScaling((5.0, 0.0), (10.0, 1.0)))
    middle, above, below = np.split(network.predict(ROWS).astype(np.float64), 3, axis=1)
    expected = np.stack([middle - np.log1p(np.exp(below)), middle, middle + np.log1p(np.exp(above))], axis=2)
    expected[:, 0] = 5 + 10 * expected[:, 0]
    np.testing.assert_allclose(model.predict_quantiles(ROWS), expected, rtol=1e-6)
    np.testing.assert_allclose(model.predict(ROWS), expected[..., 1], rtol=1e-6)
    assert (np.diff(model.predict_quantiles(ROWS), axis=2) > 0).all()


def test_a_scale_of_the_loss_widens_intervals() -> None:
    network = network_of(DenseLayer(2, (4,)), loss=GaussianNegativeLogLikelihood())
    model = Model(network, Target("regression"), calibration=Calibration(9, scores=(tuple(np.arange(9.0)),)))
    mean, log_variance = network.predict(ROWS).astype(np.float64).T
    expected = np.stack([mean - 8 * np.exp(log_variance / 2), mean + 8 * np.exp(log_variance / 2)], axis=1)
    np.testing.assert_allclose(model.predict_interval(ROWS, 0.1), expected, rtol=1e-5)


def test_limits_of_counts_are_not_negative_and_grow_with_the_rate() -> None:
    network = network_of(DenseLayer(1, (4,)), loss="poisson")
    model = Model(network, Target("regression"), calibration=Calibration(9, scores=(tuple(np.linspace(-1, 2, 9)),)))
    rates = np.exp(network.predict(ROWS).astype(np.float64))
    expected = np.hstack([np.maximum(rates - 2 * np.sqrt(rates), 0), rates + 2 * np.sqrt(rates)])
    np.testing.assert_allclose(model.predict_interval(ROWS, 0.1), expected, rtol=1e-5)
    assert (expected[:, 0] == 0).any()
    assert (expected[:, 0] > 0).any()


def test_what_cannot_be_given_is_said_in_one_sentence() -> None:
    numbers, classes = Model(network_of(DenseLayer(1, (4,))), Target("regression")), tempered_model(2)
    with pytest.raises(InvalidInputError, match=r"trained without held-out rows.*--validation-size"):
        numbers.predict_interval(ROWS)
    with pytest.raises(InvalidInputError, match=r"predicts classes.* leave out the interval"):
        classes.predict_interval(ROWS)
    with pytest.raises(InvalidInputError, match="predicts no quantiles"):
        numbers.predict_quantiles(ROWS)
    with pytest.raises(InvalidInputError, match="not probabilities"):
        Model(network_of(DenseLayer(1, (4,)), loss="hinge"), classes.target).calibrated(ROWS, ["no", "yes"] * 30)
    calibrated = numbers.calibrated(ROWS, ROWS[:, 0])
    with pytest.raises(InvalidInputError, match=r"the smallest alpha for 60 held-out rows is 0\.0164"):
        calibrated.predict_interval(ROWS, 0.01)
    assert np.isfinite(calibrated.predict_interval(ROWS, 0.0164)).all()
    for alpha in (0, 1, math.nan, "a"):
        with pytest.raises(InvalidInputError, match="alpha is"):
            calibrated.predict_interval(ROWS, alpha)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "damage",
    [
        {"temperature": 0}, {"temperature": "2"}, {"temperature": 1e300}, {"n_rows": -1}, {"scores": [[2.0, 1.0]]},
        {"scores": [["a"]]}, {"scores": [[1.0], [1.0]]}, {"scores": []}, {"scores": [[0.0] * 1_000]}, {"scores": None},
    ],
)  # fmt: skip
def test_a_damaged_calibration_is_refused(damage: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    Model(network_of(DenseLayer(1, (4,))), Target("regression")).calibrated(ROWS, ROWS[:, 0]).save(path)
    metadata, arrays = read_model_file(path, "model")
    metadata["calibration"] |= damage
    write_model_file(path, "model", metadata, arrays)
    with pytest.raises(ModelFileError, match="damaged"):
        Model.load(path)


@pytest.mark.parametrize("preset", ["plain", "tabular"])
def test_a_run_has_intervals_from_its_held_out_rows(preset: Any, tmp_path: Path) -> None:
    x, y = noisy_lines(300, seed=5)
    table, run = tmp_path / "rows.csv", tmp_path / "run"
    pd.DataFrame({"x": x[:, 0], "y": y}).to_csv(table, index=False)
    validation_size = 0.2 if preset == "plain" else None
    options = TrainOptions(table, "y", preset=preset, epochs=3, validation_size=validation_size, out=run)
    model = train_run(options).model
    assert model.calibration is not None
    assert model.calibration.n_rows == (240 if preset == "tabular" else 48)
    done = chainrule("predict", run, table, "--interval", "0.2")
    assert done.exit_code == 0, done.output
    found = pd.read_csv(io.StringIO(done.stdout))
    assert list(found) == ["prediction", "lower", "upper"]
    np.testing.assert_allclose(
        found[["lower", "upper"]], predict(run, table, interval=0.2)[["lower", "upper"]], rtol=1e-6
    )
    assert np.mean((found["lower"] <= y) & (y <= found["upper"])) == pytest.approx(0.8, abs=0.15)
    assert "interval=0.2" in chainrule("predict", run, table, "--interval", "0.2", "--show-code").stdout
    names: dict[str, Any] = {}
    exec(code_for_training(options).replace("model.safetensors", str(tmp_path / "model.safetensors")), names)
    assert names["model"].calibration == model.calibration
    assert "The file does not compute intervals" in chainrule("export", run, "--to", "c").stdout


@pytest.mark.figures
def test_runs_with_few_held_out_rows_have_no_intervals_in_their_report(tmp_path: Path) -> None:
    x = np.arange(10.0)
    result = train(
        pd.DataFrame({"x": x, "y": 2 * x}), "y", task="regression", verbose=False, epochs=2, out=tmp_path / "run"
    )
    assert (tmp_path / "run" / "report.html").exists()
    with pytest.raises(InvalidInputError, match="the smallest alpha for"):
        result.model.predict_interval(pd.DataFrame({"x": x}))


def test_a_model_is_calibrated_by_its_own_rows_also_during_the_next_fit() -> None:
    class Look(Callback):
        def on_epoch_end(self, run: Any) -> None:
            seen.append(estimator.model_.calibration)

    seen: list[Any] = []
    inputs = np.random.default_rng(0).normal(size=(60, 2))
    estimator = MLPRegressor(
        hidden_layer_sizes=(4,), early_stopping=True, callbacks=[Look()], tol=10, n_iter_no_change=2, random_state=0
    )
    estimator.fit(inputs, inputs[:, 0])
    assert estimator.fit(inputs, inputs).calibration_ is not None
    assert set(seen) == {None}


def test_a_run_calibrates_probabilities_on_request(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    frame = pd.DataFrame({"x": x, "y": np.where(x + rng.normal(size=300) > 0, "yes", "no")})
    numbers = frame.assign(y=x + rng.normal(size=300))
    settings: dict[str, Any] = {"preset": "plain", "epochs": 100, "validation_size": 0.3, "learning_rate": 0.1}
    plain = train(frame, "y", verbose=False, **settings).model
    tempered = train(frame, "y", verbose=False, calibrate=True, **settings).model
    assert plain.calibration is None
    assert tempered.temperature != pytest.approx(1, abs=0.1)
    given = frame.drop(columns="y")
    np.testing.assert_allclose(
        tempered.outputs(given), expit(logit(plain.outputs(given).astype(np.float64)) / tempered.temperature), rtol=1e-4
    )
    with pytest.raises(InvalidInputError, match="calibrate needs a target of classes"):
        train(numbers, "y", verbose=False, calibrate=True, **settings)
    with pytest.raises(InvalidInputError, match="calibrate needs validation rows"):
        train(frame, "y", verbose=False, calibrate=True, preset="plain", epochs=1)
