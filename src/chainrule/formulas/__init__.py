"""Formulas: NumPy code that is written once, traced, and run by every backend.

:class:`Formula` traces a method by calling it with symbols (:mod:`~chainrule.formulas.expression`), :class:`Loop`
compiles expressions, and :mod:`~chainrule.formulas.translate` writes them for PyTorch, ONNX, C and JavaScript.
"""

from __future__ import annotations

from chainrule.formulas.expression import Expression, Graph, TraceError
from chainrule.formulas.loops import Loop
from chainrule.formulas.traced import Attempt, Formula, values_of

__all__ = ["Attempt", "Expression", "Formula", "Graph", "Loop", "TraceError", "values_of"]
