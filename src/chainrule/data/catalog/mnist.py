"""MNIST and Fashion-MNIST: 28 x 28 pixels, ten classes, 60,000 training images and 10,000 test images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from chainrule.data.catalog.download import RemoteFile
from chainrule.data.catalog.idx import read_idx
from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.dataset import Dataset
from chainrule.data.parts import Source
from chainrule.errors import DataError

__all__ = ["SETS", "read_images"]

_IMAGES = {"train": "train-images-idx3-ubyte.gz", "test": "t10k-images-idx3-ubyte.gz"}
_LABELS = {"train": "train-labels-idx1-ubyte.gz", "test": "t10k-labels-idx1-ubyte.gz"}
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_images(images: Path, labels: Path, label_names: tuple[str, ...], name: str) -> Dataset:
    """Return the images of two IDX files as float32 from 0 to 1, with their labels."""
    pixels, codes = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(codes):
        raise DataError(f"{images.name} has {len(pixels)} images, but {labels.name} has {len(codes)} labels.")
    if codes.max() >= len(label_names):
        row = int(np.argmax(codes >= len(label_names)))
        raise DataError(f"{labels.name} has the label {codes[row]} in row {row + 1}; the largest label is 9.")
    scaled = np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)
    return Dataset(scaled, codes.astype(np.int64), label_names=label_names, name=name)


def _reader(name: str, label_names: tuple[str, ...]) -> Callable[[Mapping[str, Path]], Source]:
    def read(paths: Mapping[str, Path]) -> Source:
        train, test = (
            read_images(paths[_IMAGES[part]], paths[_LABELS[part]], label_names, name) for part in ("train", "test")
        )
        return Source(name, train, test)

    return read


def _files(folder: str, mirrors: tuple[str, ...], checks: dict[str, tuple[int, str]]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(folder, file, tuple(f"{mirror}/{file}" for mirror in mirrors), checksum, size)
        for file, (size, checksum) in checks.items()
    )


SETS = (
    NamedSet(
        name="mnist",
        title="MNIST handwritten digits",
        task="multiclass",
        rows=60000,
        columns=784,
        summary="70,000 handwritten digits in 28 x 28 grey pixels from 0 to 1, 10,000 of them in the test set.",
        licence="CC BY-SA 3.0 (as Keras documents it)",
        citation="LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document recognition",
        files=_files(
            "mnist",
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist",
                "https://storage.googleapis.com/cvdf-datasets/mnist",
                "http://yann.lecun.com/exdb/mnist",
            ),
            {
                _IMAGES["train"]: (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
                _LABELS["train"]: (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
                _IMAGES["test"]: (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
                _LABELS["test"]: (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
            },
        ),
        read=_reader("mnist", tuple("0123456789")),
    ),
    NamedSet(
        name="fashion-mnist",
        title="Fashion-MNIST",
        task="multiclass",
        rows=60000,
        columns=784,
        summary="70,000 photographs of clothes in 28 x 28 grey pixels from 0 to 1: harder than digits.",
        licence="MIT",
        citation="Xiao, Rasul and Vollgraf 2017, Fashion-MNIST, arXiv 1708.07747",
        files=_files(
            "fashion-mnist",
            (
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            ),
            {
                _IMAGES["train"]: (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
                _LABELS["train"]: (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
                _IMAGES["test"]: (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
                _LABELS["test"]: (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
            },
        ),
        read=_reader("fashion-mnist", _CLOTHES),
    ),
)
