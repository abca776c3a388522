"""California housing, 1990: the table of census blocks that scikit-learn also provides."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from chainrule.data.catalog.download import RemoteFile, StandIn
from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.catalog.plain_numbers import read_plain_numbers
from chainrule.data.parts import Source, Table
from chainrule.data.unpacking import read_unpacked
from chainrule.errors import DataError

__all__ = ["SETS", "read_blocks"]

_COLUMNS = [
    "longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population", "households",
    "median_income", "median_house_value",
]  # fmt: skip


def read_blocks(path: Path) -> Table:
    """Return the table in cal_housing.tgz or in cal_housing.data.gz."""
    content = read_unpacked(path)
    if path.suffix == ".tgz":
        try:
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
                member = archive.extractfile("CaliforniaHousing/cal_housing.data")
                content = member.read() if member is not None else b""
        except (tarfile.TarError, KeyError, ValueError, OSError, EOFError) as problem:
            raise DataError(f"{path.name} is not the archive with cal_housing.data ({problem}).") from None
    frame = read_plain_numbers(content, path.name, names=_COLUMNS)
    return Table(frame, "median_house_value", "california")


def _read(paths: Mapping[str, Path]) -> Source:
    return Source("california", read_blocks(paths["cal_housing.tgz"]))


SETS = (
    NamedSet(
        name="california",
        title="California housing",
        task="regression",
        rows=20640,
        columns=8,
        summary="The median house value (in $) of 20,640 census blocks of California, 1990.",
        licence="no licence stated (StatLib, US census 1990)",
        citation="Pace and Barry 1997, Sparse spatial autoregressions",
        files=(
            RemoteFile(
                folder="california-housing",
                name="cal_housing.tgz",
                urls=("https://ndownloader.figshare.com/files/5976036",),
                sha256="aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
                stand_ins=(
                    StandIn("cal_housing.data.gz", "9ec0c7920a28267aa6fd23b11fab174e134d9dff83e17c1d19674a7650834755"),
                ),
            ),
        ),
        read=_read,
    ),
)
