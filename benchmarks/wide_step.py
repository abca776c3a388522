"""S6: a training step of 784-1024-1024-10 with batch normalisation and dropout, Adam, batch 128.

Each program draws its own dropout masks, so the losses are compared without dropout.

    python benchmarks/wide_step.py [--threads 1|default|both] [--rounds 5]
"""

from __future__ import annotations

import datasets
import runner
from workload import Workload

TASK = Workload(
    name="wide_step",
    title="S6: 784-1024-1024-10, batch norm, dropout 0.5, Adam, batch 128",
    widths=(784, 1024, 1024, 10),
    batch=128,
    loss="cross_entropy",
    dropout=0.5,
    batch_norm=True,
    n_rows=50 * 128,
    check_steps=20,
)

if __name__ == "__main__":
    runner.run_steps(__doc__, [(TASK, datasets.mnist)], (runner.FLOOR, "torch", "torch-compiled"))
