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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.formulas.expression import Expression, TraceError
from chainrule.formulas.operations import OPERATIONS
from chainrule.types import Array

__all__ = ["N_ARRAYS", "Loop"]

# How many arrays a loop can read and write.
N_ARRAYS = 8

_NO_SETTINGS = np.zeros(0)

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
        The names of the arrays, in the order in which they are given; all are of one shape (rows, columns) and of one
        type. An array is read if its name is a symbol of the expressions.
    settings
        The names of numbers that are the same for all elements, given as float64.
    outputs
        The expression to write into each array, by the name of the array. If the array is also read, all expressions
        use its old elements.
    total
        The expression whose sum over all elements is returned; None for no sum.
    rows
        The names of the arrays that hold one number for each row instead.
    """

    arrays: tuple[str, ...]
    settings: tuple[str, ...]
    outputs: Mapping[str, Expression]
    total: Expression | None = None
    rows: tuple[str, ...] = ()
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
        first = arrays[0]
        for name, array in zip(self.arrays, arrays, strict=True):
            size = len(first) if name in self.rows else first.size
            if array.size != size or array.dtype != first.dtype or not array.flags.c_contiguous:
                raise InvalidInputError(
                    f"A compiled loop takes contiguous arrays of one type and shape; '{name}' has type {array.dtype} "
                    f"and shape {array.shape}, and '{self.arrays[0]}' has type {first.dtype} and shape {first.shape}."
                )
        address = self._addresses.get(first.dtype) or self.address(first.dtype)
        n_columns = first.shape[-1] if first.ndim else 1
        n_rows = first.size // n_columns if n_columns else 0
        numbers = np.array(settings, np.float64) if settings else _NO_SETTINGS
        given = arrays + (first,) * (N_ARRAYS - len(arrays))
        total: float = _calls().call_arrays(address, *given, n_rows, n_columns, numbers)
        return total


class _Writer:
    """Writes the source of one loop, line by line."""

    def __init__(self, loop: Loop, dtype: str) -> None:
        self.loop, self.dtype = loop, dtype
        self.results = [*loop.outputs.values(), *([] if loop.total is None else [loop.total])]
        self.order = {id(node): node for result in self.results for node in result.visit()}
        self.fixed: dict[int, str] = {}  # the names of values that are the same for all elements
        self.names: dict[int, str] = {}
        self.lines: list[str] = []

    def write(self) -> str:
        """Return the whole module."""
        pointers = ", ".join(f"p{place}" for place in range(N_ARRAYS))
        self._line(0, f"def loop({pointers}, n_rows, n_columns, settings):")
        self._line(1, "size = n_rows * n_columns")
        for place, name in enumerate(self.loop.arrays):
            self._line(1, f"a{place} = carray(p{place}, {'n_rows' if name in self.loop.rows else 'size'}, f)")
        for place in range(len(self.loop.settings)):
            self._line(1, f"s{place} = settings[{place}]")
        self._settings_alone()
        self._line(1, "total = 0.0")
        reductions = [node for node in self.order.values() if node.is_reduction]
        if not reductions and not self.loop.rows:
            self._elements(1, "range(size)", None)
        else:
            self._line(1, "for row in range(n_rows):")
            self._line(2, "first = row * n_columns")
            for node in self.order.values():
                if node.operation == "symbol" and node.value in self.loop.rows:
                    place = self.loop.arrays.index(node.value)
                    self.names[id(node)] = f"row{place}"
                    self._line(2, f"row{place} = a{place}[row]")
            for node in reductions:  # in the order of the visit, operands first
                self._elements(2, "range(first, first + n_columns)", node)
            self._elements(2, "range(first, first + n_columns)", None)
        self._line(1, "return total")
        body = "\n".join(self.lines)
        return _MODULE.format(version=_library_checksum(), dtype=self.dtype, header=_HEADER[self.dtype], body=body)

    def _settings_alone(self) -> None:
        """Write the values that depend on settings alone, such as 1 - beta.

        They are computed once, in float64, and then rounded to the type of the elements.
        """
        exact: dict[int, str] = {}
        for key, node in self.order.items():
            if node.operation == "constant":
                exact[key] = _number(node.value)
            elif node.operation == "symbol" and node.value not in self.loop.arrays:
                exact[key] = f"s{self.loop.settings.index(node.value)}"
            elif node.operands and not node.is_reduction and all(id(operand) in exact for operand in node.operands):
                spelling = OPERATIONS[node.operation].scalar.replace("fast_erf", "math.erf").replace("fast_", "np.")
                exact[key] = f"e{len(exact)}"
                self._line(1, f"{exact[key]} = {spelling.format(*(exact[id(operand)] for operand in node.operands))}")
        varying = [node for key, node in self.order.items() if key not in exact]
        for node in (*(operand for one in varying for operand in one.operands), *self.results):
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

    def _elements(self, depth: int, places: str, reduction: Expression | None) -> None:
        """Write the loop over some elements that computes a reduction, or the outputs and the total."""
        wanted = self.results if reduction is None else [reduction.operands[0]]
        result = "" if reduction is None else f"r{len([name for name in self.names.values() if name[0] == 'r'])}"
        if reduction is not None:
            self._line(depth, f"{result} = f({'-np.inf' if reduction.operation == 'row_max' else '0'})")
        self._line(depth, f"for i in {places}:")
        reduced = {key: name for key, name in self.names.items() if name[0] == "r"}
        self.names = dict(reduced)
        values = [self._value(depth + 1, node) for node in wanted]
        if reduction is None:
            for array, value in zip(self.loop.outputs, values, strict=False):
                self._line(depth + 1, f"a{self.loop.arrays.index(array)}[i] = {value}")
            if self.loop.total is not None:
                self._line(depth + 1, f"total += {values[-1]}")
        elif reduction.operation == "row_max":
            self._line(
                depth + 1,
                f"{result} = {values[0]} if ({values[0]} > {result}) | ({values[0]} != {values[0]}) else {result}",
            )
        else:
            self._line(depth + 1, f"{result} += {values[0]}")
            if reduction.operation == "row_mean":
                self._line(depth, f"{result} /= f(n_columns)")
        if reduction is not None:
            self.names = {**reduced, id(reduction): result}

    def _value(self, depth: int, wanted: Expression) -> str:
        """Write the lines that compute an expression, and return the name of its value."""
        for node in wanted.visit():
            if id(node) in self.names:
                continue
            if id(node) in self.fixed:
                self.names[id(node)] = self.fixed[id(node)]
            elif node.operation == "symbol" and node.value in self.loop.arrays and node.value not in self.loop.rows:
                place = self.loop.arrays.index(node.value)
                self.names[id(node)] = f"x{place}"
                self._line(depth, f"x{place} = a{place}[i]")
            elif node.operands and not node.is_reduction and all(id(o) in self.names for o in node.operands):
                operands = [self.names[id(operand)] for operand in node.operands]
                name = f"t{len(self.names)}"
                self._line(depth, f"{name} = {OPERATIONS[node.operation].scalar.format(*operands)}")
                self.names[id(node)] = name
        return self.names[id(wanted)]

    def _line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)


_MODULE = """# Written by chainrule.formulas.loops ({version}); kept here so that it is compiled once.
import math

import numba
import numpy as np
from numba import carray

from chainrule.formulas.calls import SIGNATURE
{header}from chainrule.formulas.vector_math import sign as fast_sign

f = np.{dtype}


{body}


compiled = numba.cfunc(
    SIGNATURE,
    cache=is_kept,
    error_model="numpy",
    fastmath={{"reassoc", "contract", "arcp", "nsz"}},
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
