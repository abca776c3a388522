"""The pictures: what they draw is what they were given, in pyplot's figures, and their legends cover nothing of it."""

from __future__ import annotations

import gc
import io
import itertools
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from chainrule import Dataset, Model, NeuralNetwork, TablePreprocessor, Target, build_network
from chainrule.activations import ACTIVATIONS, TanhActivation
from chainrule.errors import InvalidInputError, NotBuiltError
from chainrule.explain import IntegratedGradients, PartialDependence, PermutationImportance, Robustness
from chainrule.history import History
from chainrule.layers import DenseLayer
from chainrule.plots import (
    figure_as_inline_svg,
    figure_as_png,
    figure_as_svg,
    metric_names,
    plot_activation,
    plot_activations,
    plot_attribution,
    plot_calibration,
    plot_comparison,
    plot_confusion_matrix,
    plot_decision_boundary,
    plot_gradients,
    plot_history,
    plot_importance,
    plot_loss,
    plot_metric,
    plot_network,
    plot_partial_dependence,
    plot_precision_recall,
    plot_predicted_against_true,
    plot_rate_search,
    plot_residual_histogram,
    plot_residuals,
    plot_robustness,
    plot_roc,
    plot_weights,
    without_pyplot,
)
from chainrule.plots.canvas import new_figure

NAN = float("nan")


@pytest.fixture
def history() -> History:
    return History(
        {
            "epoch": [1, 2, 3, 4],
            "loss": [1.0, 0.5, 0.2, 0.1],
            "accuracy": [0.5, 0.7, 0.9, 1.0],
            "validation_loss": [1.1, 0.6, 0.4, 0.5],
            "validation_accuracy": [0.4, 0.6, 0.8, 0.7],
            "learning_rate": [0.1, 0.1, 0.1, 0.1],
            "seconds": [0.1, 0.1, 0.1, 0.1],
        }
    )


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def legend_texts(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def random_points(n: int, outputs: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(n, outputs))
    return truth, truth + 0.1 * rng.normal(size=(n, outputs))


@pytest.mark.parametrize("log", [False, True])
def test_the_loss_is_drawn_as_recorded_with_its_lowest_epoch_marked(history: History, log: bool) -> None:
    ax = plot_loss(history, log=log)
    training, validation, best = ax.get_lines()
    np.testing.assert_array_equal(training.get_xydata().T, [history["epoch"], history["loss"]])
    np.testing.assert_array_equal(validation.get_xydata().T, [history["epoch"], history["validation_loss"]])
    np.testing.assert_array_equal(best.get_xydata(), [[3, 0.4]])
    assert ax.get_yscale() == ("log" if log else "linear")
    assert legend_texts(ax) == ["training", "validation", "lowest: 0.4 in epoch 3"]
    assert ax.get_xlabel() == "epoch"
    figure_as_png(ax.figure)


def test_without_validation_the_lowest_training_loss_is_marked() -> None:
    ax = plot_loss(History({"loss": [0.5, 0.2, 0.3]}))
    assert [line.get_xydata().tolist() for line in ax.get_lines()][1] == [[2, 0.2]]


def test_one_epoch_zeros_and_gaps_can_be_drawn() -> None:
    for losses in ([0.5], [0.5, 0.0, NAN, 0.25], [0.0]):
        history = History({"loss": losses, "validation_loss": losses})
        figure_as_png(plot_history(history))


def test_a_negative_loss_has_no_log_axis() -> None:
    history = History({"loss": [0.5, -0.2]})
    with pytest.raises(InvalidInputError, match="log=False"):
        plot_loss(history, log=True)
    assert [ax.get_yscale() for ax in plot_history(history).axes] == ["linear"]
    assert plot_comparison({"one": history}).get_yscale() == "linear"


def test_a_metric_is_drawn_as_recorded(history: History) -> None:
    training, validation = plot_metric(history, "accuracy").get_lines()
    assert training.get_ydata().tolist() == history["accuracy"]
    assert validation.get_ydata().tolist() == history["validation_accuracy"]
    with pytest.raises(InvalidInputError, match="Did you mean 'accuracy'"):
        plot_metric(history, "acuracy")
    with pytest.raises(InvalidInputError, match="no finite values"):
        plot_metric(History({"loss": [1.0], "r2": [NAN]}), "r2")


def test_a_history_is_drawn_on_linear_and_log_axes_with_every_metric(history: History) -> None:
    assert metric_names(history) == ("accuracy",)
    figure = plot_history(history)
    assert [(ax.get_yscale(), ax.get_ylabel()) for ax in figure.axes] == [
        ("linear", "loss"),
        ("log", "loss (log axis)"),
        ("linear", "accuracy"),
    ]


def test_a_history_of_the_course_or_of_keras_is_drawn_as_one_of_ours() -> None:
    theirs = {"train_loss": [1.0, 0.5], "val_loss": [1.1, 0.4], "acc": [0.5, 0.9], "val_acc": [0.4, 0.8]}
    assert [line.get_ydata().tolist() for line in plot_loss(theirs).get_lines()[:2]] == [[1.0, 0.5], [1.1, 0.4]]
    assert [ax.get_ylabel() for ax in plot_history(theirs).axes] == ["loss", "loss (log axis)", "accuracy"]
    assert plot_metric(theirs, "val_acc").get_lines()[1].get_ydata().tolist() == [0.4, 0.8]
    ax = plot_comparison({"one": theirs, "two": History({"validation_loss": [0.3, 0.2]})}, "val_loss")
    assert ax.get_lines()[0].get_ydata().tolist() == [1.1, 0.4]
    assert theirs == {"train_loss": [1.0, 0.5], "val_loss": [1.1, 0.4], "acc": [0.5, 0.9], "val_acc": [0.4, 0.8]}


def test_a_comparison_has_a_line_a_run_whatever_their_names(history: History) -> None:
    names = ["_hidden", r"$\frac", "two\nlines"]
    ax = plot_comparison(dict.fromkeys(names, history), "validation_loss")
    assert [line.get_ydata().tolist() for line in ax.get_lines()] == 3 * [history["validation_loss"]]
    assert legend_texts(ax) == [" _hidden", r"$\frac", "two lines"]
    figure_as_svg(ax.figure)
    with pytest.raises(InvalidInputError, match="history 'a' has no 'los'"):
        plot_comparison({"a": history}, "los")
    with pytest.raises(InvalidInputError, match="no history"):
        plot_comparison({})


def test_a_confusion_matrix_shows_counts_and_shares() -> None:
    names = ["cat", "$dog", "_eel"]
    ax = plot_confusion_matrix([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1], names)
    assert [text.get_text() for text in ax.texts] == ["3", "1", "0", "0", "2", "0", "0", "0", "0"]
    np.testing.assert_array_equal(ax.images[0].get_array(), [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])
    assert [text.get_text() for text in ax.get_xticklabels()] == names
    figure_as_svg(ax.figure)


def test_a_confusion_matrix_reads_network_outputs() -> None:
    binary = plot_confusion_matrix([0, 1, 1], np.array([[0.2], [0.9], [0.4]]), ["no", "yes"])
    assert [text.get_text() for text in binary.texts] == ["1", "0", "1", "1"]
    many = plot_confusion_matrix([2, 1], np.array([[0.1, 0.2, 0.7], [0.1, 0.6, 0.3]]), ["a", "b", "c"])
    assert np.trace(many.images[0].get_array()) == 2


@pytest.mark.parametrize(("truth", "guess"), [([0, 1], [0, 3]), ([-1, 0], [0, 1]), (["a"], ["b"]), ([0], [0, 1])])
def test_a_confusion_matrix_refuses_what_are_no_codes_of_its_classes(truth, guess) -> None:
    with pytest.raises(InvalidInputError):
        plot_confusion_matrix(truth, guess, ["a", "b"])


@pytest.mark.parametrize("n", [2, 20, 60])
def test_confusion_matrices_of_any_size_can_be_drawn(n: int) -> None:
    codes = np.arange(n)
    ax = plot_confusion_matrix(codes, codes, [f"a long name for class {i}" for i in codes])
    assert len(ax.texts) == (4 if n == 2 else n if n == 20 else 0)
    figure_as_png(ax.figure)


def test_predictions_are_points_around_the_diagonal() -> None:
    truth, guess = random_points(300)
    ax = plot_predicted_against_true(truth[:, 0], guess, name="price in $")
    np.testing.assert_allclose(ax.collections[0].get_offsets(), np.hstack([truth, guess]))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("true price in $", "predicted price in $")
    assert ax.get_xlim() == ax.get_ylim()
    assert not ax.collections[0].get_rasterized()


def test_residuals_are_true_minus_predicted_without_what_is_not_finite() -> None:
    ax = plot_residuals(np.array([1.0, 2.0, 3.0]), np.array([1.5, 1.0, np.inf]))
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [[1.5, -0.5], [1.0, 1.0]])


def test_many_points_become_an_image_and_crowds_a_density() -> None:
    assert plot_residuals(*random_points(2_001)).collections[0].get_rasterized()
    hexagons = plot_predicted_against_true(*random_points(6_000)).collections[0]
    assert hexagons.get_array().sum() == 6_000


def test_several_outputs_have_a_colour_each() -> None:
    ax = plot_predicted_against_true(*random_points(50, 2))
    assert legend_texts(ax) == ["output 1", "output 2"]
    assert len(ax.collections) == 2


def test_predictions_of_one_value_or_none_can_be_drawn() -> None:
    for values in (np.zeros(3), np.zeros(0), np.full(2, NAN)):
        figure_as_png(plot_predicted_against_true(values, values).figure)
        figure_as_png(plot_residuals(values, values).figure)


def test_predictions_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="shape"):
        plot_residuals(np.zeros(3), np.zeros((3, 2)))


def test_a_decision_boundary_lies_where_two_classes_are_even() -> None:
    X = np.array([[-1.0, 0.0], [1.0, 1.0], [-0.5, -1.0], [0.5, 0.0]])
    ax = plot_decision_boundary(lambda p: 1 / (1 + np.exp(-5 * p[:, :1])), X, [0, 1, 0, 1], names=["left", "_right"])
    line = np.concatenate([path.vertices for path in ax.collections[-1].get_paths()])
    np.testing.assert_allclose(line[:, 0], 0, atol=0.01)
    assert legend_texts(ax) == ["left", " _right"]
    blue, red = ax.images[0].get_array()[0, [0, -1]]
    assert blue[2] > blue[0]
    assert red[0] > red[2]
    figure_as_png(ax.figure)


@pytest.mark.parametrize(
    "predict",
    [
        lambda p: np.eye(4)[(p[:, 0] > 0) + 2 * (p[:, 1] > 0)],
        lambda p: (p[:, 0] > 0) + 2 * (p[:, 1] > 0),
        lambda p: np.stack([-p[:, 0], p[:, 0], p[:, 1], -p[:, 1]], axis=1),
        lambda p: np.zeros(len(p)),
    ],
    ids=["probabilities", "codes", "scores", "one class only"],
)
def test_a_decision_boundary_takes_any_kind_of_prediction(predict) -> None:
    X = np.random.default_rng(0).normal(size=(40, 2))
    y = (X[:, 0] > 0) + 2 * (X[:, 1] > 0)
    figure_as_png(plot_decision_boundary(predict, X, y).figure)


def test_a_decision_boundary_needs_two_inputs_and_one_code_a_row() -> None:
    with pytest.raises(InvalidInputError, match=r"shape \(rows, 2\)"):
        plot_decision_boundary(lambda p: p, np.zeros((3, 3)), [0, 1, 0])
    with pytest.raises(InvalidInputError, match="one class code"):
        plot_decision_boundary(lambda p: p, np.zeros((3, 2)), [0, 1])
    with pytest.raises(InvalidInputError, match="not finite"):
        plot_decision_boundary(lambda p: np.full(len(p), NAN), np.zeros((2, 2)), [0, 1])


BITS = Dataset([[0, 0], [0, 1], [1, 0], [1, 1]], ["same", "other", "other", "same"], feature_names=["left", "right"])


@pytest.fixture(scope="module")
def xnor() -> NeuralNetwork:
    network = build_network(2, BITS.target, hidden=(8,), epochs=200, batch_size=4, learning_rate=0.05, seed=0)
    return network.fit(BITS)


def regions(ax: Axes) -> list[str]:
    """The colour of the picture at the four corners of the unit square: blue is the first class, red the second."""
    picture, (left, right, bottom, top) = ax.images[0].get_array(), ax.images[0].get_extent()
    places = [
        (int((y - bottom) / (top - bottom) * (len(picture) - 1)), int((x - left) / (right - left) * (len(picture) - 1)))
        for x, y in BITS.X
    ]
    return ["blue" if picture[place][2] > picture[place][0] else "red" for place in places]


def test_a_decision_boundary_takes_a_network_a_model_or_a_function_and_labels_or_codes(xnor: NeuralNetwork) -> None:
    y = ["same", "other", "other", "same"]  # in the order of the alphabet: other is class 0, blue
    model = Model(xnor, BITS.target)
    for arguments in (
        (xnor, BITS),
        (xnor, BITS.X, BITS.y),
        (xnor, BITS.X.astype(int), y),
        (model, BITS),
        (model, BITS.X, y),
        (xnor.predict, BITS.X, BITS.y),
        (xnor.predict, BITS),
        (xnor.predict_labels, BITS.X, y),
        (xnor.predict_proba, BITS.X.tolist(), y),
    ):
        ax = plot_decision_boundary(*arguments)
        assert regions(ax) == ["red", "blue", "blue", "red"]
        counts = [len(points.get_offsets()) for points in ax.collections[:2]]
        assert counts == [2, 2]
    ax = plot_decision_boundary(xnor, BITS)
    assert legend_texts(ax) == ["other", "same"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("left", "right")


def test_a_decision_boundary_of_a_table_is_asked_for_points_with_its_columns(xnor: NeuralNetwork) -> None:
    frame = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 1, 0, 1]})
    table = TablePreprocessor()
    inputs = table.fit_transform(frame)
    network = build_network(inputs.shape[1], BITS.target, hidden=(8,), epochs=300, learning_rate=0.05, seed=0)
    network.fit(Dataset(inputs, BITS.target.labels_of(BITS.y)))
    ax = plot_decision_boundary(Model(network, BITS.target, table), frame, ["same", "other", "other", "same"])
    assert regions(ax) == ["red", "blue", "blue", "red"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")


def test_a_decision_boundary_takes_a_classifier_of_scikit_learn() -> None:
    from sklearn.tree import DecisionTreeClassifier

    y = ["b", "a", "a", "b"]
    ax = plot_decision_boundary(DecisionTreeClassifier(random_state=0).fit(BITS.X, y), BITS.X, y)
    assert regions(ax) == ["red", "blue", "blue", "red"]
    assert legend_texts(ax) == ["a", "b"]


def test_a_decision_boundary_lies_between_classes(xnor: NeuralNetwork) -> None:
    numbers = Target("regression")
    with pytest.raises(InvalidInputError, match="predicts numbers"):
        plot_decision_boundary(Model(xnor, numbers), BITS.X, [0, 1, 1, 0])
    with pytest.raises(InvalidInputError, match="dataset has none"):
        plot_decision_boundary(xnor, Dataset(BITS.X, [0.1, 0.2, 0.3, 0.4], task="regression"))
    with pytest.raises(InvalidInputError, match="one of other, same"):
        plot_decision_boundary(xnor, BITS.X, ["same", "other", "neither", "same"])
    with pytest.raises(InvalidInputError, match="must be a network, a Model"):
        plot_decision_boundary("xnor", BITS.X, [0, 1, 1, 0])


@pytest.mark.parametrize("name", ACTIVATIONS.names())
def test_every_activation_can_be_drawn(name: str) -> None:
    ax = plot_activation(name)
    *_, f, slope = ax.get_lines()
    z, values = f.get_xydata().T
    away_from_kinks = np.abs(z[:, None] - [-3, 0, 3]).min(axis=1) > 0.02
    np.testing.assert_allclose(np.gradient(values, z)[away_from_kinks], slope.get_ydata()[away_from_kinks], atol=2e-3)


def test_a_rate_search_shows_its_suggestion() -> None:
    search = SimpleNamespace(rates=(1e-4, 1e-3, 1e-2, 1e-1), losses=(1.0, 0.9, 0.5, 3.0), suggestion=1e-2)
    ax = plot_rate_search(search)
    assert ax.get_lines()[0].get_ydata().tolist() == list(search.losses)
    assert ax.get_lines()[1].get_xdata() == [0.01, 0.01]
    assert not covered_by_legends(ax.figure)
    assert ax.get_xscale() == "log"
    figure_as_png(ax.figure)


def test_svg_is_the_same_every_time_and_names_no_other_place(history: History) -> None:
    first, second = (figure_as_svg(plot_history(history)) for _ in range(2))
    assert first == second
    assert "<dc:date>" not in first
    inline = figure_as_inline_svg(plot_history(history), "a-", "#000000")
    assert "http" not in inline
    assert 'id="a-' in inline
    assert "url(#a-" in inline


def test_png_has_the_size_asked_for() -> None:
    with Image.open(io.BytesIO(figure_as_png(new_figure(4, 2), dpi=50))) as image:
        assert image.size == (200, 100)


def test_letters_that_the_font_lacks_are_no_warning(history: History) -> None:
    assert "日本語" in figure_as_svg(plot_comparison({"日本語": history}).figure)


# Where they are drawn ------------------------------------------------------------------------------------------------


def test_pyplot_shows_and_saves_what_was_drawn_last(history: History, tmp_path: Path) -> None:
    ax = plot_loss(history)
    assert plt.gcf() is ax.figure
    assert plt.gca() is ax
    plt.title("my title")
    plt.savefig(tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as image:
        assert image.size == tuple(ax.figure.get_size_inches() * ax.figure.dpi)
        assert image.convert("L").getextrema()[0] < 50, "an empty picture"
    figure = plot_history(history)
    assert plt.gcf() is figure is not ax.figure


def test_empty_axes_that_pyplot_stands_at_are_drawn_into(history: History) -> None:
    figure = plt.figure(figsize=(9, 3))
    left = plt.subplot(1, 2, 1)
    assert plot_loss(history) is left
    right = plt.subplot(1, 2, 2)
    assert plot_metric(history, "accuracy") is right
    assert plot_loss(history).figure is not figure, "both have something in them"
    empty = plt.figure(figsize=(9, 9))
    assert plot_history(history) is empty


def test_pictures_go_into_the_axes_that_are_given(history: History) -> None:
    ax = plt.figure().add_subplot()
    assert plot_loss(history, ax=ax) is ax
    assert plot_confusion_matrix([0], [0], ["a"], ax=ax) is ax
    assert len(plt.get_fignums()) == 1


def test_figures_that_are_drawn_without_pyplot_are_unknown_to_it_and_go_when_they_are_let_go(
    history: History,
) -> None:
    plt.figure()  # empty, and not theirs
    with without_pyplot():
        ax = plot_loss(history)
        figure_as_svg(ax.figure)
        assert plot_history(history) is not ax.figure
    assert len(plt.get_fignums()) == 1
    figure = weakref.ref(ax.figure)
    del ax
    gc.collect()
    assert figure() is None


def test_a_notebook_shows_a_figure_once(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython asks what it shows how to show it; what pyplot still holds at the end of a cell it shows as well."""
    figure = plot_history(history)
    with pytest.raises(NotImplementedError):
        figure._ipython_display_()
    assert plt.get_fignums(), "where pyplot has windows, they stay"
    monkeypatch.setattr("matplotlib.get_backend", lambda: "module://matplotlib_inline.backend_inline")
    with pytest.raises(NotImplementedError):
        figure._ipython_display_()
    assert not plt.get_fignums()


def test_a_report_needs_no_pyplot_and_matplotlib_is_loaded_only_when_drawing(tmp_path: Path) -> None:
    program = (
        "import sys, chainrule.plots, chainrule.report\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from chainrule.runs import TrainOptions, train_run\n"
        "train_run(TrainOptions('xnor', hidden=(2,), epochs=1, out=sys.argv[1]))\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "run")], check=True)


# Legends -------------------------------------------------------------------------------------------------------------


def curve(kind: str, n: int) -> list[float]:
    """Curves that leave no corner of the axes free."""
    x = np.linspace(0, 1, n)
    noise = np.random.default_rng(n).uniform(size=n)
    return {
        "falling": np.exp(-5 * x),
        "rising": 2 - np.exp(-5 * x),
        "flat": np.full(n, 0.3),
        "noisy": 0.1 + noise,
        "hill": 1.1 + np.sin(np.pi * x),
        "valley": 1.1 - np.sin(np.pi * x),
    }[kind].tolist()


def covered_by_legends(figure: Figure) -> list[str]:
    """The axes with curves or points below their own legend or that of others."""
    figure.draw_without_rendering()
    boxes = [ax.get_legend().get_window_extent() for ax in figure.axes if ax.get_legend() is not None]
    assert boxes

    def is_covered(points: np.ndarray) -> bool:
        return any(((box.min <= points) & (points <= box.max)).all(axis=1).any() for box in boxes)

    covered = []
    for ax in figure.axes:
        curves = [line.get_transform().transform(line.get_xydata()) for line in ax.get_lines()]
        steps = [np.linspace(start, end, 50) for path in curves for start, end in itertools.pairwise(path)]
        scatters = [collection for collection in ax.collections if len(collection.get_offsets()) > 1]
        points = [scatter.get_offset_transform().transform(scatter.get_offsets()) for scatter in scatters]
        covered += [str(ax) for part in (*curves, *steps, *points) if is_covered(part)]
    return covered


@pytest.mark.parametrize("n", [1, 30])
@pytest.mark.parametrize("kind", ["falling", "rising", "flat", "noisy", "hill", "valley"])
def test_legends_cover_no_curve(kind: str, n: int) -> None:
    history = History({name: curve(kind, n) for name in ("loss", "validation_loss", "accuracy", "validation_accuracy")})
    assert not covered_by_legends(plot_history(history))
    assert not covered_by_legends(plot_loss(history, log=True).figure)
    figure, panels = plt.subplots(2, 2, figsize=(7, 5))
    plot_loss(history, ax=panels[0, 0])
    plot_metric(history, "accuracy", ax=panels[0, 1])
    plot_comparison({"first": history, "second": history}, ax=panels[1, 0], log=False)
    plt.suptitle("a title")
    assert not covered_by_legends(figure)


@pytest.mark.parametrize("n_runs", [1, 3, 9])
@pytest.mark.parametrize("name", ["a", "a name that says what was tried in it"])
def test_legends_of_many_runs_cover_no_curve(n_runs: int, name: str) -> None:
    kinds = ["falling", "rising", "hill"]
    runs = {f"{name} {place}": History({"loss": curve(kinds[place % 3], 20)}) for place in range(n_runs)}
    for log in (False, True):
        assert not covered_by_legends(plot_comparison(runs, log=log).figure)


def test_curves_of_classes_are_those_of_scikit_learn_and_legends_cover_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 400)
    scores = np.clip(rng.normal(0.35 + 0.3 * truth, 0.15), 0, 1)[:, None]
    ax = plot_roc(truth, scores, ["no", "yes"])
    assert ax.get_title() == f"yes: area {roc_auc_score(truth, scores):.3f}"
    x, y = ax.get_lines()[0].get_data()
    assert np.trapezoid(y, x) == pytest.approx(roc_auc_score(truth, scores))
    ax = plot_precision_recall(truth, scores, ["no", "yes"])
    assert ax.get_title() == f"yes: average precision {average_precision_score(truth, scores[:, 0]):.3f}"
    assert ax.get_lines()[1].get_ydata()[0] == pytest.approx(truth.mean())
    codes = rng.integers(0, 4, 300)
    p = rng.dirichlet(np.ones(4), 300) + np.eye(4)[codes]
    p /= p.sum(axis=1, keepdims=True)
    for draw in (plot_roc, plot_precision_recall):
        ax = draw(codes, p, ["a", "b", "a class with a long name", "nobody's"])
        assert len(ax.get_legend().get_texts()) == 4
        assert not covered_by_legends(ax.figure)
    area = roc_auc_score(codes == 1, p[:, 1])
    assert f"b: {area:.3f}" in [text.get_text() for text in plot_roc(codes, p, list("abcd")).get_legend().get_texts()]
    with pytest.raises(InvalidInputError, match="There are 11 classes"):
        plot_roc(codes, p, list("abcdefghijk"))


def test_reliability_shows_how_often_probabilities_come_true() -> None:
    p = np.repeat([0.1, 0.3, 0.6, 0.8, 1.0], 20)
    truth = np.concatenate([np.tile(np.arange(10) < n, 2) for n in (1, 4, 6, 8, 9)]).astype(int)
    ax = plot_calibration(truth, p[:, None], ["no", "yes"])  # ten bins of ten rows
    x, y = ax.get_lines()[1].get_data()
    np.testing.assert_allclose(x, np.repeat([0.1, 0.3, 0.6, 0.8, 1.0], 2))
    np.testing.assert_allclose(y, np.repeat([0.1, 0.4, 0.6, 0.8, 0.9], 2))
    three = np.array([[0.6, 0.3, 0.1]] * 50)  # the predicted class is right in 30 of 50 rows
    ax = plot_calibration(np.repeat([0, 1], [30, 20]), three, ["a", "b", "c"])
    assert np.mean(ax.get_lines()[1].get_ydata()) == pytest.approx(0.6)
    np.testing.assert_allclose(ax.get_lines()[1].get_xdata(), 0.6)


def test_the_histogram_of_residuals_counts_every_row() -> None:
    truth, guess = random_points(500, 1)
    ax = plot_residual_histogram(truth, guess)
    assert sum(bar.get_height() for bar in ax.patches) == 500
    assert ax.get_lines()[0].get_xdata()[0] == pytest.approx(np.median(truth - guess))


def test_explanations_are_drawn_as_they_are() -> None:
    importance = PermutationImportance(("a", "b$", "c"), "r2", 0.9, np.array([[0.1, 0.3], [0.5, 0.7], [0.0, 0.0]]), 9)
    ax = plot_importance(importance, max_columns=2)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b$"]  # the most important at the top
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.2, 0.6])
    assert ax.get_xlabel() == "how much worse the R² becomes"
    inputs = np.array([[1.0, -3.0, 2.0]])
    contributions = IntegratedGradients(("a", "b", "c"), inputs, inputs, np.array([10.0]), np.array([10.0]))
    ax = plot_attribution(contributions)
    assert [bar.get_width() for bar in ax.patches] == [1, 2, -3]
    assert ax.get_title() == "prediction 10, baseline 10"
    with pytest.raises(InvalidInputError, match="row is 1, and there are 1 rows"):
        plot_attribution(contributions, 1)
    curves = np.array([[[1.0], [2.0]], [[3.0], [6.0]]])
    numbers = PartialDependence("age", "number", np.array([20.0, 40.0]), curves, ("price",), False)
    ax = plot_partial_dependence(numbers)
    assert ax.get_lines()[2].get_ydata().tolist() == [2.0, 4.0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("age", "prediction of price")
    towns = replace(numbers, column="town", kind="category", grid=np.array(["Porto", "Faro"], object))
    assert plot_partial_dependence(towns).get_lines()[0].get_ydata().tolist() == [2.0, 4.0]
    long = replace(towns, grid=np.array(["a very long name of a town", "another very long name of one"], object))
    ax = plot_partial_dependence(long)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("prediction of price", "town")
    days = replace(numbers, kind="date", grid=np.array(["2020-01-01", "2021-05-01"], "M8[us]"))
    assert plot_partial_dependence(days).get_xlabel() == "age"
    times = replace(numbers, kind="date", grid=np.array(["1970-01-01T06:30", "1970-01-01T18:00"], "M8[us]"))
    ax = plot_partial_dependence(times)
    assert (ax.get_xlabel(), ax.get_lines()[2].get_xdata().tolist()) == ("age (hours)", [6.5, 18.0])
    assert ax.get_xscale() == "linear"
    tail = replace(numbers, grid=np.array([1.0, 2.0, 900.0]), individual=np.ones((2, 3, 1)))
    assert plot_partial_dependence(tail).get_xscale() == "log"
    many = np.random.default_rng(0).dirichlet(np.ones(9), (5, 2))
    classes = replace(numbers, individual=many, output_names=tuple("abcdefghi"), is_probability=True)
    ax = plot_partial_dependence(classes)
    assert len(ax.get_legend().get_texts()) == 7
    assert not covered_by_legends(ax.figure)
    ax = plot_robustness(Robustness("accuracy", "inf", np.array([0, 0.1]), np.array([0.9, 0.2]), np.array([0.9, 0.8])))
    assert ax.get_lines()[1].get_ydata().tolist() == [0.9, 0.2]
    assert not covered_by_legends(ax.figure)


def test_legends_of_other_pictures_cover_nothing() -> None:
    assert not covered_by_legends(plot_activation("gelu").figure)
    truth, guess = np.random.default_rng(1).uniform(size=(2, 500, 3))
    assert not covered_by_legends(plot_predicted_against_true(truth, guess).figure)
    assert not covered_by_legends(plot_residuals(truth, guess).figure)
    assert plot_residuals(*random_points(6_000, 2)).get_legend() is None
    X = np.random.default_rng(0).uniform(size=(300, 2))
    y = (4 * X[:, 0]).astype(int)
    for names in (None, ["a", "b", "c with a longer name", "d"]):
        ax = plot_decision_boundary(lambda p: (4 * p[:, 0]).clip(0, 3).astype(int), X, y, names=names)
        assert not covered_by_legends(ax.figure)


def test_limits_follow_what_is_drawn_later_into_the_same_axes() -> None:
    ax = plot_loss({"loss": [1.0, 0.5]})
    plot_loss({"loss": [100.0, 50.0]}, ax=ax)
    assert ax.get_ylim()[1] > 100
    ax.plot([1, 2], [1000, 1000])
    assert ax.get_ylim()[1] > 1000


# Networks ------------------------------------------------------------------------------------------------------------


def test_a_network_is_drawn_with_circles_for_small_layers_and_boxes_for_large_ones() -> None:
    network = build_network(20, Target.detect([0, 1, 2]), hidden=(4, 2), dropout=0.5, seed=0)
    network.layers[3].weights = np.arange(8).reshape(4, 2) - 6.0
    ax = plot_network(network)
    captions = [text.get_text() for text in ax.texts if "\n" in text.get_text()]
    assert captions == [
        "input\n20 numbers",
        "Dense\nReLU\nDropout\n4 units\n84 parameters",
        "Dense\nReLU\nDropout\n2 units\n10 parameters",
        "Dense\nSoftmax\n3 units\n9 parameters",
    ]
    assert ax.get_title() == "103 trainable parameters"
    assert len(ax.patches) == 1, "the box of the inputs"
    edges = next(drawn for drawn in ax.collections if len(getattr(drawn, "get_segments", list)()) == 8)
    (_, lowest), (_, second) = edges.get_segments()[0], edges.get_segments()[7]
    assert lowest[1] > second[1], "the first unit is at the top"
    widths, colors = np.array(edges.get_linewidths()), edges.get_colors()
    assert widths.argmax() == 0, "the weight of -6"
    assert (colors[0] != colors[7]).any()
    assert (colors[6] == colors[7]).all()
    assert legend_texts(ax) == ["positive weight", "negative weight"]
    figure_as_png(ax.figure)
    with pytest.raises(NotBuiltError):
        plot_network(NeuralNetwork().add(DenseLayer(3)))


def test_weights_are_a_heat_map_or_an_image_for_each_unit() -> None:
    network = NeuralNetwork(seed=0).add(DenseLayer(3, (4,))).add(TanhActivation()).add(DenseLayer(2))
    weights = network.layers[0].weights
    ax = plot_weights(network)
    np.testing.assert_array_equal(ax.images[0].get_array(), weights)
    assert ax.images[0].get_clim() == pytest.approx((-np.abs(weights).max(), np.abs(weights).max()))
    np.testing.assert_array_equal(plot_weights(network, -1).images[0].get_array(), network.layers[2].weights)
    ax = plot_weights(network, image_shape=(2, 2, 1), max_units=2)
    image = ax.images[0].get_array()
    np.testing.assert_array_equal(image[:, :2], weights[:, 0].reshape(2, 2))
    np.testing.assert_array_equal(image[:, 3:], weights[:, 1].reshape(2, 2))
    assert "first 2 of 3" in ax.get_title()
    figure_as_png(ax.figure)
    with pytest.raises(InvalidInputError, match="the layers with one are 0 and 2"):
        plot_weights(network, 1)
    with pytest.raises(InvalidInputError, match="images of 4 pixels"):
        plot_weights(network, image_shape=(28, 28))


def test_activations_are_those_of_the_network_with_zeros_and_saturation_named() -> None:
    network = build_network(2, Target("regression"), hidden=(3, 2), activation=["relu", "sigmoid"], dropout=0.5, seed=0)
    network.layers[0].weights = [[1, -1, 0], [0, 0, 0]]
    network.layers[3].weights, network.layers[3].biases = np.zeros((3, 2)), [0, 10]
    ax = plot_activations(network, [[2.0, 0.0], [4.0, 0.0]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["2 ReLU", "5 Sigmoid", "7 Dense"]
    assert [text.get_text() for text in ax.texts] == ["67 % zeros", "50 % saturated", ""]
    first, second, _ = ax.patches  # ReLU gives 2 and 4 and four zeros, sigmoid 0.5 and 1
    assert (first.get_x(), first.get_width()) == pytest.approx((0, 1.5))
    assert (second.get_x(), second.get_x() + second.get_width()) == pytest.approx((0.5, 1), abs=1e-4)
    unbuilt = NeuralNetwork(seed=0).add(DenseLayer(1))
    plot_activations(unbuilt, np.eye(3))
    assert not unbuilt.stack.is_built
    with pytest.raises(InvalidInputError, match="shape"):
        plot_activations(network, np.eye(3))
    with pytest.raises(InvalidInputError, match="NeuralNetwork is needed"):
        plot_activations("network", np.eye(3))


def test_gradients_are_those_of_the_loss_and_the_network_is_not_changed() -> None:
    network = NeuralNetwork(seed=0, optimizer="lbfgs", l2=0.1)
    for layer in (DenseLayer(2, (1,)), DenseLayer(1)):
        network.add(layer)
    network.layers[0].weights, network.layers[1].weights = [[1, 2]], [[3], [0]]
    before = network.stack.vector.values.copy()
    ax = plot_gradients(network, [[1.0], [1.0]], [0.0, 1.0])
    # The prediction is 3 for both rows, so dL/dz = 2 (3 - y) / 2 summed over the rows is 5.
    boxes = {round(bar.get_y() + 0.3): (bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches}
    assert boxes[1] == pytest.approx((15, 15))  # 5 * [3, 0]
    assert boxes[0] == pytest.approx((6.25, 8.75))  # the middle half of 5 * [1, 2]
    assert [text.get_text() for text in ax.texts] == ["50 % zeros", ""]
    np.testing.assert_array_equal(network.stack.vector.values, before)
    assert not network.history
    assert ax.get_xscale() == "log"
    left, right = ax.get_xlim()
    assert left < 5
    assert right > 15
    network.layers[1].weights = [[0], [0]]
    figure_as_png(plot_gradients(network, [[0.0], [0.0]], [0.0, 1.0]).figure)
    with pytest.raises(InvalidInputError, match="no targets"):
        plot_gradients(network, [[1.0]])
    with pytest.raises(InvalidInputError, match="has weights"):
        plot_gradients(NeuralNetwork().add(TanhActivation()), [[1.0], [2.0]], [1.0, 2.0])
