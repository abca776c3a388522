"""Dynamic batching: small requests that arrive together are predicted in one call, and none waits for company."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from chainrule.serving.base import RequestError
from chainrule.types import Array

__all__ = ["Batcher"]


@dataclass(eq=False)
class _Waiting:
    """The inputs of one request, and where its outputs are to go."""

    inputs: Array
    outputs: asyncio.Future[Array]


class Batcher:
    """Gathers the inputs of concurrent requests, calls ``predict`` on all of them, and deals out the outputs.

    What is waiting is predicted as soon as the event loop has gone round once: all requests that came in the same
    round share a call of up to ``batch_rows`` rows, and a lone one goes ahead by itself. There is no timer. A call of
    at most ``inline_rows`` rows is made at once, in the loop; a longer one in the ``executor``, so that the loop stays
    free, and what arrives meanwhile makes the next batch. Outputs go back in the order in which the inputs came.

    A request that is cancelled while it waits is left out; one that is cancelled under way costs the others nothing.
    ``observe`` is told the rows of every call.
    """

    def __init__(
        self,
        predict: Callable[[Array], Array],
        executor: Executor,
        *,
        batch_rows: int,
        waiting_rows: int,
        inline_rows: int,
        observe: Callable[[int], None],
    ) -> None:
        self._predict, self._executor, self._observe = predict, executor, observe
        self._batch_rows, self._most_waiting, self._inline_rows = batch_rows, waiting_rows, inline_rows
        self._queue: deque[_Waiting] = deque()
        self._work: asyncio.Task[None] | None = None  # predicts while something waits
        self.rows_waiting = 0

    async def predict(self, inputs: Array) -> Array:
        """Return the outputs of these inputs; raises ``RequestError`` 503 where too many rows wait already."""
        n_rows = len(inputs)
        if self.rows_waiting and self.rows_waiting + n_rows > self._most_waiting:
            raise RequestError(503, f"The server is busy: {self.rows_waiting} rows are waiting; try again in a second.")
        waiting = _Waiting(inputs, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self.rows_waiting += n_rows
        if self._work is None:
            self._work = asyncio.create_task(self._predict_all())
        try:
            return await waiting.outputs
        finally:
            self.rows_waiting -= n_rows

    async def _predict_all(self) -> None:
        """Predict what is waiting, batch after batch, until nothing is."""
        try:
            while batch := self._take_batch():
                try:
                    _deal_out(batch, await self._call(batch))
                except asyncio.CancelledError:  # the loop or its threads come to their end: nobody waits for ever
                    for one in (*batch, *self._queue):
                        one.outputs.cancel()
                    raise
                except Exception as error:  # whatever it is, it belongs to these requests, and the queue must go on
                    _fail(batch, error)
                await asyncio.sleep(0)  # the loop goes round
        finally:
            self._work = None

    async def _call(self, batch: list[_Waiting]) -> Array:
        inputs = batch[0].inputs if len(batch) == 1 else np.concatenate([one.inputs for one in batch])
        self._observe(len(inputs))
        if len(inputs) <= self._inline_rows:
            return self._predict(inputs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._predict, inputs)

    def _take_batch(self) -> list[_Waiting]:
        """Take the next requests, whole, up to ``batch_rows`` rows; the first one whatever its size."""
        batch: list[_Waiting] = []
        n_rows = 0
        while self._queue:
            one = self._queue[0]
            if not one.outputs.done():  # a cancelled request is
                if batch and n_rows + len(one.inputs) > self._batch_rows:
                    break
                batch.append(one)
                n_rows += len(one.inputs)
            self._queue.popleft()
        return batch


def _deal_out(batch: list[_Waiting], outputs: Array) -> None:
    start = 0
    for one in batch:
        end = start + len(one.inputs)
        if not one.outputs.done():
            one.outputs.set_result(outputs[start:end])
        start = end


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for one in batch:
        if not one.outputs.done():
            one.outputs.set_exception(error)
