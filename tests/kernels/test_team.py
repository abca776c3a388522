"""Several threads: the same bits, also in two fits at once and after a fork, and a choice that follows the times."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule import Dataset, NeuralNetwork, build_network
from chainrule.kernels import tape
from chainrule.kernels.tape import GAIN, N_TRIALS, Pace
from chainrule.threads import team


@pytest.fixture(params=[2, 3])
def n_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let a team take all steps."""
    monkeypatch.setenv("CHAINRULE_THREADS", str(request.param))
    monkeypatch.setattr(Pace, "choose", lambda self, first, n_steps: (True, n_steps))
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
    helpers = team()
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
        together, last = pace.choose(0, 1000)
        pace.note(together, last, last * (1.0 if together else ratio))
    assert pace.choose(0, 1000) == (chosen, 1000)


@pytest.mark.parametrize(
    ("variables", "n"),
    [({"CHAINRULE_THREADS": "1"}, None), ({"CHAINRULE_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "1"}, None)],
)
def test_the_environment_limits_the_threads(
    variables: dict[str, str], n: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CHAINRULE_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = team()
    assert (found and found.n_threads) == n
