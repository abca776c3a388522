"""Taking a model elsewhere: one file that predicts as the model does, where chainrule is not installed.

Every format holds the whole way from a row of the user's columns to probabilities, or to numbers in the target's own
units: preprocessing, network, and the meaning of the outputs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

from chainrule.errors import InvalidInputError, nearest_name
from chainrule.model import Model
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork

__all__ = ["FORMATS", "FormatName", "export_model", "find_format"]

FormatName: TypeAlias = Literal["onnx", "torch", "c", "js"]

# How a file of each format usually ends.
FORMATS: dict[FormatName, str] = {"onnx": ".onnx", "torch": ".pt2", "c": ".c", "js": ".mjs"}

# What writes each format: a module of this package, loaded when first asked for, and its function (model, path).
_WRITERS: dict[FormatName, tuple[str, str]] = {
    "onnx": ("onnx_graph", "write_onnx"),
    "torch": ("torch_program", "write_torch_program"),
    "c": ("c_source", "write_c"),
    "js": ("js_source", "write_js"),
}


@checked
def export_model(model: Model | NeuralNetwork, path: str | Path, to: FormatName = "onnx") -> Path:
    """Write a model, or a bare network, as a file that needs no chainrule; return the path.

    Parameters
    ----------
    model
        What :meth:`Model.load`, :func:`chainrule.runs.load_run` or :meth:`NeuralNetwork.load` gives, or a network
        fresh from its training.
    path
        The file to write; it is there whole or not at all.
    to
        ``"onnx"`` (one ONNX graph), ``"torch"`` (a ``torch.export`` program), ``"c"`` (one C99 file) or ``"js"``
        (one JavaScript module). The first two need PyTorch's or ONNX's package here, the last two nothing.

    Raises
    ------
    InvalidInputError
        For another format, and for a layer or a step that the format cannot say.
    """
    module, function = _WRITERS[find_format(to)]
    write: Callable[[Any, Path], None] = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    write(model, Path(path))
    return Path(path)


def find_format(name: str) -> FormatName:
    """Return the format of this name; raises ``InvalidInputError`` for one that is not known."""
    for known in FORMATS:
        if name == known:
            return known
    raise InvalidInputError(
        f"There is no export format {name!r}; the formats are {', '.join(FORMATS)}.{nearest_name(str(name), FORMATS)}"
    )
