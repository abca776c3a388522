"""Kernels of the normalising layers, dropout and noise."""

from __future__ import annotations

__all__: list[str] = []
