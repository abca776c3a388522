"""``chainrule data``: list, describe and download the named data sets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from chainrule.cli.printing import printable_console

if TYPE_CHECKING:
    from chainrule.data import NamedSet
    from chainrule.data.catalog import Progress

__all__ = ["data_app"]

data_app = typer.Typer(no_args_is_help=True, help="Named data sets: list, show, fetch.")

_NAME = typer.Argument(metavar="NAME", help="The name of a data set.")


@data_app.command("list")
def list_sets() -> None:
    """List the data sets, and show which are on this machine.

    Example: chainrule data list
    """
    from rich import box
    from rich.table import Table

    from chainrule.cli.show import console
    from chainrule.data import catalog

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("name", "task", "rows", "columns", "where", "title"):
        justify: Literal["left", "right"] = "right" if heading in ("rows", "columns") else "left"
        table.add_column(heading, justify=justify, no_wrap=True, overflow="ellipsis")
    for name in catalog.names():
        data_set = catalog.get(name)
        table.add_row(
            name,
            data_set.task,
            f"{data_set.rows:,}",
            f"{data_set.columns:,}",
            _availability(data_set),
            data_set.title,
        )
    console().print(table)


@data_app.command()
def show(name: Annotated[str, _NAME]) -> None:
    """Show the content, the source and the licence of a data set.

    Example: chainrule data show mnist
    """
    from chainrule.data import catalog

    data_set = catalog.get(name)
    facts = {
        "": data_set.summary,
        "task": data_set.task,
        "rows": f"{data_set.rows:,} in the training part",
        "columns": f"{data_set.columns:,}",
        "where": _availability(data_set),
        "licence": data_set.licence,
        "citation": data_set.citation,
        "notes": data_set.notes,
        "files": ", ".join(file.name for file in data_set.files),
    }
    print(data_set.title)
    for label, fact in facts.items():
        if fact:
            print(f"  {label:<9} {fact}" if label else f"  {fact}")
    print(f"  try it    chainrule train {name}")


@data_app.command()
def fetch(name: Annotated[str, _NAME]) -> None:
    """Download the files of a data set. An interrupted download is resumed.

    Example: chainrule data fetch fashion-mnist
    """
    from chainrule.data import catalog

    data_set = catalog.get(name)
    if not data_set.files:
        print(f"{name} needs no download.")
        return
    with _download_bar(name) as progress:
        paths = data_set.fetch(progress)
    for path in paths.values():
        print(path)


def _availability(data_set: NamedSet) -> str:
    """Return "built in", "on disk" or the size of the download, without reading the files."""
    import os
    from pathlib import Path

    from chainrule.data.catalog import cache_folder
    from chainrule.errors import DataError

    if not data_set.files:
        return "built in"
    folders = [Path(os.environ["CHAINRULE_DATA"])] if os.environ.get("CHAINRULE_DATA") else []
    with suppress(DataError):  # no home folder
        folders.append(cache_folder())
    is_on_disk = all(
        any((folder / file.folder / name).exists() for folder in folders for name in _names(file))
        for file in data_set.files
    )
    if is_on_disk:
        return "on disk"
    if not all(file.urls for file in data_set.files):
        return "in CHAINRULE_DATA only"
    sizes = [file.size for file in data_set.files if file.size is not None]
    if len(sizes) < len(data_set.files):
        return "download"
    return f"download, {sum(sizes) / 1e6:.0f} MB" if sum(sizes) >= 1e6 else f"download, {sum(sizes) / 1e3:.0f} kB"


def _names(file: object) -> list[str]:
    from chainrule.data import RemoteFile

    assert isinstance(file, RemoteFile)
    return [file.name, *(stand_in.name for stand_in in file.stand_ins)]


@contextmanager
def _download_bar(name: str) -> Iterator[Progress | None]:
    """Show a progress bar of the current download if the standard error is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=printable_console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)

        def report(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield report
