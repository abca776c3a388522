"""S5: an epoch of 10000-64-64-1 with RMSprop on 25,000 reviews as CSR rows, batch 512, time and memory.

PyTorch in three forms: the matrix dense in memory (what tutorials write), dense batch by batch (lean), and the first
layer as an EmbeddingBag (what an expert writes). scikit-learn takes CSR rows as we do; it has no RMSprop and trains
with Adam, so its loss is only compared roughly. There is no floor: no bare product of NumPy takes CSR rows.

    python benchmarks/imdb_epoch.py [--threads 1|default|both] [--rounds 5]
"""

from __future__ import annotations

import datasets
import runner
from workload import Workload

TASK = Workload(
    name="imdb_epoch",
    title="S5: 10000-64-64-1, RMSprop, batch 512, CSR rows",
    widths=(10_000, 64, 64, 1),
    batch=512,
    loss="binary_cross_entropy",
    optimizer="rmsprop",
    check_steps=15,
    tolerance=1e-2,
    sparse=True,
)
PEERS = ("torch-dense", "torch-dense-batches", "torch-embedding-bag", "sklearn")

if __name__ == "__main__":
    runner.run_steps(__doc__, [(TASK, datasets.imdb)], PEERS)
