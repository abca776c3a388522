"""Pieces of a network as JSON values, and back, through the registries alone.

A piece becomes ``{"kind": "layer", "type": "dense", "n_units": 64, ...}``. Reading one looks its type up in the
registry of its kind (or among the classes that the reader was handed) and calls the constructor with the settings;
nothing in a file can name anything else.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.activations import ACTIVATIONS
from chainrule.callbacks import CALLBACKS
from chainrule.errors import InvalidInputError, ModelFileError
from chainrule.initializers import INITIALIZERS
from chainrule.layers import LAYERS
from chainrule.losses import LOSSES
from chainrule.named import Registry, settings_of
from chainrule.optimizer import OPTIMIZERS
from chainrule.penalties import PENALTIES
from chainrule.schedules import SCHEDULES
from chainrule.settings import added_later, check_settings, declared_settings

__all__ = ["PIECES", "build_piece", "describe_piece", "describe_value"]

# Activations are layers too, so they are asked first.
_REGISTRIES: tuple[Registry[Any], ...] = (
    ACTIVATIONS,
    LAYERS,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    PENALTIES,
    INITIALIZERS,
    CALLBACKS,
)

# A setting with the name of a kind, such as "optimizer", is a piece of that kind.
PIECES = frozenset(registry.kind for registry in _REGISTRIES)


def describe_piece(piece: Any) -> dict[str, Any]:
    """Return a piece as JSON values.

    A piece made of functions is described by its attribute ``name``. Raises InvalidInputError for a piece that cannot
    be saved, such as one with functions and without a name.
    """
    registry = next((r for r in _REGISTRIES if isinstance(piece, r.base)), None)
    if registry is None:
        raise InvalidInputError(f"{piece!r} cannot be kept in a file; it is no piece of a network.")
    settings = settings_of(piece)
    if _has_functions(settings):
        name = settings.get("name", type(piece).__name__)
        if name == type(piece).__name__ or name in registry.classes:
            raise InvalidInputError(
                f"This {type(piece).__name__} is made of functions without a name of its own, and cannot be kept in "
                "a file; give it a name that chainrule does not use (name=...), and hand it in as custom_objects "
                "when loading."
            )
        return {"kind": registry.kind, "type": name}  # the reader hands in the piece of this name
    base: Any = registry.base
    for name, one in declared_settings(base).items():  # the constructor of a user's class may not take them
        value = getattr(piece, name, one.default)
        if name not in settings and value != one.default:
            settings[name] = value
    described = {name: describe_value(value, type(piece).__name__) for name, value in settings.items()}
    return {"kind": registry.kind, "type": registry.name_of(piece), **described}


def describe_value(value: Any, owner: str) -> Any:
    """Return one setting as a JSON value, NumPy's numbers as Python's; ``owner`` is the class that has it, for errors.

    Raises InvalidInputError for what no file can hold.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [describe_value(item, owner) for item in value]
    if any(isinstance(value, registry.base) for registry in _REGISTRIES):
        return describe_piece(value)
    raise InvalidInputError(
        f"{owner} holds {value!r}, which cannot be kept in a file; write it as a class of its own with plain settings, "
        "and pass that class as custom_objects when loading."
    )


def _has_functions(settings: Mapping[str, Any]) -> bool:
    return any(inspect.isroutine(value) or isinstance(value, np.ufunc) for value in settings.values())


def build_piece(description: Any, kind: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the piece that ``description`` describes; ``kind`` is the kind that is expected.

    ``custom_objects`` has the classes that are not part of chainrule, by name, and the pieces made of functions, by
    their attribute ``name``.
    """
    if not isinstance(description, dict) or not isinstance(description.get("type"), str):
        raise ModelFileError(f"The file describes the {kind} by {str(description)[:60]!r}, which is no description.")
    settings = dict(description)
    found, name = settings.pop("kind", kind), settings.pop("type")
    allowed = [r for r in _REGISTRIES if r.kind == kind or (kind == "layer" and r is ACTIVATIONS)]
    registry = next((r for r in allowed if r.kind == found), None)
    if registry is None:
        raise ModelFileError(f"The file has a piece of kind '{str(found)[:60]}' instead of the {kind}.")
    cls = registry.classes.get(name) or (custom_objects or {}).get(name)
    if cls is None:
        raise ModelFileError(
            f"The file uses the {kind} '{name[:60]}', which chainrule does not know; if it is a class of yours, pass "
            f"custom_objects={{'{name[:60]}': {name[:60]}}}."
        )
    if isinstance(cls, registry.base) and not settings:
        return copy.deepcopy(cls)
    if not isinstance(cls, type) or not issubclass(cls, registry.base):
        raise ModelFileError(f"custom_objects gives a class for '{name}' that is no {kind}.")
    if name in registry.classes:
        for setting in inspect.signature(cls).parameters:  # a network keeps the input shape of its first layer
            if setting not in (*settings, "input_shape") and setting not in added_later(cls):
                raise ModelFileError(f"The file is damaged: '{setting}' is missing in its {kind} '{name[:60]}'.")
    try:
        settings = {key: _build_value(value, custom_objects) for key, value in settings.items()}
        base: Any = registry.base
        check_settings(base, settings)
        later = declared_settings(base).keys() & settings.keys() - inspect.signature(cls).parameters.keys()
        piece = cls(**{key: value for key, value in settings.items() if key not in later})
        for key in later:
            setattr(piece, key, settings[key])
        return piece
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(
            f"The file describes the {kind} '{name}', which cannot be made: {str(error)[:200]}"
        ) from error


def _build_value(value: Any, custom_objects: Mapping[str, Any] | None) -> Any:
    if isinstance(value, list):
        return tuple(_build_value(item, custom_objects) for item in value)
    if isinstance(value, dict):
        return build_piece(value, str(value.get("kind", "piece")), custom_objects)
    return value
