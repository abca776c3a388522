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
from chainrule.layers import LAYERS
from chainrule.losses import LOSSES, Huber
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS, SGD
from chainrule.penalties import L2, PENALTIES
from chainrule.schedules import SCHEDULES, StepDecay

FAMILIES = (ACTIVATIONS, AUGMENTATIONS, CALLBACKS, INITIALIZERS, LAYERS, LOSSES, OPTIMIZERS, PENALTIES, SCHEDULES)
REQUIRED: dict[str, Any] = {"image_shape": (8, 8), "epochs": 5}
# Neither 10**400 nor 10**5000 is a float, and Python does not even write the second.
NO_FLOATS = {"huge": 10**400, "negative": -(10**400), "unprintable": 10**5000, "nan": float("nan"), "text": "0.5"}


def float_settings() -> list[tuple[type[Any], str]]:
    """Every class, with each of its settings that is a float by default or is None without one."""
    classes = {cls for family in FAMILIES for cls in family.classes.values()} | {NeuralNetwork}
    return [
        (cls, parameter.name)
        for cls in sorted(classes, key=lambda cls: cls.__name__)
        for parameter in inspect.signature(cls).parameters.values()
        if isinstance(parameter.default, float) or parameter.name in ("clip_norm", "max_norm", "learning_rate")
    ]


@pytest.mark.parametrize("value", NO_FLOATS)
@pytest.mark.parametrize(("cls", "name"), float_settings())
def test_what_no_float_can_hold_is_refused(cls: type[Any], name: str, value: str) -> None:
    parameters = inspect.signature(cls).parameters
    required = {key: one for key, one in REQUIRED.items() if key in parameters}
    with pytest.raises(InvalidInputError) as caught:
        cls(**{**required, name: NO_FLOATS[value]})
    assert name.replace("_", " ").lower() in str(caught.value).replace("_", " ").lower()
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
        with pytest.raises(InvalidInputError, match="test_size is a fraction"):
            split_rows(10, value)
