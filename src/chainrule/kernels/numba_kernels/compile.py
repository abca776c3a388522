"""How every Numba kernel is compiled.

``error_model="numpy"`` removes the check for division by zero that stops vectorisation. The ``fastmath`` flags allow
reordering sums and fusing multiply-add, but keep NaN and infinity honest, so that divergence is still detected.
``cache=True`` keeps the machine code on disk: only the first fit ever waits for the compiler.
"""

from __future__ import annotations

import numba

__all__ = ["compiled"]

compiled = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"}, boundscheck=False
)
