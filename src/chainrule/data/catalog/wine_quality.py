"""Wine quality: the grades of tasters, with eleven chemical measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from chainrule.data.catalog.download import RemoteFile
from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.parts import Source, Table
from chainrule.data.reader import read_table

__all__ = ["SETS"]


def _reader(name: str, file: str) -> Callable[[Mapping[str, Path]], Source]:
    return lambda paths: Source(name, Table(read_table(paths[file]), "quality", name))


SETS = tuple(
    NamedSet(
        name=f"wine-quality-{colour}",
        title=f"Wine quality, {colour}",
        task="multiclass",
        rows=rows,
        columns=11,
        summary=f"The quality grade of {rows} {colour} Vinhos Verdes, from chemical measurements.",
        licence="CC BY 4.0 (UCI)",
        citation="Cortez, Cerdeira, Almeida, Matos and Reis 2009, doi 10.24432/C56S3T",
        notes="The grades are ordered; with task='regression' they are predicted as numbers.",
        files=(
            RemoteFile(
                folder="wine-quality",
                name=f"winequality-{colour}.csv",
                urls=(
                    f"https://archive.ics.uci.edu/ml/machine-learning-databases/wine-quality/winequality-{colour}.csv",
                ),
                sha256=checksum,
                size=size,
            ),
        ),
        read=_reader(f"wine-quality-{colour}", f"winequality-{colour}.csv"),
    )
    for colour, rows, size, checksum in (
        ("red", 1599, 84199, "4a402cf041b025d4566d954c3b9ba8635a3a8a01e039005d97d6a710278cf05e"),
        ("white", 4898, 264426, "76c3f809815c17c07212622f776311faeb31e87610d52c26d87d6e361b169836"),
    )
)
