"""S3: a training step of a small regression network, 13-64-32-1 with Adam, batch 32.

python benchmarks/table_step.py [--threads 1|default|both] [--rounds 5] [--peers torch,jax-scan]
"""

from __future__ import annotations

import datasets
import runner
from workload import Workload

TASK = Workload(
    name="table_step",
    title="S3: 13-64-32-1, Adam, batch 32",
    widths=(13, 64, 32, 1),
    batch=32,
    loss="mean_squared_error",
    n_rows=20_000,
    epochs_a_round=2,
)

if __name__ == "__main__":
    runner.run_steps(__doc__, [(TASK, datasets.table)], runner.STEP_PEERS)
