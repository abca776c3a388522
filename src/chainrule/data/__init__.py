"""Read, check, encode and split data.

Networks are trained on a :class:`Dataset`. ``read_table`` and :class:`TablePreprocessor` make one from a table, and
``load_dataset(name)`` returns a well-known data set. :class:`ParquetStream` and :class:`NpyStream` replace the dataset
if the rows do not fit into memory. An :class:`Augmentation` changes the mini-batches at random during training.
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
