"""``chainrule train`` under torchrun: one folder, one voice, and a worker that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from chainrule.errors import InvalidInputError
from chainrule.runs import TrainOptions, train_run

pytest.importorskip("torch")
from support.together import torchrun, torchrun_command, worker_of

TRAIN = ("chainrule", "train", "digits", "--engine", "torch", "--hidden", "24", "--seed", "3")


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_two_processes_write_one_folder_and_speak_once(tmp_path: Path) -> None:
    run = torchrun(2, *TRAIN, "--epochs", "2", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("Measured on 360 test rows") == 1
    assert run.stdout.count("1,437 training rows") == 1
    (folder,) = (tmp_path / "runs").iterdir()
    assert files_of(folder) == {
        "model.safetensors", "run.json", "history.csv", "report.html", "checkpoint.safetensors"
    }  # fmt: skip
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"


def test_what_cannot_work_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InvalidInputError, match="torchrun has started 2 processes, and engine='numpy' trains in one"):
        train_run(TrainOptions("digits", out=tmp_path / "run"))
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(InvalidInputError, match="--out, so that a restart finds the checkpoint"):
        train_run(TrainOptions("digits", engine="torch"))
    assert not (tmp_path / "run").exists()


def test_an_error_of_the_data_ends_all_processes(tmp_path: Path) -> None:
    run = torchrun(2, "chainrule", "train", "nothing.csv", "--engine", "torch", "--out", "run", cwd=tmp_path)
    assert run.returncode != 0
    assert "Error: There is no file nothing.csv." in run.stderr
    assert not (tmp_path / "run").exists()


def modified(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="workers are found in /proc")
@pytest.mark.slow
def test_workers_killed_in_mid_epoch_leave_no_trace_in_the_model(tmp_path: Path) -> None:
    """The second process is killed at once after a checkpoint, then the first; torchrun starts all again each time."""
    settings = ("--epochs", "30", "--checkpoint-every", "1", "--batch-size", "32", "--dropout", "0.2")
    whole = torchrun(2, *TRAIN, *settings, "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr

    options = ("--standalone", "--max-restarts", "3", "--monitor-interval", "0.1")
    command = torchrun_command(2, *TRAIN, *settings, "--out", "killed", options=options)
    job = subprocess.Popen(command, cwd=tmp_path, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    checkpoint, seen, killed = tmp_path / "killed" / "checkpoint.safetensors", 0.0, 0
    try:
        for rank in (1, 0):
            deadline = time.monotonic() + 120
            while modified(checkpoint) <= seen and time.monotonic() < deadline:
                time.sleep(0.01)
            seen = modified(checkpoint)
            time.sleep(0.05)  # into the epoch
            process = worker_of(job.pid, rank)
            if process is not None:
                os.kill(process, signal.SIGKILL)
                killed += 1
        output, errors = (part.decode() for part in job.communicate(timeout=240))
    finally:
        if job.poll() is None:
            job.terminate()
            job.wait()
    assert job.returncode == 0, errors
    assert killed == 2
    assert "Signal 9 (SIGKILL)" in errors or "exitcode: -9" in errors
    model = (tmp_path / "killed" / "model.safetensors").read_bytes()
    assert model == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert output.count("Measured on") == 1
