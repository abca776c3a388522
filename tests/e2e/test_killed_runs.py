"""Runs that are killed, interrupted, or out of disk, each in a process of its own."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.commands import chainrule, start, wait_for
from support.tables import write_visits

SETTINGS = ("--target", "bought", "--preset", "plain", "--hidden", "16", "--batch-size", "8", "--epochs", "80")
SETTINGS += ("--early-stopping", "--patience", "1000", "--dropout", "0.2", "--batch-norm", "--schedule", "cosine")
SETTINGS += ("--checkpoint-every", "1")


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_visits(tmp_path_factory.mktemp("data") / "visits.csv", 300)


@pytest.fixture(scope="module")
def undisturbed(visits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, float]:
    """The model of the run that nobody stopped, and how long the run took from its first file to its last."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    process = start("train", visits, *SETTINGS, "--out", folder, "--quiet")
    wait_for(folder / "run.json", process)
    began = time.monotonic()
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output.strip() == str(folder)
    return (folder / "model.safetensors").read_bytes(), time.monotonic() - began


def kill_somewhere(process: subprocess.Popen[str], folder: Path, delay: float) -> bool:
    """Kill the process some time after its run began; return whether it was still at work."""
    wait_for(folder / "run.json", process)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_a_run_killed_twice_ends_with_the_same_bytes(
    visits: Path, undisturbed: tuple[bytes, float], tmp_path: Path
) -> None:
    model, seconds = undisturbed
    clock, folder = random.Random(1), tmp_path / "run"
    assert kill_somewhere(start("train", visits, *SETTINGS, "--out", folder), folder, clock.uniform(0, 0.5) * seconds)
    kill_somewhere(start("resume", folder), folder, clock.uniform(0.2, 0.6) * seconds)
    result = chainrule("resume", folder)
    assert result.exit_code == 0 or "is finished" in result.stderr, result.output
    assert (folder / "model.safetensors").read_bytes() == model


@pytest.mark.slow
def test_ten_runs_killed_at_random_end_with_the_same_bytes(
    visits: Path, undisturbed: tuple[bytes, float], tmp_path: Path
) -> None:
    model, seconds = undisturbed
    n_killed = 0
    for number in range(10):
        folder = tmp_path / f"run{number}"
        process = start("train", visits, *SETTINGS, "--out", folder)
        n_killed += kill_somewhere(process, folder, random.uniform(0, 0.9) * seconds)
        result = chainrule("resume", folder)
        assert result.exit_code == 0 or "is finished" in result.stderr, result.output
        assert (folder / "model.safetensors").read_bytes() == model, f"run {number}"
    assert n_killed >= 5, "the kills came too late to prove anything"


def test_ctrl_c_saves_a_checkpoint_and_says_how_to_go_on(
    visits: Path, undisturbed: tuple[bytes, float], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = start("train", visits, *SETTINGS, "--out", folder)
    wait_for(folder / "checkpoint.safetensors", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert f"continue with: chainrule resume {folder}" in errors.splitlines()[-1]
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    assert chainrule("resume", folder).exit_code == 0
    assert (folder / "model.safetensors").read_bytes() == undisturbed[0]


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(visits: Path, tmp_path: Path) -> None:
    """No file may grow beyond 4 kB: the record fits, the first checkpoint does not."""
    command = [sys.executable, "-m", "chainrule", "train", str(visits), "-t", "bought", "--out", str(tmp_path / "run")]
    limit = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh"]  # in units of 512 bytes
    result = subprocess.run([*limit, *command], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("Error: Could not write ")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()
