"""S1 and S2: a training step of 784-128-64-10 with Adam, batches of 64 and of 512 rows of MNIST.

python benchmarks/mnist_step.py [--threads 1|default|both] [--rounds 5] [--peers torch,jax-scan]
"""

from __future__ import annotations

import datasets
import runner
from workload import Workload

# All batches are full, because the compiled peers cannot compute a shorter one.
TASKS = [
    Workload(
        name=f"mnist_step_{batch}",
        title=f"{row}: 784-128-64-10, Adam, batch {batch}",
        widths=(784, 128, 64, 10),
        batch=batch,
        loss="cross_entropy",
        n_rows=60_000 // batch * batch,
        epochs_a_round=3,
    )
    for row, batch in (("S1", 64), ("S2", 512))
]

if __name__ == "__main__":
    runner.run_steps(__doc__, [(task, datasets.mnist) for task in TASKS], runner.STEP_PEERS)
