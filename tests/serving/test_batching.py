"""Requests that come together are predicted together, and each gets its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from chainrule.serving.base import RequestError
from chainrule.serving.batching import Batcher
from chainrule.types import Array


class Doubler:
    """Predicts twice its inputs, and remembers how many rows it was given, and in which threads."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, inputs: Array) -> Array:
        self.threads.add(threading.get_ident())
        self.gate.wait(10)
        if (inputs < 0).any():
            raise ArithmeticError("negative")
        self.calls.append(len(inputs))
        return 2 * inputs


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def batcher_of(predict: Doubler, executor: ThreadPoolExecutor, **changes: Any) -> tuple[Batcher, list[int]]:
    seen: list[int] = []
    settings: dict[str, Any] = {"batch_rows": 8, "waiting_rows": 100, "inline_rows": 1000, "observe": seen.append}
    return Batcher(predict, executor, **{**settings, **changes}), seen


def rows(first: float, n: int = 1) -> Array:
    return np.arange(first, first + n).reshape(-1, 1)


@pytest.mark.parametrize("inline_rows", [1000, 0], ids=["in the loop", "in a thread"])
def test_requests_that_come_together_share_a_call(executor: ThreadPoolExecutor, inline_rows: int) -> None:
    predict = Doubler()
    batcher, seen = batcher_of(predict, executor, inline_rows=inline_rows)

    async def main() -> None:
        answers = await asyncio.gather(*(batcher.predict(rows(10 * i, 1 + i % 3)) for i in range(9)))
        for i, answer in enumerate(answers):
            assert answer.tolist() == (2 * rows(10 * i, 1 + i % 3)).tolist()
        assert batcher.rows_waiting == 0
        assert (await batcher.predict(rows(5))).tolist() == [[10]]

    asyncio.run(main())
    assert predict.calls == [7, 8, 3, 1], "1+2+3+1, then 2+3+1+2 and 3: whole requests, up to 8 rows; then one alone"
    assert seen == predict.calls
    assert predict.threads.isdisjoint({threading.get_ident()}) == (inline_rows == 0)


def test_what_comes_during_a_call_makes_the_next_batch(executor: ThreadPoolExecutor) -> None:
    predict = Doubler()
    batcher, _ = batcher_of(predict, executor, inline_rows=0)

    async def main() -> None:
        predict.gate.clear()
        first = asyncio.create_task(batcher.predict(rows(1)))
        await asyncio.sleep(0.02)
        later = [asyncio.create_task(batcher.predict(rows(i))) for i in (2, 3, 4)]
        await asyncio.sleep(0.02)
        predict.gate.set()
        assert [answer.item() for answer in await asyncio.gather(first, *later)] == [2, 4, 6, 8]

    asyncio.run(main())
    assert predict.calls == [1, 3]


def test_a_request_larger_than_a_batch_goes_by_itself(executor: ThreadPoolExecutor) -> None:
    predict = Doubler()
    batcher, _ = batcher_of(predict, executor)

    async def main() -> None:
        small, large, last = await asyncio.gather(*(batcher.predict(rows(1, n)) for n in (1, 30, 1)))
        assert (len(small), len(large), len(last)) == (1, 30, 1)

    asyncio.run(main())
    assert predict.calls == [1, 30, 1]


@pytest.mark.parametrize("inline_rows", [1000, 0], ids=["in the loop", "in a thread"])
def test_cancelled_requests_cost_the_others_nothing(executor: ThreadPoolExecutor, inline_rows: int) -> None:
    predict = Doubler()
    batcher, _ = batcher_of(predict, executor, inline_rows=inline_rows)

    async def main() -> None:
        tasks = [asyncio.create_task(batcher.predict(rows(i))) for i in range(4)]
        tasks[0].cancel()  # before it began
        asyncio.get_running_loop().call_soon(tasks[2].cancel)  # when all of them wait
        assert (await tasks[1]).item() == 2
        assert (await tasks[3]).item() == 6
        assert batcher.rows_waiting == 0
        assert all(tasks[i].cancelled() for i in (0, 2))

    asyncio.run(main())
    assert predict.calls == [2], "the cancelled rows were not predicted"


def test_a_request_cancelled_under_way_costs_the_others_nothing(executor: ThreadPoolExecutor) -> None:
    predict = Doubler()
    batcher, _ = batcher_of(predict, executor, inline_rows=0)

    async def main() -> None:
        predict.gate.clear()
        tasks = [asyncio.create_task(batcher.predict(rows(i))) for i in range(3)]
        await asyncio.sleep(0.02)
        tasks[1].cancel()
        await asyncio.sleep(0)
        predict.gate.set()
        assert [(await tasks[i]).item() for i in (0, 2)] == [0, 4]

    asyncio.run(main())


@pytest.mark.parametrize("inline_rows", [1000, 0], ids=["in the loop", "in a thread"])
def test_a_failure_goes_to_the_requests_of_its_batch_alone(executor: ThreadPoolExecutor, inline_rows: int) -> None:
    batcher, _ = batcher_of(Doubler(), executor, inline_rows=inline_rows, batch_rows=2)

    async def main() -> None:
        results = await asyncio.gather(*(batcher.predict(rows(i)) for i in (-1, 1, 2, 3)), return_exceptions=True)
        assert [type(result) for result in results] == [ArithmeticError, ArithmeticError, np.ndarray, np.ndarray]
        assert (await batcher.predict(rows(7))).item() == 14

    asyncio.run(main())


def test_a_full_queue_refuses_and_recovers(executor: ThreadPoolExecutor) -> None:
    predict = Doubler()
    batcher, _ = batcher_of(predict, executor, inline_rows=0, waiting_rows=5)

    async def main() -> None:
        predict.gate.clear()
        tasks = [asyncio.create_task(batcher.predict(rows(0, n))) for n in (2, 3)]
        await asyncio.sleep(0.02)
        with pytest.raises(RequestError, match="5 rows are waiting") as caught:
            await batcher.predict(rows(0))
        assert caught.value.status == 503
        predict.gate.set()
        await asyncio.gather(*tasks)
        assert len(await batcher.predict(rows(0, 50))) == 50, "an empty queue takes any one request"

    asyncio.run(main())


def test_a_call_that_the_end_of_the_threads_cancels_says_nothing(executor: ThreadPoolExecutor) -> None:
    batcher, _ = batcher_of(Doubler(), executor, inline_rows=0)
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        busy = threading.Event()
        executor.submit(busy.wait, 10)
        request = asyncio.create_task(batcher.predict(rows(1)))
        await asyncio.sleep(0.02)
        executor.shutdown(wait=False, cancel_futures=True)
        await asyncio.sleep(0.02)
        busy.set()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)

    asyncio.run(main())
    assert complaints == []


def test_when_a_call_is_given_up_nobody_waits_for_ever(executor: ThreadPoolExecutor) -> None:
    batcher, _ = batcher_of(Doubler(), executor, inline_rows=0, batch_rows=2)

    async def main() -> None:
        busy = threading.Event()
        executor.submit(busy.wait, 10)
        requests = [asyncio.create_task(batcher.predict(rows(i))) for i in range(5)]
        await asyncio.sleep(0.02)
        executor.shutdown(wait=False, cancel_futures=True)
        busy.set()
        async with asyncio.timeout(5):
            results = await asyncio.gather(*requests, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 5
        assert batcher.rows_waiting == 0

    asyncio.run(main())
