"""What PyTorch, Keras and scikit-learn call a piece leads to exactly that piece, or to a sentence about the nearest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from chainrule.activations import ACTIVATIONS
from chainrule.callbacks import CALLBACKS
from chainrule.data.augment import AUGMENTATIONS
from chainrule.engines.registry import ENGINES
from chainrule.errors import InvalidInputError
from chainrule.initializers import INITIALIZERS
from chainrule.layers import LAYERS
from chainrule.losses import LOSSES
from chainrule.metrics import METRICS, find_metric
from chainrule.named import Registry, other_names
from chainrule.optimizer import OPTIMIZERS
from chainrule.penalties import PENALTIES
from chainrule.schedules import SCHEDULES

REGISTRIES: tuple[Registry[Any], ...] = (
    ACTIVATIONS, AUGMENTATIONS, CALLBACKS, ENGINES, INITIALIZERS, LAYERS, LOSSES, OPTIMIZERS, PENALTIES, SCHEDULES,
)  # fmt: skip
METRIC_FUNCTIONS = {name: metric.function for name, metric in METRICS.items()}
# Each family: its name, its pieces, and how a name is looked up in it.
FAMILIES: dict[str, tuple[dict[str, Any], Callable[[str], Any]]] = {
    **{registry.kind: (registry.classes, registry.find) for registry in REGISTRIES},
    "metric": (METRIC_FUNCTIONS, lambda name: find_metric(name).function),
}
PIECES = [(kind, key) for kind, (pieces, _) in FAMILIES.items() for key in pieces]

# Names that these libraries document and that are no class here: the right class, by its name, or None for none.
KERAS: dict[str, dict[str, str | None]] = {
    "activation": {
        "linear": "linear", "relu": "relu", "relu6": None, "sigmoid": "sigmoid", "log_sigmoid": None, "tanh": "tanh",
        "hard_tanh": None, "hard_sigmoid": "hard_sigmoid", "hard_silu": "hard_swish", "hard_swish": "hard_swish",
        "silu": "silu", "swish": "silu", "softmax": "softmax", "log_softmax": "log_softmax",
        "softplus": "softplus", "softsign": "softsign",
        "elu": "elu", "celu": "celu", "selu": "selu", "gelu": "gelu", "glu": None, "mish": "mish", "exponential": None,
        "squareplus": None, "soft_shrink": None, "hard_shrink": None, "tanh_shrink": None, "threshold": None,
        "sparse_plus": None, "sparse_sigmoid": None, "sparsemax": None, "leaky_relu": "leaky_relu",
        # scikit-learn
        "identity": "linear", "logistic": "sigmoid",
    },
    "loss": {
        "binary_crossentropy": "binary_cross_entropy", "BinaryCrossentropy": "binary_cross_entropy",
        "categorical_crossentropy": "categorical_cross_entropy",
        "CategoricalCrossentropy": "categorical_cross_entropy",
        "sparse_categorical_crossentropy": "categorical_cross_entropy",
        "SparseCategoricalCrossentropy": "categorical_cross_entropy",
        "binary_focal_crossentropy": "binary_focal", "BinaryFocalCrossentropy": "binary_focal",
        "categorical_focal_crossentropy": None, "CategoricalFocalCrossentropy": None, "poisson": "poisson",
        "kl_divergence": "kl_divergence", "KLDivergence": "kl_divergence", "kld": "kl_divergence", "ctc": None,
        "mean_squared_error": "mean_squared_error",
        "MeanSquaredError": "mean_squared_error", "mse": "mean_squared_error", "MSE": "mean_squared_error",
        "mean_absolute_error": "mean_absolute_error", "mae": "mean_absolute_error", "MAE": "mean_absolute_error",
        "mean_absolute_percentage_error": "mean_absolute_percentage_error", "mape": "mean_absolute_percentage_error",
        "mean_squared_logarithmic_error": "mean_squared_logarithmic_error", "msle": "mean_squared_logarithmic_error",
        "cosine_similarity": "cosine_similarity", "CosineSimilarity": "cosine_similarity",
        "huber": "huber", "Huber": "huber", "log_cosh": "log_cosh", "logcosh": "log_cosh",
        "LogCosh": "log_cosh", "tversky": None, "dice": "dice", "hinge": "hinge", "squared_hinge": "squared_hinge",
        "SquaredHinge": "squared_hinge", "categorical_hinge": None,
        # scikit-learn, and what people say
        "squared_error": "mean_squared_error", "absolute_error": "mean_absolute_error", "log_loss": None,
        "squared_epsilon_insensitive": None, "modified_huber": None, "perceptron": None, "gamma": None,
        "root_mean_squared_error": None, "rmse": None, "l1": "mean_absolute_error", "l2": None, "focal": None,
    },
    "optimizer": {
        "SGD": "sgd", "RMSprop": "rmsprop", "Adam": "adam", "AdamW": "adamw", "Adadelta": "adadelta",
        "Adagrad": "adagrad", "Adamax": "adamax", "Adafactor": "adafactor",
        "Nadam": "nadam", "Ftrl": None, "Lion": "lion",
        "Lamb": None, "Muon": "muon", "LossScaleOptimizer": None,
        # SciPy, R, and what people say
        "L-BFGS": "lbfgs", "L-BFGS-B": None, "bfgs": None, "rprop+": None, "rprop-": None, "lm": "levenberg_marquardt",
        "Levenberg-Marquardt": "levenberg_marquardt", "momentum": None, "nesterov": None, "nag": None,
        "gradient_descent": None, "newton": None, "cg": None,
    },
    "schedule": {
        "ExponentialDecay": "exponential_decay", "PiecewiseConstantDecay": None, "PolynomialDecay": "polynomial_decay",
        "InverseTimeDecay": "inverse_time_decay", "CosineDecay": "cosine_decay", "CosineDecayRestarts": None,
        # scikit-learn, and what people say
        "constant": "constant", "invscaling": None, "adaptive": None, "step": "step_decay", "cosine": "cosine_decay",
        "exponential": "exponential_decay", "onecycle": "one_cycle", "1cycle": "one_cycle", "warmup": "warm_up",
        "linear": None, "linear_decay": "polynomial_decay", "on_plateau": None, "plateau": None,
        "reduce_on_plateau": None, "cyclic": "cyclic_rate",
    },
    "initializer": {
        "random_normal": None, "RandomNormal": None, "random_uniform": "uniform", "RandomUniform": "uniform",
        "truncated_normal": None, "TruncatedNormal": None, "zeros": "zeros", "Zeros": "zeros", "ones": None,
        "Ones": None, "glorot_normal": "glorot_normal", "GlorotNormal": "glorot_normal",
        "glorot_uniform": "glorot_uniform", "he_normal": "he_normal", "HeUniform": "he_uniform",
        "lecun_normal": "lecun_normal", "LecunUniform": "lecun_uniform", "orthogonal": "orthogonal",
        "OrthogonalInitializer": None, "variance_scaling": None, "VarianceScaling": None, "identity": None,
        "xavier_uniform": "glorot_uniform", "xavier_normal": "glorot_normal", "kaiming_uniform": "he_uniform",
        "kaiming_normal": "he_normal", "xavier": None, "glorot": None, "he": None, "kaiming": None, "lecun": None,
    },
    "penalty": {
        "L1": "l1", "L2": "l2", "L1L2": "l1l2", "l1_l2": "l1l2", "orthogonal_regularizer": None, "elastic_net": None,
        "weight_decay": None, "l3": None,
    },
    "metric": {
        "accuracy": "accuracy", "acc": "accuracy", "binary_accuracy": None, "BinaryAccuracy": None,
        "categorical_accuracy": "accuracy", "SparseCategoricalAccuracy": "accuracy", "AUC": "roc_auc",
        "Precision": "precision", "Recall": "recall", "top_k_categorical_accuracy": None,
        "mean_squared_error": "mean_squared_error", "mse": "mean_squared_error", "MAE": "mean_absolute_error",
        "RootMeanSquaredError": "root_mean_squared_error", "R2Score": "r2", "cosine_similarity": None,
        "mean_absolute_percentage_error": None, "mape": None, "mean_squared_logarithmic_error": None, "msle": None,
        # scikit-learn
        "accuracy_score": "accuracy", "balanced_accuracy": "balanced_accuracy", "f1_score": "f1",
        "balanced_accuracy_score": "balanced_accuracy", "precision_score": "precision", "recall_score": "recall",
        "roc_auc_score": "roc_auc", "neg_log_loss": None, "neg_mean_squared_error": None, "r2_score": "r2",
        "neg_mean_absolute_error": None, "neg_root_mean_squared_error": None, "median_absolute_error": None,
        "mean_squared_log_error": None, "root_mean_squared_log_error": None, "average_precision": None,
        "explained_variance": None, "max_error": None, "jaccard": None, "matthews_corrcoef": None,
        "f1_macro": "f1_macro",
        "f1_micro": "f1_micro", "top_k_accuracy": None, "mean_pinball_loss": None,
    },
}  # fmt: skip


def find(kind: str, name: str) -> Any:
    """The piece, or None where there is none; no other name may then be offered as if this were a misspelling."""
    words = ""
    try:
        return FAMILIES[kind][1](name)
    except InvalidInputError as error:
        words = str(error)
    assert "Did you mean" not in words
    return None


@pytest.mark.parametrize(("kind", "key"), PIECES)
def test_every_name_leads_to_its_piece_and_every_other_to_a_sentence_that_names_what_there_is(
    kind: str, key: str
) -> None:
    pieces, look_up = FAMILIES[kind]
    piece = pieces[key]
    for name in (key, piece.__name__, *other_names(piece).aliases):
        assert look_up(name) is look_up(name.upper()) is piece
        assert look_up(name.lower().replace("_", "-") if not name.endswith("_") else name) is piece
    for name, sentence in other_names(piece).unlike.items():
        with pytest.raises(InvalidInputError) as caught:
            look_up(name)
        assert str(caught.value) == f"There is no {kind} called '{name}' here: {sentence}"
        assert sentence.endswith(".")
        quoted = re.findall(r"(?<![\w=])'(\w+)'", sentence)
        assert all(any(known in found[0] for found in FAMILIES.values()) or look_up(known) for known in quoted)
        called = re.findall(r"\b([A-Z]\w+)\(", sentence)
        assert all(any(known == p.__name__ for f in FAMILIES.values() for p in f[0].values()) for known in called)


@pytest.mark.parametrize("kind", FAMILIES)
def test_no_name_means_two_things(kind: str) -> None:
    names = [
        re.sub("_(?=.)", "", name.lower())
        for key, piece in FAMILIES[kind][0].items()
        for name in {key, *other_names(piece).aliases, *other_names(piece).unlike}
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", KERAS)
def test_names_of_keras_and_others(kind: str) -> None:
    for name, key in KERAS[kind].items():
        assert find(kind, name) is (None if key is None else FAMILIES[kind][0][key]), name


def test_the_documentation_lists_every_alias() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "coming-from-elsewhere.md"
    listed = {
        (kind, name): set(re.findall(r"`(.+?)`", aliases))
        for kind, name, aliases in re.findall(r"^\| (\w+) \| `(\w+)` \| (.*) \|$", page.read_text("utf-8"), re.M)
    }
    declared = {(kind, key): set(other_names(FAMILIES[kind][0][key]).aliases) for kind, key in PIECES}
    assert listed == {place: names for place, names in declared.items() if names}


def of_pytorch(kind: str, names: Iterable[str]) -> list[str]:
    """Those of PyTorch's names that are names here; the others must not be taken for misspellings."""
    return [name for name in names if find(kind, name) is not None]


def test_activations_of_pytorch_are_the_same_functions() -> None:
    z = np.linspace(-9, 9, 61).reshape(-1, 1) * [1.0, 0.7, -0.4]
    names = of_pytorch("activation", nn.modules.activation.__all__)
    assert {"ReLU", "Sigmoid", "SiLU", "CELU", "GELU", "LeakyReLU", "Softmax", "Hardsigmoid"} <= set(names)
    for name in names:
        module = getattr(nn, name)(dim=1) if name.endswith("Softmax") else getattr(nn, name)()
        wanted = module.double()(torch.tensor(z)).detach().numpy()
        layer = ACTIVATIONS.create(name)
        if not name.endswith("Softmax"):
            layer.set_input_shape((3,))
        np.testing.assert_allclose(layer.activation_function(z), wanted, atol=1e-9, err_msg=name)


def test_losses_of_pytorch_are_the_same_functions() -> None:
    rng = np.random.default_rng(0)
    names = of_pytorch("loss", nn.modules.loss.__all__)
    functional = ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "poisson_nll_loss", "binary_cross_entropy",
                  "multi_margin_loss", "nll_loss")  # fmt: skip
    assert {LOSSES.find(name) for name in functional} == {LOSSES.find(name) for name in names}
    for name in names:
        probabilities = "BCE" in name
        y = rng.integers(0, 2, (20, 3)).astype(float) if probabilities else rng.normal(size=(20, 3)) * 3
        p = rng.uniform(0.01, 0.99, (20, 3)) if probabilities else rng.normal(size=(20, 3))
        if "Poisson" in name:
            y = np.abs(y).round()
        takes_codes = "Margin" in name or name == "NLLLoss"
        if takes_codes:
            y = np.eye(3)[rng.integers(3, size=20)]
        theirs = torch.tensor(y.argmax(axis=1) if takes_codes else y)
        wanted = float(getattr(nn, name)()(torch.tensor(p), theirs))
        assert LOSSES.create(name).loss(y, p) == pytest.approx(wanted, rel=1e-9), name


def test_initializers_of_pytorch_draw_from_the_same_distributions() -> None:
    public = [name for name in dir(nn.init) if not name.startswith("_") and callable(getattr(nn.init, name))]
    names = [name for name in of_pytorch("initializer", public) if name.endswith("_")]
    assert len(names) == 6
    n_in, n_out = 250, 400
    for name in names:
        torch.manual_seed(0)
        theirs = getattr(nn.init, name)(torch.empty(n_out, n_in, dtype=torch.float64)).numpy().T
        ours = INITIALIZERS.create(name)((n_in, n_out), np.random.default_rng(0))
        for moment in (2, 4):  # the fourth tells a normal from a uniform distribution
            assert np.mean(ours**moment) == pytest.approx(np.mean(theirs**moment), rel=0.03), name
        spread = [np.abs(np.linalg.svd(draw, compute_uv=False)).min() for draw in (ours, theirs)]
        assert spread[0] == pytest.approx(spread[1], rel=0.1, abs=1e-9), name


def test_schedules_of_pytorch_give_the_same_rates_at_every_epoch() -> None:
    settings = {
        "StepLR": ({"step_size": 30}, {}),
        "MultiStepLR": ({"milestones": [30, 60]}, {}),
        "CosineAnnealingWarmRestarts": ({"T_0": 10}, {}),
        "ExponentialLR": ({"gamma": 0.9}, {"factor": 0.9}),
        "CosineAnnealingLR": ({"T_max": 80}, {"epochs": 80}),
    }
    public = [name for name in torch.optim.lr_scheduler.__all__ if name != "LRScheduler"]
    assert set(of_pytorch("schedule", public)) == set(settings)
    for name, (theirs, ours) in settings.items():
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule, scheduler = (
            SCHEDULES.create(name, **ours),
            getattr(torch.optim.lr_scheduler, name)(optimizer, **theirs),
        )
        for epoch in range(81):
            assert schedule(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12), name
            optimizer.step()
            scheduler.step()


def test_optimizers_of_pytorch_are_those_of_the_same_name() -> None:
    public = [name for name in torch.optim.__all__ if isinstance(getattr(torch.optim, name), type)]
    names = of_pytorch("optimizer", public)
    assert {"Adam", "SGD", "Adagrad", "NAdam", "RMSprop", "LBFGS"} <= set(names)
    assert all(OPTIMIZERS.find(name).__name__.lower() == name.lower() for name in names)
