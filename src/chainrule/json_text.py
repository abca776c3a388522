"""JSON from files that strangers may have made: values that are safe to use further, or an error in words."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

__all__ = ["parse_json"]

MOST_LEVELS = 50


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text says; raise ValueError, in words, for what no file of ours holds.

    That is, besides text that is not JSON: numbers that are not finite, or too large for a float; text that cannot be
    written in UTF-8 (lone surrogates); and values inside values more than 50 levels deep.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(f"it is nested more than {MOST_LEVELS} levels deep") from None
    level = [value]
    for _ in range(MOST_LEVELS):
        for one in level:
            if isinstance(one, str):
                _check_text(one)
            elif isinstance(one, int | float) and not abs(one) <= sys.float_info.max:
                raise ValueError("it holds a number that is not finite, or too large for a float")
        level = [inner for one in level for inner in _inner_values(one)]
        if not level:
            return value
    raise ValueError(f"it is nested more than {MOST_LEVELS} levels deep")


def _inner_values(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key in value:
            _check_text(key)
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds text that is not valid Unicode") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is not JSON")
