"""Files: one safetensors file a model or checkpoint, with JSON metadata that only registered classes can come from."""

from __future__ import annotations

from chainrule.files.checkpoint import Checkpoint, files_by_epoch
from chainrule.files.model_file import read_model_file, write_model_file

__all__ = ["Checkpoint", "files_by_epoch", "read_model_file", "write_model_file"]
