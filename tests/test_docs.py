"""The documentation is true: its examples run, its commands exist, and its table names what is there."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import chainrule
from chainrule import __version__
from chainrule.activations import ACTIVATIONS
from chainrule.cli.app import app
from chainrule.data import Dataset, names
from chainrule.initializers import INITIALIZERS
from chainrule.labs import lab_names
from chainrule.layers import LAYERS, DenseLayer
from chainrule.losses import LOSSES
from chainrule.metrics import METRICS, ClassAverage
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS
from chainrule.penalties import PENALTIES
from chainrule.schedules import SCHEDULES

pytestmark = pytest.mark.usefixtures("without_figures")

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# The pages of the labs are written by `make labs`; tests/test_labs.py runs their code.
PAGES = sorted(page for page in DOCS.rglob("*.md") if not {"_build", "labs"} & set(page.relative_to(DOCS).parts))
SHOWING = [page for page in [*PAGES, ROOT / "README.md"] if re.search(r"^```(python|console)", page.read_text(), re.M)]
COURSE = DOCS / "from-the-course.md"

# A fence, with the comment before it that says why its commands are not run here.
FENCE = re.compile(r"(?:<!-- (?P<why>parsed only: [^>]*) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
NAME = re.compile(r"`(chainrule\.[\w.]+)(?:\((\w+)\))?`")
DECIMAL = re.compile(r"\d+\.\d+")

# Attributes that an object has and its class has not.
INSTANCES = {
    Dataset: Dataset([[0.0], [1.0]], [0, 1]),
    DenseLayer: DenseLayer(1, (1,)),
    NeuralNetwork: NeuralNetwork(),
}


class Block(NamedTuple):
    kind: str
    text: str
    line: int
    expected: str | None
    only_parsed: bool


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks; a ``text`` block right below a ``python`` block is what that prints."""
    text = page.read_text(encoding="utf-8")
    fences = list(FENCE.finditer(text))
    blocks = []
    for place, fence in enumerate(fences):
        below = fences[place + 1] if place + 1 < len(fences) else None
        is_output = below is not None and below["kind"] == "text" and not text[fence.end() : below.start()].strip()
        expected = below["text"] if below is not None and is_output else None
        line = text.count("\n", 0, fence.start("text")) + 1
        blocks.append(Block(fence["kind"], fence["text"], line, expected, only_parsed=fence["why"] is not None))
    return blocks


def commands_of(text: str) -> list[tuple[str, str]]:
    """The commands of a ``console`` block, each with the output below it; without prompts, every line is a command."""
    if not text.startswith("$ "):
        return [(line, "") for line in text.splitlines()]
    return [(command, output) for command, _, output in (part.partition("\n") for part in text[2:].split("\n$ "))]


def check_output(want: str, got: str, where: str) -> None:
    """What is printed is what the page says, but for ``...``, white space, and the last digits of decimal fractions."""
    numbers: list[float] = []

    def pattern_of(part: re.Match[str]) -> str:
        text = part.group()
        if text == "...":
            return ".*?"
        if text.isspace():
            return r"\s+"
        if text[0] in "─-" and len(text) > 1:
            return f"{text[0]}+"
        if DECIMAL.fullmatch(text):
            numbers.append(float(text))
            return rf"({DECIMAL.pattern})"
        return re.escape(text)

    pattern = re.sub(rf"\.\.\.|\s+|─+|--+|{DECIMAL.pattern}(?![.\d])|.", pattern_of, want.strip(), flags=re.S)
    match = re.fullmatch(pattern, got.strip(), re.S)
    assert match, f"{where} prints\n{got}\nand says\n{want}"
    for said, printed in zip(numbers, match.groups(), strict=True):
        near = abs(float(printed) - said) <= max(0.2 * abs(said), 0.03)
        assert near, f"{where} prints {printed} where it says {said}"


def parse(command: str) -> list[str]:
    """Let the command line read a command's arguments, without running it; return them."""
    program, *arguments = shlex.split(command, comments=True)
    assert program == "chainrule", command
    group: Any = get_command(app)
    context, rest = None, arguments
    while rest and hasattr(group, "get_command"):
        context = group.make_context(group.name, [rest[0]], parent=context, resilient_parsing=True)
        group, rest = group.get_command(context, rest[0]), rest[1:]
        assert group is not None, f"there is no command: {command}"
    if "--help" not in rest:
        group.make_context(group.name, list(rest), parent=context)
    return arguments


def run_command(command: str, output: str, where: str) -> None:
    result = CliRunner().invoke(app, parse(command))
    assert result.exit_code == 0, f"{where}: {command}\n{result.output}"
    if output:
        check_output(output, result.stdout, f"{where}: {command}")


def run_python(block: Block, namespace: dict[str, Any], page: Path) -> None:
    # The line numbers of errors are those of the page.
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec", dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    if block.expected is not None:
        check_output(block.expected, printed.getvalue(), f"{page.name}:{block.line}")


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_everything_a_page_shows_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": f"docs_{page.stem.replace('-', '_')}"}
    for block in blocks_of(page):
        if block.kind == "python":
            run_python(block, namespace, page)
        elif block.kind == "console":
            for command, output in commands_of(block.text):
                if not command.startswith("chainrule"):
                    continue
                if block.only_parsed or page.name == "README.md":
                    parse(command)
                else:
                    run_command(command, output, f"{page.name}:{block.line}")


def resolve(name: str) -> Any:
    """Import as much of the name as is a module, and get the rest."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            if isinstance(found, type) and not hasattr(found, part):
                found = INSTANCES.get(found, found)
            found = getattr(found, part)
        return found
    raise AssertionError(f"no module in {name}")


def course_rows() -> list[tuple[str, str]]:
    lines = COURSE.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert all(len(row) == 2 for row in rows)
    return [(left, right) for left, right in rows if left != "in the course" and set(left) != {"-"}]


def test_every_name_of_the_course_table_is_there() -> None:
    for item, here in course_rows():
        found = NAME.findall(here)
        assert found, f"the row '{item}' names nothing"
        for name, argument in found:
            thing = resolve(name)
            if argument:
                assert argument in inspect.signature(thing).parameters, f"{name} has no argument {argument}"


def test_the_course_table_forgets_no_piece() -> None:
    named = {name for name, _ in NAME.findall(COURSE.read_text(encoding="utf-8"))}
    resolved = [resolve(name) for name in named]
    registries = (ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS, SCHEDULES, INITIALIZERS, PENALTIES)
    pieces = [cls for registry in registries for cls in registry.classes.values()]
    functions = [metric.function for metric in METRICS.values()]
    pieces += [ClassAverage if isinstance(function, ClassAverage) else function for function in functions]
    assert [piece.__name__ for piece in pieces if not any(piece is one for one in resolved)] == []


def test_the_page_of_data_sets_lists_them_all() -> None:
    page = (DOCS / "how-to" / "data-sets.md").read_text(encoding="utf-8")
    assert [name for name in names() if f"`{name}`" not in page] == []


def test_pages_link_to_pages_that_are_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.relative_to(ROOT)} links to {target}"


PUBLIC_MODULES = [name for name in dir(chainrule) if inspect.ismodule(getattr(chainrule, name))]


def is_documented(module: Any, name: str, reference: str) -> bool:
    """Whether a class or a function has a docstring, or a constant a ``#:`` comment or an entry of its own."""
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        return bool(value.__doc__)
    return f".{name}\n" in reference or bool(
        re.search(rf"^#: \w.*\n(#:.*\n)*{name}\b", inspect.getsource(module), re.M)
    )


def test_the_reference_has_every_public_name() -> None:
    """Every name in ``__all__`` of a public module has a docstring, and a page of the reference lists the members."""
    assert {"neuralnet", "layers", "data", "experiments"} <= set(PUBLIC_MODULES)
    text = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    top_level = set(chainrule.__all__)
    for module in map(importlib.import_module, (f"chainrule.{name}" for name in PUBLIC_MODULES)):
        listed = re.search(rf"automodule:: {module.__name__}\n   :members:(.*)\n", text)
        assert listed, f"no page of the reference lists the members of {module.__name__}"
        assert not listed[1] or set(listed[1].strip().split(", ")) == set(module.__all__), module.__name__
        assert [name for name in module.__all__ if not is_documented(module, name, text)] == [], module.__name__
        top_level -= set(module.__all__)
    assert top_level == {"__version__"}


@pytest.mark.slow
def test_the_documentation_is_built_without_a_warning(tmp_path: Path) -> None:
    """As ``make docs`` builds it. The inventory of the pages has every public name."""
    inventories = pytest.importorskip("sphinx.util.inventory", reason="Sphinx is not installed")
    options = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(tmp_path / "html")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-5000:]
    inventory = inventories.InventoryFile.loads((tmp_path / "html" / "objects.inv").read_bytes(), uri="")
    names = {name for kind, entries in inventory.data.items() if kind.startswith("py:") for name in entries}
    for module in map(importlib.import_module, (f"chainrule.{name}" for name in PUBLIC_MODULES)):
        place = re.compile(rf"{re.escape(module.__name__)}\.(\w+\.)?(\w+)")
        found = {match[2] for match in map(place.fullmatch, names) if match}
        assert set(module.__all__) <= found, f"{module.__name__}: {set(module.__all__) - found}"


def test_pieces_have_an_example_and_an_equation() -> None:
    with_equations = (ACTIVATIONS, LOSSES, OPTIMIZERS, PENALTIES)
    for registry in (*with_equations, LAYERS, INITIALIZERS, SCHEDULES):
        for cls in registry.classes.values():
            assert ">>> " in cls.__doc__, f"{cls.__name__} has no example"
            assert registry not in with_equations or "math::" in cls.__doc__, f"{cls.__name__} has no equation"


def test_tests_that_pages_name_are_there() -> None:
    for page in PAGES:
        for path, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text(encoding="utf-8")):
            assert (ROOT / path).is_file(), f"{page.name}: {path}"
            assert not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{page.name}: {name}"


def test_statements_of_the_comparison_have_a_test_or_a_source() -> None:
    """The second table names a test of each row; what is said of another library has a link, or refers to PyTorch."""
    lines = (DOCS / "explanation" / "comparison.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| \w", line)]
    statements, tests = ([row for row in rows if len(row) == n] for n in (6, 2))
    assert [topic for topic, *_ in statements] == [topic for topic, test in tests if "`tests/" in test]
    needs_no_source = re.compile(r"no|not measured|[\d.]+ to \d+|.*PyTorch|written by the user|with .*")
    for topic, _, *elsewhere in statements:
        unsupported = [cell for cell in elsewhere if "](https://" not in cell and not needs_no_source.fullmatch(cell)]
        assert not unsupported, topic


def test_lists_in_docstrings_hold_names_and_what_is_said_of_them() -> None:
    """What else stands below a heading would be shown as a name, and of two names of an attribute only one."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                continue
            heading, *sections = re.split(r"^(\w+)\n-+\n", ast.get_docstring(node) or "", flags=re.M)
            for heading, text in zip(sections[::2], sections[1::2], strict=True):
                # Classes may have "{settings}" or "{attributes}" in place of the names.
                name = r"\w+|\{attributes\}" if heading == "Attributes" else r"\*{0,2}\w+(, \w+)*|\{settings\}"
                if heading in ("Parameters", "Attributes", "Raises"):
                    strangers = [
                        line for line in text.splitlines() if line[:1].strip() and not re.fullmatch(name, line)
                    ]
                    assert not strangers, f"{path}, {getattr(node, 'name', 'module')}: {strangers}"


def test_the_changelog_and_the_citation_have_the_version_of_the_package() -> None:
    newest = re.search(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None
    assert newest[1] == __version__
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text().splitlines()


def test_each_part_of_the_course_has_tests_and_each_lab_a_page() -> None:
    table = (DOCS / "course-coverage.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith(("| part", "|---"))]
    assert rows
    assert not [row for row in rows if "`tests/" not in row]
    for name in lab_names():
        assert f"(labs/{name}.md)" in table, f"no part of the course names the lab {name}"
        assert (DOCS / "labs" / f"{name}.md").is_file(), f"run: make labs NAMES={name}"
