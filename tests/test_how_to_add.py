"""The page for contributors is true: the classes on it are added to a copy of chainrule, and keep every contract."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "add-to-chainrule.md"
CLASS = re.compile(r"`(src/chainrule/\w+/\w+\.py)`:\n\n```py\n(.*?class (\w+)\(.*?)```", re.S)
SUITES = ["test_layers_contract.py", "test_losses_contract.py", "test_optimizers_contract.py", "test_gradients.py"]


def test_the_classes_keep_the_contracts(tmp_path: Path) -> None:
    # With the machine code of the kernels, but without files that another process is just writing.
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.tmp.*", "*.pyc.*"))
    found = CLASS.findall(PAGE.read_text(encoding="utf-8"))
    assert len(found) == 4
    for path, text, name in found:
        file = tmp_path / path
        source = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r"^__all__ = \[", rf'\g<0>"{name}", ', source, count=1, flags=re.M) + f"\n\n{text}")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow", "-k",
         " or ".join(name for _, _, name in found), *(str(ROOT / "tests" / "contracts" / suite) for suite in SUITES),
         str(ROOT / "tests" / "export" / "test_onnx_layers.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "src"), str(ROOT / "tests")])},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    for _, _, name in found:
        assert len(re.findall(rf"{name}.* PASSED", run.stdout)) >= 5, name


def test_the_declaration_of_the_setting_is_that_of_the_source() -> None:
    (declaration,) = re.findall(r"```text\n(        clip_value.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert declaration in (ROOT / "src" / "chainrule" / "neuralnet.py").read_text(encoding="utf-8")
