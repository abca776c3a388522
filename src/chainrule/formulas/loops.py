"""Compiled loops that compute expressions for the elements, or the rows, of arrays.

A loop is written as Python source for Numba, with one local variable per elementary operation, and compiled to a C
function. All these functions have the same signature: they take :data:`N_ARRAYS` pointers, the numbers of rows and
columns and a pointer to float64 settings, and return a float64 total. Other compiled code can therefore call any of
them by its address. The source is stored in the cache folder under its checksum, with the machine code beside it, so
that a second process loads both in milliseconds.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.formulas.expression import Expression, TraceError, elementwise
from chainrule.formulas.operations import OPERATIONS
from chainrule.types import Array

__all__ = ["N_ARRAYS", "Loop"]

# How many arrays a loop can read and write.
N_ARRAYS = 8

_NO_SETTINGS = np.zeros(0)

# Operations that take so long that it pays to keep their results.
_COSTLY = frozenset({"power", "exp", "expm1", "log", "log1p", "tanh", "erf", "erfc", "sin", "cos", "arctan"})

_FAST = ("exp", "expm1", "log", "log1p", "tanh", "erf", "erfc")
_HEADER = {
    "float32": "".join(
        f"from chainrule.formulas.vector_math import {name}{'_' * name[-1].isdigit()}32 as fast_{name}\n"
        for name in _FAST
    ),
    "float64": "".join(f"fast_{name} = {'math' if name.startswith('erf') else 'np'}.{name}\n" for name in _FAST),
}


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop that computes some expressions for every element.

    Attributes
    ----------
    arrays
        The names of the arrays, in the order in which they are given, all of one type. An array is read if its name is
        a symbol of the expressions. Its shape is (rows, columns) unless it is named below.
    settings
        The names of numbers that are the same for all elements, given as float64.
    outputs
        The expression to write into each array, by the name of the array. If the array is also read, all expressions
        use its old elements.
    total
        The expression whose sum is returned; None for no sum.
    rows
        The names of the arrays that hold one number for each row.
    columns
        The names of the arrays that hold one number for each column.
    scalars
        The names of the arrays that hold one number.
    sums
        The expression whose sum is written into an array, by the name of the array: the sum over the rows for one of
        ``columns``, and the sum over all elements for one of ``scalars``.
    parts
        The arrays with several numbers for each element: a row holds the first numbers of all its elements, then the
        second ones, and so on. By the name of the array, the names that these numbers have in the expressions and in
        ``outputs``; as many for each of these arrays. A call counts all numbers of such a row as its columns.
    sums_rows
        Whether the total is the sum over the rows instead of the elements.
    scratch
        The name of an output that may hold other values until all rows before are written, so that none is computed
        twice. It must not overlap with an array that is read. Empty for none.
    """

    arrays: tuple[str, ...]
    settings: tuple[str, ...]
    outputs: Mapping[str, Expression]
    total: Expression | None = None
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    sums: Mapping[str, Expression] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sums_rows: bool = False
    scratch: str = ""
    _addresses: dict[np.dtype[Any], int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if len(self.arrays) > N_ARRAYS:
            raise TraceError(f"A formula takes {len(self.arrays)} arrays; a compiled loop takes at most {N_ARRAYS}.")

    def source(self, dtype: str) -> str:
        """Return the Python source for arrays of ``"float32"`` or ``"float64"``."""
        return _Writer(self, dtype).write()

    def address(self, dtype: np.dtype[Any]) -> int:
        """Return the address of the compiled function for arrays of this type."""
        if dtype not in self._addresses:
            self._addresses[dtype] = _compiled(self.source(dtype.name))
        return self._addresses[dtype]

    def __call__(self, *arrays: Array, settings: Sequence[float] = ()) -> float:
        """Run the loop on contiguous arrays of one shape and type, in the order of ``arrays``.

        Returns the total, or 0 if the loop has none. Raises ``InvalidInputError`` for other arrays, because compiled
        code does not check bounds.
        """
        first, n_parts = arrays[0], self.n_parts
        n_columns = first.shape[-1] if first.ndim else 1
        n_rows = first.size // n_columns if n_columns else 0
        sizes = dict.fromkeys(self.rows, n_rows) | dict.fromkeys(self.columns, n_columns)
        sizes |= dict.fromkeys(self.scalars, 1) | dict.fromkeys(self.parts, first.size * n_parts)
        for name, array in zip(self.arrays, arrays, strict=True):
            size = sizes.get(name, first.size)
            if array.size != size or array.dtype != first.dtype or not array.flags.c_contiguous:
                raise InvalidInputError(
                    f"A compiled loop takes contiguous arrays of one type and shape; '{name}' has type {array.dtype} "
                    f"and shape {array.shape}, and '{self.arrays[0]}' has type {first.dtype} and shape {first.shape}."
                )
        address = self._addresses.get(first.dtype) or self.address(first.dtype)
        numbers = np.array(settings, np.float64) if settings else _NO_SETTINGS
        given = arrays + (first,) * (N_ARRAYS - len(arrays))
        total: float = _calls().call_arrays(address, *given, n_rows, n_columns * n_parts, numbers)
        return total

    @property
    def n_parts(self) -> int:
        """How many numbers the arrays in ``parts`` have for each element."""
        return max(map(len, self.parts.values()), default=1)


class _Writer:
    """Writes the source of one loop, line by line."""

    def __init__(self, loop: Loop, dtype: str) -> None:
        self.loop, self.dtype = loop, dtype
        self.results = [*loop.outputs.values(), *([] if loop.total is None else [loop.total])]
        self.order = {id(node): node for result in (*self.results, *loop.sums.values()) for node in result.visit()}
        self.exact: dict[int, str] = {}  # the names of values that depend on settings alone, in float64
        self.fixed: dict[int, str] = {}  # the names of values that are the same for all elements
        self.names: dict[int, str] = {}  # those of values that are known where the next line stands
        self.n_names = 0
        self.kept: Expression | None = None  # what the scratch array holds in the end
        self.is_stored = False
        self.lines: list[str] = []
        self.places: dict[str, str] = {}  # where the number of an element stands, by the name of the array or part

    def write(self) -> str:
        """Return the whole module."""
        loop, by_rows = self.loop, self._is_by_rows()
        pointers = ", ".join(f"p{place}" for place in range(N_ARRAYS))
        self._line(0, f"def loop({pointers}, n_rows, n_columns, settings):")
        self._line(1, "size = n_rows * n_columns")
        if loop.parts:
            self._line(1, f"n_columns //= {loop.n_parts}")
        for place, name in enumerate(loop.arrays):
            parts = loop.parts.get(name, ())
            shape = f"(n_rows, {len(parts)}, n_columns)" if parts else "(n_rows, n_columns)" if by_rows else "size"
            self.places |= {part: f"b{place}_{number}[i]" for number, part in enumerate(parts)}
            self.places[name] = f"{'b' if by_rows else 'a'}{place}[i]"
            for names, size, at in (
                (loop.rows, "n_rows", "row"),
                (loop.columns, "n_columns", "i"),
                (loop.scalars, "1", "0"),
            ):
                if name in names:
                    shape, self.places[name] = size, f"a{place}[{at}]"
            self._line(1, f"a{place} = carray(p{place}, {shape}, f)")
        for place in range(len(loop.settings)):
            self._line(1, f"s{place} = settings[{place}]")
        self._settings_alone()
        self._line(1, "total = 0.0")
        for node in self.order.values():
            if node.operation == "symbol" and node.value in loop.scalars:
                self._value(1, node)
        for name in loop.sums:
            if name in loop.columns:
                self._line(1, f"a{loop.arrays.index(name)}[:] = f(0)")
            else:
                self._line(1, f"sum{loop.arrays.index(name)} = 0.0")
        if by_rows:
            self._rows()
        else:
            self._sums(1)
            if self.results:
                self._elements(1)
        for name in loop.sums:
            if name in loop.scalars:
                self._line(1, f"{self.places[name]} = f(sum{loop.arrays.index(name)})")
        self._line(1, "return total")
        body = "\n".join(self.lines)
        return _MODULE.format(version=_library_checksum(), dtype=self.dtype, header=_HEADER[self.dtype], body=body)

    def _is_by_rows(self) -> bool:
        loop = self.loop
        has_reductions = any(node.is_reduction for node in self.order.values())
        return bool(loop.rows or loop.columns or loop.parts or loop.sums_rows or has_reductions)

    def _rows(self) -> None:
        """Write the loop over the rows: reductions that do not depend on one another are computed in one pass."""
        loop = self.loop
        self._line(1, "for row in range(n_rows):")
        for place, name in enumerate(loop.arrays):
            parts = loop.parts.get(name, ())
            for number in range(len(parts)):
                self._line(2, f"b{place}_{number} = a{place}[row, {number}]")
            if not parts and name not in (*loop.rows, *loop.columns, *loop.scalars):
                self._line(2, f"b{place} = a{place}[row]")
        of_elements = self.places.keys() - {*loop.rows, *loop.scalars}
        varying = elementwise([*self.results, *loop.sums.values()], of_elements)
        stages: dict[int, int] = {}  # how many reductions have to be known before
        for key, node in self.order.items():
            stages[key] = max((stages[id(operand)] for operand in node.operands), default=0) + node.is_reduction
        self.kept = self._most_costly(varying) if loop.scratch else None
        for stage in range(max(stages.values(), default=0) + 1):
            now = [node for key, node in self.order.items() if stages[key] == stage and key not in varying]
            reductions = [node for node in now if node.is_reduction]
            if reductions:
                self._elements(2, reductions)
            for node in now:  # the same for the whole row
                if id(node) not in self.exact:
                    self._value(2, node)
        self._sums(2)
        if loop.outputs or (loop.total is not None and not loop.sums_rows):
            self._elements(2)
        if loop.total is not None and loop.sums_rows:
            self._line(2, f"total += {self._value(2, loop.total)}")

    def _sums(self, depth: int) -> None:
        """Write the loops that compute sums, before outputs are written into arrays that they may read.

        Every sum has a loop of its own: with few arrays in a loop, the compiler can tell that they do not overlap.
        """
        for name, term in self.loop.sums.items():
            self._line(depth, f"for i in range({'size' if depth == 1 else 'n_columns'}):")
            known, self.names = self.names, dict(self.names)
            value = self._value(depth + 1, term)
            if name in self.loop.columns:
                self._line(depth + 1, f"{self.places[name]} += {value}")
            else:
                total = f"sum{self.loop.arrays.index(name)}"
                self._line(depth + 1, f"{total} = add_in_any_order({total}, np.float64({value}))")
            self.names = known

    def _most_costly(self, varying: Collection[int]) -> Expression | None:
        """Return the value of an element that it takes longest to compute, of those that a sum and an output need."""
        costs: dict[int, set[int]] = {}  # the costly operations in each value
        for key, node in self.order.items():
            if key in varying:
                costs[key] = set().union(*(costs.get(id(operand), ()) for operand in node.operands))
                costs[key] |= {key} if node.operation in _COSTLY else set()
        sums = [node for node in self.order.values() if node.is_reduction]
        in_sums = {id(node) for one in sums for node in one.operands[0].visit(tuple(map(id, sums)))}
        in_outputs = {id(node) for one in self.loop.outputs.values() for node in one.visit(tuple(map(id, sums)))}
        best = max(in_sums & in_outputs & costs.keys(), key=lambda key: len(costs[key]), default=0)
        return self.order[best] if best and costs[best] else None

    def _settings_alone(self) -> None:
        """Write the values that depend on settings alone, such as 1 - beta.

        They are computed once, in float64, and then rounded to the type of the elements.
        """
        exact = self.exact
        for key, node in self.order.items():
            if node.operation == "constant":
                exact[key] = _number(node.value)
            elif node.operation == "symbol" and node.value not in self.places:
                exact[key] = f"s{self.loop.settings.index(node.value)}"
            elif node.operands and not node.is_reduction and all(id(operand) in exact for operand in node.operands):
                spelling = OPERATIONS[node.operation].scalar.replace("fast_erf", "math.erf").replace("fast_", "np.")
                exact[key] = f"e{len(exact)}"
                self._line(1, f"{exact[key]} = {spelling.format(*(exact[id(operand)] for operand in node.operands))}")
        varying = [node for key, node in self.order.items() if key not in exact]
        for node in (*(o for one in varying for o in one.operands), *self.results, *self.loop.sums.values()):
            if id(node) not in exact or id(node) in self.fixed:
                continue
            value = exact[id(node)]
            if node.is_condition:
                self.fixed[id(node)] = value
            elif node.operation == "constant":
                self.fixed[id(node)] = f"f({value})"
            else:
                self.fixed[id(node)] = f"f_{value}"
                self._line(1, f"f_{value} = f({value})")

    def _elements(self, depth: int, reductions: Sequence[Expression] = ()) -> None:
        """Write the loop over some elements that computes reductions, or the outputs and the total."""
        results = [self._new_name("r") for _ in reductions]
        for result, node in zip(results, reductions, strict=True):
            if node.operation == "row_max":
                self._line(depth, f"{result}, {result}_is_nan = f(-np.inf), False")
            else:
                self._line(depth, f"{result} = f(0)")
        self._line(depth, f"for i in range({'size' if depth == 1 else 'n_columns'}):")
        known, self.names = self.names, dict(self.names)
        total = [] if self.loop.total is None or self.loop.sums_rows else [self.loop.total]
        wanted = [node.operands[0] for node in reductions] or [*self.loop.outputs.values(), *total]
        kept = self.kept if any(node is self.kept for one in wanted for node in one.visit(tuple(known))) else None
        if kept is not None and self.is_stored:
            self.names[id(kept)] = self._new_name("x")
            self._line(depth + 1, f"{self.names[id(kept)]} = {self.places[self.loop.scratch]}")
        values = [self._value(depth + 1, node) for node in wanted]
        for result, node, value in zip(results, reductions, values, strict=False):
            if node.operation == "row_max":
                self._line(depth + 1, f"{result} = {value} if {value} > {result} else {result}")
                self._line(depth + 1, f"{result}_is_nan = {result}_is_nan | ({value} != {value})")
            else:
                self._line(depth + 1, f"{result} = add_in_any_order({result}, {value})")
        if not reductions:
            for name, value in zip(self.loop.outputs, values, strict=False):
                self._line(depth + 1, f"{self.places[name]} = {value}")
            if total:
                self._line(depth + 1, f"total = add_in_any_order(total, np.float64({values[-1]}))")
        elif kept is not None and not self.is_stored:
            self.is_stored = True
            self._line(depth + 1, f"{self.places[self.loop.scratch]} = {self.names[id(kept)]}")
        self.names = known
        for result, node in zip(results, reductions, strict=True):
            if node.operation == "row_max":
                self._line(depth, f"{result} = f(np.nan) if {result}_is_nan else {result}")
            elif node.operation == "row_mean":
                self._line(depth, f"{result} /= f(n_columns)")
            self.names[id(node)] = result

    def _value(self, depth: int, wanted: Expression) -> str:
        """Write the lines that compute an expression, and return the name of its value."""
        for node in wanted.visit(tuple(self.names)):
            if id(node) in self.fixed:
                self.names[id(node)] = self.fixed[id(node)]
            elif node.operation == "symbol" and node.value in self.places:
                self.names[id(node)] = self._new_name("x")
                self._line(depth, f"{self.names[id(node)]} = {self.places[node.value]}")
            elif node.operands and all(id(operand) in self.names for operand in node.operands):
                operands = [self.names[id(operand)] for operand in node.operands]
                name = self.names[id(node)] = self._new_name("t")
                self._line(depth, f"{name} = {OPERATIONS[node.operation].scalar.format(*operands)}")
        return self.names[id(wanted)]

    def _new_name(self, kind: str) -> str:
        """Return a name that no other value has, because a variable of Numba has one type in the whole function."""
        self.n_names += 1
        return f"{kind}{self.n_names}"

    def _line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)


_MODULE = """# Written by chainrule.formulas.loops ({version}); kept here so that it is compiled once.
import math

import numba
import numpy as np
from numba import carray

from chainrule.formulas.calls import SIGNATURE, add_in_any_order
{header}from chainrule.formulas.vector_math import sign as fast_sign

f = np.{dtype}


{body}


compiled = numba.cfunc(
    SIGNATURE,
    cache=is_kept,
    error_model="numpy",
    fastmath={{"contract", "arcp", "nsz"}},  # only sums may be computed in another order
)(loop)
"""


def _number(value: float) -> str:
    if np.isnan(value):
        return "np.nan"
    text = f"{'-' if value < 0 else ''}np.inf" if np.isinf(value) else repr(value)
    return f"({text})" if text.startswith("-") else text


@cache
def _calls() -> ModuleType:
    """Return the module that calls loops; it imports Numba, which takes half a second."""
    return importlib.import_module("chainrule.formulas.calls")


@cache
def _library_checksum() -> str:
    """Return the checksum of the modules that are compiled into every loop.

    Numba compiles a file again only if the file itself has changed, so the checksum is part of the source of each loop.
    """
    sources = [Path(__file__).with_name(name).read_bytes() for name in ("calls.py", "vector_math.py")]
    return f"{zlib.crc32(b''.join(sources)):08x}"


@cache
def _compiled(source: str) -> int:
    """Return the address of the compiled function of a written module."""
    _calls()
    folder = _folder()
    name = f"loop_{zlib.crc32(source.encode()):08x}_{len(source)}"
    module = ModuleType(f"chainrule.formulas.written.{name}")
    path = f"<{name}>"
    if folder is not None:
        try:
            path = _write(folder / f"{name}.py", source)
        except OSError:  # compiled all the same, and not kept
            folder = None
    module.__file__ = path
    sys.modules[module.__name__] = module  # Numba looks for the module here
    for is_kept in (True, False) if folder is not None else (False,):
        vars(module)["is_kept"] = is_kept
        try:
            exec(compile(source, path, "exec"), vars(module))  # the text written above, not the content of the file
            break
        except RuntimeError:  # Numba found no folder that it can write machine code to
            continue
    return int(module.compiled.address)


def _write(path: Path, source: str) -> str:
    """Make the file hold the source, beside which Numba keeps the machine code; return its path.

    Raises OSError where that cannot be done.
    """
    content = source.encode()
    if not path.exists() or path.read_bytes() != content:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # other threads and processes may do the same
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
    return str(path)


@cache
def _folder() -> Path | None:
    """Return the folder for written loops in the user's cache; None if nothing can be written there."""
    configured = os.environ.get("XDG_CACHE_HOME", "").strip()
    try:
        folder = (Path(configured) if configured else Path.home() / ".cache") / "chainrule" / "formulas"
        folder = folder.absolute()  # the working directory may change
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):
        return None
