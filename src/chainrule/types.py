"""The types that every floor shares: arrays, shapes, sparse matrices, seeds."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "DTypeName", "Inputs", "IntArray", "Seed", "Shape", "Task", "is_sparse"]

Array: TypeAlias = npt.NDArray[Any]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
Shape: TypeAlias = tuple[int, ...]
Seed: TypeAlias = int | None
DTypeName: TypeAlias = Literal["float32", "float64"]
Task: TypeAlias = Literal["binary", "multiclass", "multilabel", "regression"]

# A dense array or a SciPy CSR matrix. SciPy is not imported here: most programs never meet a sparse matrix.
Inputs: TypeAlias = Any


def is_sparse(inputs: Inputs) -> bool:
    """Tell whether ``inputs`` is a SciPy sparse matrix or array, without importing SciPy."""
    return hasattr(inputs, "tocsr")
