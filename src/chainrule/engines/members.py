"""The operations of an ensemble, member by member.

The numbers that one member computes for a batch are few enough to stay in the processor's cache, and those of all
members are not. Compiled code therefore computes one member before the next, as far as no operation combines members.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chainrule.program import Affine, ArrayReference, Concatenate, Map, Noise, Operation, Program, Select, Value
from chainrule.types import Array

__all__ = ["Members", "split_members", "whole_program"]


class Members(NamedTuple):
    """The operations of a program in the order of computation by members.

    Attributes
    ----------
    shared
        The operations before the members.
    groups
        The operations of each member; one group with all operations if the members cannot be separated.
    outputs
        The result of each group.
    joined
        The value of the program with the results of all members, one after another.
    rest
        The operations that follow, and read ``joined``.
    """

    shared: Sequence[Operation]
    groups: Sequence[Sequence[Operation]]
    outputs: Sequence[Value]
    joined: Value
    rest: Sequence[Operation]


def split_members(program: Program) -> Members:
    """Return the operations of a program by members.

    Members begin where all columns of a value are repeated. Values of several ensembles may be concatenated, which
    gives the members of all of them.
    """
    shared: list[Operation] = []
    made: dict[Value, Operation] = {}  # the operations of single members, by their outputs
    parts: dict[Value, list[Value]] = {}
    joined, n_done = program.input, 0
    for operation in program.operations:
        if any(x in parts for x in operation.inputs):
            own = _parts_of(operation, parts)
            if own is None:
                break
            joined = operation.output
            parts[joined], operations = own
            made |= {one.output: one for one in operations}
        elif (n_members := _n_repetitions(operation)) > 1:
            parts[operation.output] = [*operation.inputs] * n_members
        else:
            shared.append(operation)
        n_done += 1
    rest = program.operations[n_done:]
    read = {x for operation in rest for x in operation.inputs if x in parts}
    groups = [_operations_of(part, made) for part in parts.get(joined, ())]
    are_separate = all(groups) and sum(map(len, groups)) == len({op.output for group in groups for op in group})
    if not groups or not are_separate or not read <= {joined} or (not rest and program.output is not joined):
        return whole_program(program)
    return Members(shared, groups, parts[joined], joined, rest)


def whole_program(program: Program) -> Members:
    """Return all operations of a program as one group."""
    return Members([], [program.operations], [program.output], program.output, [])


@dataclass(frozen=True)
class _PartOfArray(ArrayReference):
    """The part of one member of an array that has the members along its first axis."""

    member: int

    @property
    def values(self) -> Array:
        """The present values, as a view of the layer's array."""
        return self._part(super().values)

    @property
    def gradient(self) -> Array:
        """The gradient of a parameter."""
        return self._part(super().gradient)

    def _part(self, array: Array) -> Array:
        """Return a view, also of an array with one number for each member."""
        part: Array = array[self.member : self.member + 1] if array.ndim == 1 else array[self.member]
        return part


def _n_repetitions(operation: Operation) -> int:
    """Return how many times an operation selects all columns of its input, one after another; 0 for others."""
    if not isinstance(operation, Select):
        return 0
    width = operation.inputs[0].width
    n, rest = divmod(len(operation.columns), width)
    return n if not rest and operation.columns == (*range(width),) * n else 0


def _operations_of(part: Value, made: dict[Value, Operation]) -> list[Operation]:
    """Return the operations of one member that lead to its part of a value, in the order of computation."""
    needed = {part}
    for output, operation in reversed(made.items()):
        if output in needed:
            needed.update(operation.inputs)
    return [operation for output, operation in made.items() if output in needed]


def _parts_of(operation: Operation, parts: dict[Value, list[Value]]) -> tuple[list[Value], Sequence[Operation]] | None:
    """Return the part of the output for each member, and the operations that compute these parts.

    The result is None if the operation does not consist of one part for each member.
    """
    if not all(x in parts for x in operation.inputs):
        return None
    given = [parts[x] for x in operation.inputs]
    if isinstance(operation, Concatenate):
        values = [value for values in given for value in values]
        return (values, []) if len({value.width for value in values}) == 1 else None
    if len({len(values) for values in given}) > 1 or operation.output.width % len(given[0]):
        return None
    own = [_of_member(operation, k, inputs) for k, inputs in enumerate(zip(*given, strict=True))]
    operations = [one for one in own if one is not None]
    return ([one.output for one in operations], operations) if len(operations) == len(own) else None


def _of_member(operation: Operation, k: int, inputs: tuple[Value, ...]) -> Operation | None:
    """Return the part of an operation for member k; None if it does not consist of one part for each member."""
    n_members = operation.inputs[0].width // inputs[0].width
    width = operation.output.width // n_members
    own = dataclasses.replace(operation, inputs=inputs, output=Value(width))
    arrays = [_PartOfArray(array.layer, array.name, k) for array in operation.arrays]
    match own:
        case Select(columns=columns):
            within = np.array(columns).reshape(n_members, -1)[k] - k * own.inputs[0].width
            is_within = within.min() >= 0 and within.max() < own.inputs[0].width
            return dataclasses.replace(own, columns=tuple(within.tolist())) if is_within else None
        case Affine() if own.is_separate and own.weights.values.shape[0] == n_members:
            return dataclasses.replace(own, weights=arrays[0], biases=arrays[1] if own.biases is not None else None)
        case Map() if not own.formula.is_rowwise:
            has_members = [array.values.shape[0] == n_members for array in own.parameters]
            shared = [array for array, has in zip(own.parameters, has_members, strict=True) if not has]
            if any(array.is_trained or array.values.size > 1 for array in shared):
                return None
            chosen = zip(has_members, arrays, own.parameters, strict=True)
            return dataclasses.replace(own, parameters=tuple(part if has else whole for has, part, whole in chosen))
        case Map() if width % own.row_width == 0 and not arrays:
            return own
        case Noise() if width % 4 == 0:  # random numbers are computed four at a time
            return dataclasses.replace(own, first_column=k * width, row_width=operation.output.width)
    return None
