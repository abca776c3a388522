"""Two hosts, each a network namespace with a network card of its own, where the system allows to make them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
from support.together import torchrun, torchrun_command, worker_of

IP = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
HOSTS = {f"chainrule-{os.getpid()}-{place}": (f"cr{os.getpid()}{place}", f"10.213.77.{place}") for place in (1, 2)}
NAMES = Path("/etc/netns")  # what ip puts over /etc for a namespace
TRAIN = (
    "chainrule", "train", "digits", "--engine", "torch", "--hidden", "24", "--epochs", "20", "--checkpoint-every", "1",
)  # fmt: skip


def ip(*arguments: str) -> None:
    assert IP is not None
    subprocess.run([IP, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, tuple[str, str]]]:
    """Two namespaces that are joined by a cable: their names, network cards and addresses."""
    if IP is None:
        pytest.skip("the program ip is not there")
    try:
        for name in HOSTS:
            ip("netns", "add", name)
        (first, second) = HOSTS
        ip("-n", first, "link", "add", HOSTS[first][0], "type", "veth", "peer", "name", HOSTS[second][0],
           "netns", second)  # fmt: skip
        for name, (card, address) in HOSTS.items():
            _name_addresses(name, address)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", card)
            ip("-n", name, "link", "set", card, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield HOSTS
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    finally:
        for name in HOSTS:
            subprocess.run([IP, "netns", "del", name], check=False, capture_output=True)
            shutil.rmtree(NAMES / name, ignore_errors=True)


def _name_addresses(host: str, own_address: str) -> None:
    """Let the host know names as a real one does; without, every look-up waits for a name server out of reach."""
    folder = NAMES / host
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["127.0.0.1 localhost", f"{own_address} {socket.gethostname()}"]
    lines += [f"{address} {name}" for name, (_, address) in HOSTS.items()]
    (folder / "hosts").write_text("\n".join(lines) + "\n")
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")


@pytest.mark.slow
def test_two_hosts_train_one_network_and_outlive_a_worker(hosts: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    """The worker on the second host is killed; its torchrun starts it again, and that of the first host follows."""
    alone = torchrun(2, *TRAIN, "--out", "alone", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    meeting_point = next(iter(hosts.values()))[1]
    jobs = []
    for name, (card, address) in hosts.items():
        options = ["--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{meeting_point}:29555"]
        options += ["--rdzv-id", "job", "--local-addr", address, "--max-restarts", "3", "--monitor-interval", "0.1"]
        command = torchrun_command(1, *TRAIN, "--out", "together", options=tuple(options))
        job = subprocess.Popen(
            [str(IP), "netns", "exec", name, *command],
            cwd=tmp_path,
            env={**os.environ, "GLOO_SOCKET_IFNAME": card},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        jobs.append(job)
    checkpoint = tmp_path / "together" / "checkpoint.safetensors"
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
        workers = [process for job in jobs for rank in (0, 1) if (process := worker_of(job.pid, rank)) is not None]
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        results = [(*job.communicate(timeout=240), job.returncode) for job in jobs]
    finally:
        for job in jobs:
            if job.poll() is None:
                job.terminate()
                job.wait()
    for output, errors, code in results:
        assert code == 0, output + errors
    assert sum(output.count("Measured on") for output, _, _ in results) == 1
    together = (tmp_path / "together" / "model.safetensors").read_bytes()
    assert together == (tmp_path / "alone" / "model.safetensors").read_bytes()
