"""S4: a training step of 2-4-1 on XNOR, batch 4, Adam, which consists almost only of overhead.

The first task repeats the four rows a thousand times, so that an epoch is 1,000 shuffled steps. The second task has
the four rows only, so that every step is an epoch, with a row of the history and a copy of the weights.

    python benchmarks/tiny_step.py [--threads 1|default|both] [--rounds 5] [--peers torch,jax-scan]
"""

from __future__ import annotations

from typing import Any

import datasets
import runner
from workload import Workload

SETTINGS: dict[str, Any] = {
    "widths": (2, 4, 1),
    "batch": 4,
    "loss": "binary_cross_entropy",
    "activation": "sigmoid",
    "learning_rate": 0.01,
}
LONG = Workload(name="tiny_step", title="S4: 2-4-1, Adam, batch 4", epochs_a_round=2, **SETTINGS)
REAL = Workload(
    name="tiny_epoch", title="S4, four rows: 2-4-1, Adam, one step per epoch", epochs_a_round=1000, **SETTINGS
)

if __name__ == "__main__":
    tasks = [(LONG, lambda: datasets.xnor(1000)), (REAL, lambda: datasets.xnor(1))]
    runner.run_steps(__doc__, tasks, runner.STEP_PEERS)
