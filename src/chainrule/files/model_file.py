"""One safetensors file: arrays by name, and metadata as JSON.

The JSON lies under the key ``chainrule`` of the file's metadata, with the version of its form and what kind of file it
is. A file from a stranger can fail to load, with a reason, and can do nothing else: nothing in it is ever executed, and
no memory is reserved on its word alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.errors import InvalidInputError, ModelFileError
from chainrule.files.atomic import write_atomically
from chainrule.json_text import parse_json
from chainrule.paths import as_path, cannot_be_read, is_file
from chainrule.types import Array

__all__ = ["FORMAT_VERSION", "check_keys", "read_model_file", "write_model_file"]

FORMAT_VERSION = 1
_KEY = "chainrule"


def write_model_file(path: str | Path, kind: str, metadata: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Write arrays and metadata atomically; ``kind`` is the kind of the file.

    It is ``"network"`` for a bare network, ``"model"`` for a network with its table and its target, and
    ``"checkpoint"`` for the state of a run.
    """
    from safetensors.numpy import save

    try:
        text = json.dumps({"version": FORMAT_VERSION, "kind": kind, **metadata}, allow_nan=False)
        parse_json(text)  # what is written can be read
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"The settings of this network cannot be kept in a file: {error}.") from error
    # safetensors writes an array that is not contiguous in the wrong order, silently.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(path, save(contiguous, {_KEY: text}))


def check_keys(values: Any, keys: Iterable[str], what: str) -> dict[str, Any]:
    """Return ``values``, a JSON object that has all of these keys; raise ModelFileError for anything else.

    A key that is missing never means what null means: without its scaling, a model would predict other numbers.
    """
    if not isinstance(values, dict):
        raise ModelFileError(f"The file is damaged: it holds no description of {what}.")
    for key in keys:
        if key not in values:
            raise ModelFileError(f"The file is damaged: '{key}' is missing in the description of {what}.")
    return values


def read_model_file(path: str | Path, *kinds: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the metadata and the arrays of a file that :func:`write_model_file` wrote, of one of these kinds.

    Raises ModelFileError, naming the file and what is wrong with it.
    """
    from safetensors import SafetensorError, safe_open

    path, kind = as_path(path), kinds[0]
    try:
        if not is_file(path, strict=True):
            raise ModelFileError(f"There is no {kind} file at '{path}'.")
        path.open("rb").close()  # safetensors would say of a file that may not be read that there is none
    except OSError as error:
        raise ModelFileError(cannot_be_read(path, error)) from error
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_KEY)
            if text is None:
                raise ModelFileError("it is a safetensors file, but chainrule did not write it")
            metadata = parse_json(text)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dictionary)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise ModelFileError(f"'{path}' is damaged or no {kind} file: {str(error)[:200]}") from error
    if not isinstance(metadata, dict):
        raise ModelFileError(f"'{path}' is damaged: its metadata is not a JSON object.")
    version = metadata.get("version")
    if isinstance(version, bool) or version != FORMAT_VERSION:
        raise ModelFileError(
            f"'{path}' has format version {str(version)[:20]}; this chainrule reads version "
            f"{FORMAT_VERSION}. Use the version of chainrule that wrote it."
        )
    if metadata.get("kind") not in kinds:
        raise ModelFileError(f"'{path}' is a {str(metadata.get('kind'))[:20]} file, not a {kind} file.")
    return metadata, arrays
