"""Convert the fields of a dataclass to JSON values, and check the types of fields that were read from JSON."""

from __future__ import annotations

import builtins
import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chainrule.errors import InvalidInputError, shown

__all__ = ["check_types", "json_values"]


def json_values(instance: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON values. Paths become texts; other objects become None."""
    return {field.name: _as_json(getattr(instance, field.name)) for field in dataclasses.fields(instance)}


def check_types(values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for the first of the values that does not have the type of its annotation."""
    for name, hint in hints.items():
        if not _has_type(values[name], hint):
            raise InvalidInputError(f"{name} is {shown(values[name])}; give {describe_type(hint)}.")


def describe_type(hint: Any) -> str:
    """Return the values of a type in words.

    >>> describe_type(tuple[int, ...]), describe_type(float | None), describe_type(typing.Literal["numpy", "torch"])
    ('a tuple such as (64, 32)', 'a float or None', "'numpy' or 'torch'")
    """
    match typing.get_origin(hint):
        case types.UnionType | typing.Union:
            return " or ".join(describe_type(member) for member in typing.get_args(hint))
        case typing.Literal:
            return " or ".join(repr(value) for value in typing.get_args(hint))
        case builtins.tuple:
            item = typing.get_args(hint)[0]
            return "a tuple such as (64, 32)" if item is int else f"a tuple of {getattr(item, '__name__', item)}"
    return "None" if hint is types.NoneType else f"{'an' if hint is int else 'a'} {hint.__name__}"


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
