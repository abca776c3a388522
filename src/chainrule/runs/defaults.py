"""Default batch size, number of epochs and patience of a run, which depend on the number of training rows.

They were chosen by cross-validation within the training parts of ten data sets (``benchmarks/default_epochs.py``).
"""

from __future__ import annotations

__all__ = ["MIN_EPOCHS", "MIN_PATIENCE", "default_batch_size", "default_max_epochs", "default_patience"]

# Pairs of a maximum number of training rows and the batch size up to that number.
BATCH_SIZES = ((2_000, 32), (10_000, 64), (50_000, 128))
MAX_BATCH_SIZE = 256
# With early stopping, the epochs are limited to about MAX_STEPS steps, but not to less than MIN_EPOCHS.
MAX_STEPS, MIN_EPOCHS, MAX_EPOCHS = 10_000, 100, 1_000
# The patience is the number of epochs divided by EPOCHS_PER_PATIENCE, but at least MIN_PATIENCE.
MIN_PATIENCE, EPOCHS_PER_PATIENCE = 10, 20


def default_batch_size(n_rows: int) -> int:
    """Return the batch size for ``n_rows`` training rows."""
    return next((size for max_rows, size in BATCH_SIZES if n_rows <= max_rows), MAX_BATCH_SIZE)


def default_max_epochs(n_steps: int) -> int:
    """Return the maximum number of epochs with early stopping, for epochs of ``n_steps`` steps."""
    return min(max(MAX_STEPS // n_steps, MIN_EPOCHS), MAX_EPOCHS)


def default_patience(n_epochs: int) -> int:
    """Return the patience of early stopping, in epochs, for at most ``n_epochs`` epochs."""
    return max(MIN_PATIENCE, n_epochs // EPOCHS_PER_PATIENCE)
