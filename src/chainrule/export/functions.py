"""Write the functions of exported C and JavaScript from formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chainrule.export.c_text import identifiers
from chainrule.export.program import Function
from chainrule.formulas.translate import Language, as_function

__all__ = ["write_functions"]


def write_functions(
    functions: Iterable[Function],
    language: Language,
    constant: Callable[[float], str],
    spell: Callable[[str], str] = str,
) -> tuple[list[str], list[str]]:
    """Return the name of each function, and the source of the functions; equal functions are written once.

    ``constant`` writes a number, and ``spell`` turns a C name into a name of the language.
    """
    texts: dict[str, str] = {}

    def name_of(function: Function) -> str:
        (stem,), place = identifiers([f"apply_{function.name}"]), 1
        while True:
            name = spell(stem if place == 1 else f"{stem}_{place}")
            text = as_function(function.expression, name, language, constant)
            if texts.setdefault(name, text) == text:
                return name
            place += 1

    return [name_of(function) for function in functions], list(texts.values())
