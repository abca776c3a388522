"""Parse and check the record of a run, ``run.json``."""

from __future__ import annotations

from typing import Any

from chainrule.json_text import parse_json

__all__ = ["RECORD_VERSION", "check_record", "parse_record"]

RECORD_VERSION = 1

_STATUSES = ("running", "interrupted", "finished", "diverged")


def parse_record(text: bytes) -> dict[str, Any]:
    """Return the record of a run from the bytes of its file. Raises ValueError with the reason if it is none."""
    record = parse_json(text)
    if not isinstance(record, dict) or "chainrule_run" not in record:
        raise ValueError("it has no 'chainrule_run'")
    return record


def check_record(record: dict[str, Any]) -> None:
    """Raise ValueError, with the reason, if the record is invalid.

    The options are checked by :meth:`TrainOptions.from_dict`.
    """
    if record.get("status") not in _STATUSES:
        raise ValueError(f"its status is {str(record.get('status'))[:40]!r}, not one of {', '.join(_STATUSES)}")
    versions, computers = record.get("versions"), record.get("computed_by", [])
    if not isinstance(record.get("started"), str) or not _has_text_values(versions):
        raise ValueError("it has no start time or no versions")
    if not isinstance(computers, list) or not all(map(_is_computer, computers)):
        raise ValueError("its 'computed_by' is not a list of engines")
    if not isinstance(record.get("source_sha256"), str | None):
        raise ValueError("its checksum of the data is not text")
    n_epochs = record.get("epochs", 0)
    if type(n_epochs) is not int or n_epochs < 0:
        raise ValueError("its number of epochs is not a whole number")


def _has_text_values(values: Any) -> bool:
    return isinstance(values, dict) and all(isinstance(value, str) for value in values.values())


def _is_computer(value: Any) -> bool:
    """Return whether an entry of ``computed_by`` contains an engine, a number of processes and a first epoch."""
    if not isinstance(value, dict):
        return False
    texts = (value.get(name) for name in ("engine", "version", "device"))
    counts = (value.get(name) for name in ("processes", "first_epoch"))
    return all(isinstance(text, str) for text in texts) and all(type(n) is int and n >= 1 for n in counts)
