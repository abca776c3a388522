"""The first fit of an installation waits for the compiler: the commands say so, once, and a library keeps silent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from chainrule import kernels
from chainrule.kernels.compiling import told_of_compiling
from support.commands import chainrule

LINE = "Compiling for this processor: about 10 s, and kept for the next time\n"

pytestmark = pytest.mark.skipif(kernels.active_set() != "numba", reason="the reference kernels are not compiled")


def compile_again(dispatcher: Any = None) -> None:
    """Let Numba tell its listeners what it tells them when there is no machine code on disk; of the loop of steps."""
    from numba.core import event

    from chainrule.kernels.numba_kernels.steps import train_steps

    dispatcher = train_steps if dispatcher is None else dispatcher
    with event.trigger_event("numba:compile", data={"dispatcher": dispatcher}):
        pass


class LiftedLoop:
    """What Numba makes of a loop in a function that runs in Python; it has no name."""


def train_steps() -> None:
    """Another's function of the same name."""


def test_who_wants_to_know_is_told_once_and_only_within_the_block() -> None:
    said: list[str] = []
    with told_of_compiling(lambda: said.append("compiling")):
        for other in (kernels.adam, LiftedLoop(), numba.njit(train_steps)):
            compile_again(other)
        assert said == [], "one kernel alone takes less than a second, and what others compile is not ours to tell"
        compile_again()
        compile_again()
        assert said == ["compiling"]
    with told_of_compiling(lambda: said.append("again")):
        pass
    compile_again()
    assert said == ["compiling"]


@pytest.mark.parametrize(("settings", "rank", "said"), [((), "0", LINE), ((), "1", ""), (("--quiet",), "0", "")])
def test_the_command_says_it_once_on_the_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], rank: str, said: str
) -> None:
    from chainrule.runs import running

    prepare = running._prepare
    monkeypatch.setattr(running, "_prepare", lambda *given: compile_again() or prepare(*given))  # type: ignore[func-returns-value]
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a run")
    result = chainrule("train", "xnor", "--epochs", 1, "--hidden", 2, "--out", tmp_path / "run", *settings)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(said)
    assert result.stderr.count("Compiling") == bool(said)


@pytest.mark.slow
def test_a_cold_cache_is_told_and_a_warm_one_is_not(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def errors_of(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], env=environment, check=True, capture_output=True, text=True, timeout=300
        )
        return done.stderr

    train = ("-m", "chainrule", "train", "iris", "--epochs", "1", "--hidden", "4", "--out", str(tmp_path / "run"))
    assert errors_of(*train).count(LINE) == 1
    assert LINE not in errors_of(*train), "what was compiled is kept"
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "another")
    program = "from chainrule import build_network, load_dataset; iris = load_dataset('iris')\n"
    program += "build_network(iris.n_features, iris.target, hidden=(4,), epochs=1).fit(iris)"
    assert errors_of("-c", program) == "", "it is the command's business"
