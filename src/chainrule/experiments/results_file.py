"""The results of finished runs in a file, so that an interrupted comparison does not repeat them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chainrule.errors import ChainruleError, InvalidInputError
from chainrule.experiments.configuration import Run
from chainrule.files.atomic import write_atomically
from chainrule.json_text import parse_json
from chainrule.paths import expand_user

__all__ = ["ResultsFile"]


class ResultsFile:
    """``runs.json`` in a folder: a mapping of checksums of the runs to their results.

    The file is written as a whole after each run. It is valid at any time, whenever the process ends.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = expand_user(folder) / "runs.json"
        self._results = self._read()

    def _read(self) -> dict[str, Any]:
        results: dict[str, Any] = {}
        if self.path.is_file():
            try:
                results = dict(parse_json(self.path.read_bytes()))
                for run in results.values():
                    Run.from_dict(run, "")
            except (ValueError, TypeError, KeyError, AttributeError, ChainruleError) as error:
                raise InvalidInputError(
                    f"{self.path} does not contain the results of a comparison ({error}); give another folder."
                ) from error
        return results

    def find(self, key: str, configuration: str) -> Run | None:
        """Return the run with this checksum under the name of its configuration, or None."""
        found = self._results.get(key)
        return None if found is None else Run.from_dict(found, configuration)

    def add(self, key: str, run: Run) -> None:
        """Store a run. Runs that another process has stored since are kept."""
        self._results = {**self._read(), **self._results, key: run.to_dict()}
        write_atomically(self.path, json.dumps(self._results, allow_nan=False, indent=1))
