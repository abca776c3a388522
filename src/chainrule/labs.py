"""The labs: lessons that run as Python scripts and as notebooks.

A lab is a file ``labs/NN_name.py`` in the percent format: ``# %% [markdown]`` starts a cell of text, written as
comments, and ``# %%`` a cell of code. ``chainrule labs`` lists the labs, and ``chainrule labs NAME`` copies one as a
notebook.

With the environment variable ``CHAINRULE_LABS=quick``, the labs use small data that are part of the installation, and
few epochs and seeds. The tests run them in this way.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from chainrule.data import catalog
from chainrule.data.dataset import Dataset
from chainrule.data.sources import datasets_of, load_dataset
from chainrule.data.table import TablePreprocessor
from chainrule.errors import DataError, InvalidInputError, nearest_name
from chainrule.files.atomic import write_atomically
from chainrule.named import checked
from chainrule.paths import as_path

__all__ = ["as_notebook", "budget", "copy_lab", "is_quick", "lab_file", "lab_names", "lab_title", "load_lab_data"]

Choice = TypeVar("Choice")

_SUBSTITUTES = {"imdb": "digits", "boston": "diabetes", "california": "diabetes"}  # for all others: digits
_LINK = re.compile(r"\[([^\]]+)\]\((\d\d)_\w+\.md\)")  # to the page of another lab
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)


def is_quick() -> bool:
    """Return whether the labs use small data and few epochs, that is, whether ``CHAINRULE_LABS`` is ``quick``."""
    return os.environ.get("CHAINRULE_LABS") == "quick"


def budget(full: Choice, quick: Choice) -> Choice:
    """Return ``quick`` in a quick run of the labs, otherwise ``full``: numbers of epochs, seeds or rows, for example.

    >>> budget(20, quick=2) in (20, 2)
    True
    """
    return quick if is_quick() else full


@checked
def load_lab_data(
    name: str, split: Callable[[Dataset], tuple[Dataset, Dataset]] | None = None
) -> tuple[Dataset, Dataset]:
    """Return the training set and the test set of a named data set. They are not standardised.

    The test set is the official one. If there is none, ``split`` divides the rows, by default into 80 % and 20 %.
    If the files of the data set are neither in the cache nor in the folder ``CHAINRULE_DATA`` and cannot be
    downloaded, the reason is printed, and a set that is part of the installation is returned instead: the
    handwritten digits of scikit-learn, for ``mnist`` and ``fashion-mnist`` enlarged to 28 x 28 pixels, for ``imdb``
    with two classes (odd and even), and for ``boston`` and ``california`` the diabetes table.
    """
    split = split or _split
    named = catalog.get(name)
    if not (is_quick() and named.files):
        try:
            train, test = datasets_of(named.load(), preprocessor=TablePreprocessor(scaling="none"))
            return split(train) if test is None else (train, test)
        except DataError as error:
            reason = f"{named.title} could not be loaded ({error})"
    else:
        reason = "CHAINRULE_LABS=quick"
    substitute = _SUBSTITUTES.get(name, "digits")
    print(f"{reason}: this lab uses {substitute!r} instead of {name!r}, and its results differ from those in the text.")
    data = load_dataset(substitute)
    if name in ("mnist", "fashion-mnist"):
        enlarged = np.kron(np.asarray(data.X).reshape(-1, 8, 8), np.ones((1, 3, 3), np.float32))
        images = np.pad(enlarged, ((0, 0), (2, 2), (2, 2)))  # 28 x 28 pixels
        data = Dataset(images, data.y, name="digits, 28 x 28 pixels")
    if name == "imdb":
        data = Dataset(data.X, np.where(np.asarray(data.y) % 2, "odd", "even"), name="digits, odd or even")
    return split(data)


def _split(data: Dataset) -> tuple[Dataset, Dataset]:
    return data.split(0.2, seed=0)


def _folder() -> Path:
    """Return the folder of the labs: inside an installed package, or beside ``src`` in a copy of the source."""
    here = Path(__file__).parent
    installed = here / "lab_files"
    return installed if installed.is_dir() else here.parents[1] / "labs"


def lab_names() -> tuple[str, ...]:
    """Return the names of the labs in their order, such as ``"05_mnist"``."""
    return tuple(sorted(path.stem for path in _folder().glob("[0-9][0-9]_*.py")))


def lab_file(name: str, *, solution: bool = False) -> Path:
    """Return the file of a lab, or of the solutions of its exercises.

    The name may be given without its number, and the number without the name. Raises ``InvalidInputError`` for an
    unknown name, with the names of the labs.
    """
    names = lab_names()
    wanted = name.strip().lower().replace("-", "_").removesuffix(".py")
    for known in names:
        number, _, title = known.partition("_")
        if wanted in (known, title) or (wanted.isdecimal() and int(wanted) == int(number)):
            return _folder() / ("solutions" if solution else "") / f"{known}.py"
    titles = [*names, *(known.partition("_")[2] for known in names)]
    raise InvalidInputError(
        f"There is no lab named {name!r}.{nearest_name(wanted, titles)} The labs are: {', '.join(names)}."
    )


def lab_title(name: str) -> str:
    """Return the first heading of a lab."""
    found = re.search(r"^# # (.+)$", lab_file(name).read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else name


def as_notebook(text: str) -> dict[str, Any]:
    r"""Return a script in the percent format as a Jupyter notebook (nbformat 4.5), without outputs.

    >>> notebook = as_notebook("# %% [markdown]\n# A *text*.\n\n# %%\nprint(1)\n")
    >>> [(cell["cell_type"], cell["source"]) for cell in notebook["cells"]]
    [('markdown', 'A *text*.'), ('code', 'print(1)')]
    """
    pieces = _CELL.split(text)[1:]  # heading, body, heading, body, ...
    cells: list[dict[str, Any]] = []
    for heading, body in zip(pieces[::2], pieces[1::2], strict=True):
        cell: dict[str, Any] = {"id": f"cell-{len(cells) + 1}", "metadata": {}}
        if "[markdown]" in heading:
            lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip("\n").split("\n")]
            cell |= {"cell_type": "markdown", "source": "\n".join(lines).strip()}
        else:
            cell |= {"cell_type": "code", "source": body.strip("\n"), "execution_count": None, "outputs": []}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


@checked
def copy_lab(name: str, folder: str | Path = ".", *, solution: bool = False, force: bool = False) -> Path:
    """Write a lab as a notebook into a folder, and return its path.

    ``solution`` writes the solutions of its exercises. Raises ``InvalidInputError`` if the file exists, unless
    ``force`` is True.
    """
    source = lab_file(name, solution=solution)
    path = as_path(folder) / f"{source.stem}{'_solutions' if solution else ''}.ipynb"
    if path.exists() and not force:
        raise InvalidInputError(
            f"{path} exists already; choose another folder, or replace it with force=True (--force)."
        )
    text = _LINK.sub(r"\1 (`chainrule labs \2`)", source.read_text(encoding="utf-8"))
    write_atomically(path, json.dumps(as_notebook(text), indent=1, ensure_ascii=False))
    return path
