"""From the body of a request to the body of its answer, without a word of HTTP."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

import numpy as np

from chainrule.data.text_table import parse_text_table
from chainrule.errors import InvalidInputError
from chainrule.metrics.inputs import class_probabilities
from chainrule.model import Model
from chainrule.runs.predictions import prediction_csv, prediction_frame
from chainrule.serving.array_rows import ArrayRows
from chainrule.serving.base import CSV, JSON, Limits, RequestError, RowError, to_json
from chainrule.serving.batching import Batcher
from chainrule.serving.bodies import bytes_of_json, check_number_of_rows, decode, parse_json_rows
from chainrule.serving.metrics import Metrics
from chainrule.serving.table_rows import TableRows
from chainrule.types import Array

__all__ = ["PredictionService", "render"]

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

# Up to here it is quicker to do a thing at once than to hand it to a thread: about a millisecond's work.
INLINE_BYTES = 32 * 2**10
INLINE_NUMBERS = 1_000
INLINE_PRODUCTS = 10_000_000
SURPLUS_COLUMNS = 100  # so many are still refused by name, which helps those who send a wrong file
BYTES_OF_CELL = 64  # of CSV, as text
NUMBERS_AT_A_TIME = 10_000  # of an answer


class PredictionService:
    """Reads rows, predicts them in batches, and writes answers; what takes long is done in two threads of its own."""

    def __init__(self, model: Model, limits: Limits, metrics: Metrics) -> None:
        self.model, self.limits, self.metrics = model, limits, metrics
        stack = model.network.stack
        ignored = [model.target_name] if model.target_name else []
        self._rows: TableRows | ArrayRows = (
            ArrayRows(stack.input_shape(), stack.dtype, ignored)
            if model.table is None
            else TableRows(model.table, ignored)
        )
        self._numbers_a_row = max(len(model.target.classes), model.target.n_columns)
        self._most_columns = self._rows.n_values + SURPLUS_COLUMNS
        self.open()

    def open(self) -> None:
        """Make the threads and the queue, once more after :meth:`close`."""
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="chainrule-serve")
        self._batcher = Batcher(
            self._predict,
            self._threads,
            batch_rows=self.limits.batch_rows,
            waiting_rows=self.limits.waiting_rows,
            inline_rows=INLINE_PRODUCTS // max(self.model.network.stack.parameters(), 1),
            observe=self.metrics.batch_rows.observe,
        )

    async def read_rows(self, body: bytes, body_type: str) -> Array:
        """Return the network's inputs for a body; raises ``RequestError`` for one that does not fit the model.

        At most two long bodies are read at a time, so that the memory for their values is bounded.
        """
        n_bytes = bytes_of_json(body) if body_type == JSON else BYTES_OF_CELL * _most_cells(body)
        if n_bytes > self.limits.value_bytes:
            raise RequestError(413, "The body has too many values; send fewer rows in one request.")
        if body_type == CSV:
            return await self._in_thread(self._read_csv, body)
        if len(body) > INLINE_BYTES:
            return await self._in_thread(self._read_json, body)
        return self._read_json(body)

    async def predict(self, inputs: Array) -> Array:
        """Return the model's outputs, predicted together with what else is waiting.

        Raises ``RequestError`` 413 for more than an answer may hold, and 503 where too many rows wait already.
        """
        if len(inputs) * self._numbers_a_row > self.limits.answer_numbers:
            most = self.limits.answer_numbers // self._numbers_a_row
            raise RequestError(413, f"The answer would be too long; send at most {most:,} rows in one request.")
        outputs = await self._batcher.predict(inputs)
        self.metrics.rows += len(inputs)
        return outputs

    async def write_answer(self, outputs: Array, answer_type: str) -> bytes:
        """Return the body of the answer."""
        if answer_type == JSON and outputs.size <= INLINE_NUMBERS:
            return render(self.model, outputs, answer_type)
        return await self._in_thread(render, self.model, outputs, answer_type)

    def warm_up(self) -> None:
        """Predict a row and a batch, so that the first request does not wait for kernels to load."""
        row = np.zeros((1, *self.model.network.stack.input_shape()), self.model.network.stack.dtype)
        for n_rows in (1, 8):
            self._predict(np.repeat(row, n_rows, axis=0))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _predict(self, inputs: Array) -> Array:
        with np.errstate(all="ignore"):  # what is not finite is refused by row when the answer is written
            return self.model.outputs_of(inputs)

    def _read_json(self, body: bytes) -> Array:
        return self._rows.encode(parse_json_rows(body, self.limits))

    def _read_csv(self, body: bytes) -> Array:
        text = decode(body)
        try:
            frame = parse_text_table(text, "The body", most_columns=self._most_columns, most_rows=self.limits.rows + 1)
            check_number_of_rows(len(frame), self.limits)
            return self._rows.encode_frame(frame)
        except (InvalidInputError, csv.Error) as error:
            raise RequestError(422, str(error)) from None

    async def _in_thread(self, function: Callable[[*Ts], R], *args: *Ts) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


def render(model: Model, outputs: Array, media_type: str) -> bytes:
    """Return the answer for what ``model.outputs`` gave.

    JSON has ``predictions``, a label or number a row (a list of numbers where several are predicted), and for classes
    ``classes`` and their ``probabilities`` in that order, a list a row. CSV is what ``chainrule predict`` writes.

    Raises ``RowError`` for a row whose prediction is not finite.
    """
    if not np.isfinite(outputs).all():
        row = int(np.flatnonzero(~np.isfinite(outputs).all(axis=1))[0])
        raise RowError(row + 1, "gives no finite prediction; its values are too far from the training data.")
    if media_type == CSV:
        return prediction_csv(model, prediction_frame(model, outputs)).encode()
    answer = b'{"predictions":' + _write_array(model.target.decode(outputs))
    if model.target.classes:
        answer += b',"classes":' + to_json(model.target.classes)
        answer += b',"probabilities":' + _write_array(class_probabilities(outputs))
    return answer + b"}"


def _write_array(values: Array) -> bytes:
    """Return an array as JSON, written a piece at a time: between two pieces, other threads have their turn."""
    n_rows = max(1, NUMBERS_AT_A_TIME * len(values) // max(values.size, 1))
    pieces = (to_json(values[start : start + n_rows].tolist())[1:-1] for start in range(0, len(values), n_rows))
    return b"[" + b",".join(pieces) + b"]"


def _most_cells(body: bytes) -> int:
    """Return how many cells a CSV may have at most: one more or less does not matter."""
    return max(map(body.count, (b",", b";", b"\t", b"|"))) + max(body.count(b"\n"), body.count(b"\r"))
