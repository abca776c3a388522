"""Augmentation: every epoch sees the training rows a little changed, so that a network learns what does not matter.

An augmentation changes a mini-batch in place, in a buffer of its own and never in the user's data, with a random
generator that belongs to that batch. Predictions and validation never see one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np

from chainrule.errors import InvalidInputError, shown
from chainrule.named import Registry
from chainrule.ranges import is_finite
from chainrule.types import Array, Inputs, is_sparse

__all__ = ["AUGMENTATIONS", "Augmentation", "ImageAugmentation", "NoiseAugmentation"]

# So many numbers or pixels are changed at a time: few enough for the processor's cache, whatever the batch size is.
_NUMBERS_AT_A_TIME = 2**16


class Augmentation(ABC):
    """A random change of the inputs that leaves their targets right.

    One's own is a frozen dataclass with :meth:`apply`. Its ``repr`` must say all its settings: it tells a resumed run
    whether it goes on with the same augmentation.
    """

    @abstractmethod
    def apply(self, inputs: Array, rng: np.random.Generator) -> None:
        """Change ``inputs`` (rows, features), float32 or float64, in place; the same ``rng`` gives the same bits."""

    def check(self, inputs: Inputs) -> None:
        """Raise ``InvalidInputError`` for inputs that cannot be augmented."""
        if is_sparse(inputs):
            raise InvalidInputError("A sparse matrix cannot be augmented; give a dense array, or no augmentation.")
        if inputs.ndim != 2 or inputs.dtype not in (np.float32, np.float64):
            raise InvalidInputError(
                f"An augmentation takes a matrix (rows, features) of float32 or float64, not {inputs.dtype} of shape "
                f"{inputs.shape}."
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"  # object's own names an address, which no other process has


@final
@dataclass(frozen=True)
class ImageAugmentation(Augmentation):
    """Shift, turn, stretch and warp images; every image of a batch in its own way.

    The pixel at ``p`` of the new image is read from the old one at

    ``q = c + R(-angle) (p - c - t) / s + strength * (G * u)(p)``

    with ``c`` the image's centre, ``t`` a shift, ``s`` a scale, ``R`` a rotation, and ``G * u`` a field of uniform
    random vectors in (-1, 1) smoothed by a Gaussian (Simard, Steinkraus and Platt 2003, section 2; for digits of 28 x
    28 they found strength 34 and smoothness 4 best). Between the pixels the image is interpolated bilinearly (their
    equation 1); outside it is 0. Settings of 0 change nothing, and with all of them 0 the images keep their bits.

    Parameters
    ----------
    image_shape
        (height, width) or (height, width, channels): how a row of the inputs is read as an image.
    shift
        Furthest shift along either axis, in pixels; uniform in -shift ... shift.
    rotation
        Widest angle, in degrees; uniform in -rotation ... rotation, positive counterclockwise.
    scale
        Largest change of size, as a share: 0.1 is 0.9 ... 1.1 times the size, uniform.
    elastic_strength
        Factor of the smoothed random field. The displacements are about 0.16 * strength / smoothness pixels.
    elastic_smoothness
        Standard deviation of the Gaussian, in pixels; above 0.
    """

    image_shape: tuple[int, int] | tuple[int, int, int]
    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    elastic_strength: float = 0.0
    elastic_smoothness: float = 4.0

    def __post_init__(self) -> None:
        shape = tuple(self.image_shape)
        if len(shape) not in (2, 3) or any(int(size) != size or size < 1 for size in shape):
            raise InvalidInputError(
                f"image_shape is {self.image_shape!r}; it must be (height, width) or (height, width, channels)."
            )
        # Plain numbers, so that equal settings have equal representations, read from a file or typed.
        object.__setattr__(self, "image_shape", tuple(int(size) for size in shape))
        for name in ("shift", "rotation", "scale", "elastic_strength", "elastic_smoothness"):
            object.__setattr__(self, name, _not_negative(name, getattr(self, name)))
        if self.scale >= 1:
            raise InvalidInputError(f"scale is {self.scale:g}; it must be below 1, or images would shrink to nothing.")
        if self.elastic_smoothness == 0:
            raise InvalidInputError("elastic_smoothness is 0; it must be above 0.")

    def check(self, inputs: Inputs) -> None:
        """Raise ``InvalidInputError`` for inputs that are no images of this shape."""
        super().check(inputs)
        if inputs.shape[1] != math.prod(self.image_shape):
            sizes = " x ".join(str(size) for size in self.image_shape)
            raise InvalidInputError(
                f"Images of {sizes} have {math.prod(self.image_shape)} numbers, and the inputs have "
                f"{inputs.shape[1]} columns."
            )

    def apply(self, inputs: Array, rng: np.random.Generator) -> None:
        """Change every image of ``inputs`` (rows, height * width * channels) in place.

        Memory beyond the inputs: a few arrays of 65,536 pixels at most, or of one image where that is larger.
        """
        self.check(inputs)
        if not (self.shift or self.rotation or self.scale or self.elastic_strength):
            return
        maps = self._draw_maps(len(inputs), rng).astype(inputs.dtype)
        height, width = self.image_shape[:2]
        for rows in _blocks(len(inputs), height * width):
            sources = _source_places(maps[rows], height, width)
            if self.elastic_strength:
                sources += self._draw_fields(sources, rng)
            inputs[rows] = _sample(inputs[rows].reshape(-1, height, width, *self.image_shape[2:]), sources)

    def _draw_maps(self, n_images: int, rng: np.random.Generator) -> Array:
        """Return (images, 2, 3): for each image the two equations of ``q - c = M (p - c) + b``, rows first."""
        draws = rng.uniform(-1, 1, (4, n_images))
        angles, sizes = np.deg2rad(self.rotation) * draws[0], 1 + self.scale * draws[1]
        # In an image the rows count downwards, so a counterclockwise turn has this sign.
        cosines, sines = np.cos(angles) / sizes, np.sin(angles) / sizes
        matrices = np.array([[cosines, sines], [-sines, cosines]]).transpose(2, 0, 1)
        offsets = -matrices @ (self.shift * draws[2:]).T[:, :, np.newaxis]
        return np.concatenate([matrices, offsets], axis=2)

    def _draw_fields(self, like: Array, rng: np.random.Generator) -> Array:
        """Return smoothed random displacements of the shape of ``like``, (2, images, height, width)."""
        height, width = like.shape[2:]
        fields = rng.random(like.shape, dtype=like.dtype.type)  # in 0 ... 1: brought to -1 ... 1 in place
        fields *= 2
        fields -= 1
        along_columns = _smoothing_matrix(height, self.elastic_smoothness, like.dtype.name)
        along_rows = _smoothing_matrix(width, self.elastic_smoothness, like.dtype.name).T * self.elastic_strength
        smooth: Array = along_columns @ (fields.reshape(-1, width) @ along_rows).reshape(like.shape)
        return smooth


@final
@dataclass(frozen=True)
class NoiseAugmentation(Augmentation):
    """Gaussian noise on every number: ``x + standard_deviation * n``, with n from N(0, 1), for tables.

    For small noise this is a penalty on the steepness of the network (Bishop 1995, "Training with noise is equivalent
    to Tikhonov regularization"). The standard deviation is in units of the inputs, so it means the same in every
    column only where the columns are standardised; columns of 0 and 1 get the noise too.
    """

    standard_deviation: float = 0.1

    def __post_init__(self) -> None:
        value = _not_negative("standard_deviation", self.standard_deviation)
        object.__setattr__(self, "standard_deviation", value)

    def apply(self, inputs: Array, rng: np.random.Generator) -> None:
        """Add the noise to ``inputs`` (rows, features) in place."""
        self.check(inputs)
        if self.standard_deviation:
            for rows in _blocks(len(inputs), inputs.shape[1]):
                noise = rng.standard_normal(inputs[rows].shape, dtype=inputs.dtype.type)
                noise *= self.standard_deviation
                inputs[rows] += noise


AUGMENTATIONS: Registry[Augmentation] = Registry(
    "augmentation", Augmentation, {"image": ImageAugmentation, "noise": NoiseAugmentation}
)


def _source_places(maps: Array, height: int, width: int) -> Array:
    """Return (2, images, height, width): the row and the column from which each pixel of each image is read."""
    center_row, center_column = (height - 1) / 2, (width - 1) / 2
    down = (np.arange(height, dtype=maps.dtype) - center_row)[:, np.newaxis]
    across = np.arange(width, dtype=maps.dtype) - center_column
    places = np.empty((2, len(maps), height, width), maps.dtype)
    for axis, center in enumerate((center_row, center_column)):
        from_row, from_column, offset = maps[:, axis, :, np.newaxis, np.newaxis].swapaxes(0, 1)
        np.add(from_row * down + (offset + center), from_column * across, out=places[axis])
    return places


def _sample(images: Array, places: Array) -> Array:
    """Return (images, numbers): the images (images, height, width[, channels]) read at ``places``, 0 outside.

    With a and b the upper neighbours of a place, c and d the lower ones, and (v, h) its distance from a:
    top = a + h (b - a), bottom = c + h (d - c), value = top + v (bottom - top).
    """
    n_images, height, width = images.shape[:3]
    images = images.reshape(n_images, height, width, -1)
    framed = np.zeros((images.shape[3], n_images, height + 2, width + 2), images.dtype)  # the frame is the outside
    framed[:, :, 1:-1, 1:-1] = np.moveaxis(images, 3, 0)
    # Places in the frame's coordinates. All that is more than a pixel outside lies on the frame, and is 0.
    corners = []
    for axis, size in enumerate((height, width)):
        places[axis] += 1
        np.clip(places[axis], 0, size + 1, out=places[axis])
        corner = np.minimum(places[axis].astype(np.int32), size)
        places[axis] -= corner
        corners.append(corner)
    rows, columns = corners
    rows += (np.arange(n_images, dtype=np.int32) * (height + 2))[:, np.newaxis, np.newaxis]
    upper_left = (rows.astype(np.intp) * (width + 2) + columns).reshape(-1)
    down, across = places.reshape(2, -1)
    values = np.empty((n_images * height * width, images.shape[3]), images.dtype)
    for channel, pixels in enumerate(framed.reshape(images.shape[3], -1)):
        top = _between(pixels, upper_left, across)
        bottom = _between(pixels[width + 2 :], upper_left, across)
        bottom -= top
        bottom *= down
        np.add(top, bottom, out=values[:, channel])
    return values.reshape(n_images, -1)


def _between(pixels: Array, left: Array, share: Array) -> Array:
    """Return ``pixels[left] + share * (pixels[left + 1] - pixels[left])``."""
    start = pixels.take(left)
    step: Array = pixels[1:].take(left)
    step -= start
    step *= share
    step += start
    return step


@lru_cache(maxsize=8)
def _smoothing_matrix(size: int, smoothness: float, dtype: str) -> Array:
    """Return the (size, size) matrix that smooths a column of numbers by a Gaussian, with 0 beyond its ends.

    A filter is linear: what it makes of the unit vectors is its matrix. A product with it is what the filter does to
    a whole batch, and several times faster.
    """
    from scipy.ndimage import gaussian_filter1d

    matrix: Array = gaussian_filter1d(np.eye(size), smoothness, axis=0, mode="constant").astype(dtype)
    matrix.flags.writeable = False
    return matrix


def _blocks(n_rows: int, numbers_a_row: int) -> Iterator[slice]:
    """Yield slices that cover the rows, each of about ``_NUMBERS_AT_A_TIME`` numbers."""
    size = max(1, _NUMBERS_AT_A_TIME // numbers_a_row)
    for start in range(0, n_rows, size):
        yield slice(start, start + size)


def _not_negative(name: str, value: float) -> float:
    if not (is_finite(value) and value >= 0):
        raise InvalidInputError(f"{name} is {shown(value)}; it must be a finite number >= 0.")
    return float(value)
