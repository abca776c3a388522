"""``chainrule export``: what it writes, where, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainrule.architecture import build_network
from chainrule.data.reader import read_table
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target
from chainrule.export import FORMATS, export_model
from chainrule.model import Model
from chainrule.runs import load_run
from support.commands import chainrule
from support.tables import write_visits

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    frame = read_table(write_visits(tmp_path / "visits.csv", 40))
    table = TablePreprocessor(drop=["bought"]).fit(frame)
    target = Target.detect(frame["bought"])
    path = tmp_path / "visits.safetensors"
    Model(build_network(2, target, hidden=(3,), seed=0), target, table, target_name="bought").save(path)
    return path


@pytest.mark.parametrize("to", FORMATS)
def test_a_model_file_is_exported_beside_itself(to: str, model_file: Path) -> None:
    result = chainrule("export", model_file, "--to", to)
    assert result.exit_code == 0, result.output
    written = model_file.with_suffix(FORMATS[to])  # type: ignore[index]
    first, use = result.stdout.splitlines()
    assert first == f"Wrote {written} ({written.stat().st_size / 1e3:,.1f} kB)"
    assert written.name in use


def test_a_run_is_exported_into_its_folder_and_the_code_does_the_same(tmp_path: Path) -> None:
    write_visits(tmp_path / "visits.csv")
    run = tmp_path / "run"
    arguments = ("--target", "bought", "--hidden", "4", "--epochs", "1", "--out", run, "--quiet")
    assert chainrule("train", tmp_path / "visits.csv", *arguments).exit_code == 0
    assert chainrule("export", run, "--to", "js").exit_code == 0
    by_command = (run / "model.mjs").read_bytes()
    assert load_run(run).predict(read_table(tmp_path / "visits.csv")).shape == (400,)
    (run / "model.mjs").unlink()
    code = chainrule("export", run, "--to", "js", "--show-code").stdout
    assert not (run / "model.mjs").exists()
    exec(code, {})
    assert (run / "model.mjs").read_bytes() == by_command


def test_exports_are_the_same_bytes_each_time(model_file: Path, tmp_path: Path) -> None:
    model = load_run(model_file)
    for to in ("c", "js"):
        texts = {export_model(model, tmp_path / "m", to).read_bytes() for _ in range(2)}
        assert len(texts) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to", "jss"], "The export format is one of onnx, torch, c, js, not 'jss'. Did you mean 'js'?"),
        (["--to", "c", "-o", "."], "'.' is a folder; choose another --out."),
        (["--to", "c", "-o", "visits.safetensors"], "'visits.safetensors' is the model itself; choose another --out."),
        (["--to", "c", "-o", "visits.csv/model.c"], "Could not write 'visits.csv/model.c'"),
    ],
    ids=["format", "folder", "itself", "below a file"],
)
def test_what_cannot_be_written_is_said(
    arguments: list[str], sentence: str, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model_file.parent)
    before = {path: path.read_bytes() for path in model_file.parent.iterdir()}
    result = chainrule("export", model_file.name, *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert {path: path.read_bytes() for path in model_file.parent.iterdir()} == before


def test_a_missing_run_is_said(tmp_path: Path) -> None:
    result = chainrule("export", tmp_path / "nothing", "--to", "c")
    assert result.exit_code == 2
    assert "There is no run folder" in result.stderr
