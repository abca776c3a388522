"""All randomness of a run comes from one seed, through independent streams that are named by what they are for."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from chainrule.errors import InvalidInputError, shown
from chainrule.types import Seed

__all__ = ["Stream", "check_generator_state", "random_stream", "resolve_seed"]


class Stream(IntEnum):
    """What a stream of random numbers is for; part of its key, so streams never overlap."""

    WEIGHTS = 0
    LAYERS = 1
    BATCHES = 2
    SPLIT = 3
    AUGMENTATION = 4
    BY_HAND = 5
    DEVICE_NOISE = 6
    ROW_GROUPS = 7
    SAMPLE = 8


def resolve_seed(seed: Seed) -> int:
    """Return ``seed``, or a fresh one drawn from the operating system when it is None."""
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    given: Any = seed  # a file may give anything
    is_number = isinstance(given, int | float | np.number) and not isinstance(given, bool)
    if not is_number or not 0 <= given < np.inf or given % 1:
        raise InvalidInputError(f"The seed is {shown(seed)}; it must be a whole number >= 0, or None.")
    return int(seed)


def random_stream(seed: int, purpose: Stream, index: int = 0) -> np.random.Generator:
    """Return the generator number ``index`` of those for ``purpose``; the same arguments give the same numbers."""
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(int(purpose), index)))


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
