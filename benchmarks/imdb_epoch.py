"""S5: time and memory of an epoch of 10000-64-64-1 with RMSprop, batch 512, on 25,000 reviews as CSR rows.

PyTorch has three forms: the whole matrix dense in memory (as in tutorials), dense batch by batch (less memory), and the
first layer as an EmbeddingBag (fastest). scikit-learn accepts CSR rows, as chainrule does. It has no RMSprop and trains
with Adam, so its loss is compared with a wide tolerance. There is no floor, because NumPy cannot multiply CSR rows.

The second task adds an L2 penalty, which makes the weights of rare words subnormal after some epochs. A step should
take as long as without the penalty.

    python benchmarks/imdb_epoch.py [--threads 1|default|both] [--rounds 5]
"""

from __future__ import annotations

import dataclasses

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
WITH_PENALTY = dataclasses.replace(TASK, name="imdb_epoch_l2", title=f"{TASK.title}, L2 of 0.001", l2=0.001)
PEERS = ("torch-dense", "torch-dense-batches", "torch-embedding-bag", "sklearn")

if __name__ == "__main__":
    runner.run_steps(__doc__, [(TASK, datasets.imdb), (WITH_PENALTY, datasets.imdb)], PEERS)
