"""The random numbers of training as tensors: the same as those of :class:`~chainrule.randomness.NoiseSource`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.randomness import NoiseSource

__all__ = ["draw"]

_WORD = 0xFFFFFFFF


def draw(source: NoiseSource, kind: str, x: Tensor, first_row: int) -> Tensor:
    """Return a number for each element of some rows of a batch, the first of which is row ``first_row`` of the batch.

    The numbers depend on the epoch and step of the source, and have at least 32 bits.
    """
    first = first_row * x.shape[1]
    stop = first + x.numel()
    blocks = torch.arange(first // 4, (stop + 3) // 4, device=x.device)
    words = _philox(source.key, blocks, source.epoch, source.step)
    dtype = torch.float64 if x.device.type != "mps" else torch.float32
    fractions = [(word >> 8).to(dtype) * 2.0**-24 for word in words]
    if kind == "normal":  # pairs of words make pairs of numbers (Box and Muller 1958)
        fractions = [number for pair in (fractions[:2], fractions[2:]) for number in _normal(*pair)]
    numbers = torch.stack(fractions, dim=1).reshape(-1)
    start = first % 4
    numbers = numbers[start : start + x.numel()].reshape(x.shape)
    return numbers.to(x.dtype if x.dtype.itemsize >= 4 else torch.float32)


def _normal(radius: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    length = torch.sqrt(-2 * torch.log(radius + 2.0**-24))
    return length * torch.cos(2 * math.pi * angle), length * torch.sin(2 * math.pi * angle)


def _philox(key: tuple[int, int], blocks: Tensor, epoch: int, step: int) -> list[Tensor]:
    """Return four words of 32 bits for every block, as :func:`chainrule.randomness.philox` does.

    PyTorch has few operations for unsigned integers. The product of two words overflows in a signed integer of 64 bits,
    but its bits are right; the bits that the right shift fills in are masked out.
    """
    x0, x1 = blocks & _WORD, blocks >> 32
    x2, x3 = (torch.full_like(blocks, number & _WORD) for number in (epoch, step))
    for i in range(10):
        k0, k1 = ((word + i * weyl) & _WORD for word, weyl in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True))
        p0, p1 = x0 * 0xD2511F53, x2 * 0xCD9E8D57
        x0, x2 = (p1 >> 32 & _WORD) ^ x1 ^ k0, (p0 >> 32 & _WORD) ^ x3 ^ k1
        x1, x3 = p1 & _WORD, p0 & _WORD
    return [x0, x1, x2, x3]
