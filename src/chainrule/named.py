"""Pieces that users may name: a class, an instance, or a string such as ``"adam"``, all mean the same thing.

Every family of pieces (activations, losses, optimizers, ...) keeps one explicit :class:`Registry`. Files resolve names
through the same registries, so that a file can only ever name classes that are listed here or that its reader passed
in.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from chainrule.errors import InvalidInputError, nearest_name

__all__ = ["Registry", "settings_of"]

Piece = TypeVar("Piece")


class Registry(Generic[Piece]):
    """The known classes of one family, by name.

    ``kind`` is the family's name in error sentences; ``base`` the class that all of them derive from, a user's own too.
    """

    def __init__(self, kind: str, base: type[Any], classes: Mapping[str, type[Any]]) -> None:
        self.kind = kind
        self.base = base
        self.classes = dict(classes)

    def names(self) -> tuple[str, ...]:
        """Return the known names, sorted."""
        return tuple(sorted(self.classes))

    def name_of(self, piece: Piece | type[Piece]) -> str:
        """Return the registered name of a class or instance, or its class name when it is a user's own."""
        cls = piece if isinstance(piece, type) else type(piece)
        return next((name for name, known in self.classes.items() if known is cls), cls.__name__)

    def find(self, name: str) -> type[Any]:
        """Return the class called ``name``: a registered name or a class name, in any case, with ``-`` or ``_``."""
        wanted = name.strip().lower().replace("-", "_").replace(" ", "_")
        for known, cls in self.classes.items():
            if wanted in (known, cls.__name__.lower()):
                return cls
        raise InvalidInputError(
            f"There is no {self.kind} called '{name}'.{nearest_name(name, self.classes)} "
            f"Known are: {', '.join(self.names())}."
        )

    def create(self, given: str | type[Any] | Piece, **settings: Any) -> Piece:
        """Turn a name, a class or an instance into an instance.

        ``settings`` whose value is not None are handed to a class or a name that has them; an instance already has
        its own and is returned as it is.
        """
        if isinstance(given, str):
            given = self.find(given)
        if isinstance(given, type) and issubclass(given, self.base):
            known = inspect.signature(given).parameters
            created: Piece = given(
                **{key: value for key, value in settings.items() if value is not None and key in known}
            )
            return created
        if isinstance(given, self.base):
            instance: Piece = given
            return instance
        raise InvalidInputError(
            f"{given!r} is no {self.kind}; give a {self.base.__name__}, its class, or one of the names: "
            f"{', '.join(self.names())}."
        )


def settings_of(piece: Any) -> dict[str, Any]:
    """Return the settings of a piece by name: what its constructor takes, kept in attributes of the same names.

    Raises InvalidInputError for a class of a user's own whose constructor takes something that it does not keep so:
    made again from a file, it would not be the same.
    """
    if dataclasses.is_dataclass(piece):
        return {field.name: getattr(piece, field.name) for field in dataclasses.fields(piece) if field.init}
    settings = {}
    for name, parameter in inspect.signature(type(piece).__init__).parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not hasattr(piece, name):
            raise InvalidInputError(
                f"{type(piece).__name__} takes '{name}' and does not keep it as self.{name}, so no file can hold it; "
                "keep it so, or make the class a dataclass."
            )
        settings[name] = getattr(piece, name)
    return settings
