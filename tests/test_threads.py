"""How many threads a fit uses."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from chainrule.callbacks import Callback, TrainingRun
from chainrule.errors import InvalidInputError
from chainrule.layers import DenseLayer
from chainrule.types import Array
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


class Wait(Callback):
    """At the end of the epoch, says that it is there, waits for the others, and notes the number of threads."""

    def __init__(self, here: threading.Event, others: threading.Event) -> None:
        self.here, self.others = here, others
        self.seen: list[int] = []

    def on_epoch_end(self, run: TrainingRun) -> None:
        self.seen.append(blas_threads())
        self.here.set()
        assert self.others.wait(60)
        self.seen.append(blas_threads())


def test_the_limit_holds_until_the_last_of_overlapping_fits_ends() -> None:
    first_is_there, second_is_there, first_has_ended = threading.Event(), threading.Event(), threading.Event()
    first, second = Wait(first_is_there, second_is_there), Wait(second_is_there, first_has_ended)

    def fit(callback: Wait) -> Array:
        return (
            network_of(DenseLayer(1, (5,)), epochs=1).fit(regression_rows(40), callbacks=[callback]).stack.vector.values
        )

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(fit, first)
        assert first_is_there.wait(60)
        other = threads.submit(fit, second)
        values = one.result()
        first_has_ended.set()
        np.testing.assert_array_equal(other.result(), values)
    assert (first.seen, second.seen) == ([1, 1], [1, 1])
    assert blas_threads() == 2


def test_the_limit_ends_with_a_fit_that_fails() -> None:
    class Fail(Callback):
        def on_epoch_end(self, run: TrainingRun) -> None:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        network_of(DenseLayer(1, (5,)), epochs=1).fit(regression_rows(40), callbacks=[Fail()])
    assert blas_threads() == 2


@pytest.mark.parametrize("given", ["0", "many", "-1", "1.5"])
def test_nonsense_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_THREADS", given)
    with pytest.raises(InvalidInputError, match="CHAINRULE_THREADS is"):
        network_of(DenseLayer(1, (5,)), epochs=1).fit(regression_rows(40))


# PyTorch -----------------------------------------------------------------------------------------


@pytest.fixture
def torch_threads() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_predictions_with_pytorch_have_the_limit_of_a_fit(torch_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from chainrule.engines import torch_inference

    seen = []
    infer = torch_inference.infer
    monkeypatch.setattr(torch_inference, "infer", lambda *a: seen.append(torch.get_num_threads()) or infer(*a))  # type: ignore[func-returns-value]
    network = network_of(DenseLayer(1, (5,)), engine="torch")
    network.predict(np.zeros((3, 5)))
    monkeypatch.setenv("CHAINRULE_THREADS", "2")
    network.predict(np.zeros((3, 5)))
    assert seen == [1, 2]
    assert torch.get_num_threads() == 3


def test_a_thread_that_is_new_to_pytorch_beside_a_limit_has_the_old_number_afterwards(torch_threads: None) -> None:
    import torch

    from chainrule.engines.torch_threads import limited_torch_threads

    def limited() -> tuple[int, int]:
        with limited_torch_threads():
            with limited_torch_threads():
                pass
            inside = torch.get_num_threads()
        return inside, torch.get_num_threads()

    with limited_torch_threads(), ThreadPoolExecutor(1) as other:
        assert other.submit(limited).result() == (1, 3)
    assert torch.get_num_threads() == 3
    with ThreadPoolExecutor(1) as other:
        assert other.submit(torch.get_num_threads).result() == 3


FORK = """
import os
import numpy as np
import torch
from chainrule import NeuralNetwork
from chainrule.layers import DenseLayer

torch.set_num_threads(2)  # as on any machine with two cores
X = np.random.default_rng(0).normal(size=(2000, 20)).astype("f4")
network = NeuralNetwork(engine="torch", epochs=1, seed=0)
for layer in (DenseLayer(64, (20,)), DenseLayer(1)):
    network.add(layer)
network.fit(X, X[:, 0]).predict(X)
child = os.fork()
if not child:
    network.predict(X)
    network.fit(X, X[:, 0])
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_predicts_and_trains_after_its_parent_has_predicted_with_pytorch() -> None:
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "0\n", done.stderr
