"""The pieces that exported sources are made of: real C and JavaScript in files of their own, cut at marked lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib import resources

__all__ = ["pieces_needed"]

_MARK = re.compile(r"^// \[(\w+)(?:: ([\w ]+))?\]\n", re.M)


def pieces_needed(file: str, names: Iterable[str], *, beside: Iterable[str] = ()) -> str:
    """Return the pieces of these names and those that they need, once each, in the order of the file.

    Left out are the pieces ``beside`` which these are to stand, and those that they need.
    """
    pieces = _read(file)
    wanted = _with_needed(pieces, names) - _with_needed(pieces, beside)
    return "\n\n".join(text for name, (_, text) in pieces.items() if name in wanted)


def _with_needed(pieces: dict[str, tuple[list[str], str]], names: Iterable[str]) -> set[str]:
    wanted, waiting = set[str](), list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += pieces[name][0]
    return wanted


@cache
def _read(file: str) -> dict[str, tuple[list[str], str]]:
    """Return for every piece the names of those that it needs, and its text."""
    text = resources.files("chainrule.export").joinpath(file).read_text(encoding="utf-8")
    _, *parts = _MARK.split(text)
    return {
        name: ((needed or "").split(), body.strip())
        for name, needed, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }
