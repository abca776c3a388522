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
from typing import Any

import pytest
import torch
from torch import nn

import chainrule
from chainrule import Dataset, InvalidInputError, NeuralNetwork
from chainrule.activations import LeakyReLUActivation, ReLUActivation
from chainrule.callbacks import Callback, EarlyStopping, ReduceOnPlateau
from chainrule.layers import BatchNormalizationLayer, DenseLayer, EmbeddingLayer, Layer, RepeatLayer, Residual
from chainrule.metrics import METRICS, f1
from chainrule.named import FixedAttributes, Registry, other_names
from chainrule.optimizer import SGD, Adam, Optimizer
from chainrule.schedules import CosineRestarts, CyclicRate, ExponentialDecay, MultiStepDecay, OneCycle, StepDecay

MODULES = ("activations", "callbacks", "initializers", "layers", "losses", "metrics", "optimizer", "penalties",
           "schedules", "zoo", "plots", "data.augment")  # fmt: skip
# Functions of these modules that take no part in the work of a user.
INTERNAL = {"plots": ("apart_from_pyplot", "figure_", "readable_metric", "can_be_log", "metric_names"),
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


@pytest.mark.parametrize("name", PUBLIC)
def test_an_unknown_argument_is_refused_by_every_public_class_and_function(name: str) -> None:
    arguments = inspect.signature(PUBLIC[name]).parameters
    if any(one.kind == one.VAR_KEYWORD for one in arguments.values()):
        pytest.skip("hands its settings to another one")
    with pytest.raises(InvalidInputError, match=f"^{name} has no argument 'no_such_argument'") as caught:
        PUBLIC[name](no_such_argument=1)
    assert str(caught.value).endswith(f" It has: {', '.join(arguments)}.")


@pytest.mark.parametrize("name", PUBLIC)
def test_missing_and_surplus_arguments_are_named_by_every_public_class_and_function(name: str) -> None:
    arguments = inspect.signature(PUBLIC[name]).parameters.values()
    required = [one.name for one in arguments if one.default is one.empty and one.kind < one.VAR_KEYWORD]
    if required:
        with pytest.raises(InvalidInputError, match=f"^{name} needs the argument") as caught:
            PUBLIC[name]()
        assert re.findall("'(.+?)'", str(caught.value)) == required
        assert str(caught.value).endswith(f": call {name}({', '.join(required)}).")
    with pytest.raises(InvalidInputError, match=f"^{name} takes .* by position, and was given 40 arguments"):
        PUBLIC[name](*range(40))


@pytest.mark.parametrize("method", ["fit", "predict", "predict_labels", "evaluate", "score", "save", "load", "add"])
def test_methods_refuse_unknown_arguments_as_constructors_do(method: str) -> None:
    network = NeuralNetwork(seed=0)
    with pytest.raises(InvalidInputError, match=f"NeuralNetwork.{method} has no argument 'no_such'"):
        getattr(network, method)(no_such=1)


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
