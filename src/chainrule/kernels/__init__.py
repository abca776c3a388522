"""The arithmetic of training, as plain functions on arrays, written twice with the same names and signatures.

``numpy_kernels`` is the readable reference and is complete on its own. ``numba_kernels`` holds the same functions as
compiled, fused loops. One set is picked for the whole process when the first kernel is used, never on import:
Numba where it can be imported, unless the environment variable ``CHAINRULE_KERNELS`` says ``numpy`` or ``numba``.

The rest of the library writes ``from chainrule import kernels`` and calls ``kernels.add_bias(z, biases)``.

Conventions that every kernel keeps:

* arrays are C-contiguous, all of one float type (float32 or float64), and never change their shape;
* results go to ``out`` arguments (or in place, where the name of the argument says so) and nothing that grows with
  the data is allocated by the compiled set;
* no kernel clips, and none hides a number that is not finite.
"""

from __future__ import annotations

import functools
import importlib
import os
from typing import Any

from chainrule.errors import InvalidInputError

__all__ = ["active_set", "load"]

_SETS = ("numpy", "numba")
_FAMILIES = ("linear", "normalization", "updates")


@functools.cache
def active_set() -> str:
    """Return the name of the kernel set of this process, ``"numpy"`` or ``"numba"``."""
    wanted = os.environ.get("CHAINRULE_KERNELS", "numba").strip().lower()
    if wanted not in _SETS:
        raise InvalidInputError(f"CHAINRULE_KERNELS is '{wanted}'; set it to 'numpy' or 'numba', or leave it unset.")
    return wanted


def load() -> None:
    """Load the active set now, and not in the middle of what somebody measures: importing Numba takes half a second."""
    package = f"chainrule.kernels.{active_set()}_kernels"
    for family in _FAMILIES:
        module = importlib.import_module(f"{package}.{family}")
        globals().update({name: getattr(module, name) for name in module.__all__})


def __getattr__(name: str) -> Any:
    """Load the active set on the first use of any kernel and keep its functions as attributes of this module."""
    if name.startswith("_"):
        raise AttributeError(name)
    load()
    if name not in globals():
        raise AttributeError(f"there is no kernel '{name}'")
    return globals()[name]
