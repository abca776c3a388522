"""The first fit of an installation waits for the compiler: this is said once, and it does not count as training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest

from chainrule import kernels
from chainrule.activations import CustomActivation
from chainrule.data import Dataset
from chainrule.kernels import compiling
from chainrule.kernels.compiling import quiet_about_compiling, training_clock
from chainrule.layers import DenseLayer
from chainrule.neuralnet import NeuralNetwork
from support.commands import chainrule

LINE = "Compiling for this processor: a few seconds, and kept for the next time\n"

pytestmark = pytest.mark.skipif(kernels.active_set() != "numba", reason="the reference kernels are not compiled")


def compile_again(dispatcher: Any = None) -> None:
    """Let Numba tell its listeners what it tells them when there is no machine code on disk; of the loop of steps."""
    from numba.core import event

    from chainrule.kernels.tape import run_steps

    dispatcher = run_steps if dispatcher is None else dispatcher
    with event.trigger_event("numba:compile", data={"dispatcher": dispatcher}):
        pass


class LiftedLoop:
    """What Numba makes of a loop in a function that runs in Python; it has no name."""


def run_steps() -> None:
    """Another's function of the same name."""


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_announces", True)


def test_it_is_said_once_in_a_process_and_of_the_loop_of_steps_alone(capsys: pytest.CaptureFixture[str]) -> None:
    from chainrule.kernels.control_word import exchange

    for other in (exchange, LiftedLoop(), numba.njit(run_steps)):
        compile_again(other)
    assert capsys.readouterr() == ("", ""), "one kernel takes less than a second, and what others compile is not ours"
    with quiet_about_compiling():
        compile_again()
    assert capsys.readouterr() == ("", "")
    compile_again()
    compile_again()
    assert capsys.readouterr() == ("", LINE)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that the test sets: ``clock.now``."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(compiling.time, "perf_counter", lambda: clock.now)
    return clock


def test_the_training_clock_stands_still_while_anything_compiles(clock: Any) -> None:
    from numba.core import event

    start = training_clock()
    for _ in range(2):
        clock.now += 1
        with event.trigger_event("numba:compiler_lock"):
            clock.now += 10
            with event.trigger_event("numba:compiler_lock"):
                clock.now += 10
                inside = training_clock()
            clock.now += 10
            assert training_clock() == inside
        clock.now += 1
    assert training_clock() - start == 4


def test_the_seconds_of_an_epoch_are_those_of_training(clock: Any) -> None:
    from numba.core import event

    def slow(z: Any) -> Any:
        with event.trigger_event("numba:compiler_lock"):
            clock.now += 100
        clock.now += 1
        return np.array(z)  # which cannot be traced, so that it is called in every step

    network = NeuralNetwork(epochs=2, batch_size=2, seed=0)
    for layer in (DenseLayer(1, (1,)), CustomActivation(slow, lambda z: z * 0 + 1)):
        network.add(layer)
    network.fit(Dataset([[1.0], [2.0], [3.0], [4.0]], [0.5, 1.5, 2.5, 3.7], task="regression"))
    assert network.history["seconds"] == [2, 2]


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(("settings", "rank", "said"), [((), "0", LINE), ((), "1", ""), (("--quiet",), "0", "")])
def test_the_command_says_it_once_on_the_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], rank: str, said: str
) -> None:
    from chainrule.runs import running

    prepare = running.prepare
    monkeypatch.setattr(running, "prepare", lambda *given: compile_again() or prepare(*given))  # type: ignore[func-returns-value]
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a run")
    result = chainrule("train", "xnor", "--epochs", 1, "--hidden", 2, "--out", tmp_path / "run", *settings)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(said)
    assert result.stderr.count("Compiling") == bool(said)


# No folder for machine code can be written, and there is no home folder.
READ_ONLY = """
import sys
from numba.core.caching import _CacheLocator
def refuse(self):
    raise OSError(30, "Read-only file system")
_CacheLocator.ensure_cache_path = refuse
"""
NOT_KEPT = (
    "Compiling for this processor: some seconds in every process, because neither the installation nor the user's "
)
NOT_KEPT += "cache folder can be written; set NUMBA_CACHE_DIR to a folder that can\n"


def read_only(program: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", READ_ONLY + program, *map(str, arguments)]
    environment = {**os.environ, "HOME": "/proc/nowhere"}
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
        environment.pop(name, None)
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_where_no_machine_code_can_be_kept_every_process_compiles_and_says_so(tmp_path: Path) -> None:
    program = "from chainrule import NeuralNetwork\nfrom chainrule.activations import SigmoidActivation\n"
    program += "from chainrule.layers import DenseLayer\nnetwork = NeuralNetwork(epochs=1, seed=0)\n"
    program += "network.add(DenseLayer(1, (2,)))\nnetwork.add(SigmoidActivation())\n"
    program += "print(network.fit([[0.0, 0.0]] * 2, [0.25, 0.75]).predict([[0.0, 0.0]]).tolist())"
    ended = read_only(program, folder=tmp_path)
    assert (ended.stdout, ended.stderr) == ("[[0.5]]\n", NOT_KEPT)


@pytest.mark.slow
def test_a_read_only_installation_without_a_home_folder_trains_and_predicts(tmp_path: Path) -> None:
    command = "from chainrule.cli import main; main()"
    trained = read_only(command, "train", "xnor", "-e", 1, "-o", "run", folder=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert [line for line in trained.stderr.splitlines() if not line.startswith("epoch ")] == [NOT_KEPT.strip()]
    assert (tmp_path / "run" / "report.html").exists()
    (tmp_path / "new.csv").write_text("x1,x2\n0,1\n")
    predicted = read_only(command, "predict", "run", "new.csv", folder=tmp_path)
    assert (predicted.returncode, predicted.stderr) == (0, NOT_KEPT)
    assert len(predicted.stdout.splitlines()) == 2


@pytest.mark.slow
def test_a_cold_cache_is_told_and_a_warm_one_is_not(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def errors_of(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], env=environment, check=True, capture_output=True, text=True, timeout=300
        )
        return done.stderr

    train = ("-m", "chainrule", "train", "iris", "--epochs", "1", "--hidden", "4", "--out")
    assert errors_of(*train, str(tmp_path / "cold")).count(LINE) == 1
    assert LINE not in errors_of(*train, str(tmp_path / "warm")), "what was compiled is kept"
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "another")
    program = "from chainrule import build_network, load_dataset; iris = load_dataset('iris')\n"
    program += "build_network(iris.n_features, iris.target, hidden=(4,), epochs=1).fit(iris)"
    assert errors_of("-c", program) == LINE
    assert errors_of("-c", program) == ""
