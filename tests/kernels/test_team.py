"""Several threads: the same bits, also in two fits at once and after a fork, and a choice that follows the times."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule import Dataset, NeuralNetwork, build_network
from chainrule.kernels import tape
from chainrule.kernels.tape import GAIN, N_TRIALS, Pace
from chainrule.kernels.team import Team, team_of
from chainrule.threads import team_size


@pytest.fixture(params=[2, 3])
def n_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let a team take all steps."""
    monkeypatch.setenv("CHAINRULE_THREADS", str(request.param))
    monkeypatch.setattr(Pace, "choose", lambda self, rows_per_step: (True, 0))
    monkeypatch.setattr(Pace, "note", lambda *_: None)
    return request.param


def rows(dtype: str, *, pixels: bool = False, n_classes: int = 7) -> Dataset:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (330, 51)) / 255 if pixels else rng.normal(size=(330, 51))
    X[rng.random(X.shape) < 0.5] = 0
    return Dataset(X.astype(dtype), rng.integers(0, n_classes, 330))


CASES: dict[str, dict[str, Any]] = {
    "odd widths": {"hidden": [77, 33], "batch_size": 101},
    "dropout and batch normalisation": {
        "hidden": [300, 16],
        "batch_size": 128,
        "dropout": 0.3,
        "batch_normalization": True,
    },
    "clipping and decay": {"hidden": [40], "clip_norm": 0.5, "optimizer": "adamw:weight_decay=0.1", "batch_size": 330},
    "a division by a root": {"hidden": [77], "activation": "smooth_clip", "batch_size": 330},
    "tanh and penalty": {"hidden": [64, 64], "activation": "tanh", "l2": 1e-3, "batch_size": 64},
}


def trained(dataset: Dataset, dtype: str, **settings: Any) -> NeuralNetwork:
    network = build_network(51, dataset.target, epochs=2, seed=0, dtype=dtype, **settings)
    return network.fit(dataset)


def bits(network: NeuralNetwork, dataset: Dataset) -> bytes:
    return network.stack.vector.values.tobytes() + network.predict_proba(dataset.X).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_the_bits_do_not_depend_on_the_number_of_threads(
    n_threads: int, case: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = rows(dtype, pixels=case == "odd widths")
    together = bits(trained(dataset, dtype, **CASES[case]), dataset)
    monkeypatch.setenv("CHAINRULE_THREADS", "1")
    assert together == bits(trained(dataset, dtype, **CASES[case]), dataset)


def test_two_fits_at_once_have_their_own_results(n_threads: int) -> None:
    dataset, found = rows("float32"), []
    alone = bits(trained(dataset, "float32", hidden=[64]), dataset)

    def fit() -> None:
        found.append(bits(trained(dataset, "float32", hidden=[64]), dataset))

    threads = [threading.Thread(target=fit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 4


def test_a_part_with_a_number_that_is_not_finite_ends_the_steps(n_threads: int) -> None:
    network = trained(rows("float32"), "float32", hidden=[64], batch_size=330)
    X = rows("float32").X.copy()
    X[300, 7] = np.nan
    with pytest.raises(Exception, match="row 301, column 8"):
        network.predict(X)


def test_helpers_that_wait_leave_the_processor_to_others(n_threads: int) -> None:
    helpers = team_of(n_threads)
    assert helpers is not None
    with helpers.helping(np.zeros((0, tape._WIDTH), np.int64)):
        pass
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.1


@pytest.mark.parametrize(("ratio", "chosen"), [(GAIN + 0.1, True), (GAIN - 0.1, False)])
def test_the_team_is_chosen_if_it_is_clearly_faster(ratio: float, chosen: bool) -> None:
    pace = Pace()
    for _ in range(2 * N_TRIALS):
        together, n_steps = pace.choose(10)
        pace.note(together, 10 * n_steps, n_steps * (1.0 if together else ratio))
    assert pace.choose(10) == (chosen, 0)


@pytest.mark.parametrize(
    ("variables", "n"),
    [({"CHAINRULE_THREADS": "1"}, 1), ({"CHAINRULE_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "1"}, 1)],
)
def test_the_environment_limits_the_threads(variables: dict[str, str], n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHAINRULE_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert team_size() == n


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the operating system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_has_helpers_of_its_own(n_threads: int) -> None:
    dataset = rows("float32")
    network = trained(dataset, "float32", hidden=[64])
    expected = network.predict_proba(dataset.X)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        same = all(np.array_equal(network.predict_proba(dataset.X), expected) for _ in range(3))
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_helpers_keep_the_subnormal_numbers_of_predictions(n_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = rows("float32", n_classes=2)
    network = trained(dataset, "float32", hidden=[64], batch_size=330)
    network.stack.vector.values *= 8
    X = np.repeat(dataset.X, 20, axis=0) * 5
    together = [network.predict_proba(X) for _ in range(3)]
    monkeypatch.setenv("CHAINRULE_THREADS", "1")
    alone = copy.deepcopy(network).predict_proba(X)
    assert ((alone > 0) & (alone < np.finfo(np.float32).tiny)).any()
    assert all(np.array_equal(alone, one) for one in together)


def test_without_more_threads_one_thread_takes_the_steps(n_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some helpers may have started before the failure: they must not help, nor be started twice."""
    team, table = Team(n_threads), np.zeros((0, tape._WIDTH), np.int64)

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with team.helping(table) as (_, n_present):
            assert n_present == 1
    with team.helping(table) as (_, n_present):
        assert n_present == 1
