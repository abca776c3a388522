"""The layers: each one a page, forward written beside backward."""

from __future__ import annotations

from chainrule.layers.base import Layer
from chainrule.layers.dense import DenseLayer

__all__ = ["DenseLayer", "Layer"]
