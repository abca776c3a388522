"""What messages say to type works: packages by the names that an index has, and commands as a shell reads them."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from chainrule.errors import EXTRAS, InvalidInputError, shell_command

ROOT = Path(__file__).parents[1]


def test_the_packages_of_each_extra_are_those_of_the_project() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {extra: tuple(re.split("[<>=]", one)[0] for one in packages) for extra, packages in declared.items()}
    assert {extra: packages for extra, packages in names.items() if extra not in ("dev", "docs", "labs")} == EXTRAS


def read_parquet() -> None:
    from chainrule.data import read_table

    read_table(__file__.replace(".py", ".parquet"))


def export_to_onnx() -> None:
    from chainrule.export.onnx_graph import _require_builder

    _require_builder()


def use_torch() -> None:
    from chainrule.engines.torch_engine import check_installed

    check_installed()


def serve() -> None:
    from chainrule.serving.port import check_installed

    check_installed()


@pytest.mark.parametrize(
    ("extra", "use"), [("parquet", read_parquet), ("onnx", export_to_onnx), ("torch", use_torch), ("app", serve)]
)
def test_what_is_missing_is_named_as_pip_takes_it(
    extra: str, use: Callable[[], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in EXTRAS[extra]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(read_parquet.__globals__, "__file__", str(path))
    with pytest.raises(InvalidInputError, match="needs packages that are not installed") as caught:
        use()
    assert str(caught.value).endswith(f"python -m pip install {' '.join(EXTRAS[extra])}")


def test_no_message_asks_an_index_for_chainrule() -> None:
    pages = [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    naming = re.compile(r"pip install\s+['\"]?chainrule")
    assert [page.name for page in pages if naming.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("path", ["runs/a", "my runs/it's", "-rf", "$(reboot)", "a;b", "~", "*.csv", "ä", "a\nb"])
def test_a_command_names_a_path_as_a_shell_reads_it(path: str) -> None:
    words = shlex.split(shell_command("resume", Path(path)))
    assert words[:2] == ["chainrule", "resume"]
    assert Path(words[2]) == Path(path)
    assert not words[2].startswith("-")
    assert not set(shell_command("resume", Path(path)).replace(shlex.quote(words[2]), "")) & set("$;*~`'\"")
