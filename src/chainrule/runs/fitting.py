"""What a run trains: the network, its data and its early stopping."""

from __future__ import annotations

from typing import NamedTuple

from chainrule.callbacks import EarlyStopping
from chainrule.data.dataset import Dataset
from chainrule.data.stream import RowStream
from chainrule.errors import InvalidInputError
from chainrule.estimators.tabular import design_network
from chainrule.neuralnet import NeuralNetwork
from chainrule.runs.options import TrainOptions
from chainrule.runs.prepared import PreparedData

__all__ = ["Fitting", "plan_fitting", "uses_tabular_preset"]


class Fitting(NamedTuple):
    """A network before training, the rows to train and to validate it on, and early stopping, if it is on."""

    network: NeuralNetwork
    training: Dataset | RowStream
    validation: Dataset | None
    early_stopping: EarlyStopping | None


def uses_tabular_preset(options: TrainOptions, data: PreparedData) -> bool:
    """Return whether a run trains the network of ``preset="tabular"``, which takes tables in memory."""
    return options.preset == "tabular" and data.table is not None and isinstance(data.training, Dataset)


def plan_fitting(options: TrainOptions, data: PreparedData) -> Fitting:
    """Return what the options say about the training on these data. Raises InvalidInputError if they do not fit."""
    n_rows, training = data.training.n_rows, data.training
    if not uses_tabular_preset(options, data):
        settings = options.early_stopping_settings(n_rows)
        network = options.build_network(training.n_features, n_rows, data.target)
        return Fitting(network, training, data.validation, None if settings is None else EarlyStopping(**settings))
    if options.monitor not in (None, "validation_loss"):
        raise InvalidInputError(
            f"monitor={options.monitor!r} cannot be combined with preset='tabular', which watches the out-of-fold "
            "loss; omit it, or give preset='plain'."
        )
    assert isinstance(training, Dataset)
    design = design_network(training, **options.design_settings(n_rows, data.target))
    stopping = None if options.early_stopping is False else design.stopping
    return Fitting(design.network, design.training, design.validation, stopping)
