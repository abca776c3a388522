"""What one pass over the rows of a stream teaches, and the datasets that its rows then become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.data.stream_rows import Features, RawRows
from chainrule.data.target import Target
from chainrule.data.target_summary import TargetSummary, encode_labels

__all__ = ["Learnt"]


@dataclass
class Learnt:
    """How columns become numbers, what is to be predicted, the checksum of arrays, and some of the training rows."""

    name: str
    features: Features
    labels: TargetSummary
    target: Target
    checksum: int
    sample: Dataset | None = None

    def dataset(self, pieces: Sequence[RawRows]) -> Dataset:
        """Return raw rows as a dataset."""
        X = [self.features.encode(raw.inputs, raw.origin) for raw in pieces]
        y = [encode_labels(self.target, raw.labels, raw.origin) for raw in pieces]
        whole = X[0] if len(X) == 1 else np.concatenate(X)
        dataset = Dataset(whole, None, self.features.names(), name=self.name, target=self.target)
        dataset.y = y[0] if len(y) == 1 else np.concatenate(y)
        return dataset
