"""One, two and three processes train alike, whatever the number of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from support.children import child_environment
from support.together import CASES, learnt, torchrun


@pytest.fixture(scope="module", params=[2, 3], ids=["two", "three"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """What the processes of one run have left: all cases in it, for starting processes takes longer than they do."""
    folder = tmp_path_factory.mktemp("together")
    run = torchrun(request.param, "support.together", str(folder), env=child_environment())
    assert run.returncode == 0, run.stderr[-3000:]
    return request.param, folder


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, Any]]:
    """What one process learns."""
    return {name: learnt(train()) for name, train in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_processes_train_as_one_does(case: str, folder: tuple[int, Path], alone: dict[str, dict[str, Any]]) -> None:
    n_processes, path = folder
    results = [dict(np.load(path / f"{case} {rank}.npz")) for rank in range(n_processes)]
    for name, values in alone[case].items():
        for other in results[1:]:
            np.testing.assert_array_equal(results[0][name], other[name], err_msg=name)
        scale = float(np.abs(np.asarray(values)).max(initial=1e-30))  # which float32 can hold
        np.testing.assert_allclose(results[0][name] / scale, np.asarray(values) / scale, atol=1e-6, err_msg=name)


def test_processes_with_other_data_are_all_told_so(folder: tuple[int, Path]) -> None:
    n_processes, path = folder
    sentences = {(path / f"refusal {rank}").read_text() for rank in range(n_processes)}
    (sentence,) = sentences
    assert sentence.startswith("The processes of this run have different data or seeds; give all of them the same rows")


def test_processes_end_without_threads_that_could_abort_them(folder: tuple[int, Path]) -> None:
    n_processes, path = folder
    for rank in range(n_processes):
        assert "gloo" not in (path / f"threads {rank}").read_text()
