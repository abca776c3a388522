"""Runs with preset="tabular"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule import train
from chainrule.callbacks import Callback, TrainingRun
from chainrule.errors import InvalidInputError
from chainrule.runs import TrainOptions, code_for_training, load_run, predict, prepare_data, resume_run, train_run
from chainrule.runs.fitting import plan_fitting
from chainrule.runs.running import RunInterrupted
from support.exported import check_numbers

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


def test_all_rows_but_those_of_the_test_train() -> None:
    result = train(TABLE.drop(columns="sold"), "price", preset="tabular", epochs=30, verbose=False)
    assert result.data.validation is None
    assert (result.data.training.n_rows, result.data.test.n_rows) == (120, 30)
    assert result.metrics["r2"] > 0.9
    assert {"loss", "validation_loss", "r2", "validation_r2"} <= set(result.history)
    assert result.model.scaling is not None
    assert result.metrics["r2"] >= max(one.metrics["r2"] for one in result.baselines) - 0.05
    assert "ensemble of 24 members" in result.report._repr_html_()


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
    default = train(TABLE, "sold", preset="tabular", epochs=1, verbose=False).model.network
    assert type(default.optimizer).__name__ == "AdamW"


@pytest.mark.parametrize("options", [{"validation_size": 0.1}, {"monitor": "loss"}])
def test_options_of_single_networks_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="cannot be combined with preset='tabular'"):
        train(TABLE, "sold", **{**SMALL, **options})
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
    streamed = train(paths, "price", preset="tabular", hidden=(8,), epochs=2, verbose=False)
    assert len(streamed.model.network.layers) == 3
