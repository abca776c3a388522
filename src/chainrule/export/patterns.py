"""Regular expressions as programs for a small matcher that exported C sources bring along.

How a cell of text is read is said by regular expressions (:mod:`chainrule.data.number_format`,
:mod:`chainrule.data.date_format`). JavaScript has them; C does not. So a pattern is compiled here into a list of whole
numbers, which the C function ``match`` follows with backtracking (Thompson 1968; Cox 2009, "Regular expression
matching: the virtual machine approach"). The patterns may have literals, sets, groups, alternatives, the quantifiers
``? * + {n} {m,n}``, and references to named groups.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Program", "compile_pattern", "javascript_pattern"]

# The instructions, each followed by its operands.
CHARACTER, SET, LETTER, SPLIT, JUMP, SAVE, SAME, END = range(8)

# White space as \s has it.
_WHITE = ((9, 13), (28, 32), (133, 133), (160, 160), (5760, 5760), (8192, 8202), (8232, 8233), (8239, 8239),
          (8287, 8287), (12288, 12288))  # fmt: skip
_LETTER = r"[^\W\d_]"

Ranges = tuple[tuple[int, int], ...]


class Program(NamedTuple):
    """A compiled pattern, which has to match a whole text.

    ``SPLIT a b`` goes on at ``a`` and, if that fails, at ``b``; ``SET negated n low high ...`` takes one character;
    ``SAVE k`` notes the place in the text; ``SAME g`` takes what group g has taken.
    """

    code: list[int]


def compile_pattern(pattern: str, groups: Sequence[str] = ()) -> Program:
    """Return the program of a pattern, whose named groups are numbered as ``groups`` lists them.

    >>> compile_pattern("a?").code
    [3, 3, 5, 0, 97, 7]
    """
    parser = _Parser(pattern, groups)
    code = parser.alternatives()
    if parser.at < len(pattern):
        raise ValueError(f"The pattern {pattern!r} has more than can be compiled, from character {parser.at} on.")
    return Program([*_placed(code, 0), END])


def javascript_pattern(pattern: str) -> str:
    """Return the same pattern as JavaScript writes it, for the flags ``u`` and ``s``."""
    text = pattern.replace("(?P<", "(?<").replace(_LETTER, r"\p{L}")
    return re.sub(r"\(\?P=(\w+)\)", r"\\k<\1>", text).replace(r"\ ", " ").replace(r"\-", "-")


# Jumps are counted from where they stand until the whole is put together.
Code = list[tuple[int, ...]]


class _Parser:
    """A descent through the pattern; every method returns the code of what it has read."""

    def __init__(self, pattern: str, groups: Sequence[str]) -> None:
        self.pattern, self.groups, self.at = pattern, list(groups), 0

    def alternatives(self) -> Code:
        branches = [self.sequence()]
        while self.take("|"):
            branches.append(self.sequence())
        code = branches.pop()
        for branch in reversed(branches):
            code = [(SPLIT, 1, _size(branch) + 2), *branch, (JUMP, _size(code) + 1), *code]
        return code

    def sequence(self) -> Code:
        code: Code = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            code += self.quantified(self.atom())
        return code

    def quantified(self, atom: Code) -> Code:
        size = _size(atom)
        if self.take("?"):
            return [(SPLIT, 1, size + 1), *atom]
        if self.take("*"):
            return [(SPLIT, 1, size + 2), *atom, (JUMP, -size - 1)]
        if self.take("+"):
            return [*atom, (SPLIT, -size, 1)]
        bounds = re.compile(r"\{(\d+)(,?)(\d*)\}").match(self.pattern, self.at)
        if bounds is None:
            return atom
        self.at = bounds.end()
        least = int(bounds[1])
        code = atom * least
        if bounds[2] and not bounds[3]:
            return [*code, (SPLIT, 1, size + 2), *atom, (JUMP, -size - 1)]
        for n in range(int(bounds[3] or least) - least, 0, -1):
            code += [(SPLIT, 1, n * (size + 1)), *atom]
        return code

    def atom(self) -> Code:
        if self.take(_LETTER):
            return [(LETTER,)]
        if self.take("(?:"):
            return self.group()
        if self.take("(?P<"):
            place = 2 * self.groups.index(self.name(">"))
            return [(SAVE, place), *self.group(), (SAVE, place + 1)]
        if self.take("(?P="):
            return [(SAME, self.groups.index(self.name(")")))]
        if self.take("["):
            return [self.set()]
        if self.pattern.startswith(r"\s", self.at):
            self.at += 2
            return [_set_of(_WHITE, negated=False)]
        return [(CHARACTER, self.character())]

    def group(self) -> Code:
        code = self.alternatives()
        self.expect(")")
        return code

    def set(self) -> tuple[int, ...]:
        negated = self.take("^")
        ranges: list[tuple[int, int]] = []
        while not self.take("]"):
            if self.take(r"\s"):
                ranges += _WHITE
                continue
            low = high = self.character()
            if self.pattern[self.at] == "-" and self.pattern[self.at + 1] != "]":
                self.at += 1
                high = self.character()
            ranges.append((low, high))
        return _set_of(tuple(ranges), negated)

    def character(self) -> int:
        if self.take("\\"):
            if self.take("u"):
                self.at += 4
                return int(self.pattern[self.at - 4 : self.at], 16)
            escaped = {"n": "\n", "t": "\t"}.get(self.pattern[self.at], self.pattern[self.at])
            if escaped.isalnum():
                raise ValueError(f"The pattern {self.pattern!r} has \\{escaped}, which cannot be compiled.")
            self.at += 1
            return ord(escaped)
        self.at += 1
        return ord(self.pattern[self.at - 1])

    def name(self, end: str) -> str:
        stop = self.pattern.index(end, self.at)
        name, self.at = self.pattern[self.at : stop], stop + len(end)
        return name

    def take(self, text: str) -> bool:
        """Go over a text, if it is the one that comes next."""
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise ValueError(f"The pattern {self.pattern!r} lacks a {text!r} at character {self.at}.")


def _set_of(ranges: Ranges, negated: bool) -> tuple[int, ...]:
    return (SET, int(negated), len(ranges), *(bound for pair in ranges for bound in pair))


def _size(code: Code) -> int:
    """Return the number of instructions."""
    return len(code)


def _placed(code: Code, start: int) -> list[int]:
    """Return the instructions one after another, with jumps to places in this list in place of distances."""
    places = [start]
    for instruction in code:
        places.append(places[-1] + len(instruction))
    flat: list[int] = []
    for here, instruction in enumerate(code):
        jumps = instruction[0] in (SPLIT, JUMP)
        flat += [instruction[0], *(places[here + one] if jumps else one for one in instruction[1:])]
    return flat
