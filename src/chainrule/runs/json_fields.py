"""Convert the fields of a dataclass to JSON values, and check the types of fields that were read from JSON."""

from __future__ import annotations

import builtins
import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

__all__ = ["check_types", "json_values"]


def json_values(instance: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON values. Paths become texts; other objects become None."""
    return {field.name: _as_json(getattr(instance, field.name)) for field in dataclasses.fields(instance)}


def check_types(instance: Any) -> None:
    """Raise TypeError with the name of a field of a dataclass whose value does not have the annotated type."""
    for name, hint in typing.get_type_hints(type(instance)).items():
        value = getattr(instance, name)
        if not _has_type(value, hint):
            raise TypeError(f"{name} cannot be {str(value)[:60]!r}")


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_as_json(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    return value if isinstance(value, str | int | float) else None


def _has_type(value: Any, hint: Any) -> bool:
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case types.UnionType | typing.Union:
            return any(_has_type(value, argument) for argument in arguments)
        case typing.Literal:
            return value in arguments
        case builtins.tuple:  # tuple[T, ...]
            return isinstance(value, tuple) and all(_has_type(item, arguments[0]) for item in value)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)
