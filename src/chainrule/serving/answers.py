"""From a network's outputs to the body of an answer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from chainrule.model import Model
from chainrule.runs.using import class_probabilities, prediction_csv, prediction_frame
from chainrule.serving.bodies import CSV
from chainrule.serving.errors import RowError
from chainrule.types import Array

__all__ = ["render", "to_json"]

NUMBERS_AT_A_TIME = 10_000

_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def to_json(value: Any) -> bytes:
    """Return a value as compact JSON, in ASCII."""
    return _JSON.encode(value).encode("ascii")


def render(model: Model, outputs: Array, media_type: str) -> bytes:
    """Return the answer for what ``model.outputs`` gave.

    JSON has ``predictions``, a label or number a row (a list of numbers where several are predicted), and for classes
    ``classes`` and their ``probabilities`` in that order, a list a row. CSV is what ``chainrule predict`` writes.

    Raises ``RowError`` for a row whose prediction is not finite.
    """
    if not np.isfinite(outputs).all():
        row = int(np.flatnonzero(~np.isfinite(outputs).all(axis=1))[0])
        raise RowError(row + 1, "gives no finite prediction; its values are too far from the training data.")
    if media_type == CSV:
        return prediction_csv(model, prediction_frame(model, outputs)).encode()
    answer = b'{"predictions":' + _array(model.target.decode(outputs))
    if model.target.classes:
        answer += b',"classes":' + to_json(model.target.classes)
        answer += b',"probabilities":' + _array(class_probabilities(outputs))
    return answer + b"}"


def _array(values: Array) -> bytes:
    """Return an array as JSON, written a piece at a time: between two pieces, other threads have their turn."""
    n_rows = max(1, NUMBERS_AT_A_TIME * len(values) // max(values.size, 1))
    pieces = (to_json(values[start : start + n_rows].tolist())[1:-1] for start in range(0, len(values), n_rows))
    return b"[" + b",".join(pieces) + b"]"
