"""The best value of a watched quantity, which early stopping, plateaus and checkpoints share."""

from __future__ import annotations

import math

import pytest

from chainrule.callbacks.best import BestValue
from chainrule.errors import InvalidInputError
from support.runs import played_run


def watching(monitor: str | None = None, **columns: list[float]) -> BestValue:
    best = BestValue()
    best.watch(played_run({"loss": [1.0], **columns}, []), monitor)
    return best


def test_only_better_finite_values_are_new() -> None:
    best = watching()
    found = [best.is_new(value) for value in (math.nan, math.inf, 3, 3, 4, math.nan, -math.inf, 2)]
    assert found == [False, False, True, False, False, False, False, True]
    assert best.value == 2


def test_how_much_better_it_must_be() -> None:
    best = watching()
    assert best.is_new(4, 1)
    assert not best.is_new(3, 1)
    assert best.is_new(2.5, 1)
    assert not best.is_new(2.3, 0.1, relative=True)
    assert best.is_new(2.2, 0.1, relative=True)


def test_what_is_watched_and_which_way_is_better() -> None:
    assert watching().name == "loss"
    assert watching(validation_loss=[1.0]).name == "validation_loss"
    accuracy = watching("accuracy", accuracy=[1.0])
    assert [accuracy.is_new(value) for value in (0.5, 0.4, 0.6)] == [True, False, True]
    with pytest.raises(InvalidInputError, match="watches"):
        watching("nothing")


def test_a_new_fit_forgets_and_a_resumed_one_remembers() -> None:
    best = BestValue()
    best.restore(0.5)
    best.watch(played_run({"loss": [1.0, 1.0]}, [], epoch=1), None)
    assert best.value == 0.5
    best.watch(played_run({"loss": [1.0]}, []), None)
    assert best.value is None
    best.restore(None)
    assert best.value is None
