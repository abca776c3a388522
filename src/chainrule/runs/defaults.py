"""What a run does where it is told nothing and the size of the data decides: rows a step, epochs, patience.

The numbers come from cross-validation inside the training parts of ten sets: benchmarks/default_epochs.py.
"""

from __future__ import annotations

__all__ = ["FEWEST_EPOCHS", "SHORTEST_PATIENCE", "default_batch_size", "default_patience", "most_epochs"]

# Small data need many small steps, large data few large ones: the size up to so many rows.
BATCH_SIZES = ((2_000, 32), (10_000, 64), (50_000, 128))
LARGEST_BATCH_SIZE = 256
# Where early stopping decides, there is time for so many steps, but for no fewer and no more epochs than these.
STEPS_TO_ALLOW, FEWEST_EPOCHS, MOST_EPOCHS = 10_000, 100, 1_000
# Epochs of small data are short, so that the patience is a share of all of them.
SHORTEST_PATIENCE, EPOCHS_A_PATIENCE = 10, 20


def default_batch_size(n_rows: int) -> int:
    """Return the batch size for so many training rows."""
    return next((size for most_rows, size in BATCH_SIZES if n_rows <= most_rows), LARGEST_BATCH_SIZE)


def most_epochs(n_steps: int) -> int:
    """Return for how many epochs of so many steps there is time, where early stopping decides."""
    return min(max(STEPS_TO_ALLOW // n_steps, FEWEST_EPOCHS), MOST_EPOCHS)


def default_patience(n_epochs: int) -> int:
    """Return for how many of at most so many epochs early stopping waits for something better."""
    return max(SHORTEST_PATIENCE, n_epochs // EPOCHS_A_PATIENCE)
