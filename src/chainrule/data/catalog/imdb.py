"""IMDB reviews as published by Keras: the sentiment of a review by the 10,000 most common words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.catalog.download import RemoteFile, StandIn
from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.catalog.safe_unpickle import read_member
from chainrule.data.dataset import Dataset
from chainrule.data.parts import Source
from chainrule.data.unpacking import read_unpacked
from chainrule.errors import DataError
from chainrule.json_text import parse_json
from chainrule.types import Array, IntArray

__all__ = ["SETS", "multi_hot", "read_reviews_of_ranks"]

NUM_WORDS = 10_000
_REVIEWS_PER_BLOCK = 1000
# In Keras, 0 is padding, 1 the start and 2 a rare word, so the word of rank r has the index r + 3.
FIRST_RANK = 3
_RESERVED = ("(padding)", "(start)", "(rare word)")
_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"


def multi_hot(reviews: Array, num_words: int = NUM_WORDS) -> Any:
    """Return a CSR float32 matrix with a 1 in row i and column rank + 3 for every word of review i.

    ``reviews`` is an object array of lists of word ranks. Words from index ``num_words`` on are ignored. The three
    reserved columns are empty.
    """
    from scipy.sparse import csr_matrix

    columns: list[IntArray] = []
    counts: list[IntArray] = [np.zeros(1, dtype=np.int64)]
    # The reviews are processed in blocks, so that the temporary arrays are small.
    for start in range(0, len(reviews), _REVIEWS_PER_BLOCK):
        found, count = _distinct_columns(reviews[start : start + _REVIEWS_PER_BLOCK], num_words)
        columns.append(found)
        counts.append(count)
    indices = np.concatenate(columns)
    starts = np.cumsum(np.concatenate(counts)).astype(np.int32)
    ones = np.ones(len(indices), dtype=np.float32)
    return csr_matrix((ones, indices, starts), shape=(len(reviews), num_words))


def _distinct_columns(reviews: Array, num_words: int) -> tuple[IntArray, IntArray]:
    """Return the sorted distinct columns of all reviews in one array, and the number of columns of each review."""
    lengths = np.array([len(review) for review in reviews])
    try:
        ranks = np.fromiter(itertools.chain.from_iterable(reviews), dtype=np.int64, count=int(lengths.sum()))
    except (TypeError, ValueError, OverflowError):
        raise DataError("The reviews contain objects that are not word ranks; download the file again.") from None
    if len(ranks) and ranks.min() < 1:
        raise DataError("The reviews contain a word rank below 1; download the file again.")
    kept = ranks < num_words - FIRST_RANK
    # One number per word and review. When they are sorted, repetitions are adjacent.
    cells = np.repeat(np.arange(len(reviews)), lengths)[kept] * num_words + ranks[kept] + FIRST_RANK
    cells.sort()
    cells = cells[np.diff(cells, prepend=-1) > 0]
    return (cells % num_words).astype(np.int32), np.bincount(cells // num_words, minlength=len(reviews))


def read_reviews_of_ranks(path: Path, part: str, order: IntArray, words: tuple[str, ...]) -> Dataset:
    """Return the training (``"train"``) or test set (``"test"``) of imdb.npz, with the rows in the given order."""
    labels = read_member(path, f"y_{part}")
    reviews = read_member(path, f"x_{part}")
    if labels.shape != reviews.shape or labels.dtype.kind not in "iu" or len(order) != len(labels):
        raise DataError(f"{path.name} has {labels.shape} labels for {reviews.shape} reviews in its {part} part.")
    X = multi_hot(reviews, len(words))
    return Dataset(X[order], labels[order], words, label_names=("negative", "positive"), name="imdb")


def read_words(path: Path) -> tuple[str, ...]:
    """Return the word of each column, from the ranks in imdb_word_index.json."""
    try:
        rank_of = parse_json(read_unpacked(path))
        word_at = {rank: word for word, rank in rank_of.items()}
        words = [word_at[index - FIRST_RANK] for index in range(FIRST_RANK + 1, NUM_WORDS)]
    except (ValueError, AttributeError, TypeError, KeyError) as problem:
        raise DataError(f"{path.name} is not the published list of words ({problem}); download it again.") from None
    return (*_RESERVED, "(unused)", *words)  # rank 1 has the index 4, so the index 3 is not used


def _read(paths: Mapping[str, Path]) -> Source:
    words = read_words(paths["imdb_word_index.json"])
    # The stored rows are sorted by label. Keras shuffles them with this generator, so that the order is the same.
    shuffler = np.random.RandomState(113)
    orders = []
    for _ in ("train", "test"):
        order = np.arange(25_000)
        shuffler.shuffle(order)
        orders.append(order)
    path = paths["imdb.npz"]
    train, test = (
        read_reviews_of_ranks(path, part, order, words) for part, order in zip(("train", "test"), orders, strict=True)
    )
    return Source("imdb", train, test)


SETS = (
    NamedSet(
        name="imdb",
        title="IMDB reviews, 10,000 most common words",
        task="binary",
        rows=25000,
        columns=NUM_WORDS,
        summary="Positive or negative: 50,000 film reviews as sparse rows of words, half of them in the test set.",
        licence="no licence stated; research use, with citation",
        citation="Maas, Daly, Pham, Huang, Ng and Potts 2011, Learning Word Vectors for Sentiment Analysis",
        notes="Columns are Keras' word indices; rows are in Keras' order.",
        files=(
            RemoteFile(
                folder="imdb",
                name="imdb.npz",
                urls=(f"{_KERAS}/imdb.npz",),
                sha256="69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
                size=17464789,
                # The same arrays rebuilt from the raw reviews.
                stand_ins=(StandIn("imdb.npz", "7e772cf72995c614d119bc0f1deadf8fd27b2480f3759386392b75033f19c42e"),),
            ),
            RemoteFile(
                folder="imdb",
                name="imdb_word_index.json",
                urls=(f"{_KERAS}/imdb_word_index.json",),
                sha256="027313fe9a320280f3bf0fac5baf58c4a683cf39a7ed9c3d3d3912bde4284cf6",
                size=1641221,
            ),
        ),
        read=_read,
    ),
)
