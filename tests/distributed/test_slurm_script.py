"""The batch script of the documentation, with stand-ins for Slurm's programs: two nodes, requeued in mid-run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "train-on-a-cluster.md"

# Starts the command once for each of two nodes, as srun does; ends them on SIGTERM, which is how Slurm clears a job.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
trap 'kill "$first" "$second"; wait; touch ended; exit 143' TERM
"$@" >> first.log 2>&1 & first=$!
"$@" >> second.log 2>&1 & second=$!
wait "$first" && wait "$second"
"""
SCONTROL = """#!/bin/bash
echo "$*" >> scontrol.log
if [[ $1 == show ]]; then printf '%s\\n' localhost node2; fi
"""
TORCHRUN = f"""#!/bin/bash
exec '{sys.executable}' -m torch.distributed.run "$@"
"""


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The job of the page, on a smaller network and one process a node, with its data and its environment."""
    found = re.search(r"```bash\n(#!/bin/bash.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert found is not None
    script = found[1].replace("/shared", str(tmp_path / "shared")).replace("--nproc-per-node=4", "--nproc-per-node=1")
    write_program(tmp_path / "job", script.replace("4096,4096", "32").replace("8192", "128"))
    write_program(tmp_path / "slurm" / "srun", SRUN)
    write_program(tmp_path / "slurm" / "scontrol", SCONTROL)
    write_program(tmp_path / "shared" / "venv" / "bin" / "torchrun", TORCHRUN)
    X = np.random.default_rng(0).normal(size=(6000, 4))
    visits = pd.DataFrame(X, columns=list("abcd")).assign(bought=np.where(X[:, 0] * X[:, 1] > 0, "yes", "no"))
    visits.to_parquet(tmp_path / "shared" / "visits.parquet")
    return tmp_path


def start(folder: Path) -> subprocess.Popen[bytes]:
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2"}
    environment = {**os.environ, **job, "PATH": f"{folder / 'slurm'}:{os.environ['PATH']}"}
    return subprocess.Popen(["bash", "job"], cwd=folder, env=environment, start_new_session=True)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} does not come"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_job_whose_time_is_up_goes_on_when_it_runs_again(folder: Path) -> None:
    run = folder / "shared" / "runs" / "visits"
    job = start(folder)
    try:
        wait_for(run / "checkpoint.safetensors")
        os.kill(job.pid, signal.SIGUSR1)  # the shell alone is told that the time is up soon
        job.wait(60)
        assert f"requeue {os.getpid()}" in (folder / "scontrol.log").read_text()
    finally:
        os.killpg(job.pid, signal.SIGTERM)
    wait_for(folder / "ended")
    first = json.loads((run / "run.json").read_text())
    assert first["status"] == "running"

    job = start(folder)
    try:
        assert job.wait(240) == 0, (folder / "first.log").read_text() + (folder / "second.log").read_text()
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGTERM)
            job.wait()
    second = json.loads((run / "run.json").read_text())
    assert (second["status"], second["epochs"]) == ("finished", 50)
    assert second["started"] == first["started"]
    assert second["metrics"]["accuracy"] > 0.9
