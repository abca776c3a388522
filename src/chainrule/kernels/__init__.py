"""Compiled operations that are not formulas: products, gathering, column statistics, noise.

Every kernel is a C function of the signature :data:`chainrule.formulas.calls.SIGNATURE`, compiled by Numba when it is
first used. The layers' own NumPy code says what the kernels compute. The environment variable
``CHAINRULE_KERNELS=numpy`` switches compiled code off, and networks are then computed by their layers.

Conventions that every kernel keeps:

* arrays are C-contiguous, of the one float type that the kernel is compiled for unless its docstring says otherwise;
* results go to arrays that the caller has allocated, and nothing that grows with the data is allocated;
* no kernel clips, and none hides a number that is not finite.
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
