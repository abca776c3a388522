"""A run folder belongs to one process, from the first moment of a run to its last, and to none that has ended."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainrule.callbacks import Callback, TrainingRun
from chainrule.errors import InvalidInputError, ModelFileError
from chainrule.runs import RunFolder, RunInterrupted, TrainOptions, load_run, resume_run, train_run
from chainrule.runs.folder_lock import LOCK_NAME, FolderLock, find_holder
from support.tables import write_visits

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    return write_visits(tmp_path / "visits.csv")


class During(Callback):
    """Does something in the middle of an epoch."""

    def __init__(self, action: Callable[[TrainingRun], Any], epoch: int = 1) -> None:
        self.action, self.epoch = action, epoch

    def on_batch_end(self, run: TrainingRun) -> None:
        if (run.epoch, run.batch) == (self.epoch, 1):
            self.action(run)


def refused(action: Callable[[], Any], words: str) -> Callable[[TrainingRun], None]:
    def check(_: TrainingRun) -> None:
        with pytest.raises((InvalidInputError, ModelFileError), match=words):
            action()

    return check


@pytest.mark.parametrize("force", [False, True])
def test_a_second_starter_is_refused_while_a_run_goes_on(visits: Path, tmp_path: Path, force: bool) -> None:
    options = TrainOptions(visits, preset="plain", target="bought", epochs=3, hidden=(5,), out=tmp_path / "run")
    other = TrainOptions(visits, preset="plain", target="bought", epochs=2, hidden=(9,), seed=1, out=tmp_path / "run")
    here = f"Another run uses the folder .*process {os.getpid()} on {socket.gethostname()}"
    second = During(refused(lambda: train_run(other, force=force), here))
    resumed = During(refused(lambda: resume_run(tmp_path / "run"), here))
    used = During(refused(lambda: load_run(tmp_path / "run"), "has no model yet, because it is still training"))
    train_run(options, [second, resumed, used])
    assert RunFolder(tmp_path / "run").read_record()["options"]["hidden"] == [5]
    assert load_run(tmp_path / "run").network.layers[0].output_shape() == (5,)
    assert not (tmp_path / "run" / LOCK_NAME).exists()


def test_the_folder_is_locked_before_the_data_are_read(
    visits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chainrule.runs import running

    options = TrainOptions(visits, preset="plain", target="bought", epochs=1, out=tmp_path / "run")
    prepare = running.prepare_data

    def prepare_with_a_rival(*arguments: Any, **settings: Any) -> Any:
        with pytest.raises(InvalidInputError, match="Another run uses the folder"):
            train_run(options)
        return prepare(*arguments, **settings)

    monkeypatch.setattr(running, "prepare_data", prepare_with_a_rival)
    assert train_run(options).history.n_epochs == 1


def test_a_resumed_run_is_not_resumed_a_second_time(visits: Path, tmp_path: Path) -> None:
    options = TrainOptions(visits, preset="plain", target="bought", epochs=3, out=tmp_path / "run")
    with pytest.raises(RunInterrupted):
        train_run(options, [During(lambda run: run.interrupt("interrupted"))])
    rival = During(refused(lambda: resume_run(tmp_path / "run"), "Another run uses the folder"), epoch=2)
    assert resume_run(tmp_path / "run", [rival]).history.n_epochs == 3


def test_runs_that_start_in_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    locks: list[FolderLock] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        locks.append(FolderLock.acquire_new_folder(tmp_path / "runs" / "visits-20261128-101500"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({lock.path for lock in locks}) == 8
    for lock in locks:
        lock.release()
    assert not list(tmp_path.glob("runs/*")), "nothing was written, so nothing is left"


CLAIM_AND_WAIT = """
import sys, time
from pathlib import Path
from chainrule.runs.folder_lock import FolderLock
lock = FolderLock.acquire(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIM_AND_WAIT, str(tmp_path / "run")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    assert find_holder(tmp_path / "run") == f"process {process.pid} on {socket.gethostname()}"
    with pytest.raises(InvalidInputError, match=f"process {process.pid} on"):
        FolderLock.acquire(tmp_path / "run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / "run" / LOCK_NAME).exists()
    assert find_holder(tmp_path / "run") is None
    with FolderLock.acquire(tmp_path / "run") as lock:
        assert lock.is_held()
        assert find_holder(tmp_path / "run") == f"process {os.getpid()} on {socket.gethostname()}"
    assert list((tmp_path / "run").iterdir()) == []


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system without locks."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_the_file_is_the_lock(tmp_path: Path) -> None:
    with FolderLock.acquire(tmp_path / "run"):
        assert find_holder(tmp_path / "run") == f"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(InvalidInputError, match=f"process {os.getpid()} on"):
            FolderLock.acquire(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_lock_of_a_process_that_has_ended_does_not_count(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock = tmp_path / LOCK_NAME
    lock.write_text(json.dumps({"process": ended.pid, "host": socket.gethostname()}))
    assert find_holder(tmp_path) is None
    with FolderLock.acquire(tmp_path):
        assert json.loads(lock.read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize(
    "note", ["", "[" * 900, '{"process": -1, "host": "x"}', '{"process": 1, "host": "another machine"}']
)
def test_without_locks_a_lock_that_may_be_alive_counts(tmp_path: Path, note: str) -> None:
    (tmp_path / LOCK_NAME).write_text(note)
    assert find_holder(tmp_path) is not None
    with pytest.raises(InvalidInputError, match="Another run uses the folder"):
        FolderLock.acquire(tmp_path)
    assert (tmp_path / LOCK_NAME).read_text() == note


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_run_whose_folder_is_removed_stops_and_writes_nothing(
    visits: Path, tmp_path: Path, is_replaced: bool
) -> None:
    folder = tmp_path / "run"
    rivals: list[FolderLock] = []

    def remove(_: TrainingRun) -> None:
        shutil.rmtree(folder)
        if is_replaced:
            rivals.append(FolderLock.acquire(folder))

    with pytest.raises(InvalidInputError, match="was removed or replaced during its run"):
        train_run(TrainOptions(visits, preset="plain", target="bought", epochs=30, out=folder), [During(remove)])
    assert folder.exists() == is_replaced
    if is_replaced:
        assert [path.name for path in folder.iterdir()] == [LOCK_NAME]
        rivals[0].release()


def test_a_folder_that_was_there_is_kept_and_others_are_removed(visits: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for out in ("mine", "new/deep/run"):
        with pytest.raises(InvalidInputError, match="brought"):
            train_run(TrainOptions(visits, preset="plain", target="brought", out=tmp_path / out))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "visits.csv"]


@pytest.mark.parametrize("out", ["visits.csv/run", "x" * 300, "new/" + "x" * 300, "link"])
def test_a_folder_that_cannot_be_created_is_named(visits: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InvalidInputError, match=r"Could not use the folder|is a file|is a broken link"):
        train_run(TrainOptions(visits, preset="plain", target="bought", out=tmp_path / out))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "visits.csv"]


def test_a_lock_file_that_is_none_is_named_or_ignored(tmp_path: Path) -> None:
    """Nobody's files are followed, and nobody waits for a pipe."""
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / LOCK_NAME)
    assert find_holder(tmp_path / "pipe") is None
    (tmp_path / "link").mkdir()
    (tmp_path / "target").write_text("mine")
    (tmp_path / "link" / LOCK_NAME).symlink_to(tmp_path / "target")
    with pytest.raises(InvalidInputError, match="Could not use the folder"):
        FolderLock.acquire(tmp_path / "link")
    assert (tmp_path / "target").read_text() == "mine"


def test_a_look_at_the_holder_does_not_refuse_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LOCK_NAME).touch()
    looking = os.open(tmp_path / LOCK_NAME, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr("chainrule.runs.folder_lock.time.sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN))
    with FolderLock.acquire(tmp_path) as lock:
        assert lock.is_held()
    os.close(looking)
