"""Compiled operations that are not formulas: products, gathering, column statistics, noise.

Every kernel is a C function with the signature :data:`chainrule.formulas.calls.SIGNATURE`, compiled by Numba when it is
first used. The NumPy code of the layers is the reference for the results. The environment variable
``CHAINRULE_KERNELS=numpy`` switches compiled code off; networks are then computed by the NumPy code of their layers.

Conventions of all kernels:

* Arrays are C-contiguous and have the float type that the kernel is compiled for, unless its docstring says otherwise.
* Results are written to arrays that the caller has allocated. No memory that grows with the data is allocated.
* No kernel clips numbers or hides a number that is not finite.
"""

from __future__ import annotations

import functools
import os

from chainrule.errors import InvalidInputError

__all__ = ["active_set"]

_SETS = ("numpy", "numba")


@functools.cache
def active_set() -> str:
    """Return ``"numba"`` if this process uses compiled code, else ``"numpy"``."""
    wanted = os.environ.get("CHAINRULE_KERNELS", "numba").strip().lower()
    if wanted not in _SETS:
        raise InvalidInputError(f"CHAINRULE_KERNELS is '{wanted}'; set it to 'numpy' or 'numba', or leave it unset.")
    return wanted
