"""Runs of several processes, as torchrun starts them: what they must agree on, and starting again after a failure."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chainrule.engines import Group
from chainrule.errors import ChainruleError, InvalidInputError
from chainrule.runs.claim import Claim
from chainrule.runs.folder import RunFolder
from chainrule.runs.options import TrainOptions

__all__ = ["check_restarts", "check_same_checkpoint", "first_claims", "is_same_run"]


def check_restarts(options: TrainOptions) -> bool:
    """Whether torchrun starts the processes again when one dies; refuse a run that would not find its checkpoint."""
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0
    if restarts and options.out is None:
        raise InvalidInputError("Give the run a folder with --out, so that it finds its checkpoint after a restart.")
    return restarts


def is_same_run(folder: RunFolder, options: TrainOptions, *, any_seed: bool) -> bool:
    """Whether the folder holds a run with these options that is not done; its seed counts unless it was drawn."""
    if not folder.is_run():
        return False
    record = folder.read_record()
    recorded, wanted = record.get("options"), options.to_dict()
    if any_seed and isinstance(recorded, dict):
        wanted["seed"] = recorded.get("seed")
    return record.get("status") in ("running", "interrupted") and bool(recorded == wanted)


@contextmanager
def first_claims(group: Group, claim: Callable[[], Claim]) -> Iterator[tuple[Path, Claim | None]]:
    """Have the first process claim the run's folder until the end of the block; all raise what it raises.

    Yields the folder, and the claim in the first process, None in the others.
    """
    with ExitStack() as stack:
        held, path, refusal = None, None, None
        if group.rank == 0:
            try:
                held = stack.enter_context(claim())
                path = held.path
            except ChainruleError as error:
                refusal = error
        path, refusal = group.broadcast((path, refusal))
        if refusal is not None:
            raise refusal
        yield path, held


def check_same_checkpoint(group: Group, folder: RunFolder) -> None:
    """Refuse processes that do not see the same checkpoint, or some one and others none."""
    checksum = zlib.crc32(folder.checkpoint.read_bytes()) if folder.checkpoint.is_file() else -1
    if not group.same(checksum):
        raise InvalidInputError(
            f"The processes of this run see different checkpoints in '{folder.path}'; put the run's folder where all "
            "machines share it."
        )
