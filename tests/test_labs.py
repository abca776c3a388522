"""Every lab and every solution runs on a small budget, and becomes a notebook."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from typer.testing import CliRunner

from chainrule import labs
from chainrule.cli.app import app
from chainrule.data import Dataset
from chainrule.errors import InvalidInputError
from chainrule.experiments import compare
from chainrule.layers import NaiveBayesWeightingLayer, StandardizationLayer

NAMES = labs.lab_names()
RECORDS = Path(__file__).parents[1] / "labs" / "records"
FILES = [labs.lab_file(name, solution=solution) for name in NAMES for solution in (False, True)]


@pytest.mark.parametrize(
    "file", FILES, ids=lambda file: f"{'solutions of ' * (file.parent.name == 'solutions')}{file.stem}"
)
def test_a_lab_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_LABS", "quick")
    monkeypatch.chdir(tmp_path)
    plt.close("all")  # those of other tests
    try:
        runpy.run_path(str(file))
    finally:
        plt.close("all")


def test_a_lab_is_copied_as_a_notebook(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["labs", NAMES[0][3:], "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    notebook = json.loads((tmp_path / f"{NAMES[0]}.ipynb").read_text())
    code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for source in code:
        compile(source, "cell", "exec")
    again = CliRunner().invoke(app, ["labs", str(int(NAMES[0][:2])), "-o", str(tmp_path)])
    assert again.exit_code == 2
    assert "--force" in again.output
    listed = CliRunner().invoke(app, ["labs"])
    assert [line.split()[0] for line in listed.stdout.splitlines()][: len(NAMES)] == list(NAMES)
    assert ".md)" not in (tmp_path / f"{NAMES[0]}.ipynb").read_text()
    with pytest.raises(InvalidInputError, match="forward_by_hand"):
        labs.lab_file("forwrd_by_hand")


def test_data_that_cannot_be_loaded_are_replaced_with_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda *args, **settings: (_ for _ in ()).throw(OSError("no network"))
    )
    train, test = labs.load_lab_data("mnist")
    assert (train.image_shape, train.n_rows + test.n_rows, train.X.max()) == ((28, 28), 1797, 1)
    assert "digits" in capsys.readouterr().out
    train, test = labs.load_lab_data("imdb")
    assert train.task == "binary"
    assert labs.load_lab_data("iris")[0].n_rows == 120
    halves = labs.load_lab_data("iris", split=lambda data: (data.take(slice(100)), data.take(slice(100, None))))
    assert [half.n_rows for half in halves] == [100, 50]
    with pytest.raises(Exception, match="no data set named"):
        labs.load_lab_data("mnits")


@pytest.mark.parametrize("recipe", sorted(RECORDS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_trains_and_its_result_is_there(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_LABS", "quick")
    run = runpy.run_path(str(RECORDS / "run.py"), run_name="records")
    settings = run["read_recipe"](recipe.stem)
    train, test = run["load_data"](settings)
    quick = {"max_iter": 5, "members": 1} if "estimator" in settings else {"epochs": 15, "batch_size": 32}
    model = run["configuration"](settings, train, quick)
    metric, least = ("r2", 0.3) if train.task == "regression" else ("accuracy", 0.85)
    result = compare({"recipe": model}, train, test, seeds=1, metrics=[metric], n_jobs=1, verbose=False)
    assert result.scores(metric)["recipe"][0] > least
    assert recipe.stem in (RECORDS / "results" / "README.md").read_text()


def test_the_first_layer_of_a_recipe_is_determined_from_the_training_rows() -> None:
    run = runpy.run_path(str(RECORDS / "run.py"), run_name="records")
    data = Dataset(np.random.default_rng(0).integers(0, 2, (40, 3)), np.arange(40) % 2)
    expected = {
        "standardized": ("mean", StandardizationLayer().adapt(data.X)),
        "naive_bayes": ("ratios", NaiveBayesWeightingLayer().adapt(data.X, data.y)),
    }
    for inputs, (name, layer) in expected.items():
        settings = {"inputs": inputs, "members": 2}
        model = run["configuration"]({"network": {"hidden": [2], "epochs": 1}}, data, settings).build(0)
        for network in model.fit(data.X, data.y).networks:
            np.testing.assert_allclose(network.layers[0].get_array(name), layer.get_array(name), rtol=1e-6)
