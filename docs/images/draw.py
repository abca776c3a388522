"""Draw the pictures of README.md and docs/index.md: run the Python code of docs/index.md, and keep its figures."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import matplotlib as mpl

IMAGES = Path(__file__).parent


def main() -> None:
    """Run the blocks in a temporary folder, and copy the PNG files that they write into the folder of this script."""
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (IMAGES.parent / "index.md").read_text(encoding="utf-8"), re.M | re.S
    )
    mpl.use("agg")
    mpl.rcParams["savefig.dpi"] = 150
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        exec("\n".join(blocks), {"__name__": "index"})
        for figure in Path().glob("*.png"):
            shutil.copy(figure, IMAGES / figure.name)
        os.chdir(IMAGES)


if __name__ == "__main__":
    main()
