"""Data augmentation: random changes of the training rows, different in every epoch.

An augmentation changes a copy of a mini-batch in place, with a random generator for this batch. The data of the user
are never changed. Validation and prediction use the rows without augmentation.
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

# The number of values or pixels that are processed together, so that they fit into the processor's cache.
_VALUES_PER_BLOCK = 2**16


class Augmentation(ABC):
    """Base class of the random changes of the inputs that do not change the targets.

    A user-defined augmentation is a frozen dataclass with :meth:`apply`. Its ``repr`` must contain all settings,
    because a resumed run compares it with that of the interrupted run.
    """

    @abstractmethod
    def apply(self, inputs: Array, rng: np.random.Generator) -> None:
        """Change ``inputs`` (rows, features), float32 or float64, in place. Draw all random numbers from ``rng``."""

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
        return f"{type(self).__name__}({vars(self)})"  # object.__repr__ contains an address, which differs in each run


@final
@dataclass(frozen=True)
class ImageAugmentation(Augmentation):
    """Shift, rotate, scale and warp every image of a batch at random.

    The pixel at ``p`` of the new image is read from the old one at

    ``q = c + R(-angle) (p - c - t) / s + strength * (G * u)(p)``

    with ``c`` the centre of the image, ``t`` a shift, ``s`` a scale, ``R`` a rotation, and ``G * u`` a field of uniform
    random vectors in (-1, 1) smoothed by a Gaussian (Simard, Steinkraus and Platt 2003, section 2; for digits of 28 x
    28 pixels, strength 34 and smoothness 4 gave their best results). Between the pixels, the image is interpolated
    bilinearly (their equation 1); outside the image, the pixels are 0. A setting of 0 switches its change off.

    Parameters
    ----------
    image_shape
        The shape of an image in a row of the inputs: (height, width) or (height, width, channels).
    shift
        Maximum shift along both axes in pixels; uniform between -shift and shift.
    rotation
        Maximum angle in degrees; uniform between -rotation and rotation, positive counterclockwise.
    scale
        Maximum relative change of the size: 0.1 means 0.9 to 1.1 times the size, uniform.
    elastic_strength
        Factor of the smoothed random field. The displacements are about 0.16 * strength / smoothness pixels.
    elastic_smoothness
        Standard deviation of the Gaussian, in pixels; above 0.

    Examples
    --------
    >>> from chainrule import build_network, load_dataset
    >>> digits = load_dataset("digits").take(slice(200))
    >>> network = build_network(64, digits.target, hidden=(8,), epochs=1, seed=0)
    >>> shifts = ImageAugmentation(image_shape=(8, 8), shift=1)
    >>> network.fit(digits, augmentation=shifts).history.n_epochs
    1
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
        # Plain numbers, so that equal settings have equal representations.
        object.__setattr__(self, "image_shape", tuple(int(size) for size in shape))
        for name in ("shift", "rotation", "scale", "elastic_strength", "elastic_smoothness"):
            object.__setattr__(self, name, _not_negative(name, getattr(self, name)))
        if self.scale >= 1:
            raise InvalidInputError(f"scale is {self.scale:g}; it must be below 1.")
        if self.elastic_smoothness == 0:
            raise InvalidInputError("elastic_smoothness is 0; it must be above 0.")

    def check(self, inputs: Inputs) -> None:
        """Raise ``InvalidInputError`` for inputs that are not images of this shape."""
        super().check(inputs)
        if inputs.shape[1] != math.prod(self.image_shape):
            sizes = " x ".join(str(size) for size in self.image_shape)
            raise InvalidInputError(
                f"Images of {sizes} have {math.prod(self.image_shape)} numbers, but the inputs have {inputs.shape[1]} "
                "columns; correct image_shape."
            )

    def apply(self, inputs: Array, rng: np.random.Generator) -> None:
        """Change every image of ``inputs`` (rows, height * width * channels) in place.

        The method needs memory for a few arrays of 65,536 pixels, or of one image if that is larger.
        """
        self.check(inputs)
        if not (self.shift or self.rotation or self.scale or self.elastic_strength):
            return
        maps = self._draw_maps(len(inputs), rng).astype(inputs.dtype)
        height, width = self.image_shape[:2]
        for rows in _blocks(len(inputs), height * width):
            sources = _source_positions(maps[rows], height, width)
            if self.elastic_strength:
                sources += self._draw_fields(sources, rng)
            inputs[rows] = _sample(inputs[rows].reshape(-1, height, width, *self.image_shape[2:]), sources)

    def _draw_maps(self, n_images: int, rng: np.random.Generator) -> Array:
        """Return the matrices (images, 2, 3) ``[M | b]`` of ``q - c = M (p - c) + b``, with the row index first."""
        draws = rng.uniform(-1, 1, (4, n_images))
        angles, sizes = np.deg2rad(self.rotation) * draws[0], 1 + self.scale * draws[1]
        # Rows are numbered downwards, which determines the sign of a counterclockwise rotation.
        cosines, sines = np.cos(angles) / sizes, np.sin(angles) / sizes
        matrices = np.array([[cosines, sines], [-sines, cosines]]).transpose(2, 0, 1)
        offsets = -matrices @ (self.shift * draws[2:]).T[:, :, np.newaxis]
        return np.concatenate([matrices, offsets], axis=2)

    def _draw_fields(self, like: Array, rng: np.random.Generator) -> Array:
        """Return smoothed random displacements with the shape of ``like``, (2, images, height, width)."""
        height, width = like.shape[2:]
        fields = rng.random(like.shape, dtype=like.dtype.type)  # from 0 to 1; scaled to -1 to 1 in place
        fields *= 2
        fields -= 1
        along_columns = _smoothing_matrix(height, self.elastic_smoothness, like.dtype.name)
        along_rows = _smoothing_matrix(width, self.elastic_smoothness, like.dtype.name).T * self.elastic_strength
        smooth: Array = along_columns @ (fields.reshape(-1, width) @ along_rows).reshape(like.shape)
        return smooth


@final
@dataclass(frozen=True)
class NoiseAugmentation(Augmentation):
    """Add Gaussian noise to every input: ``x + standard_deviation * n`` with n from N(0, 1).

    Small noise has the effect of a penalty on the derivatives of the network (Bishop 1995, "Training with noise is
    equivalent to Tikhonov regularization"). The standard deviation is in units of the inputs, which should therefore be
    standardised. Noise is also added to columns of 0 and 1.

    >>> NoiseAugmentation(standard_deviation=0.1)
    NoiseAugmentation(standard_deviation=0.1)
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


#: The augmentations by name, in a :class:`chainrule.named.Registry` with the dictionary ``classes``.
#:
#: :meta hide-value:
AUGMENTATIONS: Registry[Augmentation] = Registry(
    "augmentation", Augmentation, {"image": ImageAugmentation, "noise": NoiseAugmentation}
)


def _source_positions(maps: Array, height: int, width: int) -> Array:
    """Return the row and the column from which each pixel of each image is read, (2, images, height, width)."""
    center_row, center_column = (height - 1) / 2, (width - 1) / 2
    down = (np.arange(height, dtype=maps.dtype) - center_row)[:, np.newaxis]
    across = np.arange(width, dtype=maps.dtype) - center_column
    positions = np.empty((2, len(maps), height, width), maps.dtype)
    for axis, center in enumerate((center_row, center_column)):
        from_row, from_column, offset = maps[:, axis, :, np.newaxis, np.newaxis].swapaxes(0, 1)
        np.add(from_row * down + (offset + center), from_column * across, out=positions[axis])
    return positions


def _sample(images: Array, positions: Array) -> Array:
    """Return the images (images, height, width[, channels]) interpolated at ``positions``, as (images, values).

    With a and b the upper neighbours of a position, c and d the lower ones, and (v, h) its distance from a:
    top = a + h (b - a), bottom = c + h (d - c), value = top + v (bottom - top). Pixels outside an image are 0.
    """
    n_images, height, width = images.shape[:3]
    images = images.reshape(n_images, height, width, -1)
    padded = np.zeros((images.shape[3], n_images, height + 2, width + 2), images.dtype)
    padded[:, :, 1:-1, 1:-1] = np.moveaxis(images, 3, 0)
    # In the coordinates of the padded images, positions outside are moved to the border, which is 0.
    corners = []
    for axis, size in enumerate((height, width)):
        positions[axis] += 1
        np.clip(positions[axis], 0, size + 1, out=positions[axis])
        corner = np.minimum(positions[axis].astype(np.int32), size)
        positions[axis] -= corner
        corners.append(corner)
    rows, columns = corners
    rows += (np.arange(n_images, dtype=np.int32) * (height + 2))[:, np.newaxis, np.newaxis]
    upper_left = (rows.astype(np.intp) * (width + 2) + columns).reshape(-1)
    down, across = positions.reshape(2, -1)
    values = np.empty((n_images * height * width, images.shape[3]), images.dtype)
    for channel, pixels in enumerate(padded.reshape(images.shape[3], -1)):
        top = _interpolate(pixels, upper_left, across)
        bottom = _interpolate(pixels[width + 2 :], upper_left, across)
        bottom -= top
        bottom *= down
        np.add(top, bottom, out=values[:, channel])
    return values.reshape(n_images, -1)


def _interpolate(pixels: Array, left: Array, share: Array) -> Array:
    """Return ``pixels[left] + share * (pixels[left + 1] - pixels[left])``."""
    start = pixels.take(left)
    step: Array = pixels[1:].take(left)
    step -= start
    step *= share
    step += start
    return step


@lru_cache(maxsize=8)
def _smoothing_matrix(size: int, smoothness: float, dtype: str) -> Array:
    """Return the (size, size) matrix of a Gaussian filter with zero padding.

    The filter is linear, so its matrix is its result for the unit vectors. The product of a batch with this matrix is
    several times faster than the filter.
    """
    from scipy.ndimage import gaussian_filter1d

    matrix: Array = gaussian_filter1d(np.eye(size), smoothness, axis=0, mode="constant").astype(dtype)
    matrix.flags.writeable = False
    return matrix


def _blocks(n_rows: int, values_per_row: int) -> Iterator[slice]:
    """Yield slices of rows with about ``_VALUES_PER_BLOCK`` values each."""
    size = max(1, _VALUES_PER_BLOCK // values_per_row)
    for start in range(0, n_rows, size):
        yield slice(start, start + size)


def _not_negative(name: str, value: float) -> float:
    if not (is_finite(value) and value >= 0):
        raise InvalidInputError(f"{name} is {shown(value)}; it must be a finite number >= 0.")
    return float(value)
