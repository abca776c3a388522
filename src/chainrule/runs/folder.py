"""Run folders, which contain a trained model, the record of its training, and a report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.data.file_content import read_content
from chainrule.errors import InvalidInputError, ModelFileError, shell_command
from chainrule.export import FORMATS
from chainrule.files.atomic import remove_leftovers, write_atomically
from chainrule.model import Model
from chainrule.named import checked
from chainrule.paths import cannot_be_read, exists, expand_user, is_file, is_folder, nearest_path
from chainrule.runs.folder_lock import LOCK_NAME, FolderLock, find_holder
from chainrule.runs.record import RECORD_VERSION, check_record, parse_record

__all__ = ["RunFolder", "load_run", "lock_for_new_run"]


@dataclass(frozen=True)
class RunFolder:
    """The files of a run.

    ======================  =========================================================================
    model.safetensors       the trained model: network, preprocessing, meaning of the outputs
    run.json                the record: options, versions, sizes and results
    history.csv             loss and metrics of every epoch
    report.html             the report with plots
    checkpoint.safetensors  the state of the training, for ``chainrule resume``
    piped-data              the data of a run that were read from a pipe, for ``chainrule resume``
    run.lock                the process that trains; exists only during the training
    ======================  =========================================================================
    """

    path: Path

    @property
    def model(self) -> Path:
        """The model file."""
        return self.path / "model.safetensors"

    @property
    def record(self) -> Path:
        """The record of the run."""
        return self.path / "run.json"

    @property
    def history(self) -> Path:
        """The history of the training."""
        return self.path / "history.csv"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of the training."""
        return self.path / "checkpoint.safetensors"

    @property
    def piped_data(self) -> Path:
        """The data, if they were read from a pipe."""
        return self.path.resolve() / "piped-data"

    def check_free(self, *, replace: bool = False) -> None:
        """Raise InvalidInputError if a new run must not write to this locked folder.

        Files that do not belong to a run are never overwritten. A finished run, and an interrupted run that can be
        resumed, are replaced only with ``replace=True``.
        """
        remove_leftovers(self.record)
        if not self.is_run():
            if {entry.name for entry in self.path.iterdir()} - {LOCK_NAME, self.piped_data.name}:
                raise InvalidInputError(
                    f"The folder '{self.path}' contains files that do not belong to a chainrule run; choose another "
                    "folder, so that they are not overwritten."
                )
            return
        if replace:
            return
        if self.is_unfinished() and self.checkpoint.exists():
            raise InvalidInputError(
                f"The folder '{self.path}' contains an interrupted run; continue it with: "
                f"{shell_command('resume', self.path)}, or choose another folder, or replace the run with --force."
            )
        if self.model.exists():
            raise InvalidInputError(
                f"The folder '{self.path}' contains a finished run; choose another folder, or replace the run with "
                "--force."
            )

    def is_unfinished(self) -> bool:
        """Return whether the run in this locked folder was started and has not ended."""
        record = self._parse_record()
        return record is not None and record.get("status") in ("running", "interrupted")

    def save_piped_data(self, source: str | Path) -> None:
        """Copy the data of a pipe to the folder. The data of a run to be replaced are renamed."""
        content = read_content(source)
        if self.piped_data.exists():
            self.piped_data.replace(self._previous_data)
        write_atomically(self.piped_data, content)

    def restore_piped_data(self) -> None:
        """Undo :meth:`save_piped_data`."""
        if self._previous_data.exists():
            self._previous_data.replace(self.piped_data)
        else:
            self.piped_data.unlink(missing_ok=True)

    @property
    def _previous_data(self) -> Path:
        return self.piped_data.with_suffix(".earlier")

    def start_run(self, record: dict[str, Any]) -> None:
        """Delete the files of a previous run from this locked folder, and write the record of a new run."""
        is_piped = record["options"]["source"] == str(self.piped_data)
        try:
            exports = [self.model.with_suffix(suffix) for suffix in FORMATS.values()]  # of the previous model
            previous_data = self._previous_data if is_piped else self.piped_data
            for file in (self.checkpoint, self.model, self.report, self.history, previous_data, *exports):
                file.unlink(missing_ok=True)
            self.write_record(record)
        except OSError as error:
            raise InvalidInputError(f"Could not use the folder '{self.path}': {error.strerror or error}.") from error
        except InvalidInputError:
            self.discard_run()
            raise

    def discard_run(self) -> None:
        """Undo :meth:`start_run`: delete the record, and the data if they were read from a pipe."""
        self.record.unlink(missing_ok=True)
        self.piped_data.unlink(missing_ok=True)

    def write_record(self, record: dict[str, Any]) -> None:
        """Write the record atomically."""
        write_atomically(self.record, json.dumps({"chainrule_run": RECORD_VERSION, **record}, indent=2) + "\n")

    def read_record(self) -> dict[str, Any]:
        """Return the record. Raises ModelFileError if there is none, or if it is invalid."""
        if not is_folder(self.path) and (not exists(self.path) or is_file(self.path)):
            raise ModelFileError(f"There is no run folder '{self.path}'.{nearest_path(self.path)}")
        content = self._read_record()
        if content is None:
            raise ModelFileError(f"'{self.path}' is not a run folder: it has no run.json from chainrule train.")
        try:
            record = parse_record(content)
        except ValueError as error:
            raise ModelFileError(
                f"'{self.path}' is not a run folder: its run.json is not from chainrule train ({error})."
            ) from error
        if record["chainrule_run"] is True or record["chainrule_run"] != RECORD_VERSION:
            version = str(record["chainrule_run"])[:20]
            raise ModelFileError(
                f"'{self.record}' was written by another version of chainrule (in format {version}; this version reads "
                f"format {RECORD_VERSION}); use that version."
            )
        try:
            check_record(record)
        except ValueError as error:
            raise ModelFileError(f"'{self.record}' is damaged: {error}.") from error
        return record

    def is_run(self) -> bool:
        """Return whether the folder contains the record of a run."""
        return self._parse_record() is not None

    def _parse_record(self) -> dict[str, Any] | None:
        try:
            return parse_record(self._read_record() or b"")
        except ValueError:
            return None

    def _read_record(self) -> bytes | None:
        try:
            return self.record.read_bytes() if is_file(self.record, strict=True) else None
        except OSError as error:
            raise ModelFileError(cannot_be_read(self.record, error)) from error


def lock_for_new_run(folder: RunFolder, *, replace: bool = False) -> FolderLock:
    """Lock the folder of a new run. Raises InvalidInputError if a new run must not write to it."""
    lock = FolderLock.acquire(folder.path)
    try:
        folder.check_free(replace=replace)
    except BaseException:
        lock.release()
        raise
    return lock


@checked
def load_run(path: str | Path) -> Model:
    """Return the model in a run folder or a model file.

    Raises ModelFileError if the folder contains no model.
    """
    path = expand_user(path)
    if is_file(path):
        return Model.load(path)
    folder = RunFolder(path)
    record = folder.read_record()
    if not exists(folder.model):
        if record.get("status") == "diverged":
            raise ModelFileError(
                f"The run in '{path}' has no model, because it diverged; train again with a lower learning rate."
            )
        if record.get("status") == "finished":
            raise ModelFileError(f"The file {folder.model.name} of the run in '{path}' is missing; train again.")
        holder = find_holder(path)
        if holder is not None:
            raise ModelFileError(
                f"The run in '{path}' has no model yet, because it is still training ({holder}); wait until it ends."
            )
        raise ModelFileError(
            f"The run in '{path}' has no model yet; finish it with: {shell_command('resume', path)} (or add "
            "--keep-best to end it with its best weights so far)"
        )
    return Model.load(folder.model)
