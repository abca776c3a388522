"""The order of the house: what each module of chainrule may import, and that importing the package stays light."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"

# From the ground up. A module imports only floors below its own, and on its own floor only modules to its left.
# A package stands here by its name: inside it, modules may import one another, with `base` first and without cycles.
HOUSE = {
    0: "errors paths types named ranges settings randomness rounding machine arrays json_text",
    1: "formulas kernels",
    2: "parameters program initializers schedules penalties",
    3: "layers activations losses metrics optimizer",
    4: "history threads data head stack",
    5: "engines",
    6: "callbacks",
    7: "fit_data run_state training files summary",
    8: "neuralnet architecture calibration model",
    9: "explain plots report inspection rate_finder baselines zoo textbook labs export",
    10: "estimators",
    11: "runs experiments serving",
    12: "__init__ cli __main__",  # __init__: the public names, which everything below must do without
}
PLACE = {room: (floor, i) for floor, rooms in HOUSE.items() for i, room in enumerate(rooms.split())}

# Which other libraries may be imported where. One that is not listed may be imported nowhere.
THIRD_PARTIES = {
    "numpy": "everywhere",
    "joblib": "experiments",
    "scipy": "everywhere",
    "numba": "formulas kernels",
    "llvmlite": "formulas kernels",
    "pandas": "data metrics history explain plots report baselines runs experiments cli",
    "sklearn": "data metrics plots report baselines estimators runs experiments cli",
    "torch": "formulas engines export neuralnet",
    "onnx": "export",
    "onnxruntime": "export",
    "starlette": "serving",
    "uvicorn": "serving",
    "h11": "serving",
    "narwhals": "data",
    "pyarrow": "data",
    "safetensors": "files",
    "threadpoolctl": "threads",
    "matplotlib": "plots report experiments",
    "rich": "callbacks cli",
    "typer": "cli",
}

HEAVY = ("torch", "onnx", "starlette", "pandas", "sklearn", "matplotlib", "numba", "scipy", "rich", "typer")


def find_modules(src: Path) -> dict[str, Path]:
    """Every module by its full name; a package's own name stands for its ``__init__.py``."""
    files = {path.relative_to(src).with_suffix(""): path for path in sorted((src / "chainrule").rglob("*.py"))}
    return {".".join(name.parts).removesuffix(".__init__"): path for name, path in files.items()}


def find_imports(module: str, modules: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Line and full name of all that ``module`` imports, inside functions and TYPE_CHECKING blocks too."""
    path = modules[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                name = f"{origin}.{alias.name}"
                yield node.lineno, name if name in modules else origin


def room_of(name: str) -> str:
    """``"layers"`` for ``"chainrule.layers.dense"``; ``"__init__"`` for the package itself."""
    return [*name.split("."), "__init__"][1]


def find_offences(src: Path) -> list[str]:
    """One sentence for every import that breaks the order, and for every module without a place in it."""
    modules = find_modules(src)
    inside: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    offences = []
    for module in modules:
        room = room_of(module)
        if room not in PLACE:
            offences.append(f"{module} has no place in the house: give it one in HOUSE of tests/test_import_order.py.")
            continue
        for line, name in find_imports(module, modules):
            library, other, where = name.partition(".")[0], room_of(name), f"{module}, line {line}, imports {name}"
            if library == "chainrule":
                if other == room:
                    inside[room][module].add(name)
                    if module == f"chainrule.{room}.base":
                        offences.append(f"{where}: base comes first in its package and imports nothing of it.")
                elif other not in PLACE:
                    offences.append(f"{where}, which has no place in the house.")
                elif PLACE[other] > PLACE[room]:
                    floors = f"its floor is {PLACE[other][0]}, the importer's {PLACE[room][0]}"
                    offences.append(f"{where}, which does not stand below it ({floors}).")
            elif library not in sys.stdlib_module_names:
                rooms = THIRD_PARTIES.get(library, "nowhere")
                if rooms != "everywhere" and room not in rooms.split():
                    offences.append(f"{where}: {library} may be imported in: {rooms}.")
    for graph in inside.values():
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            offences.append(f"These import one another in a circle: {' -> '.join(error.args[1][::-1])}.")
    return offences


def build_house(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / "chainrule" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_every_module_imports_only_what_stands_below_it() -> None:
    assert find_modules(SRC), f"no modules found in {SRC}"
    assert not (offences := find_offences(SRC)), "\n" + "\n".join(offences)


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"losses.py": "import chainrule.training"}, "does not stand below it (its floor is 7, the importer's 3)"),
        ({"losses.py": "def f():\n    from . import training", "training.py": ""}, "line 2, imports chainrule.tr"),
        ({"losses.py": "if TYPE_CHECKING:\n    from .metrics import accuracy"}, "its floor is 3, the importer's 3"),
        ({"layers/dense.py": "from ..activations import ReLUActivation"}, "imports chainrule.activations"),
        ({"losses.py": "from chainrule import DenseLayer"}, "imports chainrule, which does not stand below"),
        ({"layers/base.py": "from .dense import DenseLayer"}, "base comes first"),
        ({"data/a.py": "from .b import b", "data/b.py": "from chainrule.data import a"}, "in a circle"),
        ({"data/__init__.py": "from .a import a", "data/a.py": "from chainrule.data import b"}, "in a circle"),
        ({"attic.py": ""}, "chainrule.attic has no place in the house"),
        ({"losses.py": "import chainrule.attic"}, "imports chainrule.attic, which has no place"),
        ({"stack.py": "def f():\n    import pandas as pd"}, "pandas may be imported in: data metrics"),
        ({"layers/dense.py": "from numba import njit"}, "numba may be imported in: formulas kernels."),
        ({"cli/main.py": "import torch.nn"}, "torch may be imported in: formulas engines export neuralnet."),
    ],
)
def test_an_import_that_breaks_the_order_is_named(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    build_house(tmp_path, files)
    offences = find_offences(tmp_path)
    assert len(offences) == 1
    assert complaint in offences[0]


def test_an_import_that_keeps_the_order_is_not_named(tmp_path: Path) -> None:
    files = {
        "errors.py": "",
        "kernels/__init__.py": "import numba",
        "layers/__init__.py": "from .base import Layer\nfrom chainrule.layers.dense import DenseLayer",
        "layers/base.py": "import abc\nimport numpy as np\nfrom chainrule.errors import NotBuiltError",
        "layers/dense.py": "from . import base\nfrom .. import errors, kernels",
        "__init__.py": "from chainrule.layers import DenseLayer",
        "cli/main.py": "import typer\nfrom chainrule import DenseLayer",
    }
    build_house(tmp_path, files)
    assert find_offences(tmp_path) == []


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = f"import sys, chainrule; print(*(name for name in {HEAVY} if name in sys.modules))"
    fresh = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert fresh.returncode == 0, fresh.stderr
    assert fresh.stdout.split() == [], "import chainrule must not load these; import them where they are used"
