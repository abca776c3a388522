"""Settings declared once: each goes through the constructor, the command line, JSON, printed code and the tables."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from typer.testing import CliRunner

from chainrule import Checkpoint, Dataset, InvalidInputError, NeuralNetwork
from chainrule.activations import CustomActivation
from chainrule.cli.app import app
from chainrule.files.network_file import build_settings, describe_settings
from chainrule.layers import DenseLayer
from chainrule.losses import CustomLoss
from chainrule.metrics import Metric
from chainrule.named import Registry
from chainrule.optimizer import Adam, AdamW, Optimizer
from chainrule.ranges import Range
from chainrule.runs import TrainOptions
from chainrule.runs.options import NETWORK_OPTIONS
from chainrule.settings import (
    FROM_ONE,
    Declared,
    Setting,
    check_settings,
    declared_settings,
    setting_fields,
    settings_table,
)

DECLARED = declared_settings(NeuralNetwork)

# For every setting a value that is not its default.
VALUES: dict[str, Any] = {
    "epochs": 3, "batch_size": 7, "optimizer": "adam", "learning_rate": 0.5, "momentum": 0.25, "verbose": True,
    "loss": "huber", "metric": "r2", "seed": 5, "dtype": "float64", "penalty": "l1", "l1": 0.5, "l2": 0.125,
    "clip_norm": 2.0, "max_norm": 1.5, "label_smoothing": 0.25, "schedule": "cosine", "class_weight": "balanced",
    "clip_value": 0.5, "ema_decay": 0.9, "swa_from": 2, "vat_epsilon": 0.5, "shuffle": False,
    "engine": "numpy", "device": "cpu",
}  # fmt: skip


def test_every_setting_has_a_value_here() -> None:
    assert VALUES.keys() == DECLARED.keys()


@pytest.mark.parametrize("name", [name for name, one in DECLARED.items() if one.setting.in_files])
def test_a_setting_of_a_network_comes_back_from_json(name: str) -> None:
    network = NeuralNetwork(**{"seed": 1, name: VALUES[name]})
    described = json.loads(json.dumps(describe_settings(network.settings())))
    again = NeuralNetwork(**build_settings(described, DECLARED, None))
    assert describe_settings(again.settings()) == described
    assert described != describe_settings(NeuralNetwork(seed=1).settings())


@pytest.mark.parametrize("name", NETWORK_OPTIONS)
def test_an_option_of_a_network_reaches_printed_code_and_the_record_of_the_run(name: str) -> None:
    flag = DECLARED[name].setting.flags or (f"--{name.replace('_', '-')}",)
    command = ["train", "iris", "--preset", "plain", "--optimizer", "sgd", "--show-code", flag[0], str(VALUES[name])]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    calls = [node for node in ast.walk(ast.parse(ran.stdout)) if isinstance(node, ast.Call)]
    (build,) = (call for call in calls if ast.unparse(call.func) == "build_network")
    assert {word.arg: ast.literal_eval(word.value) for word in build.keywords}[name] == VALUES[name]
    options = TrainOptions("iris", preset="plain", optimizer="sgd", **{name: VALUES[name]})
    assert TrainOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_a_value_that_a_declaration_does_not_allow_is_refused() -> None:
    class Own:
        def __init__(self, depth: Annotated[int, Setting("How deep.", FROM_ONE)] = 1) -> None:
            check_settings(Own, locals())

    Own(3)
    with pytest.raises(InvalidInputError, match="depth is 0; allowed are whole numbers from 1 up"):
        Own(0)


def test_a_setting_that_was_changed_is_checked_before_the_next_fit() -> None:
    network = NeuralNetwork(seed=1)
    network.add(DenseLayer(1, (1,)))
    network.clip_norm = -1.0
    with pytest.raises(InvalidInputError, match="clip_norm is"):
        network.fit(Dataset([[0.0], [1.0]], [0.0, 1.0]))


def test_the_documentation_has_the_table_of_the_declarations() -> None:
    page = Path(__file__).parents[1] / "docs" / "reference" / "neuralnet.md"
    assert settings_table(NeuralNetwork) in page.read_text(encoding="utf-8")


def test_the_docstring_and_the_signature_have_the_declarations() -> None:
    assert NeuralNetwork.__doc__ is not None
    for name, one in DECLARED.items():
        assert f"    {name}\n        {one.setting.help}\n" in NeuralNetwork.__doc__
    assert "Setting(" not in str(inspect.signature(NeuralNetwork))
    for registry in Registry.families:
        for cls in (*registry.classes.values(), CustomActivation, CustomLoss, Checkpoint, Metric):
            assert "Setting(" not in str(inspect.signature(cls))


def test_a_field_of_a_subclass_keeps_the_declaration_of_its_base_class() -> None:
    @dataclass(eq=False)
    class Own(Optimizer):
        learning_rate: float = 0.5
        pull: float = 2.0

        def rule(self, weights: Any, gradient: Any, rate: Any) -> Any:
            return weights - self.pull * rate * gradient

    assert Own(1).learning_rate == 1.0
    with pytest.raises(InvalidInputError, match="The learning_rate of Own is 0; allowed are finite numbers above 0"):
        Own(0)
    with pytest.raises(InvalidInputError, match="The weight_decay of Own is -1"):
        Own(weight_decay=-1)
    assert declared_settings(AdamW)["weight_decay"].setting.since == "0.1"
    assert declared_settings(Adam)["weight_decay"].setting.since == "0.2"
    assert declared_settings(Adam)["beta1"].default == 0.9


def test_a_batch_of_all_rows_is_asked_for_by_their_number() -> None:
    with pytest.raises(InvalidInputError, match="for all rows in one batch, give their number"):
        NeuralNetwork(batch_size=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--dtype", "float16"), "dtype is float16; a network computes in float32 or float64."),
        (("--class-weight", "even"), "class_weight must be 'balanced' or None, not 'even'."),
        (("--clip-norm", "0"), "clip_norm is 0.0; allowed are finite numbers above 0, or None."),
    ],
)
def test_an_option_that_is_not_allowed_is_refused_in_one_sentence(option: tuple[str, str], sentence: str) -> None:
    ran = CliRunner().invoke(app, ["train", "iris", *option])
    assert (ran.exit_code, ran.stderr) == (2, f"Error: {sentence}\n")


def test_strings_among_the_types_of_a_number_are_allowed_and_named() -> None:
    size = Declared("size", int | Literal["auto"] | None, 1, Setting("", FROM_ONE))
    assert [size.allows(value) for value in (1, "auto", None, "all", 0, 1.5)] == [True, True, True, False, False, False]
    assert size.allowed == "whole numbers from 1 up, or 'auto', or None"
    patience = Declared("patience", float, 1, Setting("", Range(1, math.inf, includes_low=True, includes_high=True)))
    assert patience.allows(math.inf)
    assert not Declared("patience", float, 1, Setting("", FROM_ONE)).allows(math.inf)


def test_a_class_may_take_over_the_settings_of_another() -> None:
    fields = setting_fields(NeuralNetwork, "clip_norm", "l1")
    own = dataclasses.make_dataclass("Own", fields)
    declared = declared_settings(NeuralNetwork)
    assert list(declared_settings(own).values()) == [declared["clip_norm"], declared["l1"]]
    assert own().l1 == declared["l1"].default
