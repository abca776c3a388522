"""The catalogue of named data sets. Each is defined in a small module, which is imported when the set is used."""

from __future__ import annotations

import importlib
from pathlib import Path

from chainrule.data.catalog.download import Progress, RemoteFile, cache_folder
from chainrule.data.catalog.named_set import NamedSet
from chainrule.errors import DataError, nearest_name

__all__ = ["NamedSet", "Progress", "RemoteFile", "cache_folder", "fetch", "get", "names"]

# The module of each data set. Every module defines a tuple SETS.
_MODULES = {
    "xnor": "gates",
    "gates-and": "gates",
    "gates-or": "gates",
    "gates-nor": "gates",
    "regression": "regression",
    "moons": "shapes",
    "circles": "shapes",
    "spirals": "shapes",
    "blobs": "shapes",
    "digits": "digits",
    "iris": "sklearn_tables",
    "wine": "sklearn_tables",
    "breast-cancer": "sklearn_tables",
    "diabetes": "sklearn_tables",
    "boston": "boston",
    "california": "california",
    "adult": "adult",
    "wine-quality-red": "wine_quality",
    "wine-quality-white": "wine_quality",
    "mnist": "mnist",
    "fashion-mnist": "mnist",
    "imdb": "imdb",
    "imdb-reviews": "imdb_reviews",
    "uci-har": "uci_har",
    "har-derived": "uci_har",
}


def names() -> tuple[str, ...]:
    """Return the names of all data sets of the catalogue.

    >>> "digits" in names()
    True
    """
    return tuple(_MODULES)


def get(name: str) -> NamedSet:
    """Return the description of a data set, whose ``load()`` reads it. Raises ``DataError`` for an unknown name.

    >>> get("digits").title
    'Handwritten digits, 8 x 8 pixels'
    """
    if name not in _MODULES:
        hint = nearest_name(name, _MODULES)
        raise DataError(f"There is no data set named {name!r} in the catalogue.{hint}")
    module = importlib.import_module(f"chainrule.data.catalog.{_MODULES[name]}")
    sets: tuple[NamedSet, ...] = module.SETS
    return next(named_set for named_set in sets if named_set.name == name)


def fetch(name: str, progress: Progress | None = None) -> tuple[Path, ...]:
    """Download the files of a data set that are not on this machine yet. Return the paths of all its files."""
    return tuple(get(name).fetch(progress).values())
