"""IMDB reviews from the raw texts, which are read from the archive and encoded as bags of words."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chainrule.data.catalog.download import RemoteFile, StandIn
from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.dataset import Dataset
from chainrule.data.parts import Source
from chainrule.data.target import Target
from chainrule.data.unpacking import UNPACKING_PROBLEMS, max_unpacked_bytes
from chainrule.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SETS", "bags_of_words", "read_reviews"]

NUM_WORDS = 10_000
_LABELS = {"neg": "negative", "pos": "positive"}


def read_reviews(archive: Path) -> pd.DataFrame:
    """Return the labelled reviews of aclImdb_v1 (.tar.gz or .tar.xz): columns part, file, review, rating, label.

    No files are written. The rows are sorted by part, label and file name, so that they do not depend on the archive.
    """
    import pandas as pd

    rows = []
    try:
        left = max_unpacked_bytes(archive.stat().st_size)
        with tarfile.open(archive) as opened:
            for member in opened:
                parts = Path(member.name).parts[-3:]
                if not member.isfile() or len(parts) != 3 or parts[1] not in _LABELS or not parts[2].endswith(".txt"):
                    continue
                part, label, file = parts
                content = opened.extractfile(member)
                if content is None:
                    continue
                left -= member.size
                if left < 0:
                    raise DataError(f"{archive.name} contains too much text for its size; download it again.")
                rating = file.removesuffix(".txt").rpartition("_")[2]
                rows.append((part, file, content.read().decode("utf-8"), int(rating), _LABELS[label]))
    except DataError:
        raise
    except (tarfile.TarError, *UNPACKING_PROBLEMS) as problem:
        raise DataError(f"{archive.name} is not the archive of reviews, or is damaged ({problem}).") from None
    if not rows:
        raise DataError(f"{archive.name} contains no reviews like aclImdb/train/pos/0_9.txt; download it again.")
    frame = pd.DataFrame(rows, columns=["part", "file", "review", "rating", "label"])
    return frame.sort_values(["part", "label", "file"], ignore_index=True)


def bags_of_words(reviews: pd.DataFrame, num_words: int = NUM_WORDS) -> Source:
    """Return CSR datasets with a 1 for each word of a review that is among the ``num_words`` most common ones."""
    from sklearn.feature_extraction.text import CountVectorizer

    train, test = (reviews[reviews["part"] == part] for part in ("train", "test"))
    if len(train) == 0 or len(test) == 0:
        raise DataError("The archive of reviews has no training set or no test set; download it again.")
    # CountVectorizer(binary=True) would count documents instead of occurrences to find the most common words.
    vectorizer = CountVectorizer(token_pattern=r"[\w']+", max_features=num_words, dtype=np.float32)
    matrices = [vectorizer.fit_transform(train["review"]), vectorizer.transform(test["review"])]
    words = tuple(str(word) for word in vectorizer.get_feature_names_out())
    target = Target("binary", ("negative", "positive"))
    for matrix in matrices:
        matrix.data[:] = 1
    parts = [
        Dataset(matrix, part["label"], words, name="imdb-reviews", target=target)
        for matrix, part in zip(matrices, (train, test), strict=True)
    ]
    return Source("imdb-reviews", parts[0], parts[1])


def _read(paths: Mapping[str, Path]) -> Source:
    return bags_of_words(read_reviews(paths["aclImdb_v1.tar.gz"]))


SETS = (
    NamedSet(
        name="imdb-reviews",
        title="IMDB reviews from their texts",
        task="binary",
        rows=25000,
        columns=NUM_WORDS,
        summary="Positive or negative: 50,000 film reviews by their 10,000 most common words, from the raw texts.",
        licence="no licence stated; research use, with citation",
        citation="Maas, Daly, Pham, Huang, Ng and Potts 2011, Learning Word Vectors for Sentiment Analysis",
        notes="chainrule.data.catalog.imdb_reviews.read_reviews returns the texts and the ratings.",
        files=(
            RemoteFile(
                folder="imdb",
                name="aclImdb_v1.tar.gz",
                urls=("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
                sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
                size=84125825,
                stand_ins=(
                    StandIn(
                        "aclImdb_v1_labeled.tar.xz", "94573e4089f8c1be0cc58c835f79fcc54511e102cc1aaa4b3ae9501a3cfa96a8"
                    ),
                ),
            ),
        ),
        read=_read,
    ),
)
