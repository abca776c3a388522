"""From rows of bare numbers, and images as nested arrays, to the inputs of a network that takes no table."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.data.inputs import numbers_of_texts
from chainrule.serving.base import RequestError, RowError, shown
from chainrule.types import Array, Shape

__all__ = ["ArrayRows"]

_NUMBER_TYPES = frozenset({int, float, bool})
_LARGEST = sys.float_info.max
MOST_DIMENSIONS = 4


class ArrayRows:
    """Turns JSON arrays, or a frame of numbers, into a batch of inputs, each of the given ``shape``.

    A row is a flat array of numbers, or arrays nested as the shape is (the lines of an image, and its channels);
    dimensions of one number may be left out. A network that takes flat rows takes any nesting. Of a frame, the columns
    ``ignored`` may be there.
    """

    def __init__(self, shape: Shape, dtype: Any, ignored: Iterable[str] = ()) -> None:
        self.shape, self.dtype, self.known = shape, np.dtype(dtype), frozenset(ignored)
        self.n_values = math.prod(shape)

    def encode(self, rows: Sequence[Any]) -> Array:
        """Return the inputs of some rows; raises ``RowError`` naming the row, the place and the value."""
        flat = [self._flat(number, row) for number, row in enumerate(rows, 1)]
        try:
            values = np.array(flat, dtype=np.float64).reshape(len(flat), *self.shape)
        except OverflowError:  # a whole number beyond float64
            row, place = next(
                (r, p) for r, row in enumerate(flat) for p, value in enumerate(row) if abs(value) > _LARGEST
            )
            raise _no_number(row + 1, place, flat[row][place]) from None
        with np.errstate(over="ignore"):
            inputs = values.astype(self.dtype)
        if not np.isfinite(inputs).all():
            row = int(np.argwhere(~np.isfinite(inputs))[0][0])
            place = int(np.argmin(np.isfinite(inputs[row].reshape(-1))))
            raise _no_number(row + 1, place, flat[row][place])
        return inputs

    def encode_frame(self, frame: Any) -> Array:
        """Return the inputs of a table of numbers; raises ``RequestError`` 422 for one that does not fit."""
        numbers = numbers_of_texts(frame.drop(columns=[name for name in frame.columns if name in self.known]))
        matrix = Dataset(numbers).X
        if matrix.shape[1] != self.n_values:
            raise RequestError(
                422, f"The body has {matrix.shape[1]} columns, and the model takes {self.n_values} numbers a row."
            )
        with np.errstate(over="ignore"):
            inputs: Array = matrix.astype(self.dtype)
        if not np.isfinite(inputs).all():  # beyond float32
            row, column = (int(place) for place in np.argwhere(~np.isfinite(inputs))[0])
            raise RowError(row + 1, f"has {matrix[row, column]:g} at place {column + 1}; a finite number is expected.")
        return inputs.reshape(len(inputs), *self.shape)

    def _flat(self, number: int, row: Any) -> list[Any]:
        if type(row) is not list:
            raise RowError(number, f"is {shown(row)}; a row is an array of {self._wanted()}.")
        values: list[Any] = row
        sizes = [len(row)]
        for _ in range(MOST_DIMENSIONS):
            if not values or type(values[0]) is not list:
                break
            if any(type(part) is not list or len(part) != len(values[0]) for part in values):
                raise RowError(number, "is ragged: its inner arrays have different lengths.")
            sizes.append(len(values[0]))
            values = list(chain.from_iterable(values))
        if len(values) != self.n_values:
            raise RowError(number, f"has {len(values)} values, and the model takes {self._wanted()}.")
        if len(sizes) > 1 and len(self.shape) > 1 and _long(sizes) != _long(self.shape):
            raise RowError(number, f"is {' x '.join(map(str, sizes))} numbers, and the model takes {self._wanted()}.")
        if not _NUMBER_TYPES.issuperset(map(type, values)):
            place = next(place for place, value in enumerate(values) if type(value) not in _NUMBER_TYPES)
            raise _no_number(number, place, values[place])
        return values

    def _wanted(self) -> str:
        if len(self.shape) == 1:
            return f"{self.n_values} numbers"
        return f"{self.n_values} numbers, {' x '.join(map(str, self.shape))}"


def _long(sizes: Sequence[int]) -> list[int]:
    return [size for size in sizes if size > 1]


def _no_number(row: int, place: int, value: Any) -> RowError:
    return RowError(row, f"has {shown(value)} at place {place + 1}; a finite number is expected.")
