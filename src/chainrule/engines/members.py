"""The operations of an ensemble, member by member.

In a batch, the numbers of one member are few enough to stay in the processor's cache, and those of all members are not.
Compiled training therefore computes the forward pass, the loss and the backward pass of one member before those of the
next, if no operation between the input of the members and their outputs combines several members.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chainrule.program import Affine, ArrayReference, Map, Noise, Operation, Program, Select, Value
from chainrule.types import Array

__all__ = ["Members", "split_members"]


class Members(NamedTuple):
    """The operations that come before the members, and the operations and the output of each member."""

    shared: list[Operation]
    groups: list[list[Operation]]
    outputs: list[Value]


def split_members(program: Program, n_members: int) -> Members:
    """Return the operations of a program by members; as one group if the members cannot be computed one by one.

    The members begin with a selection that repeats its input, such as that of a ``RepeatLayer``.
    """
    shared: list[Operation] = []
    groups: list[list[Operation]] = [[] for _ in range(n_members)]
    parts: dict[Value, list[Value]] = {}
    for operation in program.operations if n_members > 1 else ():
        if any(x in parts for x in operation.inputs):
            own = [_of_member(operation, k, n_members, parts) for k in range(n_members)]
        elif columns := _repeated_columns(operation, n_members):
            (x,) = operation.inputs
            if columns == tuple(range(x.width)):
                parts[operation.output] = [x] * n_members
                continue
            own = [Select((x,), Value(len(columns)), columns) for _ in range(n_members)]
        else:
            shared.append(operation)
            continue
        for group, one in zip(groups, own, strict=True):
            if one is None:
                return Members([], [program.operations], [program.output])
            group.append(one)
        parts[operation.output] = [group[-1].output for group in groups]
    outputs = parts.get(program.output)
    if outputs is None or not groups[0] or outputs[0] is not groups[0][-1].output:
        return Members([], [program.operations], [program.output])
    return Members(shared, groups, outputs)


@dataclass(frozen=True)
class _PartOfArray(ArrayReference):
    """The part of one member of an array that has the members along its first axis."""

    member: int

    @property
    def values(self) -> Array:
        """The present values, as a view of the layer's array."""
        part: Array = super().values[self.member]
        return part

    @property
    def gradient(self) -> Array:
        """The gradient of a parameter."""
        part: Array = super().gradient[self.member]
        return part


def _repeated_columns(operation: Operation, n_members: int) -> tuple[int, ...]:
    """Return the columns that an operation selects once for each member, or an empty tuple."""
    columns = operation.columns if isinstance(operation, Select) else ()
    once = columns[: len(columns) // n_members]
    return once if columns == once * n_members else ()


def _of_member(operation: Operation, k: int, n_members: int, parts: dict[Value, list[Value]]) -> Operation | None:
    """Return the part of an operation for member k; None if it does not consist of one part for each member."""
    if not all(x in parts for x in operation.inputs) or operation.output.width % n_members:
        return None
    width = operation.output.width // n_members
    own = dataclasses.replace(operation, inputs=tuple(parts[x][k] for x in operation.inputs), output=Value(width))
    arrays = [_PartOfArray(array.layer, array.name, k) for array in operation.arrays]
    match own:
        case Select(columns=columns):
            within = np.array(columns).reshape(n_members, -1)[k] - k * own.inputs[0].width
            is_within = within.min() >= 0 and within.max() < own.inputs[0].width
            return dataclasses.replace(own, columns=tuple(within.tolist())) if is_within else None
        case Affine() if operation.is_separate:  # type: ignore[attr-defined]
            return dataclasses.replace(own, weights=arrays[0], biases=arrays[1] if own.biases is not None else None)
        case Map() if not own.formula.is_of_rows:
            of_columns = [array.values.size == operation.output.width for array in operation.arrays]
            if any(array.is_trained for array, is_of in zip(operation.arrays, of_columns, strict=True) if not is_of):
                return None  # the members share it
            chosen = zip(of_columns, arrays, own.parameters, strict=True)
            return dataclasses.replace(own, parameters=tuple(part if is_of else whole for is_of, part, whole in chosen))
        case Map() if width % own.row_width == 0 and not arrays:
            return own
        case Noise() if width % 4 == 0:  # random numbers are computed four at a time
            return dataclasses.replace(own, first_column=k * width, row_width=operation.output.width)
    return None
