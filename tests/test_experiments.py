"""Comparisons over seeds and folds, and the choice of hyper-parameters."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from typer.testing import CliRunner

from chainrule import Callback, Dataset, EarlyStopping, MLPClassifier, NeuralNetwork, build_network, load_dataset, train
from chainrule.cli.app import app
from chainrule.errors import DataError, InvalidInputError
from chainrule.experiments import Comparison, Configuration, Run, compare, compare_training, tune_hyperparameters
from chainrule.experiments.results_file import ResultsFile
from chainrule.history import History
from chainrule.metrics import find_metric

QUIET: dict[str, Any] = {"verbose": False, "n_jobs": 1}


@pytest.fixture(scope="module")
def iris() -> Dataset:
    return load_dataset("iris").standardize()


def network(data: Dataset, units: int = 8, **settings: Any) -> NeuralNetwork:
    return build_network(data.n_features, data.target, hidden=(units,), epochs=4, **settings)


def made(scores: dict[str, list[float]], test_share: float = 0.0, metric: str = "accuracy") -> Comparison:
    runs = [
        Run(name, seed, 0, {} if np.isnan(value) else {metric: value}, History(), 1.0, "NaN" if np.isnan(value) else "")
        for name, values in scores.items()
        for seed, value in enumerate(values)
    ]
    return Comparison(tuple(runs), (find_metric(metric),), test_share)


def test_each_seed_trains_the_network_of_that_seed_on_its_own_division(iris: Dataset) -> None:
    result = compare({"small": network(iris)}, iris, seeds=[3, 7], **QUIET)
    for run in result.runs:
        train, test = iris.split(0.2, seed=run.seed)
        alone = network(train, seed=run.seed).fit(train)
        assert run.scores["accuracy"] == alone.evaluate(test)["accuracy"]
        assert run.history["loss"] == alone.history["loss"]


def test_processes_give_the_numbers_of_one_process(iris: Dataset) -> None:
    def small(seed: int) -> NeuralNetwork:
        return build_network(4, iris.target, hidden=(4,), epochs=3, seed=seed)

    models = {"network": network(iris), "function": small, "linear": LinearSVC()}
    alone = compare(models, iris, seeds=2, **QUIET)
    parallel = compare(models, iris, seeds=2, n_jobs=2, verbose=False)
    assert [run.scores for run in parallel.runs] == [run.scores for run in alone.runs]
    assert [run.history.get("loss") for run in parallel.runs] == [run.history.get("loss") for run in alone.runs]


def test_finished_runs_are_not_repeated(iris: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = {
        "a": network(iris),
        "b": Configuration(network(iris), {"callbacks": [EarlyStopping()], "validation": 0.2}),
    }
    first = compare(models, iris, seeds=2, folder=tmp_path, n_jobs=1)
    assert len(capsys.readouterr().out.splitlines()) == 4
    more = compare(models | {"c": network(iris, 3)}, iris, seeds=3, folder=tmp_path, n_jobs=1)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("4 of 9 runs")
    assert len(printed) == 1 + 5
    assert [run.scores for run in more.runs if run.seed < 2 and run.configuration != "c"] == [
        run.scores for run in first.runs
    ]
    compare({"a": network(iris, learning_rate=0.1)}, iris, seeds=1, folder=tmp_path, n_jobs=1)  # other settings
    compare({"a": network(iris)}, iris.take(slice(20, None)), seeds=1, folder=tmp_path, n_jobs=1)  # other rows
    assert "runs are in" not in capsys.readouterr().out
    (tmp_path / "runs.json").write_text('{"key": {"seed": 1}}')
    with pytest.raises(InvalidInputError, match="does not contain the results"):
        compare(models, iris, folder=tmp_path, **QUIET)


def test_folds_test_every_row_once_and_keep_groups_together() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 12, 60)
    data = Dataset(rng.normal(size=(60, 3)), rng.normal(size=60), groups=groups)
    seen: list[np.ndarray] = []

    class Recorder(LogisticRegression):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            seen.append(X)
            return self

        def predict(self, X: Any) -> Any:
            seen.append(X)
            return np.zeros(len(X))

    result = compare({"none": Recorder()}, data, seeds=1, cv=4, **QUIET)
    assert len(result.runs) == 4
    assert [run.fold for run in result.runs] == [0, 1, 2, 3]
    assert sorted(map(tuple, np.vstack(seen[1::2]))) == sorted(map(tuple, data.X))
    of_row = {tuple(row): group for row, group in zip(data.X, groups, strict=True)}
    for trained, tested in zip(seen[::2], seen[1::2], strict=True):
        assert not {of_row[tuple(row)] for row in trained} & {of_row[tuple(row)] for row in tested}


def test_columns_are_standardised_by_the_training_rows(iris: Dataset) -> None:
    raw = load_dataset("iris")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    result = compare({"by hand": pipeline}, raw, seeds=2, **QUIET)
    assert compare({"here": LogisticRegression()}, raw, seeds=2, standardize=True, **QUIET).runs[1].scores[
        "log_loss"
    ] == pytest.approx(result.runs[1].scores["log_loss"])


def test_divergence_is_a_result(iris: Dataset) -> None:
    wild = Dataset(iris.X * 1e9, np.arange(150.0))
    failing = build_network(4, wild.target, hidden=(8,), optimizer="sgd", learning_rate=1e9, epochs=5)
    result = compare({"failing": failing}, wild, seeds=2, **QUIET)
    assert all(run.problem and not run.scores for run in result.runs)
    assert "2 of 2" in str(result.table())
    with pytest.raises(InvalidInputError, match="none is the best"):
        _ = result.best
    assert "none is the best" in str(result)


def test_the_paired_test_is_student_s_with_holm_s_correction() -> None:
    a, b, c = [0.9, 0.92, 0.91, 0.95], [0.88, 0.91, 0.86, 0.92], [0.5, 0.6, 0.55, 0.52]
    found = made({"a": a, "b": b, "c": c}).significance()
    p = [stats.ttest_rel(other, a).pvalue for other in (b, c)]
    assert found["p"].to_numpy() == pytest.approx(p)
    assert found["p_adjusted"].to_numpy() == pytest.approx([p[0], 2 * p[1]])  # p[1] < p[0]
    shared = made({"a": a, "b": b}, test_share=0.25).significance()["p"].item()
    t = stats.ttest_rel(b, a).statistic / np.sqrt(1 + 0.25 * 4)
    assert shared == pytest.approx(2 * stats.t.sf(abs(t), 3))


def test_the_table_shows_large_numbers_in_full() -> None:
    run = Run("long", 0, 0, {"accuracy": 0.5}, History({"loss": [0.1] * 1500}), 12345.6)
    table = Comparison((run,), (find_metric("accuracy"),)).table()
    assert table.loc["long", ["epochs", "seconds"]].tolist() == ["1500", "12346"]


def test_the_best_is_the_largest_or_the_smallest_mean_as_the_metric_wants() -> None:
    scores = {"a": [1.0, 2.0], "b": [3.0, 4.0], "diverged": [np.nan, np.nan]}
    assert made(scores, metric="accuracy").best == "b"
    assert made(scores, metric="log_loss").best == "a"
    runs = [
        Run(name, 0, 0, {"accuracy": a, "log_loss": b}, History(), 1.0) for name, a, b in (("a", 0.9, 2), ("b", 0.8, 1))
    ]
    both = Comparison(tuple(runs), (find_metric("accuracy"), find_metric("log_loss")))
    assert both.best == "a"
    assert both.conclusion("log_loss").startswith("'b' has the best log loss")
    assert list(both.significance("log_loss").index) == ["a"]
    shown = made({"<b>": [0.5, 0.7], "c": [0.1, 0.2]})._repr_html_()
    assert "<b>" not in shown
    assert "&#x27;&lt;b&gt;&#x27; has the best" in shown
    assert list(made(scores).significance().index) == ["a"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"configurations": {}}, "no configurations"),
        ({"configurations": {"x": 3}}, "'x'"),
        ({"configurations": {"x": NeuralNetwork}}, "'x'"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"seeds": [-1]}, "seeds"),
        ({"cv": 1}, "cv"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"metrics": "acuracy"}, "accuracy"),
        ({"metrics": []}, "metrics"),
        ({"cv": 60}, "folds"),
        ({"configurations": {"x": Configuration(NeuralNetwork(), {"calbacks": []})}}, "'x'"),
        ({"dataset": Dataset(np.zeros((4, 2)))}, "targets"),
        ({"dataset": pd.DataFrame()}, "Dataset"),
        ({"configurations": [NeuralNetwork()]}, "mapping"),
    ],
)
def test_mistakes_are_found_before_the_first_run(iris: Dataset, change: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        compare(**{"configurations": {"x": network(iris)}, "dataset": iris, "seeds": 1, **QUIET, **change})
    with pytest.raises(InvalidInputError, match="5"):
        compare({"x": build_network(5, iris.target)}, iris, **QUIET)


def test_tuning_finds_the_best_and_trains_it_on_all_rows(iris: Dataset) -> None:
    def builder(units: int, learning_rate: float) -> NeuralNetwork:
        return network(iris, units, learning_rate=learning_rate)

    result = tune_hyperparameters(builder, {"units": [2, 16], "learning_rate": [1e-6, 0.01]}, iris, cv=3, **QUIET)
    assert result.best_parameters == {"units": 16, "learning_rate": 0.01}
    table = result.table()
    assert len(table) == 4
    assert table["accuracy"].iloc[0] == result.best_score == table["accuracy"].max()
    refitted = network(iris, 16, learning_rate=0.01, seed=0).fit(iris)
    assert result.model.history["loss"] == refitted.history["loss"]
    drawn = tune_hyperparameters(
        builder, {"units": stats.randint(2, 9), "learning_rate": [0.01]}, iris, n_iter=3, **QUIET
    )
    assert len(drawn.parameters) == 3
    with pytest.raises(InvalidInputError, match="hyper-parameters"):
        tune_hyperparameters(builder, {"unit": [2]}, iris, **QUIET)
    with pytest.raises(InvalidInputError, match="grid"):
        tune_hyperparameters(builder, {"units": 3}, iris, **QUIET)


def test_training_options_are_compared_like_runs(tmp_path: Path) -> None:
    result = compare_training({"3": {"preset": "plain", "epochs": 3}}, "iris", seeds=[5], **QUIET)
    assert result.runs[0].scores == train("iris", preset="plain", epochs=3, seed=5, verbose=False).metrics
    command = f"compare iris --preset plain --epochs 3 --with '--hidden 4' --seeds 2 --jobs 1 --out {tmp_path}"
    found = CliRunner().invoke(app, shlex.split(command))
    assert found.exit_code == 0, found.output
    assert "--hidden 4" in found.stdout
    assert "comparison.csv, scores.png and curves.png." in " ".join(found.stdout.split())
    assert {path.name for path in tmp_path.iterdir()} == {
        "comparison.csv",
        "curves.png",
        "runs.json",
        "scores.png",
    }
    assert "2 of 4" not in found.stdout
    assert "4 of 4" in CliRunner().invoke(app, shlex.split(command)).stdout
    quiet = tmp_path / "quiet"
    assert CliRunner().invoke(app, [*shlex.split(command)[:-1], str(quiet), "--quiet"]).exit_code == 0
    assert (quiet / "comparison.csv").is_file()
    for part in ("", "dropout 0.3", "wine", "--target passed"):
        assert CliRunner().invoke(app, ["compare", "iris", "--with", part]).exit_code == 2, part
    for refused in ("--seed 7", "--show-code", "--force", "-o out"):
        assert CliRunner().invoke(app, ["compare", "iris", *refused.split()]).exit_code == 2, refused
    wrong = CliRunner().invoke(app, ["compare", "iris", "--with", "--hiden 4"])
    assert wrong.exit_code == 2
    assert "--hidden" in wrong.output
    assert " compare [OPTIONS]" in wrong.output  # not those of train


def test_a_function_is_called_with_the_seed_if_it_takes_one(iris: Dataset) -> None:
    def with_default(seed: int = 0) -> NeuralNetwork:
        return network(iris, seed=seed)

    def without() -> NeuralNetwork:
        return network(iris)

    models = {"default": with_default, "without": without, "network": network(iris)}
    result = compare(models, iris, seeds=2, **QUIET)
    scores = list(result.scores("log_loss").values())
    assert (scores[0] == scores[1]).all()
    assert (scores[0] == scores[2]).all()
    assert scores[0][0] != scores[0][1]
    assert Configuration(DecisionTreeClassifier).build(7).random_state == 7


def test_test_rows_are_coded_by_the_classes_of_the_training_rows() -> None:
    X = np.eye(6)
    train = Dataset(X, ["a", "b", "c", "a", "b", "c"])
    test = Dataset(X[1:3], ["b", "c"])
    assert (compare({"tree": DecisionTreeClassifier()}, train, test, seeds=1, **QUIET).scores()["tree"] == 1).all()
    with pytest.raises(DataError, match="d"):
        compare({"tree": DecisionTreeClassifier()}, train, Dataset(X[:2], ["a", "d"]), seeds=1, **QUIET)


def test_validation_rows_are_standardised_too_and_estimators_do_without_them() -> None:
    train, validation = load_dataset("iris").split(seed=1)
    models = {"network": network(train, input_dropout=0.0), "linear": LogisticRegression()}
    result = compare(models, train, validation, seeds=1, standardize=True, validation=validation, **QUIET)
    last = result.of("network")[0].history.last("validation_loss")
    assert last == pytest.approx(result.scores("log_loss")["network"][0], rel=1e-5)


def test_a_score_that_is_not_a_number_is_kept_in_the_file(tmp_path: Path) -> None:
    run = Run("a", 0, 0, {"r2": float("nan"), "log_loss": float("inf")}, History(), 1.0)
    results = ResultsFile(tmp_path)
    results.add("key", run)
    other = ResultsFile(tmp_path)
    results.add("second", run)
    other.add("third", run)
    found = ResultsFile(tmp_path).find("key", "b")
    assert found is not None
    assert found.configuration == "b"
    assert np.isnan(found.scores["r2"])
    assert found.scores["log_loss"] == float("inf")
    assert all(ResultsFile(tmp_path).find(key, "") for key in ("second", "third"))


def test_comparisons_without_differences_or_without_scores_can_be_read(tmp_path: Path) -> None:
    equal = made({"a": [0.75, 0.75, 0.75], "b": [0.5, 0.5, 0.5], "c": [0.75, 0.75, 0.75]})
    assert np.isnan(equal.significance()["p"]["b"])
    assert equal.significance()["p_adjusted"]["c"] == 1
    assert "'b' is the same in all runs, so that there is no test" in equal.conclusion()
    one = made({"good": [0.9, 0.8], "diverged": [np.nan, np.nan]})
    assert "only configuration" in str(one)
    nothing = Comparison(made({"a": [np.nan]}).runs, ())
    assert nothing.save(tmp_path) == tuple(tmp_path.iterdir()) == (tmp_path / "comparison.csv",)
    assert "diverged" in str(nothing)
    assert repr(nothing)


def test_a_changed_file_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = load_dataset("iris")
    table = pd.DataFrame(frame.X, columns=list("abcd"))
    options: dict[str, Any] = {"preset": "plain", "epochs": 2}
    scores = []
    for shift in (0, 1, 1):
        table.assign(y=np.asarray(frame.y) + shift * table["a"]).to_csv("table.csv", index=False)
        result = compare_training({"x": options}, "table.csv", "y", seeds=1, folder="out", **QUIET)
        scores.append(result.scores()["x"][0])
    assert scores[0] != scores[1] == scores[2]
    assert result.test_share == pytest.approx(0.25)
    assert compare_training({"x": {**options, "test_size": 50}}, "table.csv", "y", seeds=1, **QUIET).test_share > 0.49
    by_time = compare_training({"x": {**options, "split": "time"}}, "table.csv", "y", seeds=1, **QUIET)
    assert by_time.test_share == 0


def test_ctrl_c_ends_the_comparison_and_not_only_a_fit(iris: Dataset) -> None:
    pressed = []

    class Press(Callback):
        def on_epoch_end(self, run: Any) -> None:
            pressed.append(run.epoch)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        compare({"x": MLPClassifier((4,), max_iter=50, callbacks=[Press()])}, iris, seeds=2, **QUIET)
    assert pressed == [1]


def test_long_hyper_parameters_and_names_of_columns_are_told_apart(iris: Dataset) -> None:
    def builder(hidden: tuple[int, ...], epochs: int) -> NeuralNetwork:
        return build_network(4, iris.target, hidden=hidden, epochs=epochs)

    grid = {"hidden": [(2,) * 20 + (3,), (2,) * 20 + (4,)], "epochs": [1]}
    result = tune_hyperparameters(builder, grid, iris, cv=2, **QUIET)
    assert len(result.parameters) == 2
    assert "epochs (given)" in str(result)
