"""Train a recipe of this folder with several seeds, and measure it on the test set.

    python labs/records/run.py mnist_plain             # the recipe, with all seeds
    python labs/records/run.py mnist_plain --select    # the choice of its settings, without the test set

A recipe is a TOML file:

- ``title``, ``target`` (what is to be reached), ``dataset``, ``seeds``, ``metrics`` (the main one first), ``note``, and ``members``, the number of networks
  whose predictions are averaged (default 1);
- ``inputs``: ``"standardized"`` or ``"naive_bayes"``, if the first layer standardises the columns, or weights them by naive
  Bayes, as determined from the training rows of each run;
- ``[network]``: the arguments of ``chainrule.build_network``; or ``[estimator]``: those of ``MLPClassifier`` or
  ``MLPRegressor``;
- ``[augmentation]``: the arguments of ``chainrule.data.ImageAugmentation``;
- ``[peers.NAME]``: other models that are measured in the same way. A peer has other settings than the recipe, or a ``class``,
  such as ``"sklearn.neural_network.MLPRegressor"``, with its arguments;
- ``[selection]``: ``validation``, a share of the training rows, or ``cv``, a number of folds, with ``seeds``; and
  ``[[selection.candidates]]``: other settings with which the recipe was compared.

The results are written to ``results/NAME.json``, and the table of all results to ``results/README.md``. Finished seeds are not
repeated: they are stored in ``build/records``.
"""

from __future__ import annotations

import argparse
import json
import platform
import pydoc
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import BaggingClassifier, BaggingRegressor

from chainrule import Dataset, MLPClassifier, MLPRegressor, NeuralNetwork, build_network
from chainrule.data import ImageAugmentation
from chainrule.experiments import Comparison, Configuration, compare
from chainrule.experiments.comparison import mean_and_deviation
from chainrule.labs import load_lab_data
from chainrule.layers import NaiveBayesWeightingLayer, StandardizationLayer

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "records"


FIRST_LAYERS = {"standardized": StandardizationLayer, "naive_bayes": NaiveBayesWeightingLayer}


class Averaged:
    """Networks with different seeds, whose predictions are averaged; an estimator for ``compare``.

    A first layer that is determined from data is determined from the training rows.
    """

    def __init__(self, networks: list[NeuralNetwork], target: Any) -> None:
        self.networks, self.target = networks, target

    def fit(self, X: Any, y: Any, **settings: Any) -> Averaged:
        labels = np.asarray(self.target.classes)[y] if self.target.classes else y
        for network in self.networks:
            if isinstance(first := network.layers[0], NaiveBayesWeightingLayer):
                first.adapt(X, y)
            elif isinstance(first, StandardizationLayer):
                first.adapt(X)
            network.fit(Dataset(X, labels, target=self.target), **settings)
        if self.target.classes:
            self.classes_ = np.arange(len(self.target.classes))
            self.predict_proba = lambda X: np.mean([network.predict_proba(X) for network in self.networks], axis=0)
        return self

    def predict(self, X: Any) -> Any:
        return np.mean([network.predict(X).ravel() for network in self.networks], axis=0)


def read_recipe(name: str) -> dict[str, Any]:
    """Return the recipe of this name."""
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


def load_data(recipe: dict[str, Any]) -> tuple[Dataset, Dataset]:
    """Return the training set and the test set of a recipe."""
    if recipe["dataset"] == "function":
        return draw_points()
    return load_lab_data(recipe["dataset"], split=divide_as_keras if recipe["dataset"] == "boston" else None)


def divide_as_keras(whole: Dataset) -> tuple[Dataset, Dataset]:
    """Return the division into 404 and 102 rows of ``keras.datasets.boston_housing`` (seed 113)."""
    order = np.arange(whole.n_rows)
    np.random.RandomState(113).shuffle(order)  # as Keras draws it
    return whole.take(order[:404]), whole.take(order[404:])


def draw_points() -> tuple[Dataset, Dataset]:
    """Return 200 and 1,000 random points of a smooth function of two inputs, without noise."""
    X = np.random.default_rng(0).uniform(-2, 2, (1200, 2))
    points = Dataset(X, np.sin(2 * X[:, 0]) + X[:, 1] ** 2)
    return points.take(slice(200)), points.take(slice(200, None))


def configuration(recipe: dict[str, Any], train: Dataset, settings: dict[str, Any]) -> Configuration:
    """Return the model of a recipe with other ``settings``, or that of a class."""
    if "class" in settings:
        arguments = {name: value for name, value in settings.items() if name != "class"}
        return Configuration(pydoc.locate(settings["class"])(**arguments))  # type: ignore[operator]
    assert train.target is not None
    fit: dict[str, Any] = {}
    if "augmentation" in recipe:
        fit["augmentation"] = ImageAugmentation(train.image_shape, **recipe["augmentation"])
    options = {**recipe["estimator" if "estimator" in recipe else "network"], **settings}
    n_members = options.pop("members", recipe.get("members", 1))
    if "estimator" in recipe:
        kind, average = (MLPClassifier, BaggingClassifier) if train.target.classes else (MLPRegressor, BaggingRegressor)
        model = kind(**options)
        return Configuration(model if n_members == 1 else average(model, n_members, bootstrap=False), fit)
    inputs = options.pop("inputs", recipe.get("inputs"))

    def build(seed: int) -> Any:
        first = FIRST_LAYERS[inputs]() if inputs else None
        seeds = range(seed * n_members, (seed + 1) * n_members)
        networks = [
            build_network(train.n_features, train.target, input_layer=first, seed=one, **options) for one in seeds
        ]
        return networks[0] if n_members == 1 and not inputs else Averaged(networks, train.target)

    return Configuration(build, fit)


def select(name: str, n_jobs: int | None) -> Comparison:
    """Compare the settings of the recipe with the candidates on validation rows or in cross-validation."""
    recipe = read_recipe(name)
    train, _ = load_data(recipe)
    rules = recipe["selection"]
    candidates = {"the recipe": configuration(recipe, train, {})}
    for settings in rules["candidates"]:
        title = ", ".join(f"{key} = {value}" for key, value in settings.items())
        candidates[title] = configuration(recipe, train, settings)
    arguments: dict[str, Any] = {"cv": rules["cv"]} if "cv" in rules else {"test_size": rules["validation"]}
    arguments |= {"seeds": rules["seeds"], "metrics": recipe["metrics"], "n_jobs": n_jobs}
    return compare(candidates, train, folder=BUILD / f"{name}-selection", **arguments)


def measure(name: str, n_jobs: int | None) -> tuple[Comparison, Comparison | None]:
    """Train the recipe and its peers with all seeds, and measure them on the test set.

    If there are peers, the second comparison has their errors on the training rows.
    """
    recipe = read_recipe(name)
    train, test = load_data(recipe)
    models = {name: configuration(recipe, train, {})}
    models |= {peer: configuration(recipe, train, settings) for peer, settings in recipe.get("peers", {}).items()}
    arguments = {"seeds": recipe["seeds"], "metrics": recipe["metrics"], "n_jobs": n_jobs, "folder": BUILD / name}
    return compare(models, train, test, **arguments), (
        compare(models, train, train, **arguments) if len(models) > 1 else None
    )


def write_result(name: str, comparison: Comparison, training: Comparison | None) -> None:
    """Write the mean, the deviation and the value of every seed as JSON."""
    recipe = read_recipe(name)

    def scores_of(measured: Comparison, model: str) -> dict[str, list[float]]:
        return {metric.name: measured.scores(metric.name)[model].tolist() for metric in measured.metrics}

    def seconds_of(model: str) -> list[float]:
        return [run.seconds for run in comparison.of(model)]

    result = {
        "title": recipe["title"],
        "note": recipe.get("note", ""),
        "target": recipe["target"],
        "date": time.strftime("%Y-%m-%d"),
        "processor": platform.processor() or platform.machine(),
        "scores": scores_of(comparison, name),
        "seconds": seconds_of(name),
    }
    if training is not None:
        result["models"] = {
            model: {
                "scores": scores_of(comparison, model),
                "training": scores_of(training, model),
                "seconds": seconds_of(model),
            }
            for model in comparison.names
        }
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def write_table() -> None:
    """Write the table of all results."""
    lines = [
        "# Records",
        "",
        "Each recipe is a TOML file in `labs/records`. Its settings were chosen on validation rows. The results are the "
        "mean and the standard deviation over seeds; minutes are those of one seed on one core.",
        "",
        "| recipe | task | aim | result | other metrics | seeds | minutes |",
        "| --- | --- | --- | --- | --- | --: | --: |",
    ]
    notes: list[str] = []
    peers: list[str] = []
    for path in sorted((HERE / "results").glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        texts = {name: shown(values) for name, values in result["scores"].items()}
        main, *others = texts
        rest = ", ".join(f"{one.replace('_', ' ')} {texts[one]}" for one in others)
        minutes = np.mean(result["seconds"]) / 60
        lines.append(
            f"| [{path.stem}](../{path.stem}.toml) | {result['title']} | {result['target']} | {main.replace('_', ' ')} "
            f"{texts[main]} | {rest} | {len(result['seconds'])} | {minutes:.2g} |"
        )
        notes += [f"{path.stem}: {result['note']}", ""] if result["note"] else []
        if models := result.get("models"):
            main = next(iter(result["scores"]))
            name = main.replace("_", " ")
            peers += [f"## {path.stem}", "", f"| model | {name} | {name} of training rows | seconds |"]
            peers += ["| --- | --: | --: | --: |"]
            for model, one in models.items():
                errors = shown(one["scores"][main]), shown(one["training"][main])
                peers.append(f"| {model} | {errors[0]} | {errors[1]} | {np.mean(one['seconds']):.3g} |")
            peers.append("")
    lines += ["", *notes, *peers]
    (HERE / "results" / "README.md").write_text("\n".join(lines).strip() + "\n", encoding="utf-8")


def shown(values: list[float]) -> str:
    """Return the mean and the standard deviation as text."""
    return mean_and_deviation(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else np.nan)


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="recipes; by default all")
    parser.add_argument("--select", action="store_true", help="compare the recipe with its candidates")
    parser.add_argument("--jobs", type=int, default=None, help="parallel processes; by default one per core")
    arguments = parser.parse_args()
    for name in arguments.names or sorted(path.stem for path in HERE.glob("*.toml")):
        if arguments.select:
            print(select(name, arguments.jobs))
            continue
        comparison, training = measure(name, arguments.jobs)
        print(comparison.table().to_string())
        write_result(name, comparison, training)
    if not arguments.select:
        write_table()


if __name__ == "__main__":
    main()
