"""How many threads the matrix products of a fit may use.

One, unless the environment variable ``CHAINRULE_THREADS`` names another number. The products of a training step are
small: on a machine that does something else besides, several threads spend their time waiting for each other, and a fit
takes thirty times as long instead of half. One thread also gives the same bits whatever the number of cores.
"""

from __future__ import annotations

import functools
import os
from contextlib import AbstractContextManager
from typing import Any

from chainrule.errors import InvalidInputError

__all__ = ["limited_threads", "wanted_threads"]


def wanted_threads() -> int:
    """Return the number of threads that a fit may use."""
    given = os.environ.get("CHAINRULE_THREADS", "1").strip()
    if not given.isdecimal() or int(given) < 1:
        raise InvalidInputError(f"CHAINRULE_THREADS is '{given}'; set it to a whole number >= 1, or leave it unset.")
    return int(given)


def limited_threads() -> AbstractContextManager[Any]:
    """Return a context in which BLAS uses so many threads; the old number comes back at its end."""
    limit: AbstractContextManager[Any] = _controller().limit(limits=wanted_threads(), user_api="blas")
    return limit


@functools.cache
def _controller() -> Any:
    import scipy.linalg.cython_blas  # noqa: F401  (compiled kernels use SciPy's BLAS; the controller sees what is loaded)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
