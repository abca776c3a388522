"""Runs of several processes started by torchrun: checks that they agree, and restarts after a failure."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chainrule.engines import Group
from chainrule.errors import ChainruleError, InvalidInputError
from chainrule.runs.folder import RunFolder
from chainrule.runs.folder_lock import FolderLock
from chainrule.runs.options import TrainOptions

__all__ = ["check_restarts", "check_same_checkpoint", "is_same_run", "lock_in_first_process"]


def check_restarts(options: TrainOptions) -> bool:
    """Return whether torchrun restarts failed processes. Raises InvalidInputError if the run then has no ``out``."""
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0
    if restarts and options.out is None:
        raise InvalidInputError(
            "--max-restarts requires a run folder; give one with --out, so that a restart finds the checkpoint."
        )
    return restarts


def is_same_run(folder: RunFolder, options: TrainOptions, *, any_seed: bool) -> bool:
    """Return whether the folder contains an unfinished run with these options; with ``any_seed``, except the seed."""
    if not folder.is_run():
        return False
    record = folder.read_record()
    recorded, expected = record.get("options"), options.to_dict()
    if any_seed and isinstance(recorded, dict):
        expected["seed"] = recorded.get("seed")
    return record.get("status") in ("running", "interrupted") and bool(recorded == expected)


@contextmanager
def lock_in_first_process(group: Group, acquire: Callable[[], FolderLock]) -> Iterator[tuple[Path, FolderLock | None]]:
    """Lock the run folder in process 0 until the end of the block. If that fails, all processes raise the error.

    Yields the folder, and the lock in process 0 or None in the others.
    """
    with ExitStack() as stack:
        lock, path, failure = None, None, None
        if group.rank == 0:
            try:
                lock = stack.enter_context(acquire())
                path = lock.path
            except ChainruleError as error:
                failure = error
        path, failure = group.broadcast((path, failure))
        if failure is not None:
            raise failure
        yield path, lock


def check_same_checkpoint(group: Group, folder: RunFolder) -> None:
    """Raise InvalidInputError if the processes do not read the same checkpoint."""
    checksum = zlib.crc32(folder.checkpoint.read_bytes()) if folder.checkpoint.is_file() else -1
    if not group.same(checksum):
        raise InvalidInputError(
            f"The processes of this run read different checkpoints in '{folder.path}'; use a run folder on a file "
            "system that all machines share."
        )
