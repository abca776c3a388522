"""Convert the body of a request to the body of its answer, independently of HTTP."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple
from urllib.parse import parse_qs

import numpy as np

from chainrule.data.text_table import parse_text_table
from chainrule.errors import InvalidInputError
from chainrule.metrics.inputs import class_probabilities
from chainrule.model import Model
from chainrule.runs.predictions import prediction_csv, prediction_frame
from chainrule.serving.base import CSV, JSON, Limits, RequestError, RowError, shown, to_json
from chainrule.serving.batching import Batcher
from chainrule.serving.metrics import Metrics
from chainrule.serving.requests import body_text, check_number_of_rows, json_rows
from chainrule.serving.rows import ArrayRows, TableRows
from chainrule.types import Array

__all__ = ["PredictionService", "render"]

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

# Up to these sizes, work takes about a millisecond and is done in the event loop. Larger work is done in a thread.
INLINE_BYTES = 32 * 2**10
INLINE_NUMBERS = 1_000
INLINE_PRODUCTS = 10_000_000
EXTRA_COLUMNS = 100  # the maximum number of unknown columns for which the message names a column
NUMBERS_PER_CHUNK = 10_000  # of an answer


class PredictionService:
    """Read rows, predict them in batches, and write answers. Long work is done in two threads."""

    def __init__(self, model: Model, limits: Limits, metrics: Metrics) -> None:
        self.model, self.limits, self.metrics = model, limits, metrics
        stack, ignored = model.network.stack, [model.target_name] if model.target_name else []
        self._rows: TableRows | ArrayRows
        if model.table is None:
            self._rows = ArrayRows(stack.input_shape(), stack.dtype, ignored)
        else:
            self._rows = TableRows(model.table, ignored)
        self._numbers_per_row = max(len(model.target.classes), model.target.n_columns)
        self.open()

    def open(self) -> None:
        """Create the threads and the queue. This is also possible after :meth:`close`."""
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="chainrule-serve")
        self._batcher = Batcher(
            self._predict,
            self._threads,
            batch_rows=self.limits.batch_rows,
            waiting_rows=self.limits.waiting_rows,
            inline_rows=INLINE_PRODUCTS // max(self.model.network.stack.parameters(), 1),
            observe=self.metrics.batch_rows.observe,
        )

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def warm_up(self) -> None:
        """Predict a row and a batch, so that compiled code is loaded before the first request."""
        row = np.zeros((1, *self.model.network.stack.input_shape()), self.model.network.stack.dtype)
        for n_rows in (1, 8):
            self._predict(np.repeat(row, n_rows, axis=0))

    async def read_rows(self, body: bytes, body_type: str) -> Array:
        """Return the inputs of the network for a body. Raises ``RequestError`` if it does not fit the model.

        At most two long bodies are read at the same time, so that the memory for their values is bounded.
        """
        if body_type == JSON and len(body) <= INLINE_BYTES:
            return self._read(body, body_type)
        return await self._in_thread(self._read, body, body_type)

    def read_interval(self, query: bytes) -> float | None:
        """Return the share in the query ``interval=0.1``; None if there is none.

        Raises ``RequestError`` 422 if the model cannot give such intervals.
        """
        given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("interval")
        if given is None:
            return None
        try:
            alpha = float(given[-1])
        except ValueError:
            raise RequestError(422, f"interval is {shown(given[-1])}; give a number such as 0.1.") from None
        no_rows = np.empty((0, *self.model.network.stack.output_shape()))
        try:
            self.model.intervals_of(no_rows, alpha)
        except InvalidInputError as error:
            raise RequestError(422, str(error).replace("alpha", "interval")) from None
        return alpha

    async def predict(self, inputs: Array, alpha: float | None = None) -> Array:
        """Return the outputs of the network, which are predicted together with other waiting requests.

        Raises ``RequestError`` 413 if the answer would be too long, and 503 if too many rows are waiting.
        """
        n_numbers = self._numbers_per_row * (1 if alpha is None else 3)
        if len(inputs) * n_numbers > self.limits.answer_numbers:
            max_rows = self.limits.answer_numbers // n_numbers
            raise RequestError(413, f"The answer would be too long; send at most {max_rows:,} rows in one request.")
        outputs = await self._batcher.predict(inputs)
        self.metrics.rows += len(inputs)
        return outputs

    async def write_answer(self, outputs: Array, answer_type: str, alpha: float | None = None) -> bytes:
        """Return the body of the answer."""
        if answer_type == JSON and outputs.size <= INLINE_NUMBERS:
            return render(self.model, outputs, answer_type, alpha)
        return await self._in_thread(render, self.model, outputs, answer_type, alpha)

    def _predict(self, inputs: Array) -> Array:
        with np.errstate(all="ignore"):  # render raises an error for predictions that are not finite
            return self.model.network.predict(inputs)

    def _read(self, body: bytes, body_type: str) -> Array:
        text, limits = body_text(body, body_type, self.limits), self.limits
        if body_type == JSON:
            return self._rows.encode(json_rows(text, limits))
        max_columns = self._rows.n_values + EXTRA_COLUMNS
        try:
            frame = parse_text_table(text, "The body", max_columns=max_columns, max_rows=limits.rows + 1)
            check_number_of_rows(len(frame), limits)
            return self._rows.encode_frame(frame)
        except (InvalidInputError, csv.Error) as error:
            raise RequestError(422, str(error)) from None

    async def _in_thread(self, function: Callable[[*Ts], R], *args: *Ts) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


def render(model: Model, network_outputs: Array, media_type: str, alpha: float | None = None) -> bytes:
    """Return the answer for the outputs of the network of a model.

    JSON contains ``predictions``, with a label or number per row (a list for several targets). For classes, it also
    contains ``classes`` and ``probabilities``, a list per row in this order; for several labels, ``probabilities``;
    with ``alpha``, ``intervals``, the lower and the upper limit of each prediction. CSV has the format of ``chainrule
    predict``.

    Raises ``RowError`` for a row whose prediction is not finite.
    """
    with np.errstate(all="ignore"):
        outputs = model.predictions_of(network_outputs)
        limits = None if alpha is None else model.intervals_of(network_outputs, alpha)
    is_finite = np.isfinite(outputs).all(axis=1)
    if limits is not None:
        is_finite &= np.isfinite(limits).reshape(len(limits), -1).all(axis=1)
    if not is_finite.all():
        row = int(np.flatnonzero(~is_finite)[0])
        raise RowError(row + 1, "has no finite prediction; its values are too far from the training data.")
    if media_type == CSV:
        return prediction_csv(model, prediction_frame(model, outputs, limits)).encode()
    answer = b'{"predictions":' + _write_array(model.target.decode(outputs))
    if model.target.classes:
        answer += b',"classes":' + to_json(model.target.classes)
        answer += b',"probabilities":' + _write_array(class_probabilities(outputs))
    if model.target.task == "multilabel":
        answer += b',"probabilities":' + _write_array(outputs)
    if limits is not None:
        answer += b',"intervals":' + _write_array(limits)
    return answer + b"}"


def _write_array(values: Array) -> bytes:
    """Return an array as JSON, written in chunks, between which other threads can run."""
    n_rows = max(1, NUMBERS_PER_CHUNK * len(values) // max(values.size, 1))
    chunks = (to_json(values[start : start + n_rows].tolist())[1:-1] for start in range(0, len(values), n_rows))
    return b"[" + b",".join(chunks) + b"]"
