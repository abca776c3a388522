"""All randomness of a run comes from one seed, through independent streams that are named by what they are for."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np

from chainrule.errors import InvalidInputError, shown
from chainrule.types import Array, Seed

__all__ = ["NoiseSource", "Stream", "check_generator_state", "random_stream", "resolve_seed"]


class Stream(IntEnum):
    """What a stream of random numbers is for; part of its key, so streams never overlap."""

    WEIGHTS = 0
    LAYERS = 1
    BATCHES = 2
    SPLIT = 3
    AUGMENTATION = 4
    BY_HAND = 5
    ROW_GROUPS = 7
    SAMPLE = 8
    NOISE = 9
    VIRTUAL_ADVERSARIAL = 10


class NoiseSource:
    """The random numbers of one layer in training, as a function of seed, layer, epoch, step, row and column.

    They come from a counter-based generator, so that they do not depend on how the rows are divided among blocks,
    threads, processes or engines: element ``row * n_columns + column`` of a batch is word ``element % 4`` of the block
    ``element // 4``.

    Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Philox4x32-10).

    Attributes
    ----------
    key
        Two words of 32 bits, from the seed and the place of the layer in the network.
    epoch
        The epoch of the training run.
    step
        The step within the epoch; :meth:`draw` goes on by one, and the training loop sets both.
    """

    def __init__(self, seed: int, *path: int) -> None:
        sequence = np.random.SeedSequence(entropy=seed, spawn_key=(int(Stream.NOISE), *path))
        self.key: tuple[int, int] = tuple(sequence.generate_state(2).tolist())
        self.epoch, self.step = 0, 0

    def draw(self, kind: str, elements: Array, dtype: Any) -> Array:
        """Return a number for each of these elements: ``"uniform"`` in [0, 1), or ``"normal"`` from N(0, 1)."""
        elements = np.asarray(elements, np.uint64)
        counter = (elements // 4 % 2**32, elements // 4 // 2**32, np.uint64(self.epoch), np.uint64(self.step))
        words = philox(self.key, counter)
        self.step += 1
        return _uniform(words, elements, dtype) if kind == "uniform" else _normal(words, elements, dtype)


def philox(key: tuple[int, int], counter: Sequence[Any]) -> list[Any]:
    """Return four words of 32 bits for every counter, itself four words; arrays of 64 bits of one shape hold them."""
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    x0, x1, x2, x3 = np.broadcast_arrays(*counter)
    for i in range(10):
        k0, k1 = ((word + i * weyl) % 2**32 for word, weyl in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True))
        p0, p1 = x0 * np.uint64(0xD2511F53), x2 * np.uint64(0xCD9E8D57)
        x0, x1, x2, x3 = (p1 >> shift) ^ x1 ^ np.uint64(k0), p1 & mask, (p0 >> shift) ^ x3 ^ np.uint64(k1), p0 & mask
    return [x0, x1, x2, x3]


def _uniform(words: list[Any], elements: Array, dtype: Any) -> Array:
    """Return numbers in [0, 1) from the upper 24 bits of the word of every element."""
    word = np.choose((elements % 4).astype(np.int64), words)
    numbers: Array = ((word >> np.uint64(8)) * 2.0**-24).astype(dtype)
    return numbers


def _normal(words: list[Any], elements: Array, dtype: Any) -> Array:
    """Return numbers from N(0, 1): pairs of words make pairs of numbers (Box and Muller 1958)."""
    is_second = elements % 4 >= 2
    radius, angle = (np.where(is_second, words[k + 2], words[k]) for k in (0, 1))
    length = np.sqrt(-2 * np.log(((radius >> np.uint64(8)) + 1) * 2.0**-24))
    turn = 2 * np.pi * ((angle >> np.uint64(8)) * 2.0**-24)
    numbers: Array = (length * np.where(elements % 2 == 0, np.cos(turn), np.sin(turn))).astype(dtype)
    return numbers


def resolve_seed(seed: Seed) -> int:
    """Return ``seed``, or a fresh one drawn from the operating system when it is None."""
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    given: Any = seed  # a file may give anything
    is_number = isinstance(given, int | float | np.number) and not isinstance(given, bool)
    if not is_number or not 0 <= given < np.inf or given % 1:
        raise InvalidInputError(f"The seed is {shown(seed)}; it must be a whole number >= 0, or None.")
    return int(seed)


def random_stream(seed: int, purpose: Stream, index: int = 0, *path: int) -> np.random.Generator:
    """Return the generator number ``index`` of those for ``purpose``; the same arguments give the same numbers."""
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(int(purpose), index, *path)))


def check_generator_state(state: Any) -> None:
    """Raise InvalidInputError unless ``state``, from a file, is one of the generators of :func:`random_stream`."""
    inner = state.get("state") if isinstance(state, dict) else None
    sizes = {"has_uint32": 1, "uinteger": 32}
    if (
        not isinstance(inner, dict)
        or state.get("bit_generator") != "PCG64"
        or not all(_is_word(state.get(name), n_bits) for name, n_bits in sizes.items())
        or not all(_is_word(inner.get(name), 128) for name in ("state", "inc"))
        or inner["inc"] % 2 == 0
    ):
        raise InvalidInputError("The state of a random generator is damaged.")


def _is_word(value: Any, n_bits: int) -> bool:
    return type(value) is int and 0 <= value < 2**n_bits
