"""Data: from files and names to checked rows of numbers.

``Dataset`` is what networks train on; ``read_table`` and ``TablePreprocessor`` make one from a table;
``load_dataset(name)`` brings a well-known one. ``ParquetStream`` and ``NpyStream`` take its place where the rows do not
fit into memory. An ``Augmentation`` changes
mini-batches at random while a network trains on them.
"""

from __future__ import annotations

from chainrule.data.augment import AUGMENTATIONS, Augmentation, ImageAugmentation, NoiseAugmentation
from chainrule.data.catalog import NamedSet, RemoteFile, fetch, get, names
from chainrule.data.columns import ColumnPlan, NumberPlan
from chainrule.data.dataset import ColumnScaling, Dataset, class_weight_rows
from chainrule.data.npy_stream import NpyStream
from chainrule.data.parquet_stream import ParquetStream
from chainrule.data.parts import Source, Table
from chainrule.data.reader import read_table
from chainrule.data.sources import datasets_of, load_dataset, open_source
from chainrule.data.splits import split_rows, train_validation_test
from chainrule.data.stream import RowStream
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "ColumnPlan",
    "ColumnScaling",
    "Dataset",
    "ImageAugmentation",
    "NamedSet",
    "NoiseAugmentation",
    "NpyStream",
    "NumberPlan",
    "ParquetStream",
    "RemoteFile",
    "RowStream",
    "Source",
    "Table",
    "TablePreprocessor",
    "Target",
    "class_weight_rows",
    "datasets_of",
    "fetch",
    "get",
    "load_dataset",
    "names",
    "open_source",
    "read_table",
    "split_rows",
    "train_validation_test",
]
