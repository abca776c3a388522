"""IMDB reviews from the raw texts: read from the archive as it is, and turned into words seen."""

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
from chainrule.data.unpacking import UNPACKING_PROBLEMS, largest_unpacked
from chainrule.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SETS", "bags_of_words", "read_reviews"]

NUM_WORDS = 10_000
_LABELS = {"neg": "negative", "pos": "positive"}


def read_reviews(archive: Path) -> pd.DataFrame:
    """Return the labelled reviews of aclImdb_v1 (.tar.gz or .tar.xz): columns part, file, review, rating, label.

    Nothing is unpacked to disk. The rows are sorted by part, label and file name, so that every archive gives the same.
    """
    import pandas as pd

    rows = []
    try:
        left = largest_unpacked(archive.stat().st_size)
        with tarfile.open(archive) as opened:
            for member in opened:
                place = Path(member.name).parts[-3:]
                if not member.isfile() or len(place) != 3 or place[1] not in _LABELS or not place[2].endswith(".txt"):
                    continue
                part, label, file = place
                content = opened.extractfile(member)
                if content is None:
                    continue
                left -= member.size
                if left < 0:
                    raise DataError(f"{archive.name} holds more text than its size allows; download it again.")
                rating = file.removesuffix(".txt").rpartition("_")[2]
                rows.append((part, file, content.read().decode("utf-8"), int(rating), _LABELS[label]))
    except DataError:
        raise
    except (tarfile.TarError, *UNPACKING_PROBLEMS) as problem:
        raise DataError(f"{archive.name} is not the archive of reviews, or is damaged ({problem}).") from None
    if not rows:
        raise DataError(f"{archive.name} holds no reviews in the layout aclImdb/train/pos/0_9.txt.")
    frame = pd.DataFrame(rows, columns=["part", "file", "review", "rating", "label"])
    return frame.sort_values(["part", "label", "file"], ignore_index=True)


def bags_of_words(reviews: pd.DataFrame, num_words: int = NUM_WORDS) -> Source:
    """Return CSR datasets with a 1 for each of the ``num_words`` most common training words that a review has."""
    from sklearn.feature_extraction.text import CountVectorizer

    train, test = (reviews[reviews["part"] == part] for part in ("train", "test"))
    if len(train) == 0 or len(test) == 0:
        raise DataError("The archive of reviews lacks its training part or its test part.")
    # CountVectorizer counts how often a word occurs, which decides what is common; the rows only say whether.
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
        summary="Good or bad: 50,000 film reviews by their 10,000 most common words, from the raw texts.",
        licence="no licence stated; research use, with citation",
        citation="Maas, Daly, Pham, Huang, Ng and Potts 2011, Learning Word Vectors for Sentiment Analysis",
        notes="chainrule.data.catalog.imdb_reviews.read_reviews gives the texts and ratings themselves.",
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
