"""Draw docs/images/training-step.svg: the arrays of one training step of a 2-3-1 network, with their shapes.

The picture is part of the page, so that its lines and texts have the colour of the page's text, light or dark.
"""

from __future__ import annotations

from pathlib import Path

CELL, WIDE = 15, 20  # the height of a cell, and its width in vectors
VALUES, GRADIENTS, PARAMETERS = "#3a9bdc", "#e6761a", "#2ba57a"
ROWS = 4  # the rows of the batch


class Drawing:
    """Pieces of SVG, which are appended one by one."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.pieces = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
            ' fill="none" stroke="currentColor" font-family="system-ui, sans-serif" font-size="13">',
            f"<title>{title}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" fill="currentColor" stroke="none"/></marker></defs>',
        ]

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "middle", bold: bool = False, size: int = 13
    ) -> None:
        """Write one line."""
        weight = ' font-weight="600"' if bold else ""
        self.pieces.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}"{weight} fill="currentColor"'
            f' stroke="none">{text}</text>'
        )

    def grid(
        self, x: float, y: float, n_rows: int, n_columns: int, colour: str, label: str, shape: str, width: int = CELL
    ) -> None:
        """Draw a matrix of cells, with its name above and its shape below."""
        for row in range(n_rows):
            for column in range(n_columns):
                self.pieces.append(
                    f'<rect x="{x + column * width}" y="{y + row * CELL}" width="{width}" height="{CELL}"'
                    f' fill="{colour}" fill-opacity="0.35" stroke="{colour}"/>'
                )
        middle = x + n_columns * width / 2
        self.text(middle, y - 8, label, bold=True)
        self.text(middle, y + n_rows * CELL + 16, shape)

    def box(self, x: float, y: float, width: float, height: float, lines: list[str]) -> None:
        """Draw a step of the computation; the first line is its name."""
        self.pieces.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" stroke-opacity="0.7"/>')
        top = y + height / 2 - (len(lines) - 1) * 8 + 4.5
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 16 * number, line, bold=number == 0)

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw an arrow along the points."""
        path = "L".join(f"{x} {y}" for x, y in points)
        self.pieces.append(f'<path d="M{path}" stroke-opacity="0.8" marker-end="url(#tip)"/>')

    def source(self) -> str:
        """Return the SVG."""
        return "\n".join([*self.pieces, "</svg>\n"])


def vector(drawing: Drawing, y: float, colour: str, names: list[str]) -> list[float]:
    """Draw the four blocks of a vector of 13 numbers, with their names; return where their middles are."""
    x, middles = 176.0, []
    for name, size in zip(names, (6, 3, 3, 1), strict=True):
        drawing.grid(x, y, 1, size, colour, name, "", WIDE)
        middles.append(x + size * WIDE / 2)
        x += size * WIDE + 8
    return middles


def main() -> None:
    """Draw the picture."""
    d = Drawing(
        960, 560, "One training step: the data flow forward to the loss, and the gradients flow back to the weights"
    )
    high = ROWS * CELL
    forward, middle = 66, 66 + high / 2
    d.text(8, 18, "forward", anchor="start", bold=True, size=15)
    d.grid(8, forward - CELL, 6, 2, VALUES, "X", "(6, 2)")
    d.grid(52, forward - CELL, 6, 1, VALUES, "y", "(6,)")
    d.box(88, middle - 24, 64, 48, ["gather", "4 rows"])
    d.grid(176, forward, ROWS, 2, VALUES, "a₀", "(4, 2)")
    d.box(230, middle - 32, 104, 64, ["dense", "z = a W + b"])
    d.grid(358, forward, ROWS, 3, VALUES, "z₁", "(4, 3)")
    d.box(427, middle - 24, 70, 48, ["tanh", "f(z)"])
    d.grid(521, forward, ROWS, 3, VALUES, "a₁", "(4, 3)")
    d.box(590, middle - 32, 104, 64, ["dense", "z = a W + b"])
    d.grid(718, forward, ROWS, 1, VALUES, "z₂", "(4, 1)")
    d.box(757, middle - 40, 120, 80, ["head", "sigmoid and", "cross-entropy"])
    d.text(925, middle - 2, "L", bold=True, size=16)
    d.text(925, middle + 16, "loss, ()")
    for start, end in (
        (70, 86),
        (154, 174),
        (208, 228),
        (336, 356),
        (405, 425),
        (499, 519),
        (568, 588),
        (696, 716),
        (735, 755),
    ):
        d.arrow((start, middle), (end, middle))
    d.arrow((879, middle), (905, middle))
    d.arrow((59.5, forward + 6 * CELL + 8), (59.5, 184), (817, 184), (817, middle + 42))
    d.text(430, 178, "y of the same rows, (4, 1)")

    backward, middle = 248, 248 + high / 2
    d.text(8, 222, "backward", anchor="start", bold=True, size=15)
    d.grid(718, backward, ROWS, 1, GRADIENTS, "dL/dz₂", "(4, 1)")
    d.box(590, middle - 32, 104, 64, ["dense", "dL/da = e Wᵀ"])
    d.grid(521, backward, ROWS, 3, GRADIENTS, "dL/da₁", "(4, 3)")
    d.box(427, middle - 24, 70, 48, ["tanh", "e f ′(z)"])
    d.grid(358, backward, ROWS, 3, GRADIENTS, "dL/dz₁", "(4, 3)")
    d.box(230, middle - 32, 104, 64, ["dense", "first layer"])
    d.arrow((857, 138), (857, middle), (735, middle))
    d.text(865, middle + 5, "(p - y) / 4", anchor="start")
    for start, end in ((716, 696), (588, 568), (519, 499), (425, 405), (356, 336)):
        d.arrow((start, middle), (end, middle))

    gradient, weights = 400, 508
    d.text(8, 366, "update", anchor="start", bold=True, size=15)
    w1, w2, b1, b2 = vector(d, gradient, GRADIENTS, ["dL/dW₁", "dL/dW₂", "dL/db₁", "db₂"])
    d.text(168, gradient + 12, "gradient vector, (13,)", anchor="end")
    for x in (w1, b1):
        d.arrow((282, middle + 34), (282, 362), (x, 362), (x, gradient - 22))
    for x in (w2, b2):
        d.arrow((642, middle + 34), (642, 344), (x, 344), (x, gradient - 22))
    d.text(652, 348, "dL/dW = aᵀ e,   dL/db = sum of e over the rows", anchor="start")
    d.box(504, gradient - 17, 136, 48, ["clip", "norm ≤ clip_norm"])
    d.box(692, gradient - 24, 210, 64, ["optimizer", "Adam: mean and mean square", "of the gradients, (13,) each"])
    d.arrow((466, gradient + 7), (502, gradient + 7))
    d.arrow((642, gradient + 7), (690, gradient + 7))
    vector(d, weights, PARAMETERS, ["W₁", "W₂", "b₁", "b₂"])
    d.text(168, weights + 12, "parameter vector, (13,)", anchor="end")
    d.arrow((797, gradient + 42), (797, weights + 7), (468, weights + 7))
    d.text(632, weights, "w - learning rate × step")
    d.text(
        176,
        weights + 38,
        "W and b of the layers are views of this vector, so the next step uses the new numbers.",
        anchor="start",
    )
    (Path(__file__).parent / "training-step.svg").write_text(d.source(), encoding="utf-8")


if __name__ == "__main__":
    main()
