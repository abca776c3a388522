"""Adult (census income): numbers, categories and missing cells, with an official test set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chainrule.data.catalog.download import RemoteFile, StandIn
from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.parts import Source, Table
from chainrule.data.text_table import parse_text_table
from chainrule.data.unpacking import read_unpacked
from chainrule.errors import DataError

__all__ = ["SETS", "read_people"]

_COLUMNS = [
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship", "race",
    "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income",
]  # fmt: skip
_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult"


def read_people(path: Path) -> Table:
    """Return the training or the test set, without the comment line and the full stops of the test set."""
    try:
        text = read_unpacked(path).decode("ascii")
    except UnicodeDecodeError as problem:
        raise DataError(f"{path.name} is not the text that was published ({problem}); download it again.") from None
    frame = parse_text_table(text, path.name, column_names=_COLUMNS)
    frame["income"] = frame["income"].astype("string").str.rstrip(".")
    return Table(frame, "income", "adult")


def _read(paths: Mapping[str, Path]) -> Source:
    return Source("adult", read_people(paths["adult.data"]), read_people(paths["adult.test"]))


SETS = (
    NamedSet(
        name="adult",
        title="Adult (census income)",
        task="binary",
        rows=32561,
        columns=14,
        summary="Whether a person earns more than 50,000 $ a year, from the US census of 1994.",
        licence="CC BY 4.0 (UCI)",
        citation="Becker and Kohavi 1996, Adult, UCI, doi 10.24432/C5XW20",
        notes="fnlwgt is the number of people a row stands for, not a property of the person.",
        files=(
            RemoteFile(
                folder="adult",
                name="adult.data",
                urls=(f"{_UCI}/adult.data",),
                sha256="5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
                size=3974305,
                stand_ins=(
                    StandIn("adult.data.gz", "c7a2b4716a97f930123e0baf879188d701e798172631a654fc703d4b082907f3"),
                ),
            ),
            RemoteFile(
                folder="adult",
                name="adult.test",
                urls=(f"{_UCI}/adult.test",),
                sha256="a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
                size=2003153,
                stand_ins=(
                    StandIn("adult.test.gz", "8a2c1bffa6e7ce5abfa43881ae5e87c4311ebc2b3cd526c9c40a43f19f06f799"),
                ),
            ),
        ),
        read=_read,
    ),
)
