"""Dictionaries of arguments without the default values, for calls and for printed code."""

from __future__ import annotations

from typing import Any

__all__ = ["engine_settings", "without_none"]


def without_none(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings whose value is not None."""
    return {name: value for name, value in settings.items() if value is not None}


def engine_settings(engine: str, device: str) -> dict[str, Any]:
    """Return the arguments of a network that choose an engine and a device, without the defaults."""
    return without_none(
        {"engine": None if engine == "numpy" else engine, "device": None if device == "auto" else device}
    )
