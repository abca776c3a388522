"""A run folder: the model, what it took to make it, and what it is worth."""

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
from chainrule.paths import cannot_be_read, exists, expand_user, is_file, is_folder, nearest_path
from chainrule.runs.claim import LOCK_NAME, Claim, find_holder
from chainrule.runs.record import RECORD_VERSION, check_record, parse_record

__all__ = ["RunFolder", "claim_free", "load_run"]


@dataclass(frozen=True)
class RunFolder:
    """The files of a run, by what they are.

    ======================  =========================================================================
    model.safetensors       the trained model: network, preprocessing, meaning of the outputs
    run.json                the record: options, versions, sizes, results; enough to repeat the run
    history.csv             loss and metrics of every epoch
    report.html             the same in pictures, for people
    checkpoint.safetensors  where training stands, for ``chainrule resume``
    piped-data              the data of a run that came through a pipe, for ``chainrule resume``
    run.lock                which process trains; only there while one does
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
        """The table of the epochs."""
        return self.path / "history.csv"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of a run that is not done."""
        return self.path / "checkpoint.safetensors"

    @property
    def piped_data(self) -> Path:
        """The data, if they came through a pipe."""
        return self.path.resolve() / "piped-data"

    def check_free(self, *, replace: bool = False) -> None:
        """Raise InvalidInputError if a new run must not write in this claimed folder.

        Files of anything else than a run are never touched; a run that has a model, or that was cut off and can be
        resumed, only goes with ``replace``.
        """
        remove_leftovers(self.record)
        if not self.is_run():
            if {entry.name for entry in self.path.iterdir()} - {LOCK_NAME, self.piped_data.name}:
                raise InvalidInputError(
                    f"The folder '{self.path}' holds files that are no chainrule run; choose another folder, so that "
                    "nothing of yours is overwritten."
                )
            return
        if replace:
            return
        if self.was_cut_off() and self.checkpoint.exists():
            raise InvalidInputError(
                f"The folder '{self.path}' holds a run that was cut off; go on with: "
                f"{shell_command('resume', self.path)}, or choose another folder, or replace the run with --force."
            )
        if self.model.exists():
            raise InvalidInputError(
                f"The folder '{self.path}' holds a finished run; choose another folder, or replace the run with "
                "--force."
            )

    def was_cut_off(self) -> bool:
        """Tell whether the run in this claimed folder has begun and not ended."""
        record = self._parse_record()
        return record is not None and record.get("status") in ("running", "interrupted")

    def receive(self, source: str | Path) -> None:
        """Keep what comes through a pipe; the data of a run that is to be replaced are put aside."""
        content = read_content(source)
        if self.piped_data.exists():
            self.piped_data.replace(self._earlier_data)
        write_atomically(self.piped_data, content)

    def give_back(self) -> None:
        """Take :meth:`receive` back."""
        if self._earlier_data.exists():
            self._earlier_data.replace(self.piped_data)
        else:
            self.piped_data.unlink(missing_ok=True)

    @property
    def _earlier_data(self) -> Path:
        return self.piped_data.with_suffix(".earlier")

    def begin(self, record: dict[str, Any]) -> None:
        """Make this claimed folder that of a new run: the files of an earlier one go, and the record is written."""
        is_piped = record["options"]["source"] == str(self.piped_data)
        try:
            exports = [self.model.with_suffix(suffix) for suffix in FORMATS.values()]  # of the model that goes
            earlier_data = self._earlier_data if is_piped else self.piped_data
            for old in (self.checkpoint, self.model, self.report, self.history, earlier_data, *exports):
                old.unlink(missing_ok=True)
            self.write_record(record)
        except OSError as error:
            raise InvalidInputError(f"Could not use the folder '{self.path}': {error.strerror or error}.") from error
        except InvalidInputError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Take back the beginning of a run: remove its record, and its data if they came through a pipe."""
        self.record.unlink(missing_ok=True)
        self.piped_data.unlink(missing_ok=True)

    def write_record(self, record: dict[str, Any]) -> None:
        """Write the record, whole or not at all."""
        write_atomically(self.record, json.dumps({"chainrule_run": RECORD_VERSION, **record}, indent=2) + "\n")

    def read_record(self) -> dict[str, Any]:
        """Return the record; raises ModelFileError where there is none."""
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
                f"'{self.record}' was written by another version of chainrule (its format is {version}, and this "
                f"version reads format {RECORD_VERSION}); use that version."
            )
        try:
            check_record(record)
        except ValueError as error:
            raise ModelFileError(f"'{self.record}' is damaged: {error}.") from error
        return record

    def is_run(self) -> bool:
        """Tell whether a run was begun here."""
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


def claim_free(folder: RunFolder, *, replace: bool = False) -> Claim:
    """Claim the folder of a new run; raise InvalidInputError for all that a new run must not write over."""
    claim = Claim.of(folder.path)
    try:
        folder.check_free(replace=replace)
    except BaseException:
        claim.release()
        raise
    return claim


def load_run(path: str | Path) -> Model:
    """Return the model of a run folder, or of a model file.

    Raises ModelFileError, saying what to do, for a folder without a model.
    """
    path = expand_user(path)
    if is_file(path):
        return Model.load(path)
    folder = RunFolder(path)
    record = folder.read_record()
    if not exists(folder.model):
        if record.get("status") == "diverged":
            raise ModelFileError(f"The run in '{path}' has no model, because it diverged; train again, more gently.")
        if record.get("status") == "finished":
            raise ModelFileError(f"The run in '{path}' has lost its file {folder.model.name}; train again.")
        holder = find_holder(path)
        if holder is not None:
            raise ModelFileError(f"The run in '{path}' is still going on ({holder}) and has no model yet; wait for it.")
        raise ModelFileError(
            f"The run in '{path}' has no model yet; finish it with: {shell_command('resume', path)} (or add "
            "--keep-best to end it with its best weights so far)"
        )
    return Model.load(folder.model)
