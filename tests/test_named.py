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
    with pytest.raises(
        InvalidInputError, match="is no animal; give an instance or a subclass of Animal, or one of the names"
    ):
        ANIMALS.create(given)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("great_tit:20", GreatTit(20)),
        ("great tit: 20.5 , sings=false", GreatTit(20.5, sings=False)),
        ("Great-Tit:weight=2e1", GreatTit(20.0)),
        ("great_tit:SINGS=True", GreatTit(7.0, sings=True)),
        ("great_tit:none", GreatTit(None)),  # type: ignore[arg-type]
        ("great_tit:(3,4.5)", GreatTit((3, 4.5))),  # type: ignore[arg-type]
        ("great_tit:heavy", GreatTit("heavy")),  # type: ignore[arg-type]
    ],
)
def test_settings_may_follow_a_name(text: str, made: GreatTit) -> None:
    created: Any = ANIMALS.create(text, weight=7.0)  # which the text overrules
    assert created == made
    assert type(created.weight) is type(made.weight)
    assert ANIMALS.find(text) is GreatTit


@pytest.mark.parametrize(
    "text",
    ["great_tit:", "great_tit:weight=", "great_tit:1,2,3", "great_tit:1,weight=2", "great_tit:(1", "great_tit:1,"],
)
def test_settings_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        ANIMALS.create(text)
    assert str(caught.value).startswith(f"The animal '{text}' cannot be read at '")
    assert str(caught.value).endswith("write 'great_tit:SETTING=VALUE,SETTING=VALUE' with the settings weight, sings.")


def test_an_unknown_setting_after_a_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidInputError, match=r"GreatTit has no argument 'wieght'\. Did you mean 'weight'"):
        ANIMALS.create("great_tit:wieght=3")
    with pytest.raises(InvalidInputError, match="Hedgehog has no argument 'weight'"):
        ANIMALS.create("hedgehog:weight=3")


def test_settings_are_what_the_constructor_takes() -> None:
    assert settings_of(GreatTit(18.5)) == {"weight": 18.5, "sings": True}
