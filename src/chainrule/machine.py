"""Properties of the machine."""

from __future__ import annotations

import os

__all__ = ["machine_memory"]


def machine_memory() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
