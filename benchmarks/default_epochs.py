"""Choose the default number of epochs and the default patience for small data, without a test set.

For each of ten small data sets, the test rows (a fifth) are not used. On the other rows, four-fold cross-validation
with two shuffles trains the default network on three folds, with early stopping on a fifth of them, and measures the
fourth. The candidates are at least 100 epochs, and more until a given number of steps is reached, with a fixed patience
or a twentieth of the epochs.

    OMP_NUM_THREADS=1 python benchmarks/default_epochs.py

Boston and wine quality are read from the folder that CHAINRULE_DATA names, or downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from chainrule import Dataset, EarlyStopping, build_network
from chainrule.runs import prepare_data

RESULT = Path(__file__).parent / "results" / "default_epochs.md"
SETS = ("iris", "wine", "breast-cancer", "diabetes", "wine-quality-red", "regression", "digits", "boston", "moons",
        "spirals")  # fmt: skip
BATCH_SIZE, MIN_EPOCHS = 32, 100


class Rule(NamedTuple):
    name: str
    steps: int
    max_epochs: int
    patience: int | None  # None: a twentieth of the epochs, at least 10


RULES = (
    Rule("100 epochs, patience 10", 0, 100, 10),
    Rule("5,000 steps, at most 500, patience 1/20", 5_000, 500, None),
    Rule("10,000 steps, at most 1,000, patience 30", 10_000, 1_000, 30),
    Rule("10,000 steps, at most 1,000, patience 1/20", 10_000, 1_000, None),
)


def folds(dataset: Dataset, is_regression: bool) -> Iterator[tuple[int, Dataset, Dataset]]:
    for seed in range(2):
        splitter = KFold(4, shuffle=True, random_state=seed)
        if not is_regression:
            splitter = StratifiedKFold(4, shuffle=True, random_state=seed)
        for kept, measured in splitter.split(dataset.X, None if is_regression else dataset.y):
            yield seed, dataset.take(kept), dataset.take(measured)


def score(rule: Rule, dataset: Dataset, is_regression: bool) -> tuple[float, float]:
    """Mean score over the folds, and mean number of epochs."""
    scores, epochs = [], []
    for seed, learning, measured in folds(dataset, is_regression):
        training, validation = learning.split(test_size=0.2, seed=seed)
        steps_per_epoch = -(-training.n_rows // BATCH_SIZE)
        n_epochs = min(max(rule.steps // steps_per_epoch, MIN_EPOCHS), rule.max_epochs)
        network = build_network(
            dataset.n_features, dataset.target, epochs=n_epochs, batch_size=BATCH_SIZE, seed=seed,
            metric="r2" if is_regression else "accuracy",
        )  # fmt: skip
        patience = rule.patience or max(10, n_epochs // 20)
        network.fit(training, validation=validation, callbacks=[EarlyStopping(patience=patience)])
        scores.append(network.score(measured))
        epochs.append(network.history.n_epochs)
    return float(np.mean(scores)), float(np.mean(epochs))


def main() -> None:
    lines = ["| set | " + " | ".join(rule.name for rule in RULES) + " |", "|---|" + "---|" * len(RULES)]
    print(*lines, sep="\n")
    for name in SETS:
        data = prepare_data(name, validation_size=0, seed=0)
        cells = []
        for rule in RULES:
            mean, epochs = score(rule, data.training, data.target.task == "regression")
            cells.append(f"{mean:.4f} ({epochs:.0f} epochs)")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1])
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        "# Default epochs and patience for small data\n\nAccuracy or R2 by cross-validation on the training rows.\n"
        "Made by `python benchmarks/default_epochs.py`.\n\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    main()
