"""Small tables that are included in scikit-learn: iris, wine, breast cancer, diabetes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.parts import Source, Table

__all__ = ["SETS"]


def _reader(name: str, loader_name: str, target: str, **options: Any) -> Callable[[Mapping[str, Path]], Source]:
    def read(_: Mapping[str, Path]) -> Source:
        from sklearn import datasets

        bunch: Any = getattr(datasets, loader_name)(as_frame=True, **options)
        frame = bunch.data.copy()
        names = getattr(bunch, "target_names", None)
        frame[target] = bunch.target if names is None else [str(names[code]) for code in bunch.target]
        return Source(name, Table(frame, target, name))

    return read


SETS = (
    NamedSet(
        name="iris",
        title="Iris",
        task="multiclass",
        rows=150,
        columns=4,
        summary="Three species of iris by the length and width of their sepals and petals, in cm.",
        licence="CC BY 4.0 (UCI)",
        citation="Fisher 1936, The use of multiple measurements in taxonomic problems",
        read=_reader("iris", "load_iris", "species"),
    ),
    NamedSet(
        name="wine",
        title="Wine recognition",
        task="multiclass",
        rows=178,
        columns=13,
        summary="Three growers' wines by chemical analysis.",
        licence="CC BY 4.0 (UCI)",
        citation="Aeberhard and Forina 1991, Wine, UCI, doi 10.24432/C5PC7J",
        read=_reader("wine", "load_wine", "cultivar"),
    ),
    NamedSet(
        name="breast-cancer",
        title="Breast cancer, Wisconsin (diagnostic)",
        task="binary",
        rows=569,
        columns=30,
        summary="Benign or malignant, from measurements of cell nuclei in images.",
        licence="CC BY 4.0 (UCI)",
        citation="Wolberg, Mangasarian, Street and Street 1995, UCI, doi 10.24432/C5DW2B",
        read=_reader("breast-cancer", "load_breast_cancer", "diagnosis"),
    ),
    NamedSet(
        name="diabetes",
        title="Diabetes",
        task="regression",
        rows=442,
        columns=10,
        summary="The progression of diabetes after a year, from ten measurements at its start.",
        licence="free to use with citation",
        citation="Efron, Hastie, Johnstone and Tibshirani 2004, Least Angle Regression",
        read=_reader("diabetes", "load_diabetes", "progression", scaled=False),  # the default of scikit-learn is scaled
    ),
)
