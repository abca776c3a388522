"""Feed-forward neural networks that read like the textbook, train fast on a CPU, and are kept in safe files.

The most frequent names can be imported from here. Layers, activations, losses, optimizers, schedules and metrics are in
the modules of these names. Modules are loaded when a name is first used, so that ``import chainrule`` is fast.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.architecture import build_network as build_network
    from chainrule.architecture import select_architecture as select_architecture
    from chainrule.callbacks import Callback as Callback
    from chainrule.callbacks import EarlyStopping as EarlyStopping
    from chainrule.callbacks import ProgressBar as ProgressBar
    from chainrule.callbacks import ReduceOnPlateau as ReduceOnPlateau
    from chainrule.data import Dataset as Dataset
    from chainrule.data import NpyStream as NpyStream
    from chainrule.data import ParquetStream as ParquetStream
    from chainrule.data import Table as Table
    from chainrule.data import TablePreprocessor as TablePreprocessor
    from chainrule.data import Target as Target
    from chainrule.data import load_dataset as load_dataset
    from chainrule.data import open_source as open_source
    from chainrule.data import read_table as read_table
    from chainrule.engines import TorchEngine as TorchEngine
    from chainrule.errors import ChainruleError as ChainruleError
    from chainrule.errors import ChainruleWarning as ChainruleWarning
    from chainrule.errors import DataError as DataError
    from chainrule.errors import DivergenceError as DivergenceError
    from chainrule.errors import InvalidInputError as InvalidInputError
    from chainrule.errors import ModelFileError as ModelFileError
    from chainrule.errors import NotBuiltError as NotBuiltError
    from chainrule.estimators import MLPClassifier as MLPClassifier
    from chainrule.estimators import MLPRegressor as MLPRegressor
    from chainrule.experiments import tune_hyperparameters as tune_hyperparameters
    from chainrule.export import export_model as export_model
    from chainrule.files import Checkpoint as Checkpoint
    from chainrule.history import History as History
    from chainrule.inspection import check_gradients as check_gradients
    from chainrule.model import Model as Model
    from chainrule.model import evaluate_model as evaluate_model
    from chainrule.neuralnet import NeuralNetwork as NeuralNetwork
    from chainrule.plots import plot_decision_boundary as plot_decision_boundary
    from chainrule.plots import plot_history as plot_history
    from chainrule.plots import plot_training_history as plot_training_history
    from chainrule.plots import show_losses_over_training as show_losses_over_training
    from chainrule.plots import visualize_decision_boundary as visualize_decision_boundary
    from chainrule.rate_finder import find_learning_rate as find_learning_rate
    from chainrule.runs import evaluate as evaluate
    from chainrule.runs import predict as predict
    from chainrule.runs import train as train

__version__ = "0.2.0"

# Which module each public name comes from.
_HOMES = {
    "architecture": ("build_network", "select_architecture"),
    "callbacks": ("Callback", "EarlyStopping", "ProgressBar", "ReduceOnPlateau"),
    "data": (
        "Dataset",
        "NpyStream",
        "ParquetStream",
        "Table",
        "TablePreprocessor",
        "Target",
        "load_dataset",
        "open_source",
        "read_table",
    ),
    "engines": ("TorchEngine",),
    "errors": (
        "ChainruleError",
        "ChainruleWarning",
        "DataError",
        "DivergenceError",
        "InvalidInputError",
        "ModelFileError",
        "NotBuiltError",
    ),
    "estimators": ("MLPClassifier", "MLPRegressor"),
    "experiments": ("tune_hyperparameters",),
    "export": ("export_model",),
    "files": ("Checkpoint",),
    "history": ("History",),
    "inspection": ("check_gradients",),
    "model": ("Model", "evaluate_model"),
    "neuralnet": ("NeuralNetwork",),
    "plots": (
        "plot_decision_boundary",
        "plot_history",
        "plot_training_history",
        "show_losses_over_training",
        "visualize_decision_boundary",
    ),
    "rate_finder": ("find_learning_rate",),
    "runs": ("evaluate", "predict", "train"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES_OF_PIECES = (
    "activations", "callbacks", "initializers", "layers", "losses", "metrics", "optimizer", "penalties", "schedules"
)  # fmt: skip
_MODULES = {*_HOMES, *_MODULES_OF_PIECES, "explain", "zoo"}

__all__ = ["__version__", *sorted(_MODULE_OF)]  # noqa: PLE0604  (names, all of them strings)


# What stands here for names of the lecture notes and of other libraries.
_INSTEAD = {
    "compute_loss": "NeuralNetwork(loss=...) and network.evaluate(dataset)['loss']",
    "train_step": "NeuralNetwork.fit",
    "train_model": "NeuralNetwork.fit",
    "add_regularization": "NeuralNetwork(l1=..., l2=...)",
    "initialize_weights": "DenseLayer(n_units, weights_initializer='xavier_uniform')",
    "create_lr_scheduler": "NeuralNetwork(schedule='step') or another of chainrule.schedules",
    "prepare_data_for_nn": "Dataset(X, y).standardize()",
    "NeuralNetworkClassifier": "MLPClassifier",
    "NeuralNetworkRegressor": "MLPRegressor",
    "Sequential": "NeuralNetwork, and its method add",
    "Dense": "chainrule.layers.DenseLayer",
    "Linear": "chainrule.layers.DenseLayer",
    "Dropout": "chainrule.layers.DropoutLayer",
    "DataLoader": "Dataset, and NeuralNetwork(batch_size=...)",
    "ModelCheckpoint": "Checkpoint",
    "ReduceLROnPlateau": "ReduceOnPlateau",
}
_INSTEAD |= dict.fromkeys(
    ("tune", "grid_search", "GridSearch", "GridSearchCV", "RandomizedSearchCV"),
    "tune_hyperparameters, or GridSearchCV of scikit-learn with MLPClassifier or MLPRegressor",
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"chainrule.{name}")
    if name not in _MODULE_OF:
        if name.startswith("_") or importlib.util.find_spec(f"chainrule.{name}"):
            raise AttributeError(f"module 'chainrule' has no attribute '{name}'")
        # ``from chainrule import name`` would replace the message of an AttributeError.
        if sys._getframe(1).f_code.co_name == "_handle_fromlist":
            raise ImportError(f"cannot import name '{name}' from 'chainrule'.{_hint(name)}", name="chainrule")
        # With a name and an object, Python does not add a suggestion of its own.
        raise AttributeError(f"module 'chainrule' has no attribute '{name}'.{_hint(name)}", name=name, obj=None)
    value = globals()[name] = getattr(importlib.import_module(f"chainrule.{_MODULE_OF[name]}"), name)
    return value


def _hint(name: str) -> str:
    """Return what stands here for a name of another library, a name that may be meant, or where most names are."""
    if name in _INSTEAD:
        return f" Use {_INSTEAD[name]}."
    from chainrule.errors import nearest_name

    pieces: dict[str, str] = {}  # the module of every layer, activation, ...
    for module in _MODULES_OF_PIECES:
        pieces |= dict.fromkeys(importlib.import_module(f"chainrule.{module}").__all__, module)
    for meant in (name, f"{name}Activation", f"{name}Layer"):
        if meant in pieces:
            return f" Use chainrule.{pieces[meant]}.{meant}."
    near = nearest_name(name, {*_MODULE_OF, *_MODULES, *pieces}, 0.8)
    for piece, module in pieces.items():
        near = near if piece in _MODULE_OF else near.replace(f"'{piece}'", f"'chainrule.{module}.{piece}'")
    return near or " Layers, activations, losses, optimizers, metrics, ... are in the modules of those names."


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
