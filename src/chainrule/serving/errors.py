"""What can be wrong with a request: a status code, one sentence, and where a program finds the same in parts."""

from __future__ import annotations

import json
from typing import Any

from chainrule.errors import ChainruleError

__all__ = ["RequestError", "RowError", "shown"]

LONGEST_SHOWN = 40


class RequestError(ChainruleError):
    """A request that cannot be answered; ``status`` is the HTTP status, ``details`` go beside the sentence."""

    def __init__(self, status: int, sentence: str, **details: Any) -> None:
        super().__init__(sentence)
        self.status = status
        self.details = details


class RowError(RequestError):
    """A row that the model does not take: status 422, with the number of the row (from 1) and the column, if it is one.

    ``problem`` follows on the row's number: "has 'abc' in the column 'age'; ...".
    """

    def __init__(self, row: int, problem: str, column: str | None = None) -> None:
        place = {"row": row} if column is None else {"row": row, "column": column}
        super().__init__(422, f"Row {row} {problem}", **place)


def shown(value: Any) -> str:
    """Return a value as JSON for a sentence, cut short where it is long."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return "a whole number of more than 60 digits"
    text = json.dumps(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."
