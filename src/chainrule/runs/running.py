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
from chainrule.errors import ChainruleError, DivergenceError, ModelFileError, shell_command
from chainrule.files import Checkpoint
from chainrule.neuralnet import NeuralNetwork
from chainrule.runs.claim import Claim
from chainrule.runs.folder import RunFolder, claim_free
from chainrule.runs.options import TrainOptions
from chainrule.runs.preparation import prepare_data
from chainrule.runs.prepared import PreparedData
from chainrule.runs.processes import check_restarts, check_same_checkpoint, first_claims, is_same_run
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
        several = "" if n_processes == 1 else f"torchrun --standalone --nproc-per-node {n_processes} -m "
        super().__init__(f"{what} with: {several}{shell_command('resume', folder)}")
        self.folder = folder


def train_run(
    options: TrainOptions,
    callbacks: Sequence[Callback] = (),
    announce: Announce | None = None,
    *,
    force: bool = False,
) -> RunResult:
    """Prepare the data, train, measure, and leave everything in a run folder.

    ``announce`` gets a sentence at each stage. With ``force`` the run replaces one that is in its folder. Ctrl-C saves
    a checkpoint and raises :class:`RunInterrupted`, which is a KeyboardInterrupt; :func:`resume_run` goes on from
    there. The same options and data give the same bytes in the model file. Started by torchrun in several processes,
    they train together, and process 0 does the rest; where torchrun restarts them after a failure (--max-restarts),
    they go on from the last checkpoint.

    The folder belongs to this run from the beginning: raises InvalidInputError if a run is going on there, or if there
    is a run to be replaced without ``force``.
    """
    options.check()
    group = options.make_engine().join()
    restarts = check_restarts(options)
    draws_seed, options = options.seed is None, group.broadcast(options.resolved())
    out = None if options.out is None else Path(options.out)
    if out is not None and group.broadcast(restarts and is_same_run(RunFolder(out), options, any_seed=draws_seed)):
        return resume_run(out, callbacks, announce)
    say = announce if announce is not None and group.rank == 0 else _say_nothing

    def claim() -> Claim:
        if out is None:
            return Claim.of_new_folder(_default_folder(options))
        return claim_free(RunFolder(out), replace=force)

    with first_claims(group, claim) as (path, held):
        folder = RunFolder(path)
        if folder.is_run():
            say(f"Replacing the run in {path}")
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
        if held is not None:
            folder.begin(record)
        return _Run(folder, options, data, record, say, group, held).go(network, callbacks)


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
    a run that is finished, or whose file has changed, and InvalidInputError for one that is still going on.
    """
    folder = RunFolder(Path(path))
    _, options = _resumable(folder, engine, device)
    group = options.make_engine().join()
    say = announce if announce is not None and group.rank == 0 else _say_nothing
    with first_claims(group, lambda: Claim.of(folder.path)) as (_, held):
        record, options = _resumable(folder, engine, device)  # another process may have finished it in the meantime
        if record.get("source_sha256") != source_checksum(options.source):
            raise ModelFileError(
                f"'{shown_source(options.source)}' has changed since the run in '{path}' began; train anew."
            )
        check_same_checkpoint(group, folder)
        data = _prepare(options, say)
        run = _Run(folder, options, data, record, say, group, held)
        if folder.checkpoint.is_file():
            return run.go(None, callbacks)
        say("There is no checkpoint yet: starting from the beginning")
        return run.go(options.build_network(data.training.n_features, data.training.n_rows, data.target), callbacks)


def _resumable(folder: RunFolder, engine: str | None, device: str) -> tuple[dict[str, Any], TrainOptions]:
    """Return the record and the options of a run that can be resumed, on this engine; else raise ModelFileError."""
    record = folder.read_record()
    if record.get("status") == "finished":
        raise ModelFileError(f"The run in '{folder.path}' is finished; there is nothing to go on with.")
    if record.get("status") == "diverged":
        raise ModelFileError(f"The run in '{folder.path}' diverged, and would again; train anew with other settings.")
    if not isinstance(record.get("versions"), dict) or "started" not in record:
        raise ModelFileError(f"'{folder.record}' is damaged: it does not say when and by what the run was begun.")
    options = TrainOptions.from_dict(record.get("options"))
    if engine is not None or device != "auto":
        options = options.with_engine(engine or options.engine, device)
        record["options"] = options.to_dict()
    return record, options


@dataclass
class _Run:
    """What the stages of one run share."""

    folder: RunFolder
    options: TrainOptions
    data: PreparedData
    record: dict[str, Any]
    say: Announce
    group: Group
    claim: Claim | None  # of the process that writes files and says what happens

    def go(self, network: NeuralNetwork | None, callbacks: Sequence[Callback]) -> RunResult:
        """Train ``network``, or the one in the checkpoint, and conclude the run."""
        self.say(self.data.summary())
        settings = self.options.early_stopping_settings(self.data.training.n_rows)
        stopper, end = None if settings is None else EarlyStopping(**settings), _End(self._go_on)
        own: list[Callback] = [*([] if stopper is None else [stopper]), StopOnInterrupt()]
        if self.claim is not None:
            every, seconds = self.options.checkpoint_every, self._seconds_at_risk()
            own += [_Watch(self.claim), Checkpoint(self.folder.checkpoint, every, every_seconds=seconds), *callbacks]
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
            if self.claim is not None and self.claim.is_held() and not self.folder.checkpoint.is_file():
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
        if self.claim is not None:
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
        if self.claim is None:
            return result
        self.say("Fitting the baselines")
        assert self.options.seed is not None
        result = add_baselines(result, self.options.seed)
        self.claim.check()
        write_results(result, self.folder, self.options, self.record)
        self._write_end(describe_result(result))
        return result

    def _write_end(self, end: dict[str, Any]) -> None:
        """Write how the run ended into its record; only one that was interrupted keeps its checkpoint."""
        if self.claim is not None and self.claim.is_held():
            self.record |= end
            self.folder.write_record(self.record)
            if end["status"] != "interrupted":
                self.folder.checkpoint.unlink(missing_ok=True)


@dataclass(eq=False)
class _Watch(Callback):
    """Stops a run whose folder somebody has removed, before anything is written where another run may be by now."""

    order: ClassVar[int] = 90  # before the checkpoint
    watches_every_batch = False
    watches_network: ClassVar[bool] = False

    claim: Claim

    def on_batch_end(self, run: TrainingRun) -> None:
        """Look after the folder."""
        self.claim.check()

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Look after the folder."""
        self.claim.check()


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
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


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
