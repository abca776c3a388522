"""Every number that can be set is checked when it is given: what no float can hold is refused in one sentence."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from chainrule.activations import ACTIVATIONS
from chainrule.callbacks import CALLBACKS
from chainrule.data.augment import AUGMENTATIONS
from chainrule.data.splits import split_rows
from chainrule.errors import InvalidInputError
from chainrule.initializers import INITIALIZERS
from chainrule.layers import LAYERS, Layer
from chainrule.losses import LOSSES, Huber
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS, SGD, ObjectiveOptimizer, Optimizer
from chainrule.penalties import L2, PENALTIES
from chainrule.schedules import SCHEDULES, StepDecay
from chainrule.settings import declared_settings

FAMILIES = (ACTIVATIONS, AUGMENTATIONS, CALLBACKS, INITIALIZERS, LAYERS, LOSSES, OPTIMIZERS, PENALTIES, SCHEDULES)
REQUIRED: dict[str, Any] = {"image_shape": (8, 8), "epochs": 5}
# Neither 10**400 nor 10**5000 is a float, and Python does not even write the second.
NO_FLOATS = {"huge": 10**400, "negative": -(10**400), "unprintable": 10**5000, "nan": float("nan"), "text": "0.5"}


CLASSES = {cls for family in FAMILIES for cls in family.classes.values()} | {NeuralNetwork}
BASES = {Layer: declared_settings(Layer), Optimizer: ("weight_decay",)}  # the settings that all their subclasses have


def float_settings() -> list[tuple[type[Any], str]]:
    """Every class, with each of its settings that is a float by default or is None without one.

    A setting of a base class is in the list for one subclass only.
    """
    found, seen = [], set()
    for cls in sorted(CLASSES, key=lambda cls: cls.__name__):
        for name, parameter in inspect.signature(cls).parameters.items():
            owner = next((base for base, names in BASES.items() if issubclass(cls, base) and name in names), cls)
            is_number = isinstance(parameter.default, float) or name in ("clip_norm", "max_norm", "learning_rate")
            if is_number and (owner, name) not in seen:
                seen.add((owner, name))
                found.append((cls, name))
    return found


@pytest.mark.parametrize("base", BASES)
def test_all_subclasses_have_the_settings_of_their_base_class_and_check_them(base: type[Any]) -> None:
    value = NO_FLOATS["nan"]
    subclasses = [cls for cls in CLASSES if issubclass(cls, base) and not issubclass(cls, ObjectiveOptimizer)]
    assert len(subclasses) > 10
    name = {Layer: "rate_factor", Optimizer: "weight_decay"}[base]
    for cls in subclasses:
        assert inspect.signature(cls).parameters.keys() >= set(BASES[base])
        with pytest.raises(InvalidInputError, match=name):
            cls(**{name: value})


@pytest.mark.parametrize("value", NO_FLOATS)
def test_what_no_float_can_hold_is_refused(value: str) -> None:
    for cls, name in float_settings():
        parameters = inspect.signature(cls).parameters
        required = {key: one for key, one in REQUIRED.items() if key in parameters}
        with pytest.raises(InvalidInputError) as caught:
            cls(**{**required, name: NO_FLOATS[value]})
        assert name.replace("_", " ").lower() in str(caught.value).replace("_", " ").lower(), cls
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("number", [np.float32(0.25), np.float64(0.25), np.int64(1), 1])
def test_numbers_of_numpy_are_numbers(number: Any) -> None:
    assert SGD(learning_rate=number).learning_rate == number
    assert L2(number).rate == Huber(number).delta == StepDecay(number).every == number
    assert NeuralNetwork(clip_norm=number).clip_norm == number


def test_counts_beyond_all_floats_are_refused() -> None:
    for value in (10**400, 10**5000):
        for name in ("epochs", "batch_size"):
            settings: dict[str, Any] = {name: value}
            with pytest.raises(InvalidInputError, match=f"{name} is .*whole number"):
                NeuralNetwork(**settings)
        with pytest.raises(InvalidInputError, match="test_size must be a share between 0 and 1 or a number of rows"):
            split_rows(10, value)
