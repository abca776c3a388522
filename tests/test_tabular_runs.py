"""Runs with preset="tabular"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import PoissonRegressor

from chainrule import train
from chainrule.callbacks import Callback, TrainingRun
from chainrule.errors import InvalidInputError
from chainrule.layers import DenseLayer, EnsembleDenseLayer, EnsembleMeanLayer
from chainrule.losses import LOSSES
from chainrule.runs import TrainOptions, code_for_training, load_run, predict, prepare_data, resume_run, train_run
from chainrule.runs.fitting import Fitting, plan_fitting
from chainrule.runs.running import RunInterrupted
from support.exported import check_numbers

pytestmark = pytest.mark.usefixtures("without_figures")

RNG = np.random.default_rng(0)
N = 150
TABLE = pd.DataFrame(
    {
        "size": RNG.normal(100, 20, N),
        "town": RNG.choice(["Porto", "Faro", "Braga"], N),
        "age": RNG.integers(0, 90, N),
    }
)
TABLE["price"] = 1000 * TABLE["size"] + 2e4 * (TABLE["town"] == "Porto") - 100 * (TABLE["age"] - 40) ** 2 / 10
TABLE["sold"] = np.where(RNG.random(N) < 1 / (1 + np.exp((TABLE["price"] - 1e5) / 1e4)), "yes", "no")
SMALL: dict[str, Any] = {"preset": "tabular", "hidden": (8,), "epochs": 4, "verbose": False}


@pytest.mark.figures
def test_all_rows_but_those_of_the_test_train() -> None:
    result = train(TABLE.drop(columns="sold"), "price", epochs=30, verbose=False)
    assert result.data.validation is None
    assert (result.data.training.n_rows, result.data.test.n_rows) == (120, 30)
    assert result.metrics["r2"] > 0.9
    assert {"loss", "validation_loss", "r2", "validation_r2"} <= set(result.history)
    assert result.model.scaling is not None
    assert result.metrics["r2"] >= max(one.metrics["r2"] for one in result.baselines) - 0.05
    assert "ensemble of 24 networks" in result.report._repr_html_()


@pytest.mark.parametrize("target", ["price", "sold"])
def test_a_run_is_resumed_with_the_same_bits(target: str, tmp_path: Path) -> None:
    path = tmp_path / "houses.csv"
    TABLE.to_csv(path, index=False)
    options = {"target": target, "preset": "tabular", "hidden": (8,), "epochs": 4, "checkpoint_every": 1}
    whole = train_run(TrainOptions.of(path, **options, out=tmp_path / "whole"))

    class Stop(Callback):
        def on_epoch_end(self, run: TrainingRun) -> None:
            if run.epoch == 2:
                run.interrupt("for the test")

    with pytest.raises(RunInterrupted):
        train_run(TrainOptions.of(path, **options, out=tmp_path / "run"), callbacks=[Stop()])
    resumed = resume_run(tmp_path / "run")
    assert resumed.history["loss"] == whole.history["loss"]
    bytes_of = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "run")]
    assert bytes_of[0] == bytes_of[1]
    model = load_run(tmp_path / "run")
    assert len(predict(model, path)) == N
    inputs = model.inputs(TABLE)[:10]
    check_numbers("c", model.network, inputs, tmp_path, 1e-5)
    longer = resume_run(tmp_path / "run", epochs=6)
    assert longer.history.n_epochs == 6


def test_the_rows_of_a_group_are_in_one_fold() -> None:
    table = TABLE.assign(agent=RNG.integers(0, 12, N)).drop(columns="sold")
    options = TrainOptions.of(table, target="price", preset="tabular", group="agent", hidden=(4,), epochs=1)
    data = prepare_data(options.source, **options.data_settings())
    assert data.training.groups is not None
    weights = plan_fitting(options, data).training.sample_weight
    for group in np.unique(data.training.groups):
        assert len(np.unique(weights[data.training.groups == group], axis=0)) == 1


def test_options_replace_the_preset() -> None:
    result = train(
        TABLE, "sold", preset="tabular", hidden=(9, 7), activation="tanh", epochs=3, batch_size=20, optimizer="sgd",
        learning_rate=0.5, schedule="constant_rate", patience=2, early_stopping=True, class_weight="balanced",
        batch_normalization=False, verbose=False,
    )  # fmt: skip
    network = result.model.network
    assert (network.batch_size, network.learning_rate, network.epochs) == (20, 0.5, 3)
    assert type(network.optimizer).__name__ == "SGD"


def planned(table: Any, target: str, **options: Any) -> Fitting:
    """Return what is trained on a table, without training it."""
    given = TrainOptions.of(table, target=target, **options)
    return plan_fitting(given, prepare_data(given.source, **given.data_settings()))


def test_options_count_where_they_equal_the_defaults_of_one_network() -> None:
    def kinds_and_units(**options: Any) -> tuple[str, set[str], set[int]]:
        network = planned(TABLE, "sold", **options).network
        layers = list(network.layers[1].walk())
        units = {layer.n_units for layer in layers if isinstance(layer, EnsembleDenseLayer)} - {1}
        return type(network.optimizer).__name__, {type(layer).__name__ for layer in layers}, units

    optimizer, kinds, units = kinds_and_units()
    assert (optimizer, units) == ("AdamW", {64})
    assert {"SELUActivation", "DropoutLayer"} <= kinds
    given = {"hidden": (64, 32), "activation": "relu", "dropout": 0.0, "optimizer": "adam"}
    optimizer, kinds, units = kinds_and_units(**given)
    assert (optimizer, units) == ("Adam", {64, 32})
    assert not {"SELUActivation", "DropoutLayer"} & kinds


def test_records_without_a_preset_are_runs_of_one_network() -> None:
    old = {"hidden": [64, 32], "activation": "relu", "dropout": 0.0, "optimizer": "adam"}
    record = TrainOptions("iris").to_dict() | old
    del record["preset"]
    data = prepare_data("iris")
    network = plan_fitting(TrainOptions.from_dict(record), data).network
    assert [layer.n_units for layer in network.layers if isinstance(layer, DenseLayer)] == [64, 32, 3]


@pytest.mark.parametrize("loss", ["poisson", "mean_squared_error"])
def test_counts_start_from_the_linear_model_with_the_same_loss(loss: str) -> None:
    x = np.linspace(-2, 2, 200)
    table = pd.DataFrame({"x": x, "y": np.random.default_rng(1).poisson(np.exp(4 + x))})
    options = {"loss": "poisson"} if loss == "poisson" else {"output_activation": "relu"}
    fitting = planned(table, "y", task="regression", test_size=0, **options)
    assert fitting.explanation.startswith(f"Training starts from a linear model with the loss {loss}")
    started = fitting.network.predict(fitting.training.X)[:, 0]
    if loss == "poisson":
        inputs = fitting.network.layers[0].forward_propagation(fitting.training.X)
        known = PoissonRegressor(alpha=1 / 200, max_iter=1000).fit(inputs, table["y"]).predict(inputs)
        np.testing.assert_allclose(np.exp(started), known, rtol=0.1)  # the members are fitted without their folds
    else:
        assert started.min() == 0
    assert np.corrcoef(np.exp(started) if loss == "poisson" else started, table["y"])[0, 1] > 0.85
    result = train(table, "y", task="regression", epochs=20, verbose=False, **options)
    assert result.metrics["r2"] > 0.85


def test_every_loss_that_suits_the_target_has_an_ensemble_and_the_others_are_refused() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=24)
    targets = {"count": rng.poisson(np.exp(1 + x)), "kind": list("uvw") * 8, "sign": list("+-") * 12}
    suited: dict[str, set[str]] = {name: set() for name in targets}
    for loss in LOSSES.classes:
        for target, y in targets.items():
            task = "regression" if target == "count" else None
            table = pd.DataFrame({"x": x, target: y})
            try:
                fitting = planned(table, target, task=task, loss=loss, test_size=0, hidden=())
            except InvalidInputError as error:
                assert f"The loss {loss} does not suit" in str(error)  # noqa: PT017
                continue
            suited[target].add(loss)
            assert np.isfinite(fitting.network.predict(fitting.training.X)).all()
    assert suited["count"] == {name for name, one in LOSSES.classes.items() if one.is_regression} - {
        "cosine_similarity"
    }
    assert suited["kind"] | suited["sign"] == {name for name, one in LOSSES.classes.items() if one.for_classes}
    assert not suited["kind"] & {"binary_cross_entropy", "multi_label_cross_entropy"}
    assert not suited["sign"] & {"categorical_cross_entropy", "kl_divergence", "multi_margin"}


def odd_tables() -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    rng = np.random.default_rng(0)
    numbers = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"])
    text = pd.DataFrame({"c": rng.choice(["u", "v", "w"], 40), "y": rng.choice(["no", "yes"], 40)})
    classes = ["p"] * 25 + ["q"] * 14 + ["r"]
    return {
        "two rows": (pd.DataFrame({"a": [1.0, 2.0], "y": [1.5, 2.5]}), {"task": "regression"}),
        "nine rows": (numbers[:9].assign(y=list("ppqqppqqp")), {}),
        "a class with one row": (numbers.assign(y=classes), {"split": "random"}),
        "constant target": (numbers.assign(y=5.0), {"task": "regression"}),
        "one column of text": (text, {}),
        "more columns than rows": (pd.DataFrame(rng.normal(size=(20, 60))).assign(y=rng.normal(size=20)), {}),
        "one group in training": (numbers.assign(g=np.repeat([0, 1], 20), y=rng.normal(size=40)), {"group": "g"}),
        "the latest rows": (numbers.assign(y=rng.normal(size=40)), {"time": "a"}),
        "l-bfgs": (numbers.assign(y=rng.normal(size=40)), {"optimizer": "lbfgs"}),
    }


@pytest.mark.parametrize("name", odd_tables())
def test_odd_tables_are_trained(name: str) -> None:
    table, options = odd_tables()[name]
    result = train(table, "y", hidden=(4,), epochs=1, verbose=False, **options)
    assert type(result.model.network.layers[-1]) is EnsembleMeanLayer
    assert np.isfinite(result.model.outputs(result.data.test)).all()
    assert len(result.model.predict(table)) == len(table)


@pytest.mark.parametrize(
    "options",
    [
        {"validation_size": 0.1},
        {"monitor": "loss"},
        {"batch_normalization": True},
        {"optimizer": "levenberg_marquardt", "epochs": 1},
    ],
)
def test_options_of_single_networks_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot be combined with preset='tabular'.*give preset='plain'"):
        train(TABLE, "sold", verbose=False, **options)
    with pytest.raises(InvalidInputError, match="preset"):
        train(TABLE, "sold", **{**SMALL, "preset": "images"})


def test_the_printed_program_trains_the_same_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    TABLE.to_csv("houses.csv", index=False)
    options = TrainOptions.of("houses.csv", target="price", preset="tabular", hidden=(8,), epochs=3, clip_norm=1.0)
    made: dict[str, Any] = {}
    exec(code_for_training(options), made)
    result = train_run(options)
    np.testing.assert_array_equal(made["model"].predict(TABLE), result.model.predict(TABLE))


def test_other_sources_have_one_network(tmp_path: Path) -> None:
    TABLE.drop(columns="sold").to_parquet(tmp_path / "a.parquet")
    TABLE.drop(columns="sold").to_parquet(tmp_path / "b.parquet")
    paths = (tmp_path / "a.parquet", tmp_path / "b.parquet")
    streamed = train(paths, "price", hidden=(8,), epochs=2, verbose=False)
    assert len(streamed.model.network.layers) == 3
