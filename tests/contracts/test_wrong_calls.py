"""Wrong calls of public classes and functions: one sentence of chainrule's own, with the name that is meant."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import pickle
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import chainrule
from chainrule import (
    Checkpoint,
    Dataset,
    InvalidInputError,
    NeuralNetwork,
    Target,
    build_network,
    export_model,
    find_learning_rate,
    plot_history,
    read_table,
    train,
)
from chainrule.activations import ACTIVATIONS, CustomActivation, LeakyReLUActivation, ReLUActivation
from chainrule.callbacks import Callback, EarlyStopping, ReduceOnPlateau
from chainrule.data import class_weight_rows
from chainrule.layers import BatchNormalizationLayer, DenseLayer, EmbeddingLayer, Layer, RepeatLayer, Residual
from chainrule.losses import CustomLoss, Huber, LossFunction
from chainrule.metrics import METRICS, Metric, f1
from chainrule.named import FixedAttributes, Registry, other_names
from chainrule.optimizer import SGD, Adam, AdamW, Optimizer
from chainrule.penalties import L1, L2
from chainrule.runs import TrainOptions
from chainrule.schedules import (
    CosineDecay,
    CosineRestarts,
    CyclicRate,
    ExponentialDecay,
    MultiStepDecay,
    OneCycle,
    StepDecay,
    WarmUp,
)

MODULES = ("activations", "callbacks", "initializers", "layers", "losses", "metrics", "optimizer", "penalties",
           "schedules", "zoo", "plots", "data.augment")  # fmt: skip
# Functions of these modules that take no part in the work of a user.
INTERNAL = {"plots": ("without_pyplot", "figure_", "readable_metric", "can_be_log", "metric_names"),
            "losses": ("row_weights_of", "smooth_labels"), "optimizer": ("own_optimizer",),
            "penalties": ("choose_penalty", "SumOfPenalties"), "schedules": ("stretched",),
            "metrics": ("lower_is_better", "EpochRecord"), "callbacks": ("TrainingRun",)}  # fmt: skip


def public() -> Iterator[tuple[str, Any]]:
    """The classes and functions that users call, by name, without abstract classes."""
    found = {name: getattr(chainrule, name) for name in chainrule.__all__}
    for place in MODULES:
        module = importlib.import_module(f"chainrule.{place}")
        internal = INTERNAL.get(place, ())
        found |= {name: getattr(module, name) for name in module.__all__ if not name.startswith(internal or "?")}
    for one in found.values():
        is_error = inspect.isclass(one) and issubclass(one, BaseException | Warning)
        is_base = inspect.isabstract(one) or getattr(one, "_is_protocol", False) or one in (Callback, Layer, Optimizer)
        if callable(one) and not is_error and not is_base:
            yield one.__name__, one


PUBLIC = dict(public())


def test_an_unknown_argument_is_refused_by_every_public_class_and_function() -> None:
    for name, one in PUBLIC.items():
        arguments = inspect.signature(one).parameters
        if any(argument.kind == argument.VAR_KEYWORD for argument in arguments.values()):
            continue  # it hands its settings to another one
        with pytest.raises(InvalidInputError, match=f"^{name} has no argument 'no_such_argument'") as caught:
            one(no_such_argument=1)
        assert str(caught.value).endswith(f" It has: {', '.join(arguments)}.")


def test_missing_and_surplus_arguments_are_named_by_every_public_class_and_function() -> None:
    for name, one in PUBLIC.items():
        arguments = inspect.signature(one).parameters.values()
        required = [a.name for a in arguments if a.default is a.empty and a.kind < a.VAR_KEYWORD]
        if required:
            with pytest.raises(InvalidInputError, match=f"^{name} needs the argument") as caught:
                one()
            assert re.findall("'(.+?)'", str(caught.value)) == required
            assert str(caught.value).endswith(f": call {name}({', '.join(required)}).")
        with pytest.raises(InvalidInputError, match=f"^{name} takes .* by position, and was given 40 arguments"):
            one(*range(40))


@pytest.mark.parametrize("method", ["fit", "predict", "predict_labels", "evaluate", "score", "save", "load", "add"])
def test_methods_refuse_unknown_arguments_as_constructors_do(method: str) -> None:
    network = NeuralNetwork(seed=0)
    with pytest.raises(InvalidInputError, match=f"NeuralNetwork.{method} has no argument 'no_such'"):
        getattr(network, method)(*[[[1.0]]] * (method == "fit"), no_such=1)  # fit checks its names only


def test_a_setting_of_the_network_given_to_a_method_is_sent_there() -> None:
    network = NeuralNetwork(seed=0)
    with pytest.raises(InvalidInputError, match=r"has no argument 'batch_size'\. Give batch_size to NeuralNetwork\."):
        network.predict([[1.0]], batch_size=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidInputError, match=r"Dataset\.split has no argument 'seeds'\. Did you mean 'seed'"):
        Dataset([[1.0], [2.0]]).split(seeds=1)  # type: ignore[call-arg]


CALLS: dict[str, tuple[Any, str]] = {
    "gamma": (lambda: MultiStepDecay(gamma=0.1), r"Did you mean 'factor'\? It has: milestones, factor\."),
    "step_size": (lambda: StepDecay(step_size=3), "Did you mean 'every'"),
    "T_0": (lambda: CosineRestarts(T_0=3), "Did you mean 'period'"),
    "eta_min": (lambda: CosineRestarts(eta_min=3), r"Its share of the learning rate is 'final'\."),
    "base_lr": (lambda: CyclicRate(base_lr=0.1), r"Its share of the learning rate is 'low'\."),
    "max_lr": (lambda: OneCycle(max_lr=0.1), r"no argument 'max_lr'\. A schedule is a factor on the learning rate"),
    "mode": (lambda: ReduceOnPlateau(mode="min"), "The metric determines whether lower or higher"),
    "factor": (lambda: EarlyStopping(factor=0.1), r"EarlyStopping has no argument 'factor'\. It has: monitor"),
    "restore": (lambda: EarlyStopping(restore_best_weights=True), "Did you mean 'restore_best'"),
    "average": (lambda: f1([0, 1], [0, 1], average="macro"), "Use the metric 'f1_macro'"),
    "betas": (lambda: Adam(betas=(0.9, 0.99)), "Give its two numbers as beta1 and beta2"),
    "beta_1": (lambda: Adam(beta_1=0.9), "Did you mean 'beta1'"),
    "alpha": (lambda: LeakyReLUActivation(alpha=0.1), "Did you mean 'negative_slope'"),
    "num_embeddings": (lambda: EmbeddingLayer(num_embeddings=4), "Did you mean 'n_categories'"),
    "nesterov": (lambda: NeuralNetwork(nesterov=True), "It is a setting of the optimizer, as in optimizer='sgd:nest"),
    "weight_decay": (lambda: NeuralNetwork(weight_decay=0.1), "as in optimizer='adamw:weight_decay=0.01', or use the"),
    "no list": (lambda: Residual(DenseLayer(3), DenseLayer(3)), "Give the layers in one list"),
    "without n": (RepeatLayer, "RepeatLayer needs the argument 'n': call RepeatLayer"),
    "twice": (lambda: DenseLayer(3, n_units=4), "DenseLayer was given 'n_units' twice, by position and by name"),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_names_of_other_libraries_lead_to_the_argument_that_is_meant(call: str) -> None:
    make, words = CALLS[call]
    with pytest.raises(InvalidInputError, match=words):
        make()


def test_a_sentence_or_an_existing_argument_stands_beside_every_foreign_argument() -> None:
    pieces = [cls for registry in Registry.families for cls in registry.classes.values()]
    functions = [metric.function for metric in METRICS.values() if inspect.isfunction(metric.function)]
    for piece in (*pieces, *functions):
        arguments = inspect.signature(piece).parameters
        for foreign, meant in other_names(piece).arguments.items():
            assert foreign not in arguments
            assert meant in arguments or meant.endswith(".")


@pytest.mark.parametrize("module", [torch.optim, torch.optim.lr_scheduler, nn])
def test_no_argument_of_pytorch_brings_out_a_raw_error(module: Any) -> None:
    families = [r for r in Registry.families if r.kind in ("optimizer", "schedule", "activation", "loss")]
    for cls in (cls for registry in families for cls in registry.classes.values()):
        for name in (cls.__name__, *other_names(cls).aliases):
            theirs = getattr(module, name, None)
            for argument in inspect.signature(theirs).parameters if inspect.isclass(theirs) else ():
                if argument not in inspect.signature(cls).parameters:
                    with pytest.raises(InvalidInputError, match=f"{cls.__name__} has no argument '{argument}'"):
                        cls(**{argument: 1})


def test_errors_inside_a_function_are_left_as_they_are() -> None:
    with pytest.raises(TypeError, match="unsupported operand") as caught:
        ExponentialDecay(0.5)("2")  # type: ignore[arg-type]
    assert not isinstance(caught.value, InvalidInputError)


def test_own_classes_given_to_a_network_are_explained_too() -> None:
    class Own(Optimizer):
        def __init__(self, friction: float) -> None:
            self.learning_rate, self.friction = 0.1, friction

        def rule(self, weights: Any, gradient: Any, rate: Any) -> Any:
            return weights - rate * gradient

    with pytest.raises(InvalidInputError, match=r"Own needs the argument 'friction': call Own\(friction\)"):
        NeuralNetwork(optimizer=Own)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("adamw:weight_decay=0.01,beta_1=0.95", AdamW(weight_decay=0.01, beta1=0.95)),
        ("sgd:momentum=0.9,nesterov=true", SGD(momentum=0.9, nesterov=True)),
        ("huber:delta=2", Huber(delta=2)),
        ("adam:lr=0.5,eps=1e-4", Adam(0.5, epsilon=1e-4)),
        ("leaky_relu:slope=0.1", LeakyReLUActivation(negative_slope=0.1)),
        ("l2:1e-4", L2(1e-4)),
        ("l2:rate=1e-4", L2(1e-4)),
        ("cosine:final=0.1", CosineDecay(epochs=7, final=0.1)),
        ("multi_step:(2,5),factor=0.5", MultiStepDecay((2, 5), 0.5)),
        ("warm_up:2,then=(cosine:epochs=5,final=0.1)", WarmUp(2, CosineDecay(5, final=0.1))),
    ],
)
def test_settings_may_follow_the_name_of_any_piece(text: str, made: Any) -> None:
    registry = next(one for one in Registry.families if isinstance(made, one.base))
    if registry.kind == "layer":
        created = ACTIVATIONS.create(text)
    else:
        created = getattr(NeuralNetwork(epochs=7, **{registry.kind: text}), registry.kind)
    assert repr(created) == repr(made)


def test_a_penalty_with_settings_in_a_layer_is_saved_with_it(tmp_path: Path) -> None:
    network = NeuralNetwork(seed=0, optimizer="adam:beta1=0.8", schedule="step:every=2")
    network.add(DenseLayer(2, (3,), penalty="l1:0.25"))
    network.save(tmp_path / "network.safetensors")
    again = NeuralNetwork.load(tmp_path / "network.safetensors")
    assert again.layers[0].penalties()["weights"] == (L1(0.25),)
    assert (again.optimizer.beta1, again.schedule) == (0.8, StepDecay(every=2))  # type: ignore[attr-defined]


# Values ---------------------------------------------------------------------------------------------------------------


NETWORK = NeuralNetwork(seed=0).add(DenseLayer(1, (2,)))
VALUES: dict[str, tuple[Any, str]] = {
    "text for a function": (lambda: CustomActivation("sin", np.cos), "The function of CustomActivation is 'sin'"),
    "text for a derivative": (lambda: CustomActivation(np.sin, "cos"), "The function_derivative of CustomActivation"),
    "text for a loss": (lambda: CustomLoss("sin", np.cos), "The loss_function of CustomLoss is 'sin'"),
    "text for a metric": (lambda: Metric("own", "r2"), "The function of Metric is 'r2'; allowed are functions"),
    "no category": (lambda: EmbeddingLayer((), 4), r"The n_categories of an EmbeddingLayer are \(\)"),
    "unsorted": (lambda: MultiStepDecay([5, 2]), r"The milestones of MultiStepDecay are \[5, 2\]; give increasing"),
    "equal": (lambda: MultiStepDecay((5, 5)), "give increasing epochs"),
    "half a cooldown": (
        lambda: ReduceOnPlateau(cooldown=1.5),
        "The cooldown of ReduceOnPlateau is 1.5; allowed are",
    ),
    "half a patience": (lambda: EarlyStopping(patience=2.5), "allowed are whole numbers from 1 up, or None"),
    "half a window": (lambda: EarlyStopping(tolerance=1, window=2.5), "The window of EarlyStopping is 2.5"),
    "half of every": (lambda: Checkpoint("x", every=0.5), "The every of Checkpoint is 0.5"),
    "no Boolean": (lambda: EarlyStopping(restore_best="no"), "is 'no'; allowed are True and False"),
    "verbose": (lambda: NeuralNetwork(verbose=2), "verbose is 2; allowed are True and False"),
    "trainable": (lambda: DenseLayer(2, trainable="no"), "trainable is 'no'; allowed are True and False"),
    "infinite value": (lambda: NeuralNetwork(clip_value=np.inf), "clip_value is inf; allowed are finite numbers abo"),
    "infinite norm": (lambda: NeuralNetwork(clip_norm=np.inf), "clip_norm is inf"),
    "infinite max-norm": (lambda: NeuralNetwork(max_norm=np.inf), "max_norm is inf"),
    "a target for labels": (lambda: Dataset([[1.0], [2.0]], target=[0, 1]), "target is a list; give the labels as y"),
    "a list of own classes": (
        lambda: NeuralNetwork.from_description(NETWORK.describe(), NETWORK.stack.read_arrays(), [DenseLayer]),
        r"custom_objects is \[<class .*; give a dictionary from names to classes, such as \{'MyLayer': MyLayer\}",
    ),
    "no module": (lambda: NeuralNetwork.from_torch(None), "from_torch takes an nn.Sequential of layers, not None"),
    "a module's class": (lambda: NeuralNetwork.from_torch(nn.Linear), "from_torch takes an nn.Sequential of layers"),
    "swapped": (lambda: export_model("m.onnx", NETWORK), "not 'm.onnx'; the path is the second argument"),
    "a suffix of C": (
        lambda: export_model(NETWORK, "m.c", "onnx"),
        "format is 'onnx', but 'm.c' has the suffix of the",
    ),
    "a suffix of JS": (lambda: export_model(NETWORK, "m.js", to="c"), "has the suffix of the format 'js'"),
    "no format": (
        lambda: export_model(NETWORK, "m.bin"),
        "Give the format .*, which the suffix of 'm.bin'",
    ),
    "an unknown format": (lambda: export_model(NETWORK, "m", to="pdf"), "one of onnx, torch, c, js, not 'pdf'"),
    "text for units": (lambda: train("iris", hidden="64,32"), r"hidden is '64,32'; give a tuple such as \(64, 32\)"),
    "text for a share": (lambda: train("iris", test_size="0.2"), "test_size is '0.2'; give a float or None"),
    "text for a rate": (lambda: train("iris", learning_rate="0.2"), "learning_rate is '0.2'; give a float or None"),
    "an unknown option": (lambda: train("iris", hiden=3), "train has no argument 'hiden'. Did you mean 'hidden'"),
    "scikit-learn's option": (lambda: train("iris", max_iter=3), "no argument 'max_iter'. Did you mean 'epochs'"),
    "weight decay": (lambda: train("iris", weight_decay=3), "as in optimizer='adamw:weight_decay=0.01', or use the"),
    "settings of a loss": (lambda: train("iris", loss="huber:delta=-1"), "The delta of Huber is -1"),
    "an unknown class": (
        lambda: class_weight_rows(Dataset([[1.0], [2.0]], [0, 1]), {2: 1.0}),
        "class_weight has a weight for 2, which is not a class; the classes are 0, 1",
    ),
    "a monitor that is no name": (
        lambda: EarlyStopping(monitor=3),
        "The monitor of EarlyStopping is 3; allowed",
    ),
    "a path that is none": (lambda: Checkpoint(3), "The path of Checkpoint is 3; allowed are texts"),
    "a file to write": (lambda: NETWORK.save(3), "The path is 3; give a text or a pathlib.Path"),
    "a file to read": (lambda: NeuralNetwork.load(3), "The path is 3; give a text or a pathlib.Path"),
    "a table to read": (lambda: read_table(3), "The path is 3; give a text or a pathlib.Path"),
    "no network": (lambda: find_learning_rate([[1.0]], [1]), r"find_learning_rate takes a NeuralNetwork.*, not \[\[1"),
    "no history": (lambda: plot_history(NETWORK), "A history is needed, such as network.history, not Neural"),
    "a share in words": (lambda: NETWORK.fit([[1.0, 2.0]], [1.0], validation="x"), "validation is 'x'; give a dataset"),
    "a callback's name": (lambda: NETWORK.fit([[1.0, 2.0]], [1.0], callbacks="stop"), "callbacks holds 'stop', which"),
    "an argument of build_network": (
        lambda: build_network(3, Target("regression"), hiden=4),
        "build_network has no argument 'hiden'. Did you mean 'hidden'.* It has: n_inputs, target, hidden, .*epochs",
    ),
    "a text that is too long": (lambda: NeuralNetwork(optimizer="adam:" + "(" * 999), "is longer than 500 characters"),
    "a text in a text": (lambda: NeuralNetwork(optimizer="adam:" + "(" * 200 + ")" * 200), "The learning_rate of Adam"),
    "then": (lambda: WarmUp(5, then="cosine"), "CosineDecay needs the argument 'epochs'"),
    "then a number": (lambda: WarmUp(5, then=3), "3 is no schedule"),
}


@pytest.mark.parametrize("value", VALUES)
def test_values_that_cannot_work_are_refused_at_once(value: str) -> None:
    make, words = VALUES[value]
    with pytest.raises(InvalidInputError, match=words):
        make()


@pytest.mark.parametrize(
    ("function", "derivative", "wrong"),
    [
        (lambda x: x.sum(), np.ones_like, "activation_function returns an array of shape ()"),
        (np.mean, np.ones_like, "activation_function returns an array of shape ()"),
        (lambda x: x.sum(axis=-1), np.ones_like, "activation_function returns an array of shape (4,)"),
        (lambda x: x.sum(axis=-1, keepdims=True), np.ones_like, "activation_function returns an array of shape (4, 1)"),
        (lambda x: 2 * x, lambda x: x.sum(), "derivative returns an array of shape ()"),
        (lambda x: 2 * x, lambda x: x.sum(axis=-1, keepdims=True), "derivative returns an array of shape (4, 1)"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_activation_that_reduces_its_input_is_refused(
    function: Any, derivative: Any, wrong: str, dtype: Any
) -> None:
    network = NeuralNetwork(epochs=1, seed=0, dtype=dtype)
    for layer in (DenseLayer(3, (2,)), CustomActivation(function, derivative), DenseLayer(1)):
        network.add(layer)
    with pytest.raises(InvalidInputError, match=re.escape(f"CustomActivation.{wrong} for an input of shape (4, 3)")):
        network.fit(np.eye(4, 2), np.arange(4.0))


def test_layers_may_be_added_one_after_another() -> None:
    network = NeuralNetwork(seed=0)
    assert network.add(DenseLayer(3, (2,))).add(ReLUActivation()).add(DenseLayer(1)) is network
    assert [layer.layer_name() for layer in network.layers] == ["DenseLayer", "ReLUActivation", "DenseLayer"]


def test_the_suffix_of_the_path_determines_the_format_of_an_export(tmp_path: Path) -> None:
    written = {suffix: export_model(NETWORK, tmp_path / f"m{suffix}").read_text() for suffix in (".c", ".js", ".mjs")}
    assert "#include" in written[".c"]
    assert written[".js"].replace("m.js", "m.mjs") == written[".mjs"]
    assert "export function predict" in written[".js"]
    assert export_model(NETWORK, tmp_path / "m.txt", to="c").read_text() == written[".c"]


def test_options_of_a_run_may_be_numbers_of_numpy_and_lists() -> None:
    options = TrainOptions.of("iris", hidden=np.array([8, 4]), epochs=np.int64(3), dropout=np.float32(0.5), drop=["a"])
    assert (options.hidden, options.epochs, options.dropout, options.drop) == ((8, 4), 3, 0.5, ("a",))
    assert TrainOptions.of("iris", hidden=8, drop="a", target=3).to_dict()["hidden"] == [8]


def test_a_constant_derivative_is_a_number() -> None:
    layer = CustomActivation(lambda x: 2 * x, lambda x: 2)
    assert layer.traced() is not None
    assert layer.derivative(np.zeros((2, 3))).tolist() == [[2.0] * 3] * 2


class WithoutRate(Optimizer):
    """An optimizer whose constructor forgets the learning rate."""

    def __init__(self, friction: float = 0.5) -> None:
        self.friction = friction

    def rule(self, weights: Any, gradient: Any, rate: Any) -> Any:
        return weights - rate * gradient


class WithRate(WithoutRate):
    """An optimizer with a learning rate that its constructor does not take."""

    def __init__(self) -> None:
        super().__init__()
        self.learning_rate = 0.5


@pytest.mark.parametrize("given", [WithoutRate, WithoutRate(0.1)])
@pytest.mark.parametrize("rate", [None, 0.1])
def test_an_own_optimizer_without_a_learning_rate_is_refused(given: Any, rate: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"WithoutRate has no learning_rate; set self"):
        NeuralNetwork(optimizer=given, learning_rate=rate)


def test_the_rate_of_an_own_optimizer_may_be_given_to_the_network() -> None:
    assert NeuralNetwork(optimizer=WithRate).learning_rate == 0.5
    assert NeuralNetwork(optimizer=WithRate(), learning_rate=0.25).learning_rate == 0.25
    with pytest.raises(InvalidInputError, match="The learning_rate of WithRate is -1"):
        NeuralNetwork(optimizer=WithRate, learning_rate=-1.0)


# Attributes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "name", "meant"),
    [
        (NeuralNetwork(seed=0), "epocs", "epochs"),
        (NeuralNetwork(seed=0), "lr", "learning_rate"),
        (NeuralNetwork(seed=0), "random_state", "seed"),
        (DenseLayer(3), "n_unit", "n_units"),
        (DenseLayer(3), "wieghts", "weights"),
        (Residual([DenseLayer(3)]), "layer", "layers"),
        (BatchNormalizationLayer(), "eps", "epsilon"),
        (ReLUActivation(), "trainabel", "trainable"),
        (Adam(), "lr", "learning_rate"),
        (SGD(), "momentun", "momentum"),
        (EarlyStopping(), "patince", "patience"),
    ],
)
def test_a_misspelt_attribute_is_refused(subject: Any, name: str, meant: str) -> None:
    with pytest.raises(InvalidInputError, match=f"has no attribute '{name}'.* Did you mean '{meant}'"):
        setattr(subject, name, 1)
    assert name not in vars(subject)
    subject._own_note = 1  # private names are free


@pytest.mark.parametrize("name", ["layers", "seed", "dtype"])
def test_attributes_that_cannot_change_say_so(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"The {name} of a NeuralNetwork cannot be changed; make a new one"):
        setattr(NeuralNetwork(seed=0), name, getattr(NETWORK, name))


def test_attributes_take_what_the_constructor_takes() -> None:
    given = {"optimizer": "adam:beta1=0.8", "loss": "huber", "schedule": "cosine", "penalty": "l2:0.5"}
    network, wanted = NeuralNetwork(epochs=3, seed=0), NeuralNetwork(epochs=3, metric="r2", seed=0, **given)
    for name, value in {**given, "metrics": "r2"}.items():
        setattr(network, name, value)
        assert repr(getattr(network, name)) == repr(getattr(wanted, name))
    with pytest.raises(InvalidInputError, match=r"There is no loss called 'hubber'\. Did you mean 'huber'"):
        network.loss = "hubber"


def test_a_setting_of_an_optimizer_that_was_changed_is_checked_before_the_next_fit() -> None:
    network = NeuralNetwork(optimizer="sgd", seed=0).add(DenseLayer(1, (1,)))
    network.optimizer.momentum = 2
    with pytest.raises(InvalidInputError, match=r"The momentum of SGD is 2; allowed are numbers from 0 and below 1"):
        network.fit([[1.0], [2.0]], [1.0, 2.0])


def test_settings_that_are_stored_elsewhere_are_no_attributes() -> None:
    network = NeuralNetwork(momentum=0.5, l2=0.1)
    for name in ("momentum", "l2", "metric", "device"):
        with pytest.raises(InvalidInputError, match=f"has no attribute '{name}'"):
            setattr(network, name, 0.9)


def test_own_subclasses_may_have_any_attributes() -> None:
    class Note(NeuralNetwork):
        pass

    class Own(Layer):
        def __init__(self) -> None:
            self.colour = "red"

        def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
            return inputs

        def backward_propagation(self, output_error: Any) -> Any:
            return output_error

    network, layer = Note(seed=0), Own()
    network.note, layer.size = "mine", 3  # type: ignore[attr-defined]
    network.add(layer)
    assert (network.note, layer.colour, layer.size) == ("mine", "red", 3)  # type: ignore[attr-defined]


def test_every_piece_can_be_constructed_copied_and_pickled_with_its_attributes() -> None:
    made = [DenseLayer(3, (2,)), Residual([DenseLayer(2, (2,))]), RepeatLayer(2), Adam(), EarlyStopping(), OneCycle(3)]
    for piece in made:
        for again in (copy.copy(piece), copy.deepcopy(piece), pickle.loads(pickle.dumps(piece))):
            assert type(again) is type(piece)
    for registry in Registry.families:
        for name, cls in registry.classes.items():
            arguments = inspect.signature(cls).parameters.values()
            if all(one.default is not one.empty for one in arguments):
                assert type(registry.create(name)) is cls


def test_every_attribute_that_a_method_assigns_is_declared_in_the_class() -> None:
    """An attribute that is not declared could not be assigned, and the line that does it may run in no other test."""
    for module in pkgutil.walk_packages(chainrule.__path__, "chainrule."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    classes: set[type[Any]] = set()
    waiting: list[type[Any]] = [FixedAttributes]
    while waiting:
        found = waiting.pop().__subclasses__()
        waiting += found
        classes |= {cls for cls in found if cls.__module__.startswith("chainrule.")}
    assert {DenseLayer, Adam, NeuralNetwork, EarlyStopping} <= classes
    for cls in classes:
        declared = {name for base in cls.__mro__ for name in (*vars(base), *inspect.get_annotations(base))}
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(cls)))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and not node.attr.startswith("_"):
                assert ast.unparse(node.value) != "self" or node.attr in declared, f"{cls}.{node.attr}"


def test_a_class_with_missing_methods_keeps_the_error_of_python() -> None:
    class Unfinished(LossFunction):
        def loss(self, y_true: Any, y_pred: Any) -> float:
            return 0.0

    with pytest.raises(TypeError, match=r"abstract.*derivative"):
        NeuralNetwork(loss=Unfinished)
