"""The parameters that the classifier and the regressor share.

Those of scikit-learn have its names and defaults. Settings of :class:`NeuralNetwork` are taken from its declaration.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np

from chainrule.architecture import ActivationLike
from chainrule.callbacks import Callback
from chainrule.data.augment import Augmentation
from chainrule.data.table import TablePreprocessor
from chainrule.initializers import Initializer
from chainrule.losses import LossFunction
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import Optimizer
from chainrule.ranges import Range
from chainrule.settings import ABOVE_ZERO, FROM_ONE, FROM_ZERO, Setting, setting_fields
from chainrule.types import Array, DTypeName

__all__ = [
    "SKLEARN_ACTIVATIONS",
    "ActivationParameter",
    "HiddenSizes",
    "LossParameter",
    "NewParameters",
    "SklearnParameters",
]

HiddenSizes: TypeAlias = int | Sequence[int]
ActivationParameter: TypeAlias = ActivationLike | Sequence[ActivationLike]
LossParameter: TypeAlias = (
    str | type[LossFunction] | LossFunction | tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]]
)

# The activations of scikit-learn's MLP, for which the initial weights are drawn as there.
SKLEARN_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")

_SHARE = Range(0, 1, includes_low=True)
_ONE_TO_INFINITY = Range(1, math.inf, includes_low=True, includes_high=True)


@dataclass(eq=False, repr=False, kw_only=True)
class SklearnParameters:
    """The parameters of scikit-learn's ``MLPClassifier`` and ``MLPRegressor`` that are given by keyword."""

    solver: Annotated[
        str | type[Optimizer] | Optimizer,
        Setting("'adam', 'sgd', 'lbfgs', or another optimizer: an object, its class, or its name."),
    ] = "adam"
    alpha: Annotated[
        float, Setting("L2 penalty, divided by the number of rows of a batch when it is added to the loss.", FROM_ZERO)
    ] = 0.0001
    batch_size: Annotated[
        int | Literal["auto"], Setting("Rows per step; 'auto' is min(200, number of rows).", FROM_ONE)
    ] = "auto"
    learning_rate: Annotated[
        Literal["constant", "invscaling", "adaptive"],
        Setting(
            "For 'sgd': 'constant', 'invscaling' (divided by (rows seen + 1) ** power_t), or 'adaptive' (divided by 5 "
            "when training stagnates)."
        ),
    ] = "constant"
    learning_rate_init: Annotated[
        float,
        Setting("The learning rate of 'adam', 'sgd' and other solvers by name that take mini-batches.", ABOVE_ZERO),
    ] = 0.001
    power_t: Annotated[float, Setting("The exponent of learning_rate='invscaling'.", FROM_ZERO)] = 0.5
    max_iter: Annotated[int, Setting("The largest number of epochs.", FROM_ONE)] = 200
    shuffle: Annotated[bool, Setting("Whether to shuffle the rows in every epoch.")] = True
    random_state: Annotated[
        int | np.random.RandomState | None, Setting("The source of all random numbers: an int for the same results.")
    ] = None
    tol: Annotated[
        float,
        Setting("The smallest improvement of the loss, or with early_stopping of the score, that counts.", FROM_ZERO),
    ] = 1e-4
    verbose: Annotated[bool | int, Setting("Whether to print the loss after every epoch.")] = False
    warm_start: Annotated[bool, Setting("Whether fit starts from the weights of the previous fit.")] = False
    momentum: Annotated[float, Setting("The momentum of 'sgd'.", Range(0, 1, includes_low=True))] = 0.9
    nesterovs_momentum: Annotated[bool, Setting("Whether 'sgd' uses Nesterov's momentum.")] = True
    early_stopping: Annotated[
        bool,
        Setting("Whether to stop by the score on validation rows, and to keep the weights of the best epoch."),
    ] = False
    validation_fraction: Annotated[
        float, Setting("The share of the rows that early_stopping holds out, unless fit is given X_val.", _SHARE)
    ] = 0.1
    beta_1: Annotated[float, Setting("The decay of the mean of the gradient in 'adam'.", _SHARE)] = 0.9
    beta_2: Annotated[float, Setting("The decay of the mean of the squared gradient in 'adam'.", _SHARE)] = 0.999
    epsilon: Annotated[float, Setting("The number that 'adam' adds to a denominator.", ABOVE_ZERO)] = 1e-8
    n_iter_no_change: Annotated[
        float,
        Setting("Training stops after more than this many epochs in a row without an improvement.", _ONE_TO_INFINITY),
    ] = 10
    max_fun: Annotated[int, Setting("The largest number of evaluations of the loss by 'lbfgs'.", FROM_ONE)] = 15000


_FromNetwork: Any = dataclasses.make_dataclass(
    "_FromNetwork",
    setting_fields(
        NeuralNetwork, "l1", "max_norm", "clip_norm", "clip_value", "ema_decay", "swa_from", "schedule", "engine",
        "device",
    ),
    eq=False,
    repr=False,
    kw_only=True,
)  # fmt: skip


@dataclass(eq=False, repr=False, kw_only=True)
class NewParameters(_FromNetwork):  # type: ignore[misc]  # made from the declarations
    """The parameters that scikit-learn does not have."""

    preset: Annotated[
        Literal["tabular"] | None,
        Setting(
            "'tabular': an ensemble over cross-validation folds, for tables with all kinds of columns. A parameter "
            "with its default value takes the value of the preset; any other value replaces that of the preset."
        ),
    ] = None
    preprocessor: Annotated[
        TablePreprocessor | None,
        Setting(
            "A TablePreprocessor, which converts columns of text, dates and missing values to numbers. By default, X "
            "must contain numbers, except with preset='tabular', which uses a TablePreprocessor."
        ),
    ] = None
    embedding_size: Annotated[
        int | None,
        Setting(
            "Length of the learned vectors for the categories of each column of the preprocessor. By default, each "
            "category is a 0/1 input of the first layer.",
            FROM_ONE,
        ),
    ] = None
    n_layers: Annotated[
        int | None, Setting("The number of hidden layers of equal width, in place of hidden_layer_sizes.", FROM_ZERO)
    ] = None
    width: Annotated[
        int | None, Setting("The number of units of each hidden layer, in place of hidden_layer_sizes.", FROM_ONE)
    ] = None
    dropout: Annotated[
        float | Sequence[float] | None,
        Setting("The dropout rate behind the hidden layers: one value, or one for each; by default 0, without preset."),
    ] = None
    input_dropout: Annotated[float, Setting("The dropout rate of the inputs.", _SHARE)] = 0.0
    noise: Annotated[
        float, Setting("The standard deviation of Gaussian noise on the inputs in training.", FROM_ZERO)
    ] = 0.0
    batch_normalization: Annotated[
        bool | Sequence[bool], Setting("Whether hidden layers have batch normalisation: one value, or one for each.")
    ] = False
    layer_normalization: Annotated[
        bool | Sequence[bool], Setting("Whether hidden layers have layer normalisation: one value, or one for each.")
    ] = False
    weights_initializer: Annotated[
        str | Initializer | Sequence[str | Initializer | None] | None,
        Setting(
            "An initializer or its name: one, or one for each hidden layer. By default scikit-learn's for the "
            "activations that it has, and otherwise the one that suits the activation."
        ),
    ] = None
    augmentation: Annotated[
        Augmentation | None, Setting("How batches are varied at random in training, such as ImageAugmentation.")
    ] = None
    scoring: Annotated[
        Any,
        Setting(
            "What is measured on the validation rows after every epoch: 'loss', a scorer or its name, or a list of "
            "these, of which early_stopping watches the first. By default accuracy, or R2."
        ),
    ] = None
    callbacks: Annotated[
        Sequence[Callback] | Callback | None, Setting("Callbacks of chainrule for every fit, such as Checkpoint.")
    ] = None
    dtype: Annotated[
        DTypeName | None, Setting("'float32' or 'float64', the type of all numbers; by default the type of X.")
    ] = None
