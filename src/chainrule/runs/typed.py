"""A dataclass as values that JSON can hold, and whether those that come back have the types of its fields."""

from __future__ import annotations

import builtins
import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

__all__ = ["check_types", "json_values"]


def json_values(given: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as values that JSON can hold: paths as text, objects of other kinds as None."""
    return {field.name: _as_json(getattr(given, field.name)) for field in dataclasses.fields(given)}


def check_types(given: Any) -> None:
    """Raise TypeError, naming the field, unless every field of a dataclass holds what its annotation says."""
    for name, hint in typing.get_type_hints(type(given)).items():
        value = getattr(given, name)
        if not _is_of(value, hint):
            raise TypeError(f"{name} cannot be {str(value)[:60]!r}")


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_as_json(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    return value if isinstance(value, str | int | float) else None


def _is_of(value: Any, hint: Any) -> bool:
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case types.UnionType | typing.Union:
            return any(_is_of(value, argument) for argument in arguments)
        case typing.Literal:
            return value in arguments
        case builtins.tuple:  # of any number of items, all of one type
            return isinstance(value, tuple) and all(_is_of(item, arguments[0]) for item in value)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)
