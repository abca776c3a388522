"""Boston housing, which one of the labs uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chainrule.data.catalog.download import RemoteFile
from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.catalog.plain_numbers import read_plain_numbers
from chainrule.data.parts import Source, Table
from chainrule.data.unpacking import read_unpacked

__all__ = ["SETS"]

_COLUMNS = "crim zn indus chas nox rm age dis rad tax ptratio b lstat medv".split()  # noqa: SIM905  # as they are cited

NOTES = (
    "The column b encodes the share of Black residents through a formula that assumes segregation raises prices. "
    "scikit-learn removed the set for it and Keras warns against it; california is the usual replacement."
)


def _read(paths: Mapping[str, Path]) -> Source:
    path = paths["housing.data"]
    frame = read_plain_numbers(read_unpacked(path), path.name, sep=r"\s+", names=_COLUMNS)
    return Source("boston", Table(frame, "medv", "boston"), notes=NOTES)


SETS = (
    NamedSet(
        name="boston",
        title="Boston housing",
        task="regression",
        rows=506,
        columns=13,
        summary="The median house value (in 1000 $) of 506 census tracts of Boston, 1970.",
        licence="StatLib, free to use with citation",
        citation="Harrison and Rubinfeld 1978, Hedonic prices and the demand for clean air",
        notes=NOTES,
        files=(
            RemoteFile(
                folder="boston-housing",
                name="housing.data",
                urls=("https://archive.ics.uci.edu/ml/machine-learning-databases/housing/housing.data",),
                sha256="e3e36f7b9e5435f9eb8320e106aebad00031fefa3064527da0c71dec59e49b76",
                size=49081,
            ),
        ),
        read=_read,
    ),
)
