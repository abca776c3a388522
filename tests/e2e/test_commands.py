"""The commands as a new user types them."""

from __future__ import annotations

import inspect
import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from chainrule import __version__
from chainrule.cli import main
from chainrule.cli.check import check
from chainrule.cli.data import fetch, list_sets, show
from chainrule.cli.explain import explain
from chainrule.cli.export import export
from chainrule.cli.serve import serve
from chainrule.cli.train import resume, train
from chainrule.cli.use import evaluate, predict
from chainrule.data import NamedSet, RemoteFile, Target, catalog
from support.commands import chainrule
from support.served import sale_table, sold_model
from support.tables import write_houses, write_lines, write_visits

pytestmark = pytest.mark.usefixtures("without_figures")

HEAVY = ("numpy", "pandas", "scipy", "sklearn", "numba", "matplotlib", "torch")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_houses(tmp_path / "houses.csv")
    write_visits(tmp_path / "visits.csv")
    return tmp_path


def run_code(code: str) -> str:
    """Run a printed program and return what it prints."""
    output, real = io.StringIO(), sys.stdout
    sys.stdout = output
    try:
        exec(compile(code, "shown code", "exec"), {})
    finally:
        sys.stdout = real
    return output.getvalue()


@pytest.mark.figures
def test_the_main_job_on_classes(folder: Path) -> None:
    result = chainrule(*["train", "visits.csv", "--target", "bought", "--out", "run"])
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "visits.csv: 400 rows, 2 columns; 2 classes of bought; 320 training rows, 80 test rows" in text
    assert "Training starts from logistic regression and keeps" in text
    for part in ("accuracy", "roc auc", "log loss", "this network", "logistic regression", "majority class"):
        assert part in text
    assert "The run folder is run; open run/report.html" in text
    network, logistic = [float(number) for number in text.split("accuracy")[1].split()[:2]]
    assert network > 0.85
    assert network > logistic + 0.2, "a curve divides the classes, and no straight line does"

    evaluated = chainrule("evaluate", "run", "visits.csv")
    assert evaluated.exit_code == 0
    assert "accuracy" in evaluated.stdout

    printed = chainrule("predict", "run", "visits.csv")
    frame = pd.read_csv(io.StringIO(printed.stdout))
    assert list(frame) == ["prediction", "probability_no", "probability_yes"]
    assert len(frame) == 400
    assert ((frame["probability_yes"] >= 0.5) == (frame["prediction"] == "yes")).all()


@pytest.mark.figures
def test_the_main_job_on_numbers(folder: Path) -> None:
    result = chainrule(*["train", "houses.csv", "--target", "price"])
    assert result.exit_code == 0, result.output
    runs = list((folder / "runs").iterdir())
    assert len(runs) == 1
    assert runs[0].name.startswith("houses-20")
    network, ridge = [float(number) for number in result.stdout.split("\nr2")[1].split()[:2]]
    assert network > 0.95 > ridge
    new = write_lines(folder / "new.csv", "area,rooms,town", ["100,,Atlantis", "100,3,Porto"])
    written = chainrule("predict", runs[0], new, "-o", "out.csv")
    assert written.exit_code == 0
    assert "Wrote 2 predictions to out.csv" in written.stdout
    prices = pd.read_csv("out.csv")["prediction"]
    assert prices[1] == pytest.approx(330_000, rel=0.15)
    assert np.isfinite(prices[0])


def test_quiet_prints_the_folder_only(folder: Path) -> None:
    result = chainrule(*["train", "visits.csv", "-t", "bought", "--epochs", "2", "--out", "run", "--quiet"])
    assert (result.stdout, result.stderr) == ("run\n", "")


COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "resume": resume,
    "predict": predict,
    "evaluate": evaluate,
    "explain": explain,
    "export": export,
    "serve": serve,
    "check": check,
    "data list": list_sets,
    "data show": show,
    "data fetch": fetch,
}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_helps(command: str) -> None:
    result = chainrule(*command.split(), "--help")
    assert result.exit_code == 0
    assert "chainrule" in result.stdout
    if command:
        assert f"Example: chainrule {command}" in result.stdout


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_flows_to_the_width_of_the_terminal(command: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = [line.rstrip() for line in chainrule(*command.split(), "--help").stdout.split("\u256d")[0].splitlines()]
    expected = [""]
    for paragraph in (inspect.getdoc(COMMANDS[command]) or "").split("\n\n"):
        lines = textwrap.wrap(paragraph, width - 2, break_on_hyphens=False)
        expected += [*(f" {line}" for line in lines), ""]
    assert shown[2 : 2 + len(expected)] == expected


def test_version() -> None:
    assert chainrule("--version").stdout == f"chainrule {__version__}\n"


def test_help_loads_nothing_heavy_and_the_module_is_the_command() -> None:
    program = "import sys, runpy; sys.argv = ['chainrule', '--help']\n"
    program += "try: runpy.run_module('chainrule', run_name='__main__')\n"
    program += f"finally: print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Usage: chainrule" in result.stdout
    assert result.stdout.endswith("loaded: []\n")


def test_shown_code_does_what_the_commands_do(folder: Path) -> None:
    arguments = ["visits.csv", "--target", "bought", "--epochs", "3", "--hidden", "8"]
    assert chainrule("train", *arguments, "--out", "run").exit_code == 0
    shown = chainrule("train", *arguments, "--out", "elsewhere", "--show-code")
    assert not (folder / "elsewhere").exists()
    run_code(shown.stdout)
    by_code = chainrule("predict", "model.safetensors", "visits.csv")
    by_command = chainrule("predict", "run", "visits.csv")
    assert by_code.stdout.replace("probability_", "") == by_command.stdout.replace("probability_", "")

    run_code(chainrule("predict", "run", "visits.csv", "-o", "by_code.csv", "--show-code").stdout)
    assert chainrule("predict", "run", "visits.csv", "-o", "by_command.csv").exit_code == 0
    pd.testing.assert_frame_equal(pd.read_csv("by_code.csv"), pd.read_csv("by_command.csv"), rtol=1e-6)
    assert "prediction" in run_code(chainrule("predict", "run", "visits.csv", "--show-code").stdout)
    assert "'accuracy'" in run_code(chainrule("evaluate", "run", "visits.csv", "--show-code").stdout)


def test_gaps_and_outputs_are_treated_as_asked(folder: Path) -> None:
    arguments = ["houses.csv", "-t", "price", "--epochs", "1", "--missing", "zero", "--output-activation", "softplus"]
    assert chainrule("train", *arguments, "--out", "run").exit_code == 0
    code = chainrule("train", *arguments, "--show-code").stdout
    for part in ('missing="zero"', "standardize_target=False", 'output_activation="softplus"'):
        assert part in code
    assert (pd.read_csv(io.StringIO(chainrule("predict", "run", "houses.csv").stdout))["prediction"] >= 0).all()


@pytest.mark.parametrize("loss", ["mean_squared_error", "binary_cross_entropy", "categorical_cross_entropy"])
def test_check_and_its_code_print_the_same(loss: str) -> None:
    arguments = ("check", "--loss", loss, "--hidden", "6", "--dropout", 0.2, "--l2", 0.01)
    result = chainrule(*arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith("gradients are correct")
    assert run_code(chainrule(*arguments, "--show-code").stdout) == result.stdout


def test_check_ends_with_1_when_a_gradient_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.activations import TanhActivation

    def forgets_the_factor(_: TanhActivation, output_error: np.ndarray) -> np.ndarray:
        return output_error

    monkeypatch.setattr(TanhActivation, "backward_propagation", forgets_the_factor)
    result = chainrule("check", "--activation", "tanh")
    assert result.exit_code == 1
    assert "WRONG" in result.stdout


@pytest.mark.parametrize("command", ["predict run new.csv", "evaluate run new.csv", "export run --to onnx", "check"])
def test_ctrl_c_ends_every_command_with_130(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chainrule.runs.load_run", press)
    monkeypatch.setattr("chainrule.runs.Check.run", press)
    result = chainrule(*command.split())
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


def test_the_catalogue_is_listed_and_shown() -> None:
    listed = chainrule("data", "list").stdout
    for name in catalog.names():
        assert name in listed
    shown = chainrule("data", "show", "iris").stdout
    assert "chainrule train iris" in shown
    assert "CC BY 4.0" in shown
    assert "needs no download" in chainrule("data", "fetch", "iris").stdout


def test_fetch_brings_files_and_the_list_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    (tmp_path / "data" / "toy").mkdir(parents=True)
    (tmp_path / "data" / "toy" / "toy.csv").write_text("a,b\n1,2\n")
    checksum = hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    file = RemoteFile("toy", "toy.csv", ("http://127.0.0.1:9/toy.csv",), checksum, 8)
    toy = NamedSet("toy", "Toy", "regression", 1, 1, "A toy.", "none", lambda _: None, files=(file,))  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(catalog, "names", lambda: ("toy",))
    monkeypatch.setattr(catalog, "get", lambda _: toy)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    assert "download, 0 kB" in chainrule("data", "list").stdout
    failed = chainrule("data", "fetch", "toy")
    assert failed.exit_code == 2
    assert "could not be downloaded" in failed.stderr
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path / "data"))
    assert "on disk" in chainrule("data", "list").stdout
    assert chainrule("data", "fetch", "toy").stdout.strip() == os.fspath(tmp_path / "data" / "toy" / "toy.csv")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_labels_that_are_numbers_are_printed_exactly(tmp_path: Path, kind: str) -> None:
    model = sold_model()
    model.target = Target("binary", (0.12345678, 0.12345679), 1)
    model.save(tmp_path / "model.safetensors")
    table = sale_table()
    if kind == "csv":
        table.to_csv(tmp_path / "new.csv", index=False)
    else:
        table.to_parquet(tmp_path / "new.parquet", index=False, row_group_size=50)
    result = chainrule("predict", tmp_path / "model.safetensors", tmp_path / f"new.{kind}")
    assert result.exit_code == 0, result.stderr
    lines = [line.split(",") for line in result.stdout.splitlines()[1:]]
    assert [cells[0] for cells in lines] == [repr(label) for label in model.predict(table).tolist()]
    assert lines[0][2] == f"{model.outputs(table)[0, 0]:.7g}"


# Ctrl-C is pressed while the commands are imported.
EARLY = """
import os, signal, sys
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == "chainrule.cli.app":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press())
signal.signal(signal.SIGINT, getattr(signal, sys.argv.pop(1)))
from chainrule.cli import main
main()
"""


@pytest.mark.parametrize(("handler", "code"), [("default_int_handler", -signal.SIGINT), ("SIG_IGN", 0)])
def test_an_early_ctrl_c_is_no_traceback(handler: str, code: int) -> None:
    command = [sys.executable, "-c", EARLY, handler, "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (code, "")


def test_ctrl_c_within_a_command_is_the_command_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before, handlers = signal.getsignal(signal.SIGINT), []
    app = SimpleNamespace(app=lambda prog_name: handlers.append(signal.getsignal(signal.SIGINT)))
    monkeypatch.setitem(sys.modules, "chainrule.cli.app", app)
    main()
    assert handlers == [before]
