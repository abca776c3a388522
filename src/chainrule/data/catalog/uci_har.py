"""Human activity recognition with smartphones: the official set, and a set computed from the raw recordings."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chainrule.data.array_files import ARRAY_FILE_PROBLEMS, read_array
from chainrule.data.catalog.download import RemoteFile
from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.catalog.plain_numbers import read_plain_numbers
from chainrule.data.dataset import Dataset
from chainrule.data.parts import Source
from chainrule.data.target import Target
from chainrule.data.unpacking import check_zip_member
from chainrule.errors import DataError
from chainrule.types import Array

__all__ = ["SETS", "read_derived", "read_official"]

_INNER = "UCI HAR Dataset.zip"
_FOLDER = "UCI HAR Dataset"


def read_official(path: Path) -> Source:
    """Return the training and test sets of the official archive, or of the ``UCI HAR Dataset.zip`` inside it."""
    try:
        with zipfile.ZipFile(path) as outer:
            if _INNER not in outer.namelist():
                return _read_inner(outer, path)
            with zipfile.ZipFile(io.BytesIO(_read_member(outer, _INNER, path))) as inner:
                return _read_inner(inner, path)
    except DataError:
        raise
    except (KeyError, IndexError, *ARRAY_FILE_PROBLEMS) as problem:
        raise DataError(f"{path.name} is not the UCI HAR archive, or is damaged ({problem}).") from None


def read_derived(path: Path) -> Source:
    """Return the training and test sets of har_derived_561.npz."""
    try:
        with zipfile.ZipFile(path) as archive:

            def array(name: str) -> Array:
                return read_array(archive, archive.getinfo(f"{name}.npy"), path)

            names = [str(name) for name in array("feature_names")]
            labels = [str(label) for label in array("activity_labels")]
            parts = [
                _part(array(f"X_{part}"), array(f"y_{part}"), array(f"subject_{part}"), names, labels, "har-derived")
                for part in ("train", "test")
            ]
    except DataError:
        raise
    except (KeyError, IndexError, *ARRAY_FILE_PROBLEMS) as problem:
        raise DataError(f"{path.name} is not the derived HAR file, or is damaged ({problem}).") from None
    return Source("har-derived", parts[0], parts[1])


def _read_inner(archive: zipfile.ZipFile, path: Path) -> Source:
    def table(name: str, **options: object) -> Array:
        content = _read_member(archive, f"{_FOLDER}/{name}", path)
        return np.asarray(read_plain_numbers(content, name, sep=r"\s+", header=None, **options))

    names = [str(name) for name in table("features.txt")[:, 1]]
    labels = [str(label) for label in table("activity_labels.txt")[:, 1]]
    parts = []
    for part in ("train", "test"):
        X = table(f"{part}/X_{part}.txt", dtype=np.float32)
        y, people = (table(f"{part}/{what}_{part}.txt")[:, 0] for what in ("y", "subject"))
        parts.append(_part(X, y, people, names, labels, "uci-har"))
    return Source("uci-har", parts[0], parts[1])


def _read_member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    member = archive.getinfo(name)
    check_zip_member(member, path)
    return archive.read(member)


def _part(X: Array, y: Array, people: Array, names: list[str], labels: list[str], name: str) -> Dataset:
    """Return the training or test set. Activities are numbered from 1, and people are the groups."""
    if y.min() < 1 or y.max() > len(labels):
        raise DataError(
            f"{name} has activities from {y.min()} to {y.max()}, but they must be from 1 to {len(labels)}; download "
            "the file again."
        )
    target = Target("multiclass", tuple(labels))
    return Dataset(X, [labels[code - 1] for code in y], _unique(names), name=name, groups=people, target=target)


def _unique(names: list[str]) -> list[str]:
    """Return distinct names. The official list of 561 names has 84 repetitions."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _read_official(paths: Mapping[str, Path]) -> Source:
    return read_official(paths["human+activity+recognition+using+smartphones.zip"])


def _read_derived(paths: Mapping[str, Path]) -> Source:
    return read_derived(paths["har_derived_561.npz"])


_CITATION = "Anguita, Ghio, Oneto, Parra and Reyes-Ortiz 2013, A public domain dataset for HAR, doi 10.24432/C54S4K"
SETS = (
    NamedSet(
        name="uci-har",
        title="UCI human activity recognition",
        task="multiclass",
        rows=7352,
        columns=561,
        summary="Six activities of 30 people, from 561 features of a smartphone's accelerometer and gyroscope.",
        licence="CC BY 4.0 on UCI's page, non-commercial in the archive's README",
        citation=_CITATION,
        notes="The training set and the test set contain different people, who are the groups.",
        files=(
            RemoteFile(
                folder="uci-har",
                name="human+activity+recognition+using+smartphones.zip",
                urls=(
                    "https://archive.ics.uci.edu/static/public/240/human+activity+recognition+using+smartphones.zip",
                ),
                sha256="c00b803081a5c797cd5e4b83700a9810b38d53d9d84e01917e090e1fdbc81031",
                size=61005872,
            ),
        ),
        read=_read_official,
    ),
    NamedSet(
        name="har-derived",
        title="Human activity recognition, derived from the raw signals",
        task="multiclass",
        rows=7415,
        columns=561,
        summary="The 561 features recomputed from the published raw recordings of the same experiment.",
        licence="as uci-har",
        citation=_CITATION,
        notes="These are not the official features; do not cite results on them as UCI HAR results.",
        files=(
            RemoteFile(
                folder="uci-har",
                name="har_derived_561.npz",
                urls=(),
                sha256="cfa1411225e77d845f3e0b0eb4aaafd3d6425a98e3dab8cf2040aaeb3be562e2",
                size=13333098,
            ),
        ),
        read=_read_derived,
    ),
)
