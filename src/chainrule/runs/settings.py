"""Settings as arguments in the shortest form that says all: as one would write them, and as printed code has them."""

from __future__ import annotations

from typing import Any

__all__ = ["engine_settings", "shortest"]


def shortest(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that say something: those that are not None."""
    return {name: value for name, value in settings.items() if value is not None}


def engine_settings(engine: str, device: str) -> dict[str, Any]:
    """Return an engine and its device, by their names, as arguments of a network."""
    return shortest({"engine": None if engine == "numpy" else engine, "device": None if device == "auto" else device})
