"""Writing files: whole or not at all, with the permissions that were there, and nothing left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chainrule.errors import InvalidInputError
from chainrule.files.atomic import remove_leftovers, write_atomically
from chainrule.layers import DenseLayer
from chainrule.neuralnet import NeuralNetwork
from support.networks import network_of, regression_rows


def test_a_new_file_replaces_the_old_one_and_makes_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, "old")
    write_atomically(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode


def test_pieces_are_written_one_after_another_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, (f"line {number}\n" for number in range(3)))
    assert path.read_text() == "line 0\nline 1\nline 2\n"

    def broken() -> Iterator[str]:
        yield "half"
        raise KeyError("no more")

    with pytest.raises(KeyError):
        write_atomically(path, broken())
    assert path.read_text() == "line 0\nline 1\nline 2\n"
    assert list(tmp_path.iterdir()) == [path]


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(InvalidInputError, match="No space left on device") as caught:
        write_atomically(path, "new")
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="Could not write"):
        write_atomically(tmp_path / "file" / "model", "new")
    with pytest.raises(InvalidInputError, match="Could not write"):
        write_atomically(tmp_path, "new")


def test_a_link_stays_and_leads_to_the_new_content(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    target, link, missing = tmp_path / "store" / "file", tmp_path / "link", tmp_path / "missing"
    target.write_text("old")
    link.symlink_to(target)
    missing.symlink_to(tmp_path / "store" / "other")
    for path in (link, missing):
        write_atomically(path, "new")
        assert path.is_symlink()
        assert path.read_text() == "new"
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["file", "other"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """No real device stands here: as root, a failing test would replace it."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to_pipe").symlink_to(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    reader, writer = os.pipe()
    with (tmp_path / "gone").open("w") as gone:
        (tmp_path / "gone").unlink()
        before = sorted(tmp_path.iterdir())
        open_files = [f"/proc/self/fd/{number}" for number in (writer, gone.fileno())]  # as /dev/stdout is
        for path in (tmp_path / "pipe", tmp_path / "to_pipe", tmp_path / "loop", tmp_path, *open_files):
            with pytest.raises(InvalidInputError, match="Could not write"):
                write_atomically(path, "new")
        assert sorted(tmp_path.iterdir()) == before
        assert (tmp_path / "pipe").is_fifo()
    os.close(reader)
    os.close(writer)


def test_the_temporary_file_is_new_and_has_a_name_that_nobody_can_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, int]] = []
    real = os.open

    def watch(path: Any, flags: int, *more: Any) -> int:
        opened.append((Path(path).name, flags))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", watch)
    for _ in range(2):
        write_atomically(tmp_path / ("x" * 250), "new")
    names = {name for name, flags in opened if flags & os.O_CREAT}
    assert len(names) == 2
    assert not any(str(os.getpid()) in name.rpartition(".")[2].split("-") for name in names)
    assert all(flags & os.O_EXCL and flags & os.O_NOFOLLOW for _, flags in opened if flags & os.O_CREAT)


# What killed processes leave behind ---------------------------------------------------------------

WRITER = """
import sys
from chainrule.files.atomic import write_atomically
def pieces():
    yield "first half, "
    print("half", flush=True)
    sys.stdin.readline()
    yield "second half"
write_atomically(sys.argv[1], pieces())
print("done", flush=True)
"""


@pytest.fixture
def half_written(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of writing ``file``; it goes on at the next line of its input."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "file")], stdin=-1, stdout=-1, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    yield process
    process.kill()
    process.communicate()


def temporary_files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_the_next_save_removes_what_a_killed_one_left(half_written: subprocess.Popen[str], tmp_path: Path) -> None:
    half_written.send_signal(signal.SIGKILL)
    half_written.wait()
    assert len(temporary_files(tmp_path)) == 1
    write_atomically(tmp_path / "other", "has nothing to do with it")
    assert len(temporary_files(tmp_path)) == 1
    write_atomically(tmp_path / "file", "whole")
    assert temporary_files(tmp_path) == []
    assert (tmp_path / "file").read_text() == "whole"


def test_a_process_that_is_still_writing_is_left_alone(half_written: subprocess.Popen[str], tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", "whole")
    remove_leftovers(tmp_path / "file")
    assert len(temporary_files(tmp_path)) == 1
    out, _ = half_written.communicate("go on\n")
    assert out == "done\n"
    assert (tmp_path / "file").read_text() == "first half, second half"
    assert temporary_files(tmp_path) == []


def test_only_leftovers_are_removed(tmp_path: Path) -> None:
    number = "0123456789abcdef"
    own = [".file", f".file.{number}", f".file.{number}.tmp.txt", f"file.{number}.tmp", ".file.x.tmp", ".file.tmp"]
    for name in own:
        (tmp_path / name).write_text("somebody's")
    (tmp_path / f".file.{number[::-1]}.tmp").symlink_to(tmp_path / ".file")
    (tmp_path / f".file.{number}.tmp").mkdir()
    before = sorted(tmp_path.iterdir())
    write_atomically(tmp_path / "file", "new")
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "file"])


def test_resuming_removes_what_a_killed_save_left(tmp_path: Path) -> None:
    from chainrule.files import Checkpoint

    path, data = tmp_path / "checkpoint", regression_rows(20)
    network_of(DenseLayer(1, (5,)), epochs=2).fit(data, callbacks=[Checkpoint(path)])
    (tmp_path / ".checkpoint.0123456789abcdef.tmp").write_bytes(b"half")
    NeuralNetwork.resume(path, data)
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]


# Permissions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o664, 0o777])
def test_a_file_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    path.chmod(mode)
    write_atomically(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_text() == "new"


def test_what_is_private_is_private_from_the_first_moment(tmp_path: Path) -> None:
    path, seen = tmp_path / "file", []
    path.touch(0o600)

    def pieces() -> Iterator[str]:
        seen.extend(stat.S_IMODE((tmp_path / name).stat().st_mode) for name in temporary_files(tmp_path))
        yield "new"

    write_atomically(path, pieces())
    assert seen == [0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, 1234, 2345)
    write_atomically(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_where_the_group_cannot_be_kept_it_may_do_no_more_than_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o664)
    real = os.fstat

    def of_another(handle: int) -> Any:
        found = list(real(handle))
        return os.stat_result([*found[:5], found[5] + 1, *found[6:]])

    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "fstat", of_another)
    write_atomically(path, "new")
    monkeypatch.undo()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_folder_that_cannot_be_listed_can_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    write_atomically(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
