"""Feed-forward neural networks that read like the textbook, train fast on a CPU, and are kept in safe files.

The public names load when they are first used, so ``import chainrule`` itself costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Which module each public name comes from.
_HOMES = {
    "chainrule.activations": ("ACTIVATIONS", "ActivationLayer", "CustomActivation"),
    "chainrule.architecture": ("build_network",),
    "chainrule.callbacks": ("Callback", "EarlyStopping", "EpochPrinter", "ProgressBar", "ReduceOnPlateau"),
    "chainrule.data": ("Dataset", "Table", "TablePreprocessor", "Target", "load_dataset", "open_source", "read_table"),
    "chainrule.errors": ("ChainruleError", "DataError", "DivergenceError", "InvalidInputError", "ModelFileError"),
    "chainrule.files": ("Checkpoint",),
    "chainrule.history": ("History",),
    "chainrule.inspection": ("check_gradients",),
    "chainrule.layers": ("DenseLayer", "Layer"),
    "chainrule.losses": ("CustomLoss", "LossFunction"),
    "chainrule.model": ("Model",),
    "chainrule.neuralnet": ("NeuralNetwork",),
    "chainrule.optimizer": ("Optimizer",),
    "chainrule.rate_finder": ("find_learning_rate",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted([*_MODULE_OF, "__version__"])  # noqa: PLE0605  (a list, sorted)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'chainrule' has no attribute '{name}'")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
