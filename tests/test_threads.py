"""How many threads a fit uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from chainrule.callbacks import Callback, TrainingRun
from chainrule.errors import InvalidInputError
from chainrule.layers import DenseLayer
from support.networks import network_of, regression_rows


class CountThreads(Callback):
    def on_batch_end(self, run: TrainingRun) -> None:
        self.seen = blas_threads()


def blas_threads() -> int:
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    with threadpool_limits(2, user_api="blas"):
        yield


@pytest.mark.parametrize(("given", "expected"), [(None, 1), ("2", 2)])
def test_a_fit_uses_one_thread_or_as_many_as_are_asked_for(
    given: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHAINRULE_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("CHAINRULE_THREADS", given)
    counter = CountThreads()
    network_of(DenseLayer(1, (5,)), epochs=1).fit(regression_rows(40), callbacks=[counter])
    assert counter.seen == expected
    assert blas_threads() == 2, "the number that was set before comes back"


@pytest.mark.parametrize("given", ["0", "many", "-1", "1.5"])
def test_nonsense_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_THREADS", given)
    with pytest.raises(InvalidInputError, match="CHAINRULE_THREADS is"):
        network_of(DenseLayer(1, (5,)), epochs=1).fit(regression_rows(40))
