"""Dynamic batching: requests that arrive at the same time are predicted in one call; a single request does not wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from chainrule.serving.base import RequestError
from chainrule.types import Array

__all__ = ["Batcher"]


@dataclass(eq=False)
class _Waiting:
    """The inputs of one request, and the future of its outputs."""

    inputs: Array
    outputs: asyncio.Future[Array]


@dataclass(eq=False)
class Batcher:
    """Collect the inputs of concurrent requests, call ``call`` with all of them, and distribute the outputs.

    Waiting inputs are predicted at the end of the current iteration of the event loop. Requests that arrive in the same
    iteration are predicted in one call of up to ``batch_rows`` rows. There is no timer. A call of at most
    ``inline_rows`` rows is made in the event loop. A longer call is made in the ``executor``, and the requests that
    arrive meanwhile form the next batch. Outputs are returned in the order of arrival.

    A request that is cancelled while it waits is not predicted. A request that is cancelled during a call does not
    affect the others. ``observe`` is called with the number of rows of every call.
    """

    call: Callable[[Array], Array]
    executor: Executor
    _: KW_ONLY
    batch_rows: int
    waiting_rows: int
    inline_rows: int
    observe: Callable[[int], None]
    rows_waiting: int = field(default=0, init=False)
    _queue: deque[_Waiting] = field(default_factory=deque, init=False)
    _work: asyncio.Task[None] | None = field(default=None, init=False)  # exists while requests wait

    async def predict(self, inputs: Array) -> Array:
        """Return the outputs of these inputs. Raises ``RequestError`` 503 if too many rows are waiting already."""
        n_rows = len(inputs)
        if self.rows_waiting and self.rows_waiting + n_rows > self.waiting_rows:
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
        """Predict batch after batch until no request waits."""
        try:
            while batch := self._take_batch():
                try:
                    outputs, end = await self._predict(batch), 0
                    for request in batch:
                        start, end = end, end + len(request.inputs)
                        if not request.outputs.done():
                            request.outputs.set_result(outputs[start:end])
                except asyncio.CancelledError:  # the loop or the threads are shut down
                    for request in (*batch, *self._queue):
                        request.outputs.cancel()
                    raise
                except Exception as error:  # the error of a batch does not affect other requests
                    for request in batch:
                        if not request.outputs.done():
                            request.outputs.set_exception(error)
                await asyncio.sleep(0)  # wait for the other requests of this iteration
        finally:
            self._work = None

    async def _predict(self, batch: list[_Waiting]) -> Array:
        inputs = batch[0].inputs if len(batch) == 1 else np.concatenate([request.inputs for request in batch])
        self.observe(len(inputs))
        if len(inputs) <= self.inline_rows:
            return self.call(inputs)
        return await asyncio.get_running_loop().run_in_executor(self.executor, self.call, inputs)

    def _take_batch(self) -> list[_Waiting]:
        """Remove the next requests from the queue, up to ``batch_rows`` rows, but at least one request."""
        batch: list[_Waiting] = []
        n_rows = 0
        while self._queue:
            request = self._queue[0]
            if not request.outputs.done():  # a cancelled request is done
                if batch and n_rows + len(request.inputs) > self.batch_rows:
                    break
                batch.append(request)
                n_rows += len(request.inputs)
            self._queue.popleft()
        return batch
