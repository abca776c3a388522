"""Networks as C and as JavaScript: every layer, activation and loss, compared with what the network itself gives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from chainrule.activations import (
    ACTIVATIONS,
    ActivationLayer,
    CELUActivation,
    CustomActivation,
    ELUActivation,
    GELUActivation,
    LeakyReLUActivation,
    PReLUActivation,
    ReLUActivation,
    SigmoidActivation,
    SoftmaxActivation,
    SoftplusActivation,
    TanhActivation,
)
from chainrule.data.target import Target
from chainrule.errors import InvalidInputError, NotBuiltError
from chainrule.export import FORMATS, export_model
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    FlattenLayer,
    GaussianNoiseLayer,
    InputScalingLayer,
    Layer,
    LayerNormalizationLayer,
    PeriodicEmbeddingLayer,
    StandardizationLayer,
)
from chainrule.losses import LOSSES, ElementwiseLoss, LossFunction
from chainrule.model import Model, TargetScaling
from chainrule.neuralnet import NeuralNetwork
from support.exported import COMPILE, check_numbers, run, run_c, run_js
from support.layers import LAYER_CLASSES, make_layer
from support.networks import network_of

SOURCES = ("c", "js")
CLASSES = sorted(set(ACTIVATIONS.classes.values()), key=lambda cls: cls.__name__)


def fill(network: Any, seed: int = 1) -> Any:
    """Numbers everywhere that no layer has by itself: nothing may pass for right because it is 0 or 1."""
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        for name, array in (*layer.parameter_views.items(), *layer.state.items()):
            if name in ("running_variance", "scale"):
                array[...] = rng.uniform(0.5, 2, array.shape)
            elif name != "weights":
                array[...] = rng.normal(size=array.shape)
    return network


def rows_of(shape: tuple[int, ...], n_rows: int = 40, seed: int = 2) -> Any:
    """From small to large, with zeros among them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, *shape)) * np.geomspace(0.01, 20, n_rows).reshape(-1, *[1] * len(shape))
    return np.where(rng.random(X.shape) < 0.1, 0, X).astype(np.float32)


@pytest.mark.parametrize("to", SOURCES)
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_activation(cls: type[Layer], to: str, tmp_path: Path) -> None:
    network = fill(network_of(InputScalingLayer(), cls(), dtype="float64"))
    network.stack.build((5,))
    check_numbers(to, network, rows_of((5,)), tmp_path, 1e-13)


def test_the_normal_distribution_of_javascript_is_exact_in_the_tails(tmp_path: Path) -> None:
    """JavaScript has no error function; what stands in for it is compared number by number, not by the largest."""
    z = np.concatenate([np.linspace(-8, 8, 801), [-36.0, 40.0]])
    network = network_of(GELUActivation(), dtype="float64")
    network.stack.build((len(z),))
    np.testing.assert_allclose(run_js(network, [z.tolist()], tmp_path)[0], z * ndtr(z), rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("to", SOURCES)
@pytest.mark.parametrize(
    "make",
    [
        lambda: LeakyReLUActivation(0.3),
        lambda: LeakyReLUActivation(-1.5),
        lambda: PReLUActivation(0.7),
        lambda: PReLUActivation(0.7, shared=False),
        lambda: CELUActivation(0.4),
        lambda: SoftplusActivation(2.5),
        lambda: GELUActivation(approximate="tanh"),
        lambda: ELUActivation(2.5),
        lambda: BatchNormalizationLayer(epsilon=0.01),
        lambda: LayerNormalizationLayer(epsilon=0.5),
        lambda: BatchNormalizationLayer(affine=False),
        lambda: LayerNormalizationLayer(affine=False),
    ],
    ids=lambda make: str(make()),
)
def test_settings_go_along(make: Callable[[], Layer], to: str, tmp_path: Path) -> None:
    network = network_of(DenseLayer(7, (5,)), make(), DenseLayer(3))
    check_numbers(to, fill(network), rows_of((5,)), tmp_path)


@pytest.mark.parametrize("to", SOURCES)
@pytest.mark.parametrize("cls", [cls for cls in LAYER_CLASSES if not issubclass(cls, ActivationLayer)])
def test_every_layer(cls: type[Layer], to: str, tmp_path: Path) -> None:
    # In float32, the sine of a large number is that of its rounding.
    dtype: Any = "float64" if cls is PeriodicEmbeddingLayer else "float32"
    network = network_of(DenseLayer(4, (5,)), make_layer(cls), TanhActivation(), DenseLayer(2), dtype=dtype)
    check_numbers(to, fill(network), rows_of((5,)), tmp_path)


@pytest.mark.parametrize("to", SOURCES)
def test_columns_far_from_zero_keep_their_variance(to: str, tmp_path: Path) -> None:
    network = network_of(BatchNormalizationLayer(), DenseLayer(2))
    network.stack.build((5,))
    fill(network).layers[0].running_mean = np.full(5, 1e4)
    check_numbers(to, network, 1e4 + rows_of((5,)), tmp_path)


@pytest.mark.parametrize("to", SOURCES)
def test_rows_far_from_zero_keep_their_variance(to: str, tmp_path: Path) -> None:
    network = network_of(LayerNormalizationLayer(), DenseLayer(2), dtype="float32")
    network.stack.build((5,))
    check_numbers(to, fill(network), 1e4 + rows_of((5,)), tmp_path)


@pytest.mark.parametrize("to", SOURCES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers_in_front_and_behind_that_take_rows_of_any_shape(dtype: Any, to: str, tmp_path: Path) -> None:
    layers = (StandardizationLayer(), InputScalingLayer(), LayerNormalizationLayer(), SoftmaxActivation())
    network = network_of(*layers, FlattenLayer(), DropoutLayer(), GaussianNoiseLayer(), DenseLayer(4), dtype=dtype)
    network.stack.build((2, 3))
    check_numbers(to, fill(network), rows_of((2, 3)), tmp_path)


@pytest.mark.parametrize("to", SOURCES)
@pytest.mark.parametrize("cls", sorted(set(LOSSES.classes.values()), key=lambda cls: cls.__name__))
def test_predictions_are_those_of_the_loss(cls: type[LossFunction], to: str, tmp_path: Path) -> None:
    loss = LOSSES.create(cls)
    units = loss.n_outputs(3)
    network = network_of(DenseLayer(units, (5,)), loss=loss)
    target = Target("regression", n_columns=3) if loss.is_regression else Target("multiclass", ("a", "b", "c"))
    scaling = TargetScaling((5.0, -3.0, 0.0), (2.0, 1e3, 1.0)) if target.task == "regression" else None
    check_numbers(to, Model(network, target, scaling=scaling), rows_of((5,)) / 10, tmp_path)


@pytest.mark.parametrize("to", SOURCES)
@pytest.mark.parametrize("loss", ["hinge", "binary_cross_entropy"])
def test_two_classes_with_one_output(loss: str, to: str, tmp_path: Path) -> None:
    layers = (DenseLayer(1, (5,)), *([SigmoidActivation()] if loss == "binary_cross_entropy" else []))
    check_numbers(to, Model(network_of(*layers, loss=loss), Target("binary", ("no", "yes"))), rows_of((5,)), tmp_path)


def test_labels_are_those_of_the_model(tmp_path: Path) -> None:
    X = rows_of((4,))
    labels: list[Any] = [("no", "yes"), (False, True), (-1, 7), (0.5, 2.0), ("x", 3, True)]
    for place, classes in enumerate(labels):
        units = 1 if len(classes) == 2 else len(classes)
        task: Any = "binary" if units == 1 else "multiclass"
        network = network_of(DenseLayer(units, (4,)), SigmoidActivation() if units == 1 else SoftmaxActivation())
        model = Model(network, Target(task, classes), notes={"label_names": [f"name {c}" for c in classes]})
        folder = tmp_path / str(place)
        folder.mkdir()
        expected = model.predict(X).tolist()
        assert len(set(map(str, expected))) > 1
        assert run_js(model, X.tolist(), folder, "predict") == expected
        header, *records = run_c(model, ["a", "b", "c", "d"], X.tolist(), folder)
        assert header == ["prediction", *(f"probability_name {c}" for c in classes)]
        assert [record[0] for record in records] == [str(label) for label in expected]


def test_a_label_beyond_the_doubles_keeps_its_digits(tmp_path: Path) -> None:
    model = Model(network_of(DenseLayer(1, (1,)), SigmoidActivation()), Target("binary", (0, 2**60 + 1)))
    model.network.layers[0].set_array("weights", [[1]])
    assert run_js(model, [[-1.0], [1.0]], tmp_path, "predict") == [0, str(2**60 + 1)]


@pytest.mark.parametrize("to", SOURCES)
def test_a_regression_of_one_number_is_a_number(to: str, tmp_path: Path) -> None:
    model = Model(network_of(DenseLayer(1, (2,))), Target("regression"), scaling=TargetScaling((100.0,), (3.0,)))
    X = rows_of((2,))
    check_numbers(to, model, X, tmp_path)
    if to == "js":
        np.testing.assert_allclose(run_js(model, X.tolist(), tmp_path, "predict"), model.predict(X), rtol=1e-6)


@pytest.mark.parametrize("to", SOURCES)
@pytest.mark.parametrize(("units", "depth"), [(32, 24), (400, 1)], ids=["deep", "wide"])
def test_deep_and_wide_networks(units: int, depth: int, to: str, tmp_path: Path) -> None:
    # Small first weights: the rounding of 400 sums of float32 grows with them.
    hidden = [
        layer
        for _ in range(depth)
        for layer in (DenseLayer(units, weights_initializer="glorot_uniform"), ReLUActivation())
    ]
    first = DenseLayer(units, (30,), weights_initializer="glorot_uniform")
    network = network_of(first, ReLUActivation(), *hidden, DenseLayer(4), SoftmaxActivation())
    check_numbers(to, Model(network, Target("multiclass", (0, 1, 2, 3))), rows_of((30,), 10), tmp_path)


def outputs_of_c(network: NeuralNetwork, folder: Path) -> list[str]:
    """The outputs for the input 1 with all their digits, more than those that the program for CSV writes."""
    export_model(network, folder / "model.c", "c")
    (folder / "main.c").write_text(
        """
        #include <stdio.h>
        #include "model.c"
        int main(void)
        {
            static double outputs[MODEL_OUTPUTS];
            double one = 1;
            int i, bad = model_predict(&one, outputs);
            for (i = 0; i < MODEL_OUTPUTS; i++)
                printf("%.17g\\n", outputs[i]);
            return bad;
        }
        """,
        encoding="utf-8",
    )
    run(*COMPILE, folder / "main.c", "-o", folder / "main", "-lm")
    return run(folder / "main").split()


@pytest.mark.parametrize("to", SOURCES)
def test_weights_keep_their_bits(to: str, tmp_path: Path) -> None:
    """Also the smallest and the largest that there are."""
    rng = np.random.default_rng(0)
    some = rng.integers(0, 2**32, 2000, dtype=np.uint32).view(np.float32)
    extremes = np.array([np.finfo(np.float32).max, np.finfo(np.float32).tiny, 1e-45, -0.0, 1 / 3], np.float32)
    weights = np.concatenate([extremes, some[np.isfinite(some)]])
    network = network_of(DenseLayer(len(weights), (1,)))
    network.layers[0].set_array("weights", [weights])
    found = outputs_of_c(network, tmp_path) if to == "c" else run_js(network, [[1.0]], tmp_path)[0]
    np.testing.assert_array_equal(np.array([float(cell) for cell in found]).astype(np.float32), weights)


class Doubling(Layer):
    def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
        return 2 * inputs

    def backward_propagation(self, output_error: Any) -> Any:
        return 2 * output_error


class Squared(ElementwiseLoss):
    def element_loss(self, y_true: Any, y_pred: Any) -> Any:
        return (y_pred**2 - y_true) ** 2

    def element_derivative(self, y_true: Any, y_pred: Any) -> Any:
        return 4 * y_pred * (y_pred**2 - y_true)

    def point_predictions(self, outputs: Any) -> Any:
        return np.cbrt(outputs)


class OfLogarithms(ElementwiseLoss):
    """Two outputs for each target, which is predicted from both of them."""

    outputs_per_target = 2

    def element_loss(self, y_true: Any, mean: Any, log_variance: Any) -> Any:  # type: ignore[override]
        return (np.log(y_true) - mean) ** 2 * np.exp(-log_variance) + log_variance

    def element_derivative(self, y_true: Any, mean: Any, log_variance: Any) -> Any:  # type: ignore[override]
        difference, precision = mean - np.log(y_true), np.exp(-log_variance)
        return 2 * difference * precision, 1 - difference**2 * precision

    def point_predictions(self, mean: Any, log_variance: Any) -> Any:  # type: ignore[override]
        return np.exp(mean + np.exp(log_variance) / 2)


@pytest.mark.parametrize("to", SOURCES)
def test_predictions_of_a_loss_of_ones_own(to: str, tmp_path: Path) -> None:
    network = network_of(DenseLayer(4, (5,)), loss=OfLogarithms())
    model = Model(network, Target("regression", n_columns=2), scaling=TargetScaling((1.0, 2.0), (3.0, 4.0)))
    X = rows_of((5,)) / 20
    mean, log_variance = np.split(network.predict(X), 2, axis=1)
    expected = np.exp(mean + np.exp(log_variance) / 2) * [3, 4] + [1, 2]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6)
    check_numbers(to, model, X, tmp_path)


@pytest.mark.parametrize("to", SOURCES)
def test_what_no_export_can_say_is_named(to: Any, tmp_path: Path) -> None:
    path = tmp_path / "model"
    custom = CustomActivation(np.cbrt, lambda z: 1 / (3 * np.cbrt(z) ** 2), "CubeRoot")
    own = Model(network_of(DenseLayer(1, (2,)), loss=Squared()), Target("regression"))
    broken = network_of(DenseLayer(1, (2,)))
    broken.layers[0].set_array("biases", [np.nan])
    cases: list[tuple[Any, str]] = [
        (network_of(DenseLayer(3, (2,)), Doubling()), "The class Doubling overrides .* but not lower"),
        (
            network_of(DenseLayer(3, (2,)), custom),
            "CubeRoot is computed by NumPy only. A formula uses cbrt",
        ),
        (own, "The point predictions of the loss Squared cannot be exported. A formula uses cbrt"),
        (broken, "'0.biases' hold a number that is not finite"),
        ("houses.csv", "takes a Model or a NeuralNetwork, not 'houses.csv'"),
    ]
    for model, sentence in cases:
        with pytest.raises(InvalidInputError, match=sentence):
            export_model(model, path, to)
    with pytest.raises(NotBuiltError):
        export_model(network_of(DenseLayer(3)), path, to)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["MODEL_x", "model_model_", "é*/", "int", "2.0"])
def test_the_name_of_the_file_becomes_a_name_of_c(name: str, tmp_path: Path) -> None:
    source = tmp_path / f"{name.replace('/', '')}.c"
    export_model(Model(network_of(DenseLayer(1, (2,))), Target("binary", ("no", "yes"))), source, "c")
    run(*COMPILE, "-DCHAINRULE_MAIN", source, "-o", tmp_path / "program", "-lm")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    wrong: Any = "java"
    with pytest.raises(InvalidInputError, match="The export format is one of onnx, torch, c, js, not 'java'"):
        export_model(network_of(DenseLayer(1, (1,))), tmp_path / "m", wrong)
    assert set(FORMATS) == {"onnx", "torch", "c", "js"}


def test_a_network_is_not_changed(tmp_path: Path) -> None:
    network = fill(network_of(DenseLayer(3, (2,)), BatchNormalizationLayer(), PReLUActivation()))
    before = copy.deepcopy(network.stack.read_arrays())
    for to in SOURCES:
        export_model(network, tmp_path / to, to)
    after = network.stack.read_arrays()
    assert all(after[name].tobytes() == array.tobytes() for name, array in before.items())
