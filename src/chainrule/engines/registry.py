"""The registry of the engines."""

from __future__ import annotations

from typing import Any

from chainrule.engines.base import Engine
from chainrule.engines.numpy_engine import NumpyEngine
from chainrule.engines.torch_engine import TorchEngine
from chainrule.errors import InvalidInputError
from chainrule.named import Registry, settings_of

__all__ = ["ENGINES", "EngineLike", "choose_engine", "describe_engine", "read_engine"]

#: An engine as it may be given: a name, a class or an instance.
#:
#: :meta hide-value:
EngineLike = str | type[Engine] | Engine

ENGINES: Registry[Engine] = Registry("engine", Engine, {"numpy": NumpyEngine, "torch": TorchEngine})


def choose_engine(engine: EngineLike, device: str = "auto") -> Engine:
    """Return the engine for a name, a class or an instance; an instance has its device already."""
    chosen = ENGINES.create(engine, device=device)
    if not isinstance(engine, str | type) and device != "auto":
        raise InvalidInputError(f"{engine!r} has its device already; leave out device={device!r}.")
    return chosen


def describe_engine(engine: Engine) -> dict[str, Any]:
    """Return the engine's name and settings as JSON values, for :func:`read_engine`."""
    return {"engine": ENGINES.name_of(engine), **settings_of(engine)}


def read_engine(description: Any) -> Engine:
    """Return the engine for the result of :func:`describe_engine`; the NumPy engine for None.

    Raises InvalidInputError for other values.
    """
    if description is None:
        return NumpyEngine()
    if not isinstance(description, dict) or not isinstance(description.get("engine"), str):
        raise InvalidInputError(f"{str(description)[:100]} describes no engine.")
    settings = dict(description)
    kind = ENGINES.find(settings.pop("engine"))
    try:
        engine: Engine = kind(**settings)
    except TypeError as error:
        raise InvalidInputError(f"An engine has no such settings: {error}.") from error
    return engine
