"""Saving a run while it trains, so that it can be killed at any moment and taken up again."""

from __future__ import annotations

import glob
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, final

from chainrule.callbacks.base import Callback, TrainingRun
from chainrule.callbacks.best import BestValue
from chainrule.errors import InvalidInputError
from chainrule.files.model_file import write_model_file
from chainrule.named import also_called, checked
from chainrule.settings import ABOVE_ZERO, FROM_ONE, CheckedSettings, Setting, documented

__all__ = ["Checkpoint", "files_by_epoch"]

_EPOCH = re.compile(r"\{epoch(?::([^{}]*))?\}")


@also_called(
    arguments={
        "filepath": "path",
        "save_best_only": "Give the file of the best epoch as best_path.",
        "save_freq": "every",
        "period": "every",
    }
)
@checked
@documented
@final
@dataclass(eq=False)
class Checkpoint(CheckedSettings, Callback):
    """Write a checkpoint every ``every`` epochs, and one of the best epoch if ``best_path`` is given.

    A checkpoint contains the network, the state of the optimizer, the schedule, the place in the epoch, all random
    states, the other callbacks and the history. ``NeuralNetwork.resume(path, dataset)`` continues the run with the same
    bits as a run that was not interrupted. ``every_batches`` and ``every_seconds`` add checkpoints inside long epochs.
    An interrupted run is saved at the step where it stopped.

    Parameters
    ----------
    {settings}

    Examples
    --------
    >>> import tempfile
    >>> from chainrule import NeuralNetwork, build_network, load_dataset
    >>> moons = load_dataset("moons")
    >>> network = build_network(2, moons.target, hidden=(4,), epochs=2, seed=0)
    >>> path = tempfile.mkdtemp() + "/run.safetensors"
    >>> fitted = network.fit(moons, callbacks=[Checkpoint(path)])
    >>> NeuralNetwork.resume(path, moons, epochs=3).history.n_epochs
    3
    """

    watches_network: ClassVar[bool] = False  # it asks for copies
    order: ClassVar[int] = 100  # after the callbacks whose state it saves

    path: Annotated[
        str | Path,
        Setting(
            "The file to write, replaced atomically each time. With {epoch} in it (or {epoch:03d}), the "
            "checkpoint of every epoch is a separate file, and NeuralNetwork.load_best reads the best of them."
        ),
    ]
    every: Annotated[int, Setting("Epochs between checkpoints.", FROM_ONE)] = 1
    every_batches: Annotated[
        int | None, Setting("Batches between checkpoints inside an epoch; None for none.", FROM_ONE)
    ] = None
    best_path: Annotated[
        str | Path | None, Setting("The file for the epoch in which the monitored quantity is best.")
    ] = None
    monitor: Annotated[
        str | None,
        Setting("The quantity for best_path; by default the validation loss, or the loss without a validation set."),
    ] = None
    every_seconds: Annotated[
        float | None, Setting("Seconds of training between checkpoints inside an epoch; None for none.", ABOVE_ZERO)
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for path in (self.path, self.best_path or ""):
            try:
                _path_of_epoch(path, 1)
            except ValueError as error:
                raise InvalidInputError(
                    f"The path of Checkpoint is '{path}', and '{{epoch...}}' in it is no format of a whole number "
                    f"({error}); write '{{epoch}}' or '{{epoch:03d}}'."
                ) from error
        self._best, self._last_save = BestValue(), 0.0

    @property
    def watches_every_batch(self) -> bool:  # type: ignore[override]
        """Whether something is to be done after so many batches."""
        return self.every_batches is not None

    def on_fit_start(self, run: TrainingRun) -> None:
        """Check that what is watched will be recorded, and that a file can hold the network."""
        run.describe()
        self._best.watch(run, self.monitor)
        self._last_save = time.monotonic()

    def on_batch_end(self, run: TrainingRun) -> None:
        """Save inside the epoch, when asked to."""
        is_due = self.every_batches is not None and run.batch % self.every_batches == 0
        is_late = self.every_seconds is not None and time.monotonic() - self._last_save >= self.every_seconds
        if run.batch < run.n_batches and (is_due or is_late):
            self._save(run, self.path)

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Save the epoch, and the best one."""
        is_best = self._best.is_new(run.history.last(self._best.name))
        if self.best_path is not None and is_best:
            self._save(run, self.best_path)
        if (run.epoch - run.first_epoch) % self.every == 0 or run.epoch == run.last_epoch or run.stop_reason:
            self._save(run, self.path)

    def on_fit_end(self, run: TrainingRun) -> None:
        """Save an interrupted run where it stopped."""
        if run.is_interrupted:
            self._save(run, self.path)

    def read_state(self) -> dict[str, Any]:
        """Return the best value seen."""
        return {"best_value": self._best.value}

    def write_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`read_state` returned."""
        self._best.restore(state["best_value"])

    def _save(self, run: TrainingRun, path: str | Path) -> None:
        self._last_save = time.monotonic()
        training, arrays = run.capture()
        path = _path_of_epoch(path, run.epoch + (run.batch > 0))  # inside an epoch, the one under way
        write_model_file(path, "checkpoint", {"network": run.describe(), "training": training}, arrays)


def files_by_epoch(path: str | Path) -> list[Path]:
    """Return the existing files of a path with ``{epoch}``, by their numbers of epochs."""
    texts = _EPOCH.split(str(path))[::2]  # those between the places of the number
    if len(texts) == 1:
        raise InvalidInputError(f"The path '{path}' has no '{{epoch}}', the place of the number, in it.")
    found = glob.glob("*".join(map(glob.escape, texts)))  # noqa: PTH207  (the number may stand in a folder's name)
    numbered = re.compile("[0-9 ]+".join(map(re.escape, texts)))
    return [Path(name) for name in found if numbered.fullmatch(name)]


def _path_of_epoch(path: str | Path, epoch: int) -> str:
    """Write the number of the epoch where ``path`` has ``{epoch}``."""
    return _EPOCH.sub(lambda place: format(epoch, place[1] or ""), str(path))
