"""The network as users meet it: settings, fit, errors in words, the summary."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule.activations import ReLUActivation, SigmoidActivation, SoftmaxActivation, TanhActivation
from chainrule.callbacks import EarlyStopping
from chainrule.data import Dataset, NoiseAugmentation
from chainrule.errors import ChainruleError, DataError, InvalidInputError, NotBuiltError
from chainrule.layers import BatchNormalizationLayer, DenseLayer, DropoutLayer
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS, SGD, Adam
from chainrule.penalties import L1, L1L2, L2
from support.networks import bits_of, class_rows, network_of, regression_rows

DATA = regression_rows(60)


def linear(**settings: Any) -> NeuralNetwork:
    return network_of(DenseLayer(1, (5,)), **{"epochs": 2, **settings})


def classifier(n_units: int = 3, **settings: Any) -> NeuralNetwork:
    settings = {"loss": "categorical_cross_entropy", "epochs": 2, **settings}
    return network_of(DenseLayer(n_units, (5,)), SoftmaxActivation(), **settings)


# Weights ---------------------------------------------------------------------------------------


def test_weights_can_be_read_and_set_before_fit_and_fit_goes_on_from_them() -> None:
    network = linear(learning_rate=1e-30, loss="mse")
    layer: Any = network.layers[0]
    assert layer.weights.shape == (5, 1)
    assert np.any(layer.weights != 0)
    layer.weights, layer.biases = np.arange(5)[:, None], [7]
    expected = DATA.X @ np.arange(5) + 7
    network.fit(DATA)
    np.testing.assert_allclose(network.predict(DATA)[:, 0], expected, rtol=1e-5)
    with pytest.raises(InvalidInputError, match=r"weights of DenseLayer must have shape \(5, 1\)"):
        layer.weights = np.ones(5)


def test_the_input_shape_may_come_with_the_data() -> None:
    network = network_of(DenseLayer(3), TanhActivation(), DenseLayer(1), epochs=2)
    with pytest.raises(NotBuiltError, match="fit"):
        network.predict(DATA)
    told = network_of(DenseLayer(3, (5,)), TanhActivation(), DenseLayer(1), epochs=2)
    assert bits_of(network.fit(DATA)) == bits_of(told.fit(DATA))


def test_layers_show_their_last_training_batch() -> None:
    network = linear(batch_size=8)
    layer = network.layers[0]
    assert layer.input is None
    assert layer.output is None
    network.fit(DATA)
    assert layer.input.shape == (60 % 8, 5)
    assert layer.output is not None
    assert layer.output.shape == (60 % 8, 1)


def test_layers_added_after_a_fit_train_from_then_on() -> None:
    network = network_of(DenseLayer(4, (5,)), optimizer="adam", epochs=2)
    network.fit(DATA.X, np.tile(DATA.y[:, None], 4))  # type: ignore[index]
    network.add(TanhActivation())
    network.add(DenseLayer(1))
    before = bits_of(network)
    network.fit(DATA)
    assert all(bits_of(network)[name] != bits for name, bits in before.items())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_is_in_one_precision(dtype: str) -> None:
    network = network_of(
        DenseLayer(4), BatchNormalizationLayer(), ReLUActivation(), DropoutLayer(0.1), DenseLayer(1), dtype=dtype
    )
    network.fit(DATA, validation=0.2)
    arrays = [*network.stack.read_arrays().values(), network.predict(DATA), network.stack.vector.gradients]
    assert {str(array.dtype) for array in arrays} == {dtype}


# Data in other forms ---------------------------------------------------------------------------


def test_inputs_and_targets_lists_and_frames_are_the_same_data() -> None:
    X, y = DATA.X.tolist(), np.asarray(DATA.y).tolist()
    reference = bits_of(linear().fit(DATA))
    frame = pd.DataFrame(DATA.X)
    for inputs, targets in ((X, y), (frame, pd.Series(DATA.y))):
        assert bits_of(linear().fit(inputs, targets)) == reference
    fitted = linear().fit(DATA)
    np.testing.assert_array_equal(fitted.predict(frame), fitted.predict(DATA))
    np.testing.assert_array_equal(fitted.predict(X), fitted.predict(DATA))
    assert fitted.score(X, y) == fitted.score(DATA) == fitted.evaluate(DATA)["loss"]


@pytest.mark.parametrize("validation", [0.25, "dataset", "pair"])
def test_validation_may_be_a_share_a_dataset_or_a_pair(validation: Any) -> None:
    other = regression_rows(30, seed=1)
    given = {"dataset": other, "pair": (other.X, other.y)}.get(validation, validation)
    network = linear(metric="r2").fit(DATA, validation=given)
    assert len(network.history["validation_loss"]) == len(network.history["validation_r2"]) == 2
    if validation != 0.25:
        assert network.history["validation_loss"][-1] == pytest.approx(network.evaluate(other)["loss"])


@pytest.mark.parametrize(
    ("loss", "n_units"), [("mse", 1), ("mae", 1), ("huber", 1), ("poisson", 1), ("gaussian_nll", 2), ("pinball", 1)]
)
@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5], [1.5, 2.5], [0, 4]])
def test_few_distinct_numbers_are_still_numbers_under_a_loss_of_numbers(
    loss: str, n_units: int, values: list[float]
) -> None:
    """Ratings, counts and the like: targets of a regression, not classes 0, 1, ... that happen to be numbered."""
    y = np.resize(values, 60)
    network = network_of(DenseLayer(n_units, (5,)), loss=loss, optimizer="adam", learning_rate=0.1, epochs=150)
    network.fit(DATA.X, y, validation=(DATA.X, y))
    mean = network.predict(DATA)[:, 0].mean()
    assert (np.exp(mean) if loss == "poisson" else mean) == pytest.approx(np.mean(values), abs=0.7)
    assert network.evaluate(DATA.X, y)["loss"] == pytest.approx(network.history["validation_loss"][-1])


def test_labels_stay_classes_under_a_sigmoid_or_with_one_output_a_class() -> None:
    sigmoid = network_of(DenseLayer(1, (5,)), SigmoidActivation(), loss="mse", metric="accuracy", epochs=1)
    sigmoid.fit(DATA.X, np.resize(["no", "yes"], 60))
    sigmoid.fit(DATA.X, np.resize([1, 2], 60))
    assert 0 <= sigmoid.score(DATA.X, np.resize([1, 2], 60)) <= 1
    one_hot = network_of(DenseLayer(3, (5,)), loss="mse", epochs=1).fit(DATA.X, np.arange(60) % 3)
    assert one_hot.predict(DATA).shape == (60, 3)


def test_metrics_may_be_functions_of_the_users_own() -> None:
    def worst(y_true: Any, y_pred: Any) -> float:
        return float(np.abs(y_true - y_pred).max())

    network = linear(metric=[worst, "r2"]).fit(DATA)
    assert network.score(DATA) == pytest.approx(np.abs(network.predict(DATA)[:, 0] - DATA.y).max(), rel=1e-5)
    assert list(network.evaluate(DATA)) == ["loss", "worst", "r2"]
    assert len(network.history["worst"]) == 2


def test_mini_batches_by_hand() -> None:
    network = linear(batch_size=25)
    X, y = np.arange(60)[:, None], np.arange(60)
    in_order = list(network.get_mini_batches(X, y, shuffle=False))
    assert [len(part) for part, _ in in_order] == [25, 25, 10]
    assert np.concatenate([targets for _, targets in in_order]).tolist() == y.tolist()
    shuffled = list(network.get_mini_batches(X, y))
    assert all(np.array_equal(inputs[:, 0], targets) for inputs, targets in shuffled)
    order = np.concatenate([targets for _, targets in shuffled])
    assert sorted(order) == y.tolist()
    assert order.tolist() != y.tolist()


@pytest.mark.parametrize("training", [False, True])
def test_forward_takes_a_dataset_or_rows(training: bool) -> None:
    network = network_of(DenseLayer(2))
    outputs = network.forward_propagation(DATA, training=training).copy()
    np.testing.assert_array_equal(network.forward_propagation(DATA.X, training=training), outputs)


# Settings --------------------------------------------------------------------------------------


def test_learning_rate_and_momentum_go_to_the_optimizer() -> None:
    network = linear(optimizer="sgd", learning_rate=0.3, momentum=0.4)
    assert isinstance(network.optimizer, SGD)
    assert (network.optimizer.learning_rate, network.optimizer.momentum, network.learning_rate) == (0.3, 0.4, 0.3)
    described = linear(optimizer=Adam(0.5, beta1=0.7), learning_rate=0.1).describe()["settings"]["optimizer"]
    assert (described["type"], described["learning_rate"], described["beta1"]) == ("adam", 0.1, 0.7)


def test_an_optimizer_given_to_two_networks_is_not_shared() -> None:
    adam = Adam()
    first, second = linear(optimizer=adam), linear(optimizer=adam)
    first.fit(DATA)
    assert adam.state == {}
    assert second.optimizer.state == {}


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_learns_through_its_name(name: str) -> None:
    network = network_of(DenseLayer(6, (5,)), TanhActivation(), DenseLayer(1), optimizer=name, epochs=60, batch_size=10)
    losses = network.fit(DATA).history["loss"]
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize(
    ("settings", "penalty"),
    [({}, None), ({"l1": 0.1}, L1(0.1)), ({"l2": 0.2}, L2(0.2)), ({"l1": 0.1, "l2": 0.2}, L1L2(0.1, 0.2)),
     ({"penalty": "l2"}, L2()), ({"penalty": L1(0.3)}, L1(0.3))],
)  # fmt: skip
def test_penalties_by_rate_name_or_instance(settings: dict[str, Any], penalty: Any) -> None:
    assert linear(**settings).penalty == penalty


def test_an_l1_penalty_empties_useless_inputs_and_spares_biases() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    network = linear(l1=0.3, optimizer="sgd", learning_rate=0.05, epochs=100).fit(X, 3 * X[:, 0] + 5)
    layer: Any = network.layers[0]
    assert np.abs(layer.weights[1:]).max() < 0.02
    assert layer.weights[0, 0] == pytest.approx(3 - 0.15, abs=0.05)  # the minimum of (w - 3)^2 + 0.3 |w|
    assert layer.biases[0] == pytest.approx(5, abs=0.05)


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "no epochs": (lambda: linear(epochs=0), "epochs is 0"),
    "half an epoch": (lambda: linear(epochs=2.5), "epochs is 2.5"),
    "epochs in words": (lambda: linear(epochs="ten"), "epochs is 'ten'"),
    "true epochs": (lambda: linear(epochs=True), "epochs is True"),
    "layers in the constructor": (
        lambda: NeuralNetwork([DenseLayer(3)]),  # type: ignore[arg-type]
        r"add each of them with network\.add\(layer\)",
    ),
    "layers by name": (lambda: linear(layers=[]), r"no argument 'layers'\. Add each layer with network\.add"),
    "the rate of PyTorch": (lambda: linear(lr=0.1), "no argument 'lr'. Did you mean 'learning_rate'"),
    "a misspelling": (lambda: linear(epoch=3), "no argument 'epoch'. Did you mean 'epochs'"),
    "Keras' share": (
        lambda: linear().fit(DATA, validation_split=0.2),  # type: ignore[arg-type]
        "fit has no argument 'validation_split'. Did you mean 'validation'",
    ),
    "epochs of fit": (
        lambda: linear().fit(DATA, epochs=3),  # type: ignore[arg-type]
        "fit has no argument 'epochs'. Give epochs to NeuralNetwork",
    ),
    "an activation in a layer": (
        lambda: DenseLayer(10, activation="relu"),  # type: ignore[call-arg]
        r"DenseLayer has no argument 'activation'\. Add the activation as the next layer, such as ReLUActivation\(\)",
    ),
    "the rate of an optimizer": (
        lambda: SGD(lr=0.1),  # type: ignore[call-arg]
        "SGD has no argument 'lr'. Did you mean 'learning_rate'",
    ),
    "a layer by name": (
        lambda: linear().add("softmax"),  # type: ignore[arg-type]
        r"Did you mean SoftmaxActivation\(\)",
    ),
    "accuracy of numbers": (lambda: linear(metric="accuracy").fit(DATA), "metric accuracy is for classes.*take r2"),
    "no batch": (lambda: linear(batch_size=0), "batch_size is 0"),
    "batch in words": (lambda: linear(batch_size=None), "batch_size is None"),
    "a bad seed": (lambda: linear(seed=-1), "seed is -1"),
    "full smoothing": (lambda: linear(label_smoothing=1), "label_smoothing is 1"),
    "unknown loss": (lambda: linear(loss="binary_cross_entrpy"), "Did you mean 'binary_cross_entropy'"),
    "unknown optimizer": (lambda: linear(optimizer="adm"), "Did you mean 'adam'"),
    "unknown metric": (lambda: linear(metric="acuracy"), "Did you mean 'accuracy'"),
    "unknown schedule": (lambda: linear(schedule="cosin"), "Did you mean 'cosine"),
    "unknown penalty": (lambda: linear(penalty="l3"), "no penalty called 'l3'. Known are: l1, l1l2, l2"),
    "a function as loss": (lambda: linear(loss=np.sum), "is no loss"),
    "two penalties": (lambda: linear(penalty="l1", l2=0.1), "either a penalty or"),
    "a negative rate": (lambda: linear(l2=-1), "l2 is -1; allowed are finite numbers from 0 up"),
    "momentum for Adam": (lambda: linear(optimizer="adam", momentum=0.9), "Adam has no momentum"),
    "rate 0": (lambda: linear(learning_rate=0), "learning_rate of SGD is 0"),
    "class weights as a number": (lambda: linear(class_weight=2), "class_weight is 2"),
    "unbalanced": (lambda: linear(class_weight="unbalanced"), "class_weight is 'unbalanced'"),
    "half precision": (lambda: linear(dtype="float16"), "float16"),
    "no layers": (lambda: network_of().fit(DATA), "no layers yet"),
    "no targets": (lambda: linear().fit(DATA.X), "no targets y"),
    "targets twice": (lambda: linear().fit(DATA, DATA.y), "has its targets and weights already"),
    "too few targets": (lambda: linear().fit(DATA.X, np.asarray(DATA.y)[:-1]), "59"),
    "another width": (lambda: network_of(DenseLayer(1, (4,))).fit(DATA), r"\(60, 5\)|\(5,\)"),
    "too many outputs": (lambda: network_of(DenseLayer(2, (5,))).fit(DATA), "has 2 output units.* needs 1"),
    "too few classes": (lambda: classifier(2).fit(class_rows()), "has 2 output units.* needs 3"),
    "one output for three classes": (lambda: classifier(1).fit(class_rows()), "has 1 output units.* needs 3"),
    "an odd number for means and variances": (
        lambda: network_of(DenseLayer(3, (5,)), loss="gaussian_nll").fit(DATA),
        "needs 2 output units for each target",
    ),
    "class weights for numbers": (lambda: linear(class_weight="balanced").fit(DATA), "needs a target of classes"),
    "weight for a class that is none": (
        lambda: classifier(class_weight={7: 1.0}).fit(class_rows()),
        "7, which is not a class",
    ),
    "too large a share": (lambda: linear().fit(DATA, validation=1.5), "a share of the rows between 0 and 1"),
    "evaluating without targets": (lambda: linear().evaluate(DATA.X), "no targets y"),
    "evaluating before it is built": (lambda: network_of(DenseLayer(1)).evaluate(DATA), "not known yet|not seen"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_one_sentence(name: str) -> None:
    mistake, words = MISTAKES[name]
    with pytest.raises(ChainruleError, match=words) as caught:
        mistake()
    assert "\n" not in str(caught.value)


# Telling ---------------------------------------------------------------------------------------


def test_the_summary_tells_layers_shapes_parameters_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    network = network_of(
        DenseLayer(128, (784,)), ReLUActivation(), DenseLayer(10), SoftmaxActivation(), optimizer="adam"
    )
    network.batch_size = 64
    network.summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["1", "DenseLayer", "(rows,", "128)", "100,480"]
    assert lines[5].split() == ["4", "SoftmaxActivation", "(rows,", "10)", "0"]
    assert lines[7] == "101,770 trainable parameters, float32, 407.1 kB"
    arrays = 4 * (4 * 101_770 + 2 * 64 * 276)  # parameters, gradients, two moments; outputs and errors of a batch
    assert lines[8] == f"training with batches of 64: {arrays / 1e6:.1f} MB"


def test_the_summary_before_the_input_shape_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    network_of(DenseLayer(3), ReLUActivation()).summary()
    shown = capsys.readouterr().out
    assert "?" in shown
    assert "not known yet" in shown


def test_importing_the_package_and_a_network_loads_nothing_heavy() -> None:
    code = (
        "import sys, chainrule; chainrule.NeuralNetwork; print({'torch', 'matplotlib', 'numba'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_a_dataset_without_targets_can_be_predicted() -> None:
    assert linear().predict(Dataset(DATA.X)).shape == (60, 1)


def test_the_labels_of_the_first_fit_are_those_of_every_score() -> None:
    X, labels = DATA.X, np.resize(["a", "b", "c"], 60)
    network = network_of(DenseLayer(3, (5,)), SoftmaxActivation(), loss="cross_entropy", metric="accuracy", epochs=5)
    network.fit(X, labels)
    one = labels == "c"
    expected = float(np.mean(network.predict(X[one]).argmax(axis=1) == 2))
    assert network.score(X[one], labels[one]) == pytest.approx(expected)
    assert network.score(Dataset(X[labels != "a"], labels[labels != "a"])) == pytest.approx(
        float(np.mean(network.predict(X).argmax(axis=1)[labels != "a"] == (labels == "c")[labels != "a"] + 1))
    )
    with pytest.raises(DataError, match=r"'d'.* not one of the classes"):
        network.score(X, np.resize(["a", "b", "d"], 60))
    with pytest.raises(DataError, match="not one of the classes"):
        network.fit(X, labels, validation=(X, np.resize(["a", "d"], 60)))
    with pytest.raises(DataError):
        network.fit(X, np.full(60, np.nan))
    assert network.target is not None, "a fit that is refused forgets nothing"
    assert network.target.classes == ("a", "b", "c")


def test_a_loss_of_probabilities_wants_an_activation_before_it() -> None:
    with pytest.raises(
        InvalidInputError, match=r"DenseLayer gives any number: end the network in SoftmaxActivation\(\)"
    ):
        network_of(DenseLayer(3, (5,)), loss="cross_entropy").fit(DATA.X, np.arange(60) % 3)


def test_callbacks_are_checked() -> None:
    with pytest.raises(InvalidInputError, match=r"not a Callback\. Did you forget to call it"):
        linear().fit(DATA, callbacks=[EarlyStopping])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match=r"not a Callback\. Did you forget to call it"):
        linear().fit(DATA, callbacks=EarlyStopping)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"not an Augmentation\. Did you forget to call it"):
        linear().fit(DATA, augmentation=NoiseAugmentation)  # type: ignore[arg-type]
    assert linear().fit(DATA, callbacks=EarlyStopping(monitor="loss")).history  # type: ignore[arg-type]


def test_sample_weights_may_stand_beside_the_targets() -> None:
    weights = np.random.default_rng(0).uniform(size=60)
    beside = linear().fit(DATA.X, DATA.y, weights)
    inside = linear().fit(Dataset(DATA.X, DATA.y, sample_weight=weights))
    assert beside.predict(DATA).tobytes() == inside.predict(DATA).tobytes()


def test_the_learning_rate_can_be_changed_between_fits() -> None:
    network = linear()
    network.learning_rate = 0.5
    assert (network.learning_rate, network.optimizer.learning_rate) == (0.5, 0.5)
    with pytest.raises(InvalidInputError, match="learning_rate"):
        network.learning_rate = -1


def test_a_layer_of_another_network_is_refused() -> None:
    layer = DenseLayer(1, (5,))
    network_of(layer)
    with pytest.raises(InvalidInputError, match="belongs to another network"):
        network_of(layer)
    assert network_of(copy.deepcopy(layer)).stack.parameters() == 6
    assert network_of(pickle.loads(pickle.dumps(layer, protocol=5))).stack.parameters() == 6
