"""The description of a data set of the catalogue, with its files and the function that reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chainrule.data.catalog.download import Progress, RemoteFile, fetch_file
from chainrule.data.parts import Source
from chainrule.types import Task

__all__ = ["NamedSet"]


@dataclass(frozen=True)
class NamedSet:
    """A named data set: its files with their URLs, its licence, and the function that reads it.

    ``rows`` and ``columns`` are those of the training set, without the target. ``read`` is called with the paths of the
    ``files`` by name, and returns the source.
    """

    name: str
    title: str
    task: Task
    rows: int
    columns: int
    summary: str
    licence: str
    read: Callable[[Mapping[str, Path]], Source]
    citation: str = ""
    notes: str = ""
    files: tuple[RemoteFile, ...] = ()

    def fetch(self, progress: Progress | None = None) -> dict[str, Path]:
        """Return the path of each file, which is downloaded if necessary; see :mod:`.download`."""
        return {file.name: fetch_file(file, progress) for file in self.files}

    def load(self, progress: Progress | None = None) -> Source:
        """Return the source. Its files are downloaded if necessary."""
        return self.read(self.fetch(progress))
