"""Generated points in the plane, for plots of decision boundaries: moons, circles, spirals, blobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.dataset import Dataset
from chainrule.data.parts import Source
from chainrule.errors import InvalidInputError
from chainrule.types import Array, Seed, Task

__all__ = ["SETS", "blobs", "circles", "moons", "spirals"]


def moons(n_rows: int = 400, noise: float = 0.2, seed: Seed = 0) -> Dataset:
    """Return two interleaving half circles."""
    from sklearn.datasets import make_moons

    _check(n_rows, noise)
    points, labels = make_moons(n_rows, noise=noise, random_state=seed)
    return _plane(points, labels, "moons")


def circles(n_rows: int = 400, noise: float = 0.1, seed: Seed = 0) -> Dataset:
    """Return a circle within a circle."""
    from sklearn.datasets import make_circles

    _check(n_rows, noise)
    points, labels = make_circles(n_rows, noise=noise, factor=0.5, random_state=seed)
    return _plane(points, labels, "circles")


def spirals(n_rows: int = 400, noise: float = 0.1, seed: Seed = 0) -> Dataset:
    """Return two intertwined spirals of one and a half turns, the most difficult of these data sets."""
    _check(n_rows, noise)
    rng = np.random.default_rng(seed)
    labels = np.arange(n_rows) % 2
    radius = 3 * np.sqrt(rng.uniform(0.01, 1, n_rows))
    angle = np.pi * radius + np.pi * labels
    points = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    return _plane(points + noise * rng.standard_normal(points.shape), labels, "spirals")


def blobs(n_rows: int = 400, noise: float = 1.0, n_classes: int = 3, seed: Seed = 0) -> Dataset:
    """Return one round cluster per class, with the standard deviation ``noise``."""
    from sklearn.datasets import make_blobs

    _check(n_rows, noise)
    points, labels = make_blobs(n_rows, centers=n_classes, cluster_std=noise, random_state=seed)[:2]
    return _plane(points, labels, "blobs")


def _check(n_rows: int, noise: float) -> None:
    if n_rows < 4 or not 0 <= noise < np.inf:
        raise InvalidInputError("Generated data need at least 4 rows, and noise >= 0.")


def _plane(points: Array, labels: Array, name: str) -> Dataset:
    return Dataset(points.astype(np.float32), labels, ("x1", "x2"), name=name)


def _reader(name: str, make: Callable[[], Dataset]) -> Callable[[Mapping[str, Path]], Source]:
    return lambda _: Source(name, make())


_SHAPES: tuple[tuple[str, Callable[[], Dataset], Task, str], ...] = (
    ("moons", moons, "binary", "Two interleaving half circles."),
    ("circles", circles, "binary", "A circle within a circle."),
    ("spirals", spirals, "binary", "Two intertwined spirals."),
    ("blobs", blobs, "multiclass", "Three round clusters of points."),
)
SETS = tuple(
    NamedSet(
        name=name,
        title=name.capitalize(),
        task=task,
        rows=400,
        columns=2,
        summary=summary,
        licence="none needed",
        notes=f"chainrule.data.catalog.shapes.{name} generates other sizes, noise and seeds.",
        read=_reader(name, make),
    )
    for name, make, task, summary in _SHAPES
)
