"""Open data frames, files and named data sets as sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from chainrule.data import catalog
from chainrule.data.dataset import Dataset
from chainrule.data.file_content import STANDARD_INPUT, name_of_content, refuse_url
from chainrule.data.inputs import is_frame
from chainrule.data.parts import Source, Table, listing
from chainrule.data.reader import read_parts
from chainrule.data.table import TablePreprocessor, as_frame
from chainrule.data.target import Target, TaskRequest
from chainrule.errors import DataError, InvalidInputError, nearest_name
from chainrule.named import checked
from chainrule.paths import exists, expand_user

__all__ = ["datasets_of", "load_dataset", "open_source"]


@checked
def open_source(source: Any, target: str | None = None) -> Source:
    """Return a data frame, a file or a named data set as a source, with ``target`` as the column to predict.

    A text that is a name in the catalogue (``chainrule.data.names()``) means that data set; a ``Path`` is always a
    file. Raises ``DataError`` if there is neither a file nor a data set with this name, and for a file without the
    column ``target``.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"area": [50.0, 80.0, 120.0], "price": [100.5, 160.25, 240.75]})
    >>> open_source(frame, target="price").train.target
    'price'
    """
    if is_frame(source):
        frame = as_frame(source)
        if len(frame) == 0:
            raise DataError("The data frame has no rows.")
        if target is None:
            columns = listing(list(frame.columns))
            raise DataError(f"Give the target, the column of the data frame to predict: {columns}.")
        return Source("data frame", Table(frame, target, "The data frame"))
    if isinstance(source, str) and source in catalog.names():
        opened = catalog.get(source).load()
        return opened if target is None else opened.with_target(target)
    refuse_url(source)
    path = expand_user(source)
    if str(source) == STANDARD_INPUT or exists(path) or path.suffix or len(path.parts) > 1:
        return _source_of_file(path, target)
    files = [entry.name for entry in Path().iterdir() if entry.is_file()]
    hint = nearest_name(str(source), [*catalog.names(), *files])
    raise DataError(f"{str(source)!r} is neither a file in this folder nor a data set in the catalogue.{hint}")


@checked
def load_dataset(name: str, part: Literal["train", "test"] = "train") -> Dataset:
    """Return a data set of the catalogue as numbers. ``part="test"`` returns its official test set.

    The numbers are not scaled, except that pixels are between 0 and 1. Split the dataset before standardising it, so
    that the scaling does not depend on the test set: ``train, test = dataset.split()``, then ``train.standardize()``
    and ``test.standardize(like=train)``. Categories of a table become columns of 0 and 1, and missing numbers the
    median of the training set. ``open_source(name)`` returns the table itself.

    >>> load_dataset("digits")
    Dataset('digits', 1797 rows, 64 columns, task=multiclass)
    """
    if part not in ("train", "test"):
        raise InvalidInputError(f"part must be 'train' or 'test', not {part!r}.")
    train, test = datasets_of(catalog.get(name).load(), preprocessor=TablePreprocessor(scaling="none"))
    if part == "train":
        return train
    if test is None:
        raise InvalidInputError(f"{name} has no official test set; use load_dataset({name!r}).split().")
    return test


def _source_of_file(path: Path, target: str | None) -> Source:
    """Return a file as a source. Raises ``DataError`` with the columns if ``target`` is None."""
    parts = read_parts(path)
    train = parts["train"]
    name = name_of_content(path)
    if target is None and path.suffix.lower() == ".npz" and "y" in train.columns:
        target = "y"
    if target is None:
        raise DataError(f"Give the target, the column of {name} to predict: {listing(list(map(str, train.columns)))}.")
    test = Table(parts["test"], target, name) if "test" in parts else None
    return Source(name, Table(train, target, name), test)


def datasets_of(
    source: Source, task: TaskRequest | None = None, preprocessor: TablePreprocessor | None = None
) -> tuple[Dataset, Dataset | None]:
    """Return the training and test sets of a source as datasets; the encoding is fitted to the training set."""
    if isinstance(source.train, Dataset):
        if isinstance(source.test, Table):
            raise InvalidInputError(f"{source.name} mixes a dataset and a table.")
        return source.train, source.test
    preprocessor = preprocessor or TablePreprocessor()
    frame, y = source.train.split_target(missing_words=preprocessor.missing_words)
    X = preprocessor.fit_frame(frame).encode(frame)
    target = Target.learn(y, task, name=source.train.target, others=frame, missing_words=preprocessor.missing_words)
    names = preprocessor.feature_names
    train = Dataset(X, y, names, name=source.name, target=target)
    if source.test is None or isinstance(source.test, Dataset):
        return train, source.test
    test_frame, test_y = source.test.split_target(target)
    return train, Dataset(preprocessor.encode(test_frame), test_y, names, name=source.name, target=target)
