"""What a data set of the catalogue is: its description, its files, and the function that reads them."""

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
    """A data set with a name: where its files are published, under which terms, and how to read them.

    ``rows`` and ``columns`` are those of the training part, with the target not counted. ``read`` gets the paths of
    the ``files`` by name, and returns the source.
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
        """Return where each file is on this machine, downloading what is not there; see :mod:`.download`."""
        return {file.name: fetch_file(file, progress) for file in self.files}

    def load(self, progress: Progress | None = None) -> Source:
        """Return the source, downloading its files first where needed."""
        return self.read(self.fetch(progress))
