"""One, two and three processes train alike, whatever the number of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from support.children import child_environment
from support.together import CASES, learnt, torchrun


@pytest.mark.parametrize("n_processes", [pytest.param(2, marks=pytest.mark.slow), 3], ids=["two", "three"])
def test_processes_train_as_one_does(n_processes: int, tmp_path: Path) -> None:
    """All cases are trained in one run, because starting its processes takes longer than they do."""
    run = torchrun(n_processes, "support.together", str(tmp_path), env=child_environment())
    assert run.returncode == 0, run.stderr[-3000:]
    for case, train in CASES.items():
        results = [dict(np.load(tmp_path / f"{case} {rank}.npz")) for rank in range(n_processes)]
        for name, values in learnt(train()).items():
            for other in results[1:]:
                np.testing.assert_array_equal(results[0][name], other[name], err_msg=f"{case}: {name}")
            scale = float(np.abs(np.asarray(values)).max(initial=1e-30))  # which float32 can hold
            np.testing.assert_allclose(
                results[0][name] / scale, np.asarray(values) / scale, atol=1e-6, err_msg=f"{case}: {name}"
            )
    (refusal,) = {(tmp_path / f"refusal {rank}").read_text() for rank in range(n_processes)}
    assert refusal.startswith("The processes of this run have different data or seeds; give all of them the same rows")
    for rank in range(n_processes):
        assert "gloo" not in (tmp_path / f"threads {rank}").read_text(), "a thread that could abort the process"
