"""Small files such as people have: with words, gaps and a number to predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["write_houses", "write_lines", "write_visits"]


def write_lines(path: Path, header: str, rows: list[str]) -> Path:
    """A CSV file."""
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def write_houses(path: Path, n_rows: int = 240) -> Path:
    """Prices of houses: a product of area and a factor of the town, so no straight line; some rooms are missing."""
    rng = np.random.default_rng(7)
    area, rooms = rng.uniform(30, 200, n_rows), rng.integers(1, 8, n_rows)
    town = rng.choice(["Porto", "Faro", "Braga"], n_rows)
    factor = np.array([{"Porto": 3.0, "Faro": 1.0, "Braga": 2.0}[name] for name in town])
    price = 1000 * (area * factor + 10 * rooms) + rng.normal(0, 2000, n_rows)
    rows = [
        f"{a:.1f},{'' if row % 10 == 3 else r},{t},{p:.0f}"
        for row, (a, r, t, p) in enumerate(zip(area, rooms, town, price, strict=True))
    ]
    return write_lines(path, "area,rooms,town,price", rows)


def write_visits(path: Path, n_rows: int = 400) -> Path:
    """Two classes, yes and no, that a curve divides."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(2, n_rows))
    bought = x * y + 0.1 * rng.normal(size=n_rows) > 0
    rows = [f"{a:.4f},{b:.4f},{'yes' if c else 'no'}" for a, b, c in zip(x, y, bought, strict=True)]
    return write_lines(path, "minutes,pages,bought", rows)
