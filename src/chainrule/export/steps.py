"""The operations of a program as statements of C and JavaScript: calls of functions that write into buffers.

Both languages spell these calls alike: ``dense(v0, array1, array2, 5, 7, v1);``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from chainrule.export.c_text import identifiers
from chainrule.export.program import ModelProgram, plan_buffers
from chainrule.formulas.translate import Language, as_function
from chainrule.program import Affine, ArrayReference, Concatenate, Lookup, Map, NotLoweredError, Operation, Select
from chainrule.types import Array

__all__ = ["Steps"]


class Steps:
    """The statements of a prediction, with what they need.

    Parameters
    ----------
    model
        The program.
    language
        The language of the functions.
    define
        Returns the definition of an array under a name.
    number
        Returns a number in the language.
    spell
        Turns a name of C into a name of the language.

    Attributes
    ----------
    lines
        The statements; they begin with the row in the buffer ``v0``.
    functions
        The functions that are made from formulas.
    arrays
        The definitions of the arrays.
    pieces
        The names of the functions that are not made from formulas.
    buffers
        The lengths of the buffers ``v0``, ``v1``, ...
    last
        The buffer in which the outputs are.
    """

    def __init__(
        self,
        model: ModelProgram,
        language: Language,
        define: Callable[[str, Array], str],
        number: Callable[[float], str],
        spell: Callable[[str], str] = str,
    ) -> None:
        self._language, self._define, self._number, self._spell = language, define, number, spell
        self.lines: list[str] = []
        self.arrays: list[str] = []
        self.pieces: list[str] = []
        self._functions: dict[str, str] = {}
        self._known: dict[tuple[int, str], str] = {}
        self._buffers, self.buffers = plan_buffers(model.program)
        for operation in model.program.operations:
            self._write(operation)
        self.last = f"v{self._buffers[model.program.output]}"

    @property
    def functions(self) -> list[str]:
        """The source of the functions, each once."""
        return list(self._functions.values())

    def _write(self, operation: Operation) -> None:
        inputs, width = [f"v{self._buffers[x]}" for x in operation.inputs], operation.output.width
        output = f"v{self._buffers[operation.output]}"
        match operation:
            case Affine():
                self._write_affine(operation, inputs, output)
            case Map():
                self._call_formula(operation, inputs, output)
            case Lookup():
                (codes,), length = operation.inputs, operation.table.values.shape[-1]
                tables = [*self._arrays(operation), self._named(operation.firsts), self._named(operation.sizes)]
                self._call("look_up", *inputs, *tables, codes.width, length, output)
            case Select():
                columns = self._named(operation.columns)
                self._call("select_columns", *inputs, columns, width, output)
            case Concatenate():
                starts = accumulate((x.width for x in operation.inputs), initial=0)
                for x, value, start in zip(operation.inputs, inputs, starts, strict=False):
                    self._call("copy_columns", value, x.width, output, start)
            case _:
                raise NotLoweredError(
                    f"C and JavaScript have no operation {type(operation).__name__}; use it in training only."
                )

    def _write_affine(self, operation: Affine, inputs: Sequence[str], output: str) -> None:
        arrays, (n_in, n_out) = self._arrays(operation), operation.weights.values.shape[-2:]
        if operation.biases is None:
            arrays.append(self._named(np.zeros(n_out, operation.weights.values.dtype)))
        if operation.n_parts == 1:
            self._call("dense", *inputs, *arrays, n_in, n_out, output)
            return
        steps = [n_in * n_out if operation.is_separate else 0, n_out if operation.has_separate_biases else 0]
        self._call("dense_parts", *inputs, *arrays, operation.n_parts, *steps, n_in, n_out, output)

    def _call(self, piece: str, *arguments: Any) -> None:
        self.pieces.append(self._spell(piece))
        self.lines.append(f"{self.pieces[-1]}({', '.join(map(str, arguments))});")

    def _call_formula(self, operation: Map, inputs: Sequence[str], output: str) -> None:
        result = operation.applied()
        nodes = list(result.visit())
        used = {node.value for node in nodes if node.operation == "symbol"}
        values = {name: value for name, value in zip(operation.formula.inputs, inputs, strict=True) if name in used}
        named = zip(operation.formula.parameters, operation.parameters, strict=True)
        arrays = {name: array for name, array in named if name in used}
        kinds = {n: "double" if a.values.dtype == np.float64 else "float" for n, a in arrays.items()}
        (stem,), place = identifiers([f"apply_{operation.name}"]), 1
        while True:
            name = self._spell(stem if place == 1 else f"{stem}_{place}")
            text = as_function(result, list(values), kinds, name, self._language, self._number)
            if self._functions.setdefault(name, text) == text:
                break
            place += 1
        if self._language.name == "js":
            self.pieces += [node.operation for node in nodes if node.operation in ("erf", "erfc")]
        n = operation.output.width
        width = operation.row_width if operation.formula.is_rowwise else n
        arguments = [*values.values(), *map(self._array, arrays.values()), width, n, output]
        self.lines.append(f"{name}({', '.join(map(str, arguments))});")

    def _arrays(self, operation: Operation) -> list[str]:
        return [self._array(array) for array in operation.arrays]

    def _array(self, array: ArrayReference) -> str:
        """Return the name of an array of a layer, which is defined once."""
        key = (id(array.layer), array.name)
        if key not in self._known:
            self._known[key] = self._named(array.values.reshape(-1))
        return self._known[key]

    def _named(self, values: Array | Sequence[int]) -> str:
        name = f"array{len(self.arrays) + 1}"
        self.arrays.append(self._define(name, np.asarray(values)))
        return name
