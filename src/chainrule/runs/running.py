"""Train and evaluate a model, in memory or in a run folder, and resume an interrupted run."""

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

from chainrule.callbacks import Callback, ProgressBar, StopOnInterrupt, TrainingRun
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
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork
from chainrule.paths import expand_user
from chainrule.runs.fitting import Fitting, plan_fitting
from chainrule.runs.folder import RunFolder, lock_for_new_run
from chainrule.runs.folder_lock import FolderLock
from chainrule.runs.options import TrainOptions
from chainrule.runs.preparation import prepare_data
from chainrule.runs.prepared import PreparedData
from chainrule.runs.processes import check_restarts, check_same_checkpoint, is_same_run, lock_in_first_process
from chainrule.runs.results import (
    RunResult,
    add_baselines,
    describe_network,
    describe_result,
    measure_network,
    write_results,
)
from chainrule.runs.source import Frame, RunSource, shown_source, source_checksum, source_name

__all__ = ["RunInterrupted", "check_source", "prepare", "recorded_options", "resume_run", "train", "train_run"]

Announce = Callable[[str], None]

# The maximum number of bytes of the source's name in the name of a run folder. With the time, 255 are allowed.
MAX_NAME_BYTES = 200
# The time between checkpoints within an epoch of streamed rows, which may take hours.
CHECKPOINT_SECONDS = 60.0


class RunInterrupted(KeyboardInterrupt):
    """A run was interrupted. It can be resumed from its ``folder``.

    The message consists of ``what`` and the command that resumes the run. ``has_weights`` means that the run can also
    be ended with the weights of a completed epoch.
    """

    def __init__(self, folder: Path, what: str, n_processes: int = 1, *, has_weights: bool = False) -> None:
        launcher = "" if n_processes == 1 else f"torchrun --standalone --nproc-per-node {n_processes} -m "
        hint = "; add --keep-best to end the run with its best weights so far" if has_weights else ""
        super().__init__(f"{what} with: {launcher}{shell_command('resume', folder)}{hint}")
        self.folder = folder


@checked
def train(
    source: RunSource,
    target: str | None = None,
    *,
    verbose: bool = True,
    callbacks: Sequence[Callback] = (),
    force: bool = False,
    **options: Any,
) -> RunResult:
    """Train and evaluate a network on a data frame, a file or a named data set, like ``chainrule train``.

    The rows are split into a training set and a test set, and also a validation set if one network is trained instead
    of the ensemble for tables (``preset="plain"``). The encoding of the columns is fitted to the training set. The
    metrics of the network and of baseline models are measured on the test set.

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
        The other fields of :class:`TrainOptions`. With ``out="runs/houses"``, a run folder is written, as by the
        command. Without ``out``, no files are written.

    Returns
    -------
    RunResult
        The trained ``model``, and its ``metrics``, ``baselines``, ``history`` and ``report``.

    Notes
    -----
    Ctrl-C ends the training after the current epoch, and the model so far is returned with a warning. With ``out``, a
    checkpoint is saved immediately and :class:`RunInterrupted` is raised. :func:`resume_run` continues such a run.

    Examples
    --------
    >>> result = train("iris", hidden=(16,), epochs=5, verbose=False)
    >>> sorted(result.metrics)
    ['accuracy', 'balanced_accuracy', 'log_loss']
    """
    train_options = TrainOptions.of(source, target=target, **options)
    callbacks = [*([ProgressBar()] if verbose else []), *callbacks]
    announce = print if verbose else _ignore
    with contextlib.nullcontext() if verbose else quiet_about_compiling():
        if train_options.out is None:
            return _train_in_memory(train_options, callbacks, announce)
        return train_run(train_options, callbacks, announce, force=force)


def train_run(
    options: TrainOptions,
    callbacks: Sequence[Callback] = (),
    announce: Announce | None = None,
    *,
    force: bool = False,
) -> RunResult:
    """Prepare the data, train and evaluate a network, and write the results to a run folder.

    ``announce`` is called with a sentence at each stage. ``force`` replaces an existing run in the folder. Ctrl-C saves
    a checkpoint and raises :class:`RunInterrupted`, which is a KeyboardInterrupt; :func:`resume_run` continues the run.
    The same options and data give the same bytes in the model file.

    Several processes started by torchrun train together, and process 0 prints and writes files. If torchrun restarts
    them after a failure (--max-restarts), they continue from the last checkpoint.

    The folder is locked until the run ends. Raises InvalidInputError if another process has locked it, or if it
    contains a run and ``force`` is False.
    """
    options.check()
    group = options.make_engine().join()
    restarts = check_restarts(options)
    draws_seed, options = options.seed is None, group.broadcast(options.resolved())
    out = None if options.out is None else expand_user(options.out)
    if out is not None and group.broadcast(restarts and is_same_run(RunFolder(out), options, any_seed=draws_seed)):
        frame = options.source if isinstance(options.source, Frame) else None
        return resume_run(out, callbacks, announce, source=frame)
    announce = announce if announce is not None and group.rank == 0 else _ignore

    def acquire() -> FolderLock:
        if out is None:
            return FolderLock.acquire_new_folder(_default_folder(options))
        return lock_for_new_run(RunFolder(out), replace=force)

    with lock_in_first_process(group, acquire) as (path, lock):
        folder = RunFolder(path)
        if folder.is_run():
            announce(f"Replacing the run in {path}")
        with _saved_pipe(options, folder, group) as options:
            data = prepare(options, announce)
            fitting = plan_fitting(options, data)
            record = _first_record(options, data, group)
            if lock is not None:
                folder.start_run(record)
        try:
            return _Run(folder, options, data, fitting, record, announce, group, lock).train(callbacks)
        except DivergenceError:
            raise
        except ChainruleError:
            if lock is not None and lock.is_held() and not folder.checkpoint.is_file():
                folder.discard_run()
            raise


@contextmanager
def _saved_pipe(options: TrainOptions, folder: RunFolder, group: Group) -> Iterator[TrainOptions]:
    """Save the data of a pipe in the run folder, and yield options whose source is the saved file.

    If the block raises an error, the file is removed. Other sources are not copied.
    """
    source = options.source
    if not group.broadcast(isinstance(source, str | Path) and is_pipe(source)):
        yield options
        return
    assert isinstance(source, str | Path)
    if group.rank == 0:
        folder.save_piped_data(source)
    group.broadcast(None)  # the other processes wait for the file
    try:
        yield replace(options, source=folder.piped_data)
    except BaseException:
        if group.rank == 0:
            folder.restore_piped_data()
        raise


def _train_in_memory(options: TrainOptions, callbacks: Sequence[Callback], announce: Announce) -> RunResult:
    """Prepare the data, train and evaluate a network, without a run folder."""
    options.check()
    group = options.make_engine().join()
    options = group.broadcast(options.resolved())
    is_first = group.rank == 0
    announce = announce if is_first else _ignore
    data = prepare(options, announce)
    fitting = plan_fitting(options, data)
    network, early_stopping = fitting.network, fitting.early_stopping
    record = _first_record(options, data, group)
    announce(data.summary())
    for line in data.column_lines():
        announce(line)
    _announce_training(fitting, options, announce)
    interrupt = StopOnInterrupt(resumable=False)
    all_callbacks: list[Callback] = [*([] if early_stopping is None else [early_stopping]), interrupt]
    all_callbacks += [callback for callback in callbacks if is_first or callback.steers]
    network.fit(fitting.training, validation=fitting.validation, callbacks=all_callbacks)
    if interrupt.has_stopped:
        warn(f"Training was interrupted in epoch {network.history.n_epochs}; the model so far is returned.")
    result = measure_network(network, data, fitting, folder=None, options=options, record=record, rank=group.rank)
    return add_baselines(result) if is_first else result


def _first_record(options: TrainOptions, data: PreparedData, group: Group) -> dict[str, Any]:
    """Return the record at the start of a run."""
    return {
        "status": "running",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": options.to_dict(),
        "source_sha256": source_checksum(options.source),
        "versions": _versions(),
        "computed_by": [_engine_entry(options, group)],
        "data": data.describe(),
    }


@checked
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
    """Resume an interrupted or killed run. The result has the same bits as that of an uninterrupted run.

    The data are read and prepared again. Raises ModelFileError if the run is finished, or if the data have changed, and
    InvalidInputError if the run is still training.

    Parameters
    ----------
    source
        The data frame of a run that was trained on a data frame.
    engine, device
        The engine to continue with, instead of that of the interrupted run.
    epochs
        The total number of epochs, with which a finished run can also be continued. The training does not stop earlier.
        Early stopping, if on, only restores the best weights. A learning-rate schedule covers the new number of epochs.
        The model of a finished run stays in the folder until the new one is written.
    keep_best
        Whether to end the run without further training. The model gets the best weights so far if early stopping is on,
        otherwise the last saved weights.
    """
    folder = RunFolder(expand_user(path))
    if epochs is not None and keep_best:
        raise InvalidInputError("epochs and keep_best cannot be combined; give one of them.")

    def read() -> tuple[dict[str, Any], TrainOptions]:
        record = _read_resumable(folder, is_extended=epochs is not None, keep_best=keep_best)
        options = recorded_options(folder, record, source)
        if epochs is not None:
            options = options.with_epochs(epochs)
        if engine is not None or device != "auto":
            options = options.with_engine(engine or options.engine, device)
        return record | {"options": options.to_dict()}, options

    options = read()[1]
    group = options.make_engine().join()
    announce = announce if announce is not None and group.rank == 0 else _ignore
    with lock_in_first_process(group, lambda: FolderLock.acquire(folder.path)) as (_, lock):
        record, options = read()  # another process may have finished the run in the meantime
        check_source(folder, record, options)
        check_same_checkpoint(group, folder)
        _announce_versions(record, announce)
        data = prepare(options, announce)
        fitting = plan_fitting(options, data)
        run = _Run(folder, options, data, fitting, record, announce, group, lock, epochs, keep_best)
        is_resumed = folder.checkpoint.is_file()
        if not is_resumed:
            announce("There is no checkpoint yet: starting from the beginning")
        return run.train(callbacks, is_resumed=is_resumed)


def _read_resumable(folder: RunFolder, *, is_extended: bool, keep_best: bool) -> dict[str, Any]:
    """Return the record of a run. Raises ModelFileError if the run cannot be resumed with these options."""
    record = folder.read_record()
    status, command = record.get("status"), shell_command("resume", folder.path)
    if status == "diverged":
        raise ModelFileError(f"The run in '{folder.path}' diverged; start a new run with other settings.")
    if status == "finished" and keep_best:
        raise ModelFileError(f"The run in '{folder.path}' is finished: its best weights are in {folder.model.name}.")
    if status == "finished" and not is_extended:
        n_epochs = record.get("epochs")
        further = 2 * n_epochs if isinstance(n_epochs, int) else "N"
        raise ModelFileError(
            f"The run in '{folder.path}' is finished; to continue it, give the total number of epochs: {command} "
            f"--epochs {further}"
        )
    if status == "finished" and not folder.checkpoint.is_file():
        raise ModelFileError(
            f"The file {folder.checkpoint.name} of the run in '{folder.path}' is missing; start a new run."
        )
    if keep_best and not folder.checkpoint.is_file():
        raise ModelFileError(f"The run in '{folder.path}' has no checkpoint yet; start it again with: {command}")
    return record


def recorded_options(folder: RunFolder, record: dict[str, Any], source: Frame | None) -> TrainOptions:
    """Return the options of a run. ``source`` is the data frame that it was trained on, if it was one."""
    options: Any = record.get("options")
    was_frame = isinstance(options, dict) and "source" in options and options["source"] is None
    if was_frame and source is None:
        raise ModelFileError(
            f"The run in '{folder.path}' was trained on a data frame, which is not stored in the folder; give the same "
            "frame in Python: source=frame."
        )
    was_piped = isinstance(options, dict) and Path(str(options.get("source"))).name == folder.piped_data.name
    if was_piped and folder.piped_data.exists():
        options = {**options, "source": str(folder.piped_data)}  # the folder may have been moved
    if source is not None and not was_frame:
        raise InvalidInputError(f"The run in '{folder.path}' has a recorded source; omit source.")
    return TrainOptions.from_dict({**options, "source": source} if was_frame else options)


def check_source(folder: RunFolder, record: dict[str, Any], options: TrainOptions) -> None:
    """Raise ModelFileError if the source of a run has changed."""
    if record.get("source_sha256") != source_checksum(options.source):
        raise ModelFileError(
            f"'{shown_source(options.source)}' has changed since the start of the run in '{folder.path}'; restore the "
            "file, or start a new run."
        )


@dataclass
class _Run:
    """A run whose data are prepared and whose folder is locked."""

    folder: RunFolder
    options: TrainOptions
    data: PreparedData
    fitting: Fitting
    record: dict[str, Any]
    announce: Announce
    group: Group
    lock: FolderLock | None  # None except in process 0, which writes files
    epochs: int | None = None  # the new total number of epochs of a resumed run
    keeps_best: bool = False

    def train(self, callbacks: Sequence[Callback], *, is_resumed: bool = False) -> RunResult:
        """Train the network, or resume the training of the network in the checkpoint, and write the results."""
        self.announce(self.data.summary())
        early_stopping = self.fitting.early_stopping
        progress = _Progress(self._record_resumption, self.keeps_best)
        all_callbacks: list[Callback] = [*([] if early_stopping is None else [early_stopping]), StopOnInterrupt()]
        if self.lock is not None:
            # Epochs of streamed rows are long, so that checkpoints are also saved within an epoch.
            seconds = None if isinstance(self.data.training, Dataset) else CHECKPOINT_SECONDS
            checkpoint = Checkpoint(self.folder.checkpoint, self.options.checkpoint_every, every_seconds=seconds)
            all_callbacks += [_CheckFolder(self.lock), checkpoint, *callbacks]
        else:
            all_callbacks += [callback for callback in callbacks if callback.steers]
        try:
            network = self._fit([*all_callbacks, progress], is_resumed=is_resumed)
            if not progress.is_interrupted:
                return self._finish(network)
        except DivergenceError as error:
            self._write_status({"status": "diverged", "stop_reason": str(error)})
            raise
        except KeyboardInterrupt:
            pass
        self._write_status({"status": "interrupted"})
        if progress.is_interrupted:
            what = f"Interrupted in epoch {progress.epoch} and saved; continue"
        elif self.folder.checkpoint.is_file():
            what = f"Interrupted in epoch {progress.epoch}; continue from the last checkpoint"
        else:
            what = "Interrupted before the first checkpoint; start again"
        has_weights = progress.epoch > 1 and self.folder.checkpoint.is_file()
        raise RunInterrupted(self.folder.path, what, self.group.size, has_weights=has_weights)

    def _record_resumption(self, epoch: int, last_epoch: int) -> None:
        """Announce the epoch in which a resumed run continues, and write the engine to the record."""
        self.record["status"] = "running"
        if not self.keeps_best:
            self.announce(f"Continuing with epoch {epoch} of {last_epoch}")
            engines = [*self.record.get("computed_by", []), _engine_entry(self.options, self.group, epoch)]
            self.record["computed_by"] = engines
        if self.lock is not None:
            self.folder.write_record(self.record)

    def _fit(self, callbacks: list[Callback], *, is_resumed: bool) -> NeuralNetwork:
        network, training, validation = self.fitting[:3]
        if is_resumed:
            return NeuralNetwork.resume(
                self.folder.checkpoint,
                training,
                validation=validation,
                callbacks=callbacks,
                engine=self.options.make_engine(),
                epochs=self.epochs,
            )
        for line in self.data.column_lines():
            self.announce(line)
        _announce_training(self.fitting, self.options, self.announce)
        return network.fit(training, validation=validation, callbacks=callbacks)

    def _finish(self, network: NeuralNetwork) -> RunResult:
        """Evaluate the model and write the results. The record is written last, with the status "finished"."""
        result = measure_network(
            network,
            self.data,
            self.fitting,
            folder=self.folder.path,
            options=self.options,
            record=self.record,
            rank=self.group.rank,
        )
        if self.lock is None:
            return result
        self.announce("Fitting the baselines")
        result = add_baselines(result)
        self.lock.check()
        write_results(result, self.folder)
        self._write_status(describe_result(result))
        return result

    def _write_status(self, entries: dict[str, Any]) -> None:
        """Update the record. The checkpoint of a diverged run is deleted."""
        if self.lock is not None and self.lock.is_held():
            self.record |= entries
            self.folder.write_record(self.record)
            if entries["status"] == "diverged":
                self.folder.checkpoint.unlink(missing_ok=True)


@dataclass(eq=False)
class _CheckFolder(Callback):
    """Stop the training if the run folder was removed or replaced, before anything is written to its path."""

    order: ClassVar[int] = 90  # before the checkpoint
    watches_every_batch = False
    watches_network: ClassVar[bool] = False

    lock: FolderLock

    def on_batch_end(self, run: TrainingRun) -> None:
        """Check the folder."""
        self.lock.check()

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Check the folder."""
        self.lock.check()


class _Progress(Callback):
    """Record in which epoch, counted from 1, a training ended, and whether it was interrupted.

    ``record_resumption`` is called with the current and the last epoch when a training is resumed. ``ends_at_start``
    ends a resumed training without further epochs.
    """

    order: ClassVar[int] = 1000
    watches_network: ClassVar[bool] = False

    is_interrupted: bool
    epoch: int

    def __init__(self, record_resumption: Callable[[int, int], None], ends_at_start: bool) -> None:
        self._record_resumption, self._ends_at_start = record_resumption, ends_at_start
        self.is_interrupted, self.epoch = False, 1

    def on_fit_start(self, run: TrainingRun) -> None:
        """Record that a run is resumed, and end it if ``ends_at_start`` is set."""
        if self._ends_at_start:
            if not run.epoch:
                raise InvalidInputError("The run has not completed an epoch, so there is no model to keep.")
            run.last_epoch = run.epoch
            run.stop("ended on request after " + ("1 epoch" if run.epoch == 1 else f"{run.epoch} epochs"))
        if run.epoch or run.batch:
            self._record_resumption(min(run.epoch + 1, run.last_epoch), run.last_epoch)

    def on_fit_end(self, run: TrainingRun) -> None:
        """Record the epoch and whether the training was interrupted."""
        self.is_interrupted, self.epoch = run.is_interrupted, min(run.epoch + 1, run.last_epoch)


def _default_folder(options: TrainOptions) -> Path:
    name = "".join(character if character.isprintable() else "_" for character in source_name(options.source))
    name = name.encode(errors="replace")[:MAX_NAME_BYTES].decode(errors="ignore") or "run"
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _announce_training(fitting: Fitting, options: TrainOptions, announce: Announce) -> None:
    """Announce the network and how it is trained."""
    announce(describe_network(fitting.network, options))
    if fitting.explanation:
        announce(fitting.explanation)


def _announce_versions(record: dict[str, Any], announce: Announce) -> None:
    """Announce the libraries whose versions differ from those at the start of the run."""
    current = _versions()
    recorded = record["versions"].items()
    changes = [f"{name} {old}, now {current[name]}" for name, old in recorded if current.get(name, old) != old]
    if changes:
        announce(f"Started with {'; '.join(changes)}: the last digits may differ from those of an uninterrupted run")


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"chainrule": version("chainrule"), "python": platform.python_version(), "numpy": np.__version__}


def _engine_entry(options: TrainOptions, group: Group, first_epoch: int = 1) -> dict[str, Any]:
    """Return an entry of ``computed_by``: the engine that computes from an epoch on, as JSON values."""
    from importlib.metadata import version

    engine = {"engine": options.engine, "version": version(options.engine), "device": str(group.device)}
    return {**engine, "processes": group.size, "first_epoch": first_epoch}


def prepare(options: TrainOptions, announce: Announce) -> PreparedData:
    """Read and encode the data of a run."""
    if isinstance(options.source, tuple):
        announce(f"Analysing the columns: one pass over {shown_source(options.source)}")
    return prepare_data(options.source, **options.data_settings())


def _ignore(_: str) -> None:
    pass
