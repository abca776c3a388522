"""Weights of classes in the loss."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from chainrule.errors import DataError, InvalidInputError
from chainrule.types import Array

__all__ = ["ClassWeight", "check_class_weight", "class_weights"]

ClassWeight: TypeAlias = Literal["balanced"] | Mapping[Any, float]


def class_weights(
    classes: Sequence[Any],
    label_names: Sequence[str],
    totals: Array,
    class_weight: ClassWeight,
) -> Array:
    """Return the float64 weight of each class. ``totals`` are the numbers of rows or the sums of sample weights.

    ``"balanced"`` gives every class in the data the same total weight, as in scikit-learn: sum of all totals / (number
    of classes * total of the class). A mapping contains weights by label or label name; missing labels have weight 1.
    """
    if not classes or not len(totals):
        raise InvalidInputError("class_weight needs a target of classes, or of the probabilities of classes.")
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise InvalidInputError(
                f"class_weight must be 'balanced' or a mapping from labels to weights, not {class_weight!r}."
            )
        present = totals > 0
        mean = totals.sum() / max(np.count_nonzero(present), 1)
        return np.asarray(np.divide(mean, totals, out=np.ones(len(totals)), where=present))
    weights = np.ones(len(classes))
    code_of: dict[Any, int] = {label: code for code, label in enumerate(label_names)}
    code_of |= {label: code for code, label in enumerate(classes)}
    weight: Any
    for label, weight in class_weight.items():
        if label not in code_of:
            known = ", ".join(map(repr, classes[:20])) + ", ..." * (len(classes) > 20)
            raise InvalidInputError(
                f"class_weight has a weight for {label!r}, which is not a class; the classes are {known}."
            )
        if not isinstance(weight, int | float | np.integer | np.floating) or not 0 <= weight <= sys.float_info.max:
            raise InvalidInputError(f"The weight of class {label!r} is {weight!r}; it must be a finite number >= 0.")
        weights[code_of[label]] = weight
    if not (weights * totals).any():
        raise DataError("All weights are zero after class_weight; give some class with rows a weight above 0.")
    return weights


def check_class_weight(class_weight: Any) -> None:
    """Raise InvalidInputError for an invalid value of ``class_weight``."""
    if class_weight is None or (isinstance(class_weight, str) and class_weight == "balanced"):
        return
    weights = class_weight.values() if isinstance(class_weight, Mapping) else [None]
    if not all(isinstance(w, int | float | np.number) and 0 <= w < math.inf for w in weights):
        raise InvalidInputError(
            f"class_weight is {repr(class_weight)[:200]}; it must be 'balanced', a mapping from labels to finite "
            "numbers >= 0, or None."
        )
