"""What a run trains: the network, its data and its early stopping."""

from __future__ import annotations

from typing import NamedTuple

from chainrule.callbacks import EarlyStopping
from chainrule.data.dataset import Dataset
from chainrule.data.stream import RowStream
from chainrule.errors import InvalidInputError
from chainrule.estimators.tabular import MOST_MEMBERS, design_network
from chainrule.neuralnet import NeuralNetwork
from chainrule.runs.options import TrainOptions
from chainrule.runs.prepared import PreparedData
from chainrule.runs.validation import check_fits_memory

__all__ = ["Fitting", "plan_fitting", "uses_tabular_preset"]


class Fitting(NamedTuple):
    """A network before training, the rows to train and to validate it on, and early stopping, if it is on.

    ``explanation`` is a line for the user about the training; it may be empty.
    """

    network: NeuralNetwork
    training: Dataset | RowStream
    validation: Dataset | None
    early_stopping: EarlyStopping | None
    explanation: str = ""


def uses_tabular_preset(options: TrainOptions, data: PreparedData) -> bool:
    """Return whether a run trains the network of ``preset="tabular"``, which takes two or more rows of a table."""
    is_table = data.table is not None and isinstance(data.training, Dataset)
    return options.preset == "tabular" and is_table and data.training.n_rows > 1


def plan_fitting(options: TrainOptions, data: PreparedData) -> Fitting:
    """Return what the options say about the training on these data. Raises InvalidInputError if they do not fit."""
    n_rows, training = data.training.n_rows, data.training
    if not uses_tabular_preset(options, data):
        settings = options.early_stopping_settings(n_rows)
        network = options.build_network(training.n_features, n_rows, data.target)
        if options.calibrate and data.validation is None:
            raise InvalidInputError("calibrate needs validation rows; give validation_size, or omit calibrate.")
        return Fitting(network, training, data.validation, None if settings is None else EarlyStopping(**settings))
    assert isinstance(training, Dataset)
    settings = options.design_settings(data.target)
    check_fits_memory((training.n_features, *(options.hidden or ()), data.target.n_outputs), MOST_MEMBERS)
    design = design_network(training, **settings)
    stopping = None if options.early_stopping is False else design.stopping
    keeps = "the last weights" if stopping is None else "the epoch with the best predictions for held-out rows"
    explanation = f"Training starts from {design.start} and keeps {keeps}"
    return Fitting(design.network, design.training, design.validation, stopping, explanation)
