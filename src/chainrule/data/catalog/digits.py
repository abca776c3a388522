"""Handwritten digits of 8 x 8 pixels, which are included in scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.dataset import Dataset
from chainrule.data.parts import Source

__all__ = ["SETS"]


def _read(_: Mapping[str, Path]) -> Source:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images / 16).astype(np.float32)
    return Source("digits", Dataset(images, bunch.target, label_names=tuple("0123456789"), name="digits"))


SETS = (
    NamedSet(
        name="digits",
        title="Handwritten digits, 8 x 8 pixels",
        task="multiclass",
        rows=1797,
        columns=64,
        summary="1,797 digits in 8 x 8 pixels from 0 to 1; small enough for quick experiments.",
        licence="CC BY 4.0 (UCI)",
        citation="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI, doi 10.24432/C50P49",
        read=_read,
    ),
)
