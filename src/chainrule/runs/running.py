"""Train from the data to the measured model, in memory or in a run folder, and resume a run that was cut off."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from chainrule.callbacks import Callback, EarlyStopping, ProgressBar, StopOnInterrupt, TrainingRun
from chainrule.data.dataset import Dataset
from chainrule.data.file_content import is_pipe
from chainrule.engines import Group
from chainrule.errors import (
    ChainruleError,
    DivergenceError,
    InvalidInputError,
    ModelFileError,
    shell_command,
    warn,
)
from chainrule.files import Checkpoint
from chainrule.kernels.compiling import quiet_about_compiling
from chainrule.neuralnet import NeuralNetwork
from chainrule.paths import expand_user
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
from chainrule.runs.source import Frame, RunSource, shown_source, source_checksum, source_name

__all__ = ["RunInterrupted", "resume_run", "train", "train_run"]

Announce = Callable[[str], None]

# The bytes of a source's name in that of its folder; with the time behind it, the name may have 255.
LONGEST_NAME = 200
# What a kill may cost of an epoch that streams its rows, and may take minutes or hours.
SECONDS_AT_RISK = 60.0


class RunInterrupted(KeyboardInterrupt):
    """A run was interrupted, and waits in ``folder`` to be resumed.

    ``what`` says from where it will go on, ``has_weights`` whether it can also be ended as it is.
    """

    def __init__(self, folder: Path, what: str, n_processes: int = 1, *, has_weights: bool = False) -> None:
        several = "" if n_processes == 1 else f"torchrun --standalone --nproc-per-node {n_processes} -m "
        ending = "; add --keep-best to end the run with its best weights so far" if has_weights else ""
        super().__init__(f"{what} with: {several}{shell_command('resume', folder)}{ending}")
        self.folder = folder


def train(
    source: RunSource,
    target: str | None = None,
    *,
    verbose: bool = True,
    callbacks: Sequence[Callback] = (),
    force: bool = False,
    **options: Any,
) -> RunResult:
    """Train a network on a data frame, a file or a named data set, and measure it, as ``chainrule train`` does.

    The rows are split into a training, a validation and a test part. The conversion of the columns to numbers is
    learned from the training part. The metrics of the network and of baseline models are measured on the test part.

    Parameters
    ----------
    source
        A pandas or polars data frame, the path of a file, the name of a data set, or Parquet files to stream.
    target
        The column to predict.
    verbose
        Whether to print the detected columns and the progress of the training.
    callbacks
        Callbacks for the training, in addition to the early stopping of the options.
    force
        Whether to replace an existing run in the folder ``out``.
    **options
        The other fields of :class:`TrainOptions`. With ``out="runs/houses"``, the run folder of the command is written.
        Without ``out``, no files are written.

    Returns
    -------
    RunResult
        The trained ``model``, and its ``metrics``, ``baselines``, ``history`` and ``report``.

    Notes
    -----
    Ctrl-C ends the training after the current epoch, and the model so far is returned with a warning. With ``out=`` a
    checkpoint is saved at once, and :class:`RunInterrupted` is raised; :func:`resume_run` goes on from there.

    Examples
    --------
    >>> result = train("iris", hidden=(16,), epochs=5, verbose=False)
    >>> sorted(result.metrics)
    ['accuracy', 'balanced_accuracy', 'log_loss']
    """
    wanted = TrainOptions.of(source, target=target, **options)
    callbacks = [*([ProgressBar()] if verbose else []), *callbacks]
    say = print if verbose else _say_nothing
    with contextlib.nullcontext() if verbose else quiet_about_compiling():
        if wanted.out is None:
            return _train_in_memory(wanted, callbacks, say)
        return train_run(wanted, callbacks, say, force=force)


def train_run(
    options: TrainOptions,
    callbacks: Sequence[Callback] = (),
    announce: Announce | None = None,
    *,
    force: bool = False,
) -> RunResult:
    """Prepare the data, train, measure, and write everything to a run folder.

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
    out = None if options.out is None else expand_user(options.out)
    if out is not None and group.broadcast(restarts and is_same_run(RunFolder(out), options, any_seed=draws_seed)):
        frame = options.source if isinstance(options.source, Frame) else None
        return resume_run(out, callbacks, announce, source=frame)
    say = announce if announce is not None and group.rank == 0 else _say_nothing

    def claim() -> Claim:
        if out is None:
            return Claim.of_new_folder(_default_folder(options))
        return claim_free(RunFolder(out), replace=force)

    with first_claims(group, claim) as (path, held):
        folder = RunFolder(path)
        if folder.is_run():
            say(f"Replacing the run in {path}")
        with _readable_again(options, folder, group) as options:
            data = _prepare(options, say)
            network = options.build_network(data.training.n_features, data.training.n_rows, data.target)
            record = _begin(options, data, group)
            if held is not None:
                folder.begin(record)
        try:
            return _Run(folder, options, data, record, say, group, held).go(network, callbacks)
        except DivergenceError:
            raise
        except ChainruleError:
            if held is not None and held.is_held() and not folder.checkpoint.is_file():
                folder.abandon()
            raise


@contextmanager
def _readable_again(options: TrainOptions, folder: RunFolder, group: Group) -> Iterator[TrainOptions]:
    """Yield options whose source can be read again: what comes through a pipe is kept in the folder of the run.

    It is not kept if the run does not begin.
    """
    source = options.source
    if not group.broadcast(isinstance(source, str | Path) and is_pipe(source)):
        yield options
        return
    assert isinstance(source, str | Path)
    if group.rank == 0:
        folder.receive(source)
    group.broadcast(None)  # the others wait for the file
    try:
        yield replace(options, source=folder.piped_data)
    except BaseException:
        if group.rank == 0:
            folder.give_back()
        raise


def _train_in_memory(options: TrainOptions, callbacks: Sequence[Callback], say: Announce) -> RunResult:
    """Prepare the data, train and measure, without a folder."""
    options.check()
    group = options.make_engine().join()
    options = group.broadcast(options.resolved())
    writes = group.rank == 0
    say = say if writes else _say_nothing
    data = _prepare(options, say)
    network = options.build_network(data.training.n_features, data.training.n_rows, data.target)
    record = _begin(options, data, group)
    say(data.summary())
    for line in data.column_lines():
        say(line)
    say(describe_network(network, options))
    stopper, interrupt = _early_stopping(options, data), StopOnInterrupt(resumable=False)
    own: list[Callback] = [*([] if stopper is None else [stopper]), interrupt]
    own += [callback for callback in callbacks if writes or callback.steers]
    network.fit(data.training, validation=data.validation, callbacks=own)
    if interrupt.has_stopped:
        warn(f"Training was interrupted in epoch {network.history.n_epochs}; the model so far is returned.")
    result = measure_network(network, data, stopper, folder=None, options=options, record=record, rank=group.rank)
    return add_baselines(result) if writes else result


def _begin(options: TrainOptions, data: PreparedData, group: Group) -> dict[str, Any]:
    """Return the record of a run that begins."""
    return {
        "status": "running",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": options.to_dict(),
        "source_sha256": source_checksum(options.source),
        "versions": _versions(),
        "computed_by": [_computer(options, group)],
        "data": data.describe(),
    }


def _early_stopping(options: TrainOptions, data: PreparedData) -> EarlyStopping | None:
    settings = options.early_stopping_settings(data.training.n_rows)
    return None if settings is None else EarlyStopping(**settings)


def resume_run(
    path: str | Path,
    callbacks: Sequence[Callback] = (),
    announce: Announce | None = None,
    *,
    source: Frame | None = None,
    engine: str | None = None,
    device: str = "auto",
    epochs: int | None = None,
    keep_best: bool = False,
) -> RunResult:
    """Go on with a run that was interrupted or killed, to the same bits as if it had not been.

    The data are read and prepared again. Raises ModelFileError for a run that is finished, or whose data have changed,
    and InvalidInputError for one that is still going on.

    Parameters
    ----------
    source
        The data frame, the same again, of a run on a data frame.
    engine, device
        Take the run to another engine.
    epochs
        Train for so many epochs in all, also a run that is finished. Nothing stops it earlier, and early stopping, if
        it was on, still keeps the best weights. A schedule is stretched over the new number of epochs. Until the end
        the folder keeps the model of the finished run.
    keep_best
        End the run without more training: with the best weights so far if early stopping was on, else with the last
        ones that were saved.
    """
    folder = RunFolder(expand_user(path))
    if epochs is not None and keep_best:
        raise InvalidInputError("epochs asks for more training and keep_best for none; give one of them.")

    def read() -> tuple[dict[str, Any], TrainOptions]:
        record = _resumable(folder, is_extended=epochs is not None, keep_best=keep_best)
        options = _recorded_options(folder, record, source)
        if epochs is not None:
            options = options.with_epochs(epochs)
        if engine is not None or device != "auto":
            options = options.with_engine(engine or options.engine, device)
        return record | {"options": options.to_dict()}, options

    options = read()[1]
    group = options.make_engine().join()
    say = announce if announce is not None and group.rank == 0 else _say_nothing
    with first_claims(group, lambda: Claim.of(folder.path)) as (_, held):
        record, options = read()  # another process may have finished the run in the meantime
        if record.get("source_sha256") != source_checksum(options.source):
            raise ModelFileError(
                f"'{shown_source(options.source)}' has changed since the run in '{path}' began; start a new "
                "run, or restore the file."
            )
        check_same_checkpoint(group, folder)
        _say_other_versions(record, say)
        data = _prepare(options, say)
        run = _Run(folder, options, data, record, say, group, held, epochs, keep_best)
        if folder.checkpoint.is_file():
            return run.go(None, callbacks)
        say("There is no checkpoint yet: starting from the beginning")
        return run.go(options.build_network(data.training.n_features, data.training.n_rows, data.target), callbacks)


def _resumable(folder: RunFolder, *, is_extended: bool, keep_best: bool) -> dict[str, Any]:
    """Return the record of a run that can be resumed like this; else raise ModelFileError."""
    record = folder.read_record()
    status, again = record.get("status"), shell_command("resume", folder.path)
    if status == "diverged":
        raise ModelFileError(f"The run in '{folder.path}' diverged; start a new run with other settings.")
    if status == "finished" and keep_best:
        raise ModelFileError(f"The run in '{folder.path}' is finished: its best weights are in {folder.model.name}.")
    if status == "finished" and not is_extended:
        n_epochs = record.get("epochs")
        further = 2 * n_epochs if isinstance(n_epochs, int) else "N"
        raise ModelFileError(
            f"The run in '{folder.path}' is finished; to continue it, give the total number of epochs: {again} "
            f"--epochs {further}"
        )
    if status == "finished" and not folder.checkpoint.is_file():
        raise ModelFileError(f"The run in '{folder.path}' has lost its file {folder.checkpoint.name}; start a new run.")
    if keep_best and not folder.checkpoint.is_file():
        raise ModelFileError(f"The run in '{folder.path}' has no checkpoint yet; begin again with: {again}")
    return record


def _recorded_options(folder: RunFolder, record: dict[str, Any], source: Frame | None) -> TrainOptions:
    """Return the options of a run, with the data frame that it was trained on, which no file holds."""
    options: Any = record.get("options")
    was_frame = isinstance(options, dict) and "source" in options and options["source"] is None
    if was_frame and source is None:
        raise ModelFileError(
            f"The run in '{folder.path}' was trained on a data frame in memory, which is not in its folder; give the "
            "same frame again in Python: resume_run(folder, source=frame)."
        )
    was_piped = isinstance(options, dict) and Path(str(options.get("source"))).name == folder.piped_data.name
    if was_piped and folder.piped_data.exists():
        options = {**options, "source": str(folder.piped_data)}  # the folder may have been moved
    if source is not None and not was_frame:
        raise InvalidInputError(f"The run in '{folder.path}' has a recorded source; omit source.")
    return TrainOptions.from_dict({**options, "source": source} if was_frame else options)


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
    epochs: int | None = None  # in all, if not as many as the run began with
    keeps_best: bool = False

    def go(self, network: NeuralNetwork | None, callbacks: Sequence[Callback]) -> RunResult:
        """Train ``network``, or the one in the checkpoint, and conclude the run."""
        self.say(self.data.summary())
        stopper, end = _early_stopping(self.options, self.data), _End(self._go_on, self.keeps_best)
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
        except KeyboardInterrupt:
            pass
        self._write_end({"status": "interrupted"})
        if end.is_interrupted:
            what = f"Interrupted in epoch {end.epoch}, and saved; go on"
        elif self.folder.checkpoint.is_file():
            what = f"Interrupted in epoch {end.epoch}, and only the last checkpoint is left; go on"
        else:
            what = "Interrupted before anything was saved; begin again"
        has_weights = end.epoch > 1 and self.folder.checkpoint.is_file()
        raise RunInterrupted(self.folder.path, what, self.group.size, has_weights=has_weights)

    def _go_on(self, epoch: int, last_epoch: int) -> None:
        """Say where a resumed run goes on, and note what it is computed by from there on."""
        self.record["status"] = "running"
        if not self.keeps_best:
            self.say(f"Continuing with epoch {epoch} of {last_epoch}")
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
                epochs=self.epochs,
            )
        for line in self.data.column_lines():
            self.say(line)
        self.say(describe_network(network, self.options))
        return network.fit(training, validation=validation, callbacks=callbacks)

    def _conclude(self, network: NeuralNetwork, stopper: EarlyStopping | None) -> RunResult:
        """Measure the model and write what the run leaves behind; the record comes last and says that all is there."""
        result = measure_network(
            network,
            self.data,
            stopper,
            folder=self.folder.path,
            options=self.options,
            record=self.record,
            rank=self.group.rank,
        )
        if self.claim is None:
            return result
        self.say("Fitting the baselines")
        result = add_baselines(result)
        self.claim.check()
        write_results(result, self.folder)
        self._write_end(describe_result(result))
        return result

    def _write_end(self, end: dict[str, Any]) -> None:
        """Write how the run ended into its record; one that diverged loses its checkpoint."""
        if self.claim is not None and self.claim.is_held():
            self.record |= end
            self.folder.write_record(self.record)
            if end["status"] == "diverged":
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
    """Tells of a training that goes on or ends it at once, and remembers in which epoch, counted from 1, it ended."""

    order: ClassVar[int] = 1000
    watches_network: ClassVar[bool] = False

    def __init__(self, go_on: Callable[[int, int], None], ends_at_once: bool) -> None:
        self._go_on, self._ends_at_once = go_on, ends_at_once
        self.is_interrupted, self.epoch = False, 1

    def on_fit_start(self, run: TrainingRun) -> None:
        """Tell where a resumed run begins; end one that is to keep what it has."""
        if self._ends_at_once:
            if not run.epoch:
                raise InvalidInputError("The run has not completed an epoch, so there is no model to keep.")
            run.last_epoch = run.epoch
            run.stop("ended on request after " + ("1 epoch" if run.epoch == 1 else f"{run.epoch} epochs"))
        if run.epoch or run.batch:
            self._go_on(min(run.epoch + 1, run.last_epoch), run.last_epoch)

    def on_fit_end(self, run: TrainingRun) -> None:
        """Take the last word."""
        self.is_interrupted, self.epoch = run.is_interrupted, min(run.epoch + 1, run.last_epoch)


def _default_folder(options: TrainOptions) -> Path:
    name = "".join(character if character.isprintable() else "_" for character in source_name(options.source))
    name = name.encode(errors="replace")[:LONGEST_NAME].decode(errors="ignore") or "run"
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _say_other_versions(record: dict[str, Any], say: Announce) -> None:
    """Announce the versions that differ from those at the start of the run."""
    now = _versions()
    begun_with = record["versions"].items()
    others = [f"{name} {then}, now {now[name]}" for name, then in begun_with if now.get(name, then) != then]
    if others:
        say(f"Started with {'; '.join(others)}: the last digits may differ from those of a run that was never stopped")


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
