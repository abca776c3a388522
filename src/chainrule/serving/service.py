"""From the body of a request to the body of its answer, without a word of HTTP."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.data.text_table import parse_text_table
from chainrule.errors import InvalidInputError, nearest_name
from chainrule.model import Model
from chainrule.serving.answers import render
from chainrule.serving.array_rows import ArrayRows
from chainrule.serving.batching import Batcher
from chainrule.serving.bodies import CSV, JSON, check_number_of_rows, decode, parse_json_rows
from chainrule.serving.errors import RequestError, RowError, shown
from chainrule.serving.limits import Limits
from chainrule.serving.metrics import Metrics
from chainrule.serving.table_rows import TableRows
from chainrule.types import Array

__all__ = ["PredictionService"]

P = ParamSpec("P")
R = TypeVar("R")

# Up to here it is quicker to do a thing at once than to hand it to a thread: about a millisecond's work.
INLINE_BYTES = 32 * 2**10
INLINE_NUMBERS = 1_000
INLINE_PRODUCTS = 10_000_000
# A row of JSON may have so many characters, so many more for each of its values, and six for each of a
# column's name, since JSON may write one as \u00e9.
ROW_LENGTH = 2**16
VALUE_LENGTH = 32
SURPLUS_COLUMNS = 100  # so many are still refused by name, which helps those who send a wrong file


class PredictionService:
    """Reads rows, predicts them in batches, and writes answers; what takes long is done in two threads of its own."""

    def __init__(self, model: Model, limits: Limits, metrics: Metrics) -> None:
        self.model, self.limits, self.metrics = model, limits, metrics
        stack = model.network.stack
        self._ignored = frozenset({model.target_name} if model.target_name else ())
        self._rows: TableRows | ArrayRows = (
            ArrayRows(stack.input_shape(), stack.dtype)
            if model.table is None
            else TableRows(model.table, self._ignored)
        )
        self._known: frozenset[str] = self._rows.known if isinstance(self._rows, TableRows) else frozenset()
        n_known = self._rows.n_numbers if isinstance(self._rows, ArrayRows) else len(self._known)
        self._row_length = ROW_LENGTH + VALUE_LENGTH * n_known + 6 * sum(map(len, self._known))
        self._numbers_a_row = max(len(model.target.classes), model.target.n_columns)
        self._most_columns = n_known + SURPLUS_COLUMNS
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="chainrule-serve")
        self._batcher = Batcher(
            self._predict,
            self._threads,
            batch_rows=limits.batch_rows,
            waiting_rows=limits.waiting_rows,
            inline_rows=INLINE_PRODUCTS // max(stack.parameters(), 1),
            observe=metrics.batch_rows.observe,
        )

    async def read_rows(self, body: bytes, body_type: str) -> Array:
        """Return the network's inputs for a body; raises ``RequestError`` for one that does not fit the model."""
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
        return self._rows.encode(parse_json_rows(body, self.limits, self._row_length))

    def _read_csv(self, body: bytes) -> Array:
        text = decode(body)
        check_number_of_rows(text.rstrip().count("\n"), self.limits)  # before they are parsed
        try:
            frame = parse_text_table(text, "The body", most_columns=self._most_columns)
            check_number_of_rows(len(frame), self.limits)
            for name in frame.columns:
                if self.model.table is not None and str(name) not in self._known:
                    raise RequestError(
                        422,
                        f"The body has the column {shown(str(name))}, which the model does not know; the first line "
                        f"gives the names of the columns.{nearest_name(str(name)[:200], self._known)}",
                        column=str(name)[:200],
                    )
            if self.model.table is not None:
                inputs: Array = self.model.inputs(frame)
                return inputs
            return self._array_of(Dataset(frame.drop(columns=[c for c in frame.columns if c in self._ignored])).X)
        except (InvalidInputError, csv.Error) as error:
            raise RequestError(422, str(error)) from None

    def _array_of(self, matrix: Any) -> Array:
        assert isinstance(self._rows, ArrayRows)
        if matrix.shape[1] != self._rows.n_numbers:
            raise RequestError(
                422,
                f"The body has {matrix.shape[1]} columns, and the model takes {self._rows.n_numbers} numbers a row.",
            )
        with np.errstate(over="ignore"):
            inputs: Array = matrix.reshape(len(matrix), *self._rows.shape).astype(self._rows.dtype)
        if not np.isfinite(inputs).all():  # beyond float32
            row, column = (int(place) for place in np.argwhere(~np.isfinite(inputs.reshape(len(matrix), -1)))[0])
            raise RowError(row + 1, f"has {matrix[row, column]:g} at place {column + 1}; a finite number is expected.")
        return inputs

    async def _in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
