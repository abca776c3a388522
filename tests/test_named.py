"""Names, classes and instances that mean the same piece."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from chainrule.errors import InvalidInputError
from chainrule.named import Registry, settings_of


class Animal:
    """The base of a family."""


@dataclass
class GreatTit(Animal):
    """A piece with settings."""

    weight: float = 18.0
    sings: bool = True
    seen: int = field(default=0, init=False)


@dataclass
class Hedgehog(Animal):
    """A piece without settings."""


class Stray(Animal):
    """A user's own, not registered."""


ANIMALS: Registry[Animal] = Registry("animal", Animal, {"great_tit": GreatTit, "hedgehog": Hedgehog})


@pytest.mark.parametrize("name", ["great_tit", "great-tit", "Great Tit", " GREAT_TIT ", "GreatTit", "greattit"])
def test_find_takes_any_spelling(name: str) -> None:
    assert ANIMALS.find(name) is GreatTit


def test_names_and_name_of() -> None:
    assert ANIMALS.names() == ("great_tit", "hedgehog")
    assert ANIMALS.name_of(GreatTit) == ANIMALS.name_of(GreatTit()) == "great_tit"
    assert ANIMALS.name_of(Stray()) == "Stray"


@pytest.mark.parametrize("given", ["great_tit", GreatTit])
def test_create_hands_settings_to_those_that_have_them(given: Any) -> None:
    created = ANIMALS.create(given, weight=20.0, sings=None, spines=5000)
    assert created == GreatTit(weight=20.0)
    assert ANIMALS.create("hedgehog", weight=20.0) == Hedgehog()


def test_create_leaves_an_instance_as_it_is() -> None:
    bird = GreatTit(weight=17.0)
    assert ANIMALS.create(bird, weight=20.0) is bird
    assert bird.weight == 17.0
    assert isinstance(ANIMALS.create(Stray), Stray)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidInputError) as caught:
        ANIMALS.create("great_tut")
    assert str(caught.value) == (
        "There is no animal called 'great_tut'. Did you mean 'great_tit'? Known are: great_tit, hedgehog."
    )


@pytest.mark.parametrize("given", [7, None, int, object()])
def test_what_is_no_piece_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInputError, match="is no animal; give a Animal, its class, or one of the names"):
        ANIMALS.create(given)


def test_settings_are_what_the_constructor_takes() -> None:
    assert settings_of(GreatTit(18.5)) == {"weight": 18.5, "sings": True}
