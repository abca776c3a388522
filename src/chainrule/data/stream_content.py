"""The target and the encoding of a stream, which are determined in one pass over its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.data.stream_rows import Features, RawRows
from chainrule.data.target import Target
from chainrule.data.target_summary import TargetSummary, encode_labels

__all__ = ["StreamContent"]


@dataclass
class StreamContent:
    """The fitted encoding, the labels and the target of a stream, the checksum of its arrays, and a sample of rows."""

    name: str
    features: Features
    labels: TargetSummary
    target: Target
    checksum: int
    sample: Dataset | None = None

    def dataset(self, chunks: Sequence[RawRows]) -> Dataset:
        """Return raw rows as an encoded dataset."""
        X = [self.features.encode(raw.inputs, raw.origin) for raw in chunks]
        y = [encode_labels(self.target, raw.labels, raw.origin) for raw in chunks]
        inputs = X[0] if len(X) == 1 else np.concatenate(X)
        dataset = Dataset(inputs, None, self.features.names(), name=self.name, target=self.target)
        dataset.y = y[0] if len(y) == 1 else np.concatenate(y)
        return dataset
