"""Taking a model elsewhere: one file that predicts as the model does, where chainrule is not installed.

Every format holds the whole way from a row of the user's columns to probabilities, or to numbers in the target's own
units: preprocessing, network, and the meaning of the outputs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from chainrule.errors import InvalidInputError, check_one_of, shown
from chainrule.model import Model
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork

__all__ = ["FORMATS", "FormatName", "export_model", "find_format"]

#: The names of the formats.
#:
#: :meta hide-value:
FormatName: TypeAlias = Literal["onnx", "torch", "c", "js"]

#: The suffix of the files of each format.
FORMATS: dict[FormatName, str] = {"onnx": ".onnx", "torch": ".pt2", "c": ".c", "js": ".mjs"}
_FORMAT_OF_SUFFIX: dict[str, FormatName] = {suffix: name for name, suffix in FORMATS.items()} | {".js": "js"}

# What writes each format: a module of this package, loaded when first asked for, and its function (model, path).
_WRITERS: dict[FormatName, tuple[str, str]] = {
    "onnx": ("onnx_graph", "write_onnx"),
    "torch": ("torch_program", "write_torch_program"),
    "c": ("c_source", "write_c"),
    "js": ("js_source", "write_js"),
}


@checked
def export_model(model: Model | NeuralNetwork, path: str | Path, to: FormatName | None = None) -> Path:
    """Write a model or a network as a file that does not need chainrule, and return the path.

    Parameters
    ----------
    model
        A :class:`Model` or a :class:`NeuralNetwork`.
    path
        The file to write. It is written completely or not at all.
    to
        ``"onnx"`` (an ONNX graph), ``"torch"`` (a ``torch.export`` program), ``"c"`` (a C99 source) or ``"js"`` (a
        JavaScript module); by default the format of the suffix of ``path``: .onnx, .pt2, .c, .mjs or .js. The package
        onnx or PyTorch must be installed for the first two.

    Raises
    ------
    InvalidInputError
        For an unknown format, a suffix of another format, and a layer that the format cannot represent.

    Examples
    --------
    >>> import tempfile
    >>> from chainrule import build_network, load_dataset
    >>> network = build_network(2, load_dataset("moons").target, hidden=(4,), seed=0)
    >>> export_model(network, tempfile.mkdtemp() + "/moons.c").name
    'moons.c'
    """
    given: Any = model
    if not isinstance(given, Model | NeuralNetwork):
        hint = "give its attribute model" if hasattr(given, "model") else "the path is the second argument"
        raise InvalidInputError(f"export_model takes a Model or a NeuralNetwork, not {shown(given)}; {hint}.")
    module, function = _WRITERS[find_format(to, path)]
    write: Callable[[Any, Path], None] = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    write(model, Path(path))
    return Path(path)


def find_format(to: str | None, path: str | Path | None) -> FormatName:
    """Return the format called ``to``, or by default the format of the suffix of ``path``.

    Raises InvalidInputError if it is unknown, or if the suffix is that of another format.
    """
    of_path = _FORMAT_OF_SUFFIX.get("" if path is None else Path(path).suffix.lower())
    if to is None and of_path is not None:
        return of_path
    if to is None:
        place = "" if path is None else f", which the suffix of '{path}' does not determine"
        raise InvalidInputError(f"Give the format (--to){place}: {', '.join(FORMATS)}.")
    check_one_of("The export format", to, FORMATS)
    if of_path not in (None, to):
        raise InvalidInputError(
            f"The format is {to!r}, but '{path}' has the suffix of the format '{of_path}'; leave the format out, or "
            "give another path."
        )
    return cast("FormatName", to)
