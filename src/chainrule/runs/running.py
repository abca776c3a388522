"""Training a run from beginning to end, and going on with one that was cut off."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from chainrule.callbacks import Callback, EarlyStopping, StopOnInterrupt, TrainingRun
from chainrule.data.dataset import Dataset
from chainrule.engines import Group
from chainrule.errors import ChainruleError, DivergenceError, ModelFileError
from chainrule.files import Checkpoint
from chainrule.neuralnet import NeuralNetwork
from chainrule.runs.folder import RunFolder
from chainrule.runs.options import TrainOptions
from chainrule.runs.preparation import prepare_data
from chainrule.runs.prepared import PreparedData
from chainrule.runs.processes import check_restarts, check_same_checkpoint, is_same_run
from chainrule.runs.results import (
    RunResult,
    add_baselines,
    describe_network,
    describe_result,
    measure_network,
    write_results,
)
from chainrule.runs.source import shown_source, source_checksum, source_name

__all__ = ["RunInterrupted", "resume_run", "train_run"]

Announce = Callable[[str], None]

# What a kill may cost of an epoch that streams its rows, and may take minutes or hours.
SECONDS_AT_RISK = 60.0


class RunInterrupted(KeyboardInterrupt):
    """A run was interrupted, and waits in ``folder`` to be resumed; ``what`` says from where it will go on."""

    def __init__(self, folder: Path, what: str, n_processes: int = 1) -> None:
        several = f"torchrun --standalone --nproc-per-node {n_processes} -m chainrule"
        super().__init__(f"{what} with: {'chainrule' if n_processes == 1 else several} resume {folder}")
        self.folder = folder


def train_run(options: TrainOptions, callbacks: Sequence[Callback] = (), announce: Announce | None = None) -> RunResult:
    """Prepare the data, train, measure, and leave everything in a run folder.

    ``announce`` gets a sentence at each stage. Ctrl-C saves a checkpoint and raises :class:`RunInterrupted`, which is
    a KeyboardInterrupt; :func:`resume_run` goes on from there. The same options and data give the same bytes in the
    model file. Started by torchrun in several processes, they train together, and process 0 does the rest; where
    torchrun restarts them after a failure (--max-restarts), they go on from the last checkpoint.
    """
    options.check()
    group = options.make_engine().join()
    restarts = check_restarts(options)
    draws_seed, options = options.seed is None, group.broadcast(options.resolved())
    folder = RunFolder(Path(options.out) if options.out is not None else group.broadcast(_default_folder(options)))
    if group.broadcast(restarts and is_same_run(folder, options, any_seed=draws_seed)):
        return resume_run(folder.path, callbacks, announce)
    if group.rank == 0:
        folder.check_free()
    say = announce if announce is not None and group.rank == 0 else _say_nothing
    if folder.model.exists():
        say(f"Replacing the finished run in {folder.path}")
    data = _prepare(options, say)
    network = options.build_network(data.training.n_features, data.training.n_rows, data.target)
    record = {
        "status": "running",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": options.to_dict(),
        "source_sha256": source_checksum(options.source),
        "versions": _versions(),
        "computed_by": [_computer(options, group)],
        "data": data.describe(),
    }
    if group.rank == 0:
        folder.claim(record)
    return _Run(folder, options, data, record, say, group).go(network, callbacks)


def resume_run(
    path: str | Path,
    callbacks: Sequence[Callback] = (),
    announce: Announce | None = None,
    *,
    engine: str | None = None,
    device: str = "auto",
) -> RunResult:
    """Go on with a run that was interrupted or killed, to the same bits as if it had not been.

    The data are read and prepared again. ``engine`` and ``device`` take it to another engine. Raises ModelFileError for
    a run that is finished, or whose file has changed.
    """
    folder = RunFolder(Path(path))
    record = folder.read_record()
    if record.get("status") == "finished":
        raise ModelFileError(f"The run in '{path}' is finished; there is nothing to go on with.")
    if record.get("status") == "diverged":
        raise ModelFileError(f"The run in '{path}' diverged, and would again; train anew with other settings.")
    if not isinstance(record.get("versions"), dict) or "started" not in record:
        raise ModelFileError(f"'{folder.record}' is damaged: it does not say when and by what the run was begun.")
    options = TrainOptions.from_dict(record.get("options"))
    if engine is not None or device != "auto":
        options = options.with_engine(engine or options.engine, device)
        record["options"] = options.to_dict()
    group = options.make_engine().join()
    say = announce if announce is not None and group.rank == 0 else _say_nothing
    if record.get("source_sha256") != source_checksum(options.source):
        raise ModelFileError(
            f"'{shown_source(options.source)}' has changed since the run in '{path}' began; train anew."
        )
    check_same_checkpoint(group, folder)
    data = _prepare(options, say)
    run = _Run(folder, options, data, record, say, group)
    if folder.checkpoint.is_file():
        return run.go(None, callbacks)
    say("There is no checkpoint yet: starting from the beginning")
    return run.go(options.build_network(data.training.n_features, data.training.n_rows, data.target), callbacks)


@dataclass
class _Run:
    """What the stages of one run share."""

    folder: RunFolder
    options: TrainOptions
    data: PreparedData
    record: dict[str, Any]
    say: Announce
    group: Group

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes files and says what happens."""
        return self.group.rank == 0

    def go(self, network: NeuralNetwork | None, callbacks: Sequence[Callback]) -> RunResult:
        """Train ``network``, or the one in the checkpoint, and conclude the run."""
        self.say(self.data.summary())
        settings = self.options.early_stopping_settings(self.data.training.n_rows)
        stopper, end = None if settings is None else EarlyStopping(**settings), _End(self._go_on)
        own: list[Callback] = [*([] if stopper is None else [stopper]), StopOnInterrupt()]
        if self.writes:
            every, seconds = self.options.checkpoint_every, self._seconds_at_risk()
            own += [Checkpoint(self.folder.checkpoint, every, every_seconds=seconds), *callbacks]
        else:
            own += [callback for callback in callbacks if callback.steers]
        try:
            network = self._train(network, [*own, end])
            if not end.is_interrupted:
                return self._conclude(network, stopper)
        except DivergenceError as error:
            self._write_end({"status": "diverged", "stop_reason": str(error)})
            raise
        except ChainruleError:
            if self.writes and not self.folder.checkpoint.is_file():
                self.folder.abandon()
            raise
        except KeyboardInterrupt:
            pass
        self._write_end({"status": "interrupted"})
        if end.is_interrupted:
            what = f"Interrupted in epoch {end.epoch}, and saved; go on"
        elif self.folder.checkpoint.is_file():
            what = f"Interrupted in epoch {end.epoch}, and only the last checkpoint is left; go on"
        else:
            what = "Interrupted before anything was saved; begin again"
        raise RunInterrupted(self.folder.path, what, self.group.size)

    def _go_on(self, epoch: int, last_epoch: int) -> None:
        """Say where a resumed run goes on, and note what it is computed by from there on."""
        self.say(f"Going on in epoch {epoch} of {last_epoch}")
        computers = [*self.record.get("computed_by", []), _computer(self.options, self.group, epoch)]
        self.record["computed_by"] = computers
        if self.writes:
            self.folder.write_record(self.record)

    def _seconds_at_risk(self) -> float | None:
        """Return after how much training a checkpoint is due inside an epoch, where epochs are long."""
        return None if isinstance(self.data.training, Dataset) else SECONDS_AT_RISK

    def _train(self, network: NeuralNetwork | None, callbacks: list[Callback]) -> NeuralNetwork:
        training, validation = self.data.training, self.data.validation
        if network is None:
            return NeuralNetwork.resume(
                self.folder.checkpoint,
                training,
                validation=validation,
                callbacks=callbacks,
                engine=self.options.make_engine(),
            )
        self.say(describe_network(network, self.options))
        return network.fit(training, validation=validation, callbacks=callbacks)

    def _conclude(self, network: NeuralNetwork, stopper: EarlyStopping | None) -> RunResult:
        """Measure the model and write what the run leaves behind; the record comes last and says that all is there."""
        result = measure_network(network, self.data, stopper, self.folder.path, self.group.rank)
        if not self.writes:
            return result
        self.say("Fitting the baselines")
        assert self.options.seed is not None
        result = add_baselines(result, self.options.seed)
        write_results(result, self.folder, self.options, self.record)
        self._write_end(describe_result(result))
        return result

    def _write_end(self, end: dict[str, Any]) -> None:
        """Write how the run ended into its record; only one that was interrupted keeps its checkpoint."""
        if self.writes:
            self.record |= end
            self.folder.write_record(self.record)
            if end["status"] != "interrupted":
                self.folder.checkpoint.unlink(missing_ok=True)


class _End(Callback):
    """Tells of a training that goes on, and remembers how it ended: in which epoch, counted from 1."""

    order: ClassVar[int] = 1000
    watches_network: ClassVar[bool] = False

    def __init__(self, go_on: Callable[[int, int], None]) -> None:
        self._go_on = go_on
        self.is_interrupted, self.epoch = False, 1

    def on_fit_start(self, run: TrainingRun) -> None:
        """Tell where a resumed run begins."""
        if run.epoch or run.batch:
            self._go_on(min(run.epoch + 1, run.last_epoch), run.last_epoch)

    def on_fit_end(self, run: TrainingRun) -> None:
        """Take the last word."""
        self.is_interrupted, self.epoch = run.is_interrupted, min(run.epoch + 1, run.last_epoch)


def _default_folder(options: TrainOptions) -> Path:
    name = source_name(options.source) or "run"
    stem = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    number, folder = 1, stem
    while folder.exists():
        number += 1
        folder = stem.with_name(f"{stem.name}-{number}")
    return folder


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"chainrule": version("chainrule"), "python": platform.python_version(), "numpy": np.__version__}


def _computer(options: TrainOptions, group: Group, first_epoch: int = 1) -> dict[str, Any]:
    """Return what computes, from an epoch on, as JSON values."""
    from importlib.metadata import version

    engine = {"engine": options.engine, "version": version(options.engine), "device": str(group.device)}
    return {**engine, "processes": group.size, "first_epoch": first_epoch}


def _prepare(options: TrainOptions, say: Announce) -> PreparedData:
    if isinstance(options.source, tuple):
        say(f"Learning the columns: one pass over {shown_source(options.source)}")
    return prepare_data(options.source, **options.data_settings())


def _say_nothing(_: str) -> None:
    pass
