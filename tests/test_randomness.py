"""The random numbers of layers: known answers, and what they depend on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from chainrule.randomness import NoiseSource, philox


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [  # of Salmon et al., the authors' library Random123
        ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0xA4093822, 0x299F31D0),
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers(key: tuple[int, int], counter: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert tuple(int(word) for word in philox(key, [np.uint64(word) for word in counter])) == expected


def draw(kind: str, seed: int = 0, layer: int = 0, epoch: int = 0, step: int = 0, n: int = 20_000) -> np.ndarray:
    source = NoiseSource(seed, layer)
    source.epoch, source.step = epoch, step
    return source.draw(kind, np.arange(n), np.float64)


def test_the_numbers_have_their_distributions() -> None:
    assert stats.kstest(draw("uniform"), "uniform").pvalue > 1e-3
    assert stats.kstest(draw("normal"), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(draw("normal")[::2], draw("normal")[1::2])[0, 1]) < 0.05


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_they_depend_on_seed_layer_epoch_and_step_and_on_nothing_else(kind: str) -> None:
    np.testing.assert_array_equal(draw(kind), draw(kind))
    for changed in ({"seed": 1}, {"layer": 1}, {"epoch": 1}, {"step": 1}):
        assert abs(np.corrcoef(draw(kind), draw(kind, **changed))[0, 1]) < 0.05
    source = NoiseSource(0, 0)
    some = source.draw(kind, np.array([[7, 3], [19_999, 0]]), np.float64)
    np.testing.assert_array_equal(some, draw(kind)[[[7, 3], [19_999, 0]]])


def test_drawing_by_hand_goes_on_by_a_step() -> None:
    source = NoiseSource(0, 0)
    first, second = (source.draw("uniform", np.arange(10), np.float32) for _ in range(2))
    assert (first != second).all()
    assert first.dtype == np.float32
