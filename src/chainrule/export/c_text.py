"""C99 as text: names that compile, numbers that keep their bits, and strings that end where they should."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from chainrule.errors import InvalidInputError
from chainrule.types import Array

__all__ = ["array_of_numbers", "array_of_texts", "comment", "identifiers", "number", "stem_identifier"]

NUMBERS_A_LINE = 8
LONGEST_LITERAL = 4000  # C99 promises 4095 characters
LONGEST_NAME = 40

# Words of C and C++, and names that their headers and compilers may define, in small letters.
_TAKEN = """
    alignas alignof and and_eq asm assert auto bitand bitor bool break case catch char class compl complex concept
    const consteval constexpr constinit const_cast continue decltype default delete do double dynamic_cast else enum
    errno explicit export extern false far float for friend goto huge i386 if imaginary inline int isnan linux long
    mutable namespace near new noexcept not not_eq nullptr operator or or_eq pascal private protected public register
    reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast stderr stdin stdout
    struct switch template this thread_local throw true try typedef typeid typename typeof typeof_unqual union unix
    unsigned using virtual void volatile wchar_t while xor xor_eq
"""


def identifiers(names: Iterable[str]) -> list[str]:
    """Return a name of C for each name: small ASCII letters, digits and _, and no two the same.

    >>> identifiers(["Age (years)", "int", "naïve", "Age years"])
    ['age_years', 'int_', 'na_ve', 'age_years_2']
    """
    found: list[str] = []
    seen: set[str] = set()
    for name in names:
        plain = _plain(name.lower())
        base = f"{plain}_" if plain in _TAKEN.split() else plain
        unique, count = base, 1
        while unique in seen:
            count += 1
            unique = f"{base}_{count}"
        seen.add(unique)
        found.append(unique)
    return found


def stem_identifier(stem: str) -> str:
    """Return the name of a file without its ending as the beginning of names of C."""
    return _plain(stem)


def _plain(name: str) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:LONGEST_NAME].rstrip("_")
    return words if words[:1].isalpha() else f"x{words and '_'}{words}"


def number(value: float) -> str:
    """Return a double as C, in the hexadecimal form, which the standard reads exactly.

    >>> number(-0.75)
    '-0x1.8p-1'
    """
    return re.sub(r"\.?0*p", "p", float(value).hex())


def array_of_numbers(name: str, values: Array) -> str:
    """Return the definition of an array of float, double or int, as the values are."""
    kind, suffix = {"float32": ("float", "f"), "float64": ("double", "")}.get(values.dtype.name, ("int", ""))
    spell = str if kind == "int" else number
    flat = [f"{spell(value)}{suffix}" for value in values.reshape(-1).tolist()]
    lines = [", ".join(flat[start : start + NUMBERS_A_LINE]) for start in range(0, len(flat), NUMBERS_A_LINE)]
    rows = ",\n    ".join(lines)
    return f"static const {kind} {name}[{len(flat)}] = {{\n    {rows}}};"


def array_of_texts(name: str, texts: Sequence[str], *, visible: bool = False) -> str:
    """Return the definition of an array of texts in UTF-8.

    Raises ``InvalidInputError`` for a text with the character NUL, where texts of C end.
    """
    before, items = [], [] if texts else ['""']  # no array of C is empty
    for place, text in enumerate(texts):
        characters = _characters(text)
        if sum(map(len, characters)) <= LONGEST_LITERAL:
            items.append(f'"{"".join(characters)}"')
            continue
        quoted = ", ".join("'\\''" if character == "'" else f"'{character}'" for character in characters)
        before.append(f"static const char {name}_{place}[] = {{{quoted}, '\\0'}};\n")
        items.append(f"{name}_{place}")
    listed = ",\n    ".join(items)
    kind = "const char *const" if visible else "static const char *const"
    return f"{''.join(before)}{kind} {name}[{len(items)}] = {{\n    {listed}}};"


def comment(text: str) -> str:
    """Return a text for a comment, which nothing in it can end; shortened where it is long."""
    shown = text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 3]}..."
    return f'"{"".join(_characters(shown))}"'.replace("*", "\\052")


def _characters(text: str) -> list[str]:
    """Return the characters of a literal; ``?`` is escaped, because two of them begin a trigraph."""
    data = text.encode("utf-8", "surrogatepass")
    if b"\x00" in data:
        raise InvalidInputError(f"The text {text[:40]!r} holds the character NUL, where a text of C ends; rename it.")
    return [_character(byte) for byte in data]


def _character(byte: int) -> str:
    if byte in b'"\\?':
        return f"\\{chr(byte)}"
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
