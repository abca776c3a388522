"""Names of the lecture notes and of other libraries: they exist here, or the error says what does."""

from __future__ import annotations

import copy
import importlib
import pickle
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

import chainrule
from chainrule import Dataset, Model, NeuralNetwork, build_network, neuralnet, plots
from chainrule.errors import InvalidInputError
from chainrule.metrics import accuracy
from support.networks import class_rows


@pytest.fixture(scope="module")
def data() -> Dataset:
    rows = class_rows(60, n_classes=2)
    return Dataset(rows.X, np.array(["no", "yes"])[rows.y])


@pytest.fixture(scope="module")
def network(data: Dataset) -> NeuralNetwork:
    return build_network(5, data.target, hidden=(4,), epochs=3, seed=0).fit(data)


def test_evaluate_model_gives_predictions_and_the_true_targets(network: NeuralNetwork, data: Dataset) -> None:
    for model in (network, Model(network, data.target)):
        predictions, actual = chainrule.evaluate_model(model, data)
        np.testing.assert_array_equal(predictions, network.predict(data))
        np.testing.assert_array_equal(actual, data.y)
        assert accuracy(actual, predictions) == network.evaluate(data)["accuracy"]
    numbers = Dataset(data.X, np.arange(60.0))
    regression = build_network(5, numbers.target, hidden=(), epochs=1, seed=0).fit(numbers)
    np.testing.assert_array_equal(chainrule.evaluate_model(regression, numbers)[1], numbers.y)
    with pytest.raises(InvalidInputError, match="no targets"):
        chainrule.evaluate_model(network, Dataset(data.X))
    with pytest.raises(InvalidInputError, match="no targets"):
        chainrule.evaluate_model(NeuralNetwork(), Dataset(data.X))


def test_the_plots_of_the_lecture_notes_draw(network: NeuralNetwork) -> None:
    for draw in (chainrule.plot_training_history, chainrule.show_losses_over_training):
        figure = draw(network.history)
        assert [ax.get_yscale() for ax in figure.axes[:2]] == ["linear", "log"]
    assert chainrule.plot_training_history({"train_loss": [1.0, 0.5], "val_loss": [1.0, 0.7]}).axes
    assert chainrule.visualize_decision_boundary is plots.plot_decision_boundary
    plt.close("all")


@pytest.mark.parametrize("name", chainrule._INSTEAD)
def test_a_name_of_another_library_is_answered_by_what_there_is_here(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(chainrule, name)
    words = str(caught.value)
    assert words.startswith(f"module 'chainrule' has no attribute '{name}'. Use ")
    for path in re.findall(r"\bchainrule\.([\w.]+)", words):
        look_up(path.rstrip("."))
    for known in re.findall(r"(?<![.\w'])([A-Z]\w+)\b(?=[(.,])", words):
        assert hasattr(chainrule, known) or hasattr(chainrule.layers, known), known


def look_up(path: str) -> object:
    found: object = chainrule
    for part in path.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("evaluate_modle", "evaluate_model"),
        ("plot_histroy", "plot_history"),
        ("plot_history_of_training", None),
        ("DenseLayr", "chainrule.layers.DenseLayer"),
        ("ReduceOnPlateu", "ReduceOnPlateau"),
        ("nothing", None),
    ],
)
def test_other_names_get_a_name_that_is_misspelt_so_or_the_place_to_look(name: str, meant: str | None) -> None:
    words = f"Did you mean '{meant}'" if meant else "are in the modules of those names"
    with pytest.raises(AttributeError, match=words):
        getattr(chainrule, name)
    with pytest.raises(ImportError, match=f"cannot import name '{name}' from 'chainrule'.*{words}"):
        exec(f"from chainrule import {name}")


@pytest.mark.parametrize(
    ("name", "place"),
    [("Adam", "optimizer.Adam"), ("ReLU", "activations.ReLUActivation"), ("Flatten", "layers.FlattenLayer")],
)
def test_a_piece_is_found_in_its_module(name: str, place: str) -> None:
    with pytest.raises(ImportError, match=f"cannot import name '{name}' from 'chainrule'. Use chainrule.{place}."):
        exec(f"from chainrule import {name}")
    assert not hasattr(chainrule, name)


def test_a_module_without_a_public_name_is_still_imported() -> None:
    script = "from chainrule import textbook, head; assert textbook.SGD and head.Head; import chainrule.rounding"
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match=r"no attribute '_nothing'$"):
        chainrule._nothing  # noqa: B018


def test_python_adds_no_suggestion_of_its_own() -> None:
    script = "import chainrule; chainrule.NeuralNetwrk"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].endswith("has no attribute 'NeuralNetwrk'. Did you mean 'NeuralNetwork'?")


def test_every_public_name_is_there_and_star_imports_it() -> None:
    program = "from chainrule import *; print(sorted(name for name in dir() if not name.startswith('_')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([name for name in sorted(chainrule.__all__) if not name.startswith("_")])
    for name in chainrule._MODULES:
        assert getattr(chainrule, name) is importlib.import_module(f"chainrule.{name}")


@pytest.mark.parametrize("name", neuralnet._INSTEAD)
def test_an_attribute_of_another_network_is_answered_by_what_there_is_here(name: str, network: NeuralNetwork) -> None:
    with pytest.raises(AttributeError, match=f"'NeuralNetwork' object has no attribute '{name}': use "):
        getattr(network, name)
    assert not hasattr(network, name)
    words = neuralnet._INSTEAD[name]
    for called in re.findall(r"(?<![.\w\[])(\w+)\(", words):
        assert hasattr(network, called) or called == "plot_history", called
    for path in re.findall(r"\bchainrule\.([\w.]+)", words):
        look_up(path)


def test_a_network_copies_and_pickles_as_before(network: NeuralNetwork, data: Dataset) -> None:
    for again in (copy.deepcopy(network), copy.copy(network), pickle.loads(pickle.dumps(network))):
        np.testing.assert_array_equal(again.predict(data), network.predict(data))
    with pytest.raises(AttributeError, match=r"has no attribute 'nothing'$"):
        network.nothing  # noqa: B018


def test_a_rate_that_follows_the_loss_is_a_callback() -> None:
    for name in ("on_plateau", "ReduceLROnPlateau", "reduce-on-plateau"):
        with pytest.raises(InvalidInputError, match=r"the callback ReduceOnPlateau\(\)"):
            NeuralNetwork(schedule=name)
