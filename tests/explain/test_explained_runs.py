"""The explanations of a run: in its report, by ``chainrule explain``, and of its result."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chainrule.errors import ChainruleWarning, ModelFileError
from chainrule.explain import permutation_importance
from chainrule.runs import RunFolder, RunResult, TrainOptions, explain_run, load_result, train, train_run
from support.commands import chainrule

RNG = np.random.default_rng(0)
N = 300
TABLE = pd.DataFrame({"size": RNG.normal(100, 20, N), "town": RNG.choice(["Porto", "Faro"], N), "noise": RNG.random(N)})
TABLE["price"] = TABLE["size"] + 15 * (TABLE["town"] == "Porto")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    TABLE.to_csv(path / "houses.csv", index=False)
    return path


@pytest.fixture(scope="module")
def result(folder: Path) -> RunResult:
    options = {"target": "price", "preset": "plain", "epochs": 40, "learning_rate": 0.01, "seed": 1}
    return train_run(TrainOptions.of(folder / "houses.csv", **options, out=folder / "run"))


def test_the_report_has_the_cheap_explanations_by_itself(result: RunResult, folder: Path) -> None:
    page = result.report.html
    assert "Importance of the columns" in page
    assert page.count("Partial dependence on") == 2 * 3  # caption and label of each figure
    assert "Robustness" not in page
    assert load_result(folder / "run").report.html == page


def test_the_warnings_of_the_training_are_not_repeated(tmp_path: Path) -> None:
    rows = TABLE.assign(note=[f"the flat number {k} of this town" for k in range(len(TABLE))])
    with pytest.warns(ChainruleWarning, match="free text"):
        train(rows, "price", epochs=1, preset="plain", verbose=False, out=tmp_path / "run")
    load_result(tmp_path / "run", source=rows)  # a warning would be an error


def test_a_result_is_explained_by_its_test_rows(result: RunResult) -> None:
    X, y = result.test_rows
    assert list(X.columns) == ["size", "town", "noise"]
    np.testing.assert_allclose(X["size"].astype(float) + 15 * (X["town"] == "Porto"), y)
    found = permutation_importance(result)
    assert found.n_rows == 60
    assert found.score == pytest.approx(result.metrics["r2"])
    assert [found.columns[k] for k in found.order] == ["size", "town", "noise"]
    without = train(TABLE, "price", epochs=1, test_size=0, preset="plain", verbose=False)
    assert len(without.test_rows[0]) == without.data.training.n_rows
    digits = train("digits", epochs=1, preset="plain", verbose=False)
    assert permutation_importance(digits, columns=["x1"]).score == pytest.approx(digits.metrics["accuracy"])


def test_a_run_is_explained_from_its_folder(result: RunResult, folder: Path) -> None:
    loaded = load_result(folder / "run")
    assert loaded.metrics == pytest.approx(result.metrics)
    assert loaded.baselines == result.baselines
    assert loaded.stop_reason == result.stop_reason
    assert loaded.verdict == result.verdict
    explained = explain_run(folder / "run", metric="mae", columns=["town"])
    found = explained.explanations
    assert found is not None
    assert found.importance is not None
    assert found.importance.metric == "mean_absolute_error"
    assert [one.column for one in found.dependences] == ["town"]
    page = RunFolder(folder / "run").report.read_text(encoding="utf-8")
    for part in ("Importance", "Predictions by column", "Contributions", "Sensitivity", "Robustness"):
        assert f"<h2>{part}" in page
    assert "Partial dependence on town" in page


def test_the_command_prints_the_importance_and_writes_the_report(result: RunResult, folder: Path) -> None:
    done = chainrule("explain", folder / "run", "--rows", 50, "--column", "noise")
    assert done.exit_code == 0, done.output
    names = re.findall(r"^(\w+) +[-\d.e]+ +[-\d.e]+ *$", done.stdout, flags=re.M)
    assert names == ["size", "town", "noise"]
    assert "on 50 rows" in done.stdout
    assert f"The explanations are in {folder / 'run' / 'report.html'}" in done.stdout
    code = chainrule("explain", folder / "run", "--rows", 50, "--column", "noise", "--show-code").stdout
    assert f"explain_run('{folder / 'run'}', columns=['noise'], max_rows=50)" in code.replace('"', "'")
    exec(compile(code, "shown code", "exec"), {})
    wrong = chainrule("explain", folder / "run", "--metric", "accuracy")
    assert wrong.exit_code == 2
    assert "The metric accuracy is for classes, and the model predicts numbers; give one of mean_squ" in wrong.stderr
    wrong = chainrule("explain", folder / "run", "--column", "sice")
    assert (wrong.exit_code, "Did you mean 'size'?" in wrong.stderr) == (2, True)


def test_only_finished_runs_with_the_same_data_are_explained(folder: Path) -> None:
    table = folder / "few.csv"
    TABLE[:60].to_csv(table, index=False)
    run = train_run(TrainOptions.of(table, target="price", preset="plain", epochs=1, out=folder / "few"))
    assert run.folder is not None
    TABLE[:59].to_csv(table, index=False)
    with pytest.raises(ModelFileError, match="has changed since the start"):
        load_result(run.folder)
    record = RunFolder(run.folder).read_record()
    RunFolder(run.folder).write_record({**record, "status": "interrupted"})
    with pytest.raises(ModelFileError, match="is not finished; finish it with"):
        explain_run(run.folder)
