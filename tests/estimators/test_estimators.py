"""What the estimators have beyond scikit-learn's, and what they promise about rows, weights and further fits."""

from __future__ import annotations

import copy
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification, make_multilabel_classification, make_regression
from sklearn.metrics import balanced_accuracy_score, log_loss, make_scorer, mean_absolute_error, roc_auc_score
from sklearn.utils.class_weight import compute_sample_weight

from chainrule import EarlyStopping, InvalidInputError, MLPClassifier, MLPRegressor, Model
from chainrule.activations import LeakyReLUActivation
from chainrule.callbacks import Callback, TrainingRun
from chainrule.data import NoiseAugmentation, TablePreprocessor
from chainrule.errors import ChainruleWarning, DataError, DivergenceError
from chainrule.layers import DenseLayer
from chainrule.losses import Huber
from chainrule.optimizer import AdamW
from chainrule.runs import predict
from chainrule.schedules import CosineDecay
from chainrule.serving import build_app
from chainrule.types import Array
from support.exported import check_numbers
from support.served import ask

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_CLASSES, Y_CLASSES = make_classification(300, 8, n_classes=3, n_informative=5, random_state=0)
X_NUMBERS, Y_NUMBERS = make_regression(300, 6, noise=1.0, random_state=0)
Y_NUMBERS = Y_NUMBERS / Y_NUMBERS.std()


def small(cls: Any = MLPClassifier, **settings: Any) -> Any:
    return cls(**{"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0, **settings})


def layer_names(estimator: Any) -> list[str]:
    return [layer.layer_name().removesuffix("Layer").removesuffix("Activation") for layer in estimator.network_.layers]


# Layers and settings ------------------------------------------------------------------------------------------------


def test_every_layer_may_have_settings_of_its_own() -> None:
    classifier = small(
        hidden_layer_sizes=(8, 6),
        activation=["selu", LeakyReLUActivation(0.3)],
        dropout=[0.1, 0.2],
        input_dropout=0.1,
        noise=0.01,
        batch_normalization=[True, False],
        layer_normalization=[False, True],
    ).fit(X_CLASSES, Y_CLASSES)
    assert layer_names(classifier) == [
        *("Dropout", "GaussianNoise", "Dense", "BatchNormalization", "SELU", "Dropout"),
        *("Dense", "LayerNormalization", "LeakyReLU", "Dropout", "Dense", "Softmax"),
    ]
    assert [weights.shape for weights in classifier.coefs_] == [(8, 8), (8, 6), (6, 3)]
    assert classifier.n_layers_ == 4


@pytest.mark.parametrize(
    ("settings", "units"),
    [
        ({"n_layers": 2, "width": 5, "hidden_layer_sizes": (100,)}, [5, 5]),
        ({"width": 5, "hidden_layer_sizes": (100,)}, [5]),
        ({"n_layers": 3}, [8, 8, 8]),
        ({"n_layers": 0}, []),
        ({"hidden_layer_sizes": 7}, [7]),
        ({"hidden_layer_sizes": []}, []),
        ({"hidden_layer_sizes": np.array([4, 3])}, [4, 3]),
    ],
)
def test_the_number_and_the_width_of_layers_are_parameters(settings: dict[str, Any], units: list[int]) -> None:
    regressor = small(MLPRegressor, **settings).fit(X_NUMBERS, Y_NUMBERS)
    assert [len(biases) for biases in regressor.intercepts_] == [*units, 1]


def test_settings_reach_the_network() -> None:
    own: dict[str, Any] = {
        "l1": 0.01, "max_norm": 2.0, "clip_norm": 1.0, "clip_value": 0.5, "ema_decay": 0.9, "label_smoothing": 0.1,
        "class_weight": {0: 2.0}, "dtype": "float32", "schedule": "cosine",
    }  # fmt: skip
    network = small(**own, solver=AdamW(0.02, weight_decay=0.1)).fit(X_CLASSES, Y_CLASSES).network_
    assert (network.penalty.l1, network.dtype) == (0.01, "float32")
    for name in ("max_norm", "clip_norm", "clip_value", "ema_decay", "label_smoothing", "class_weight"):
        assert getattr(network, name) == own[name]
    assert network.schedule == CosineDecay(epochs=5)
    assert (network.learning_rate, network.optimizer.weight_decay) == (0.02, 0.1)
    assert small(swa_from=3).fit(X_CLASSES, Y_CLASSES).network_.swa_from == 3


@pytest.mark.parametrize(
    ("solver", "rate", "expected"),
    [
        ("adamw:weight_decay=0.1", 0.02, 0.02),
        ("rmsprop", 0.02, 0.02),
        (AdamW, 0.02, 0.001),
        (AdamW(0.5), 0.02, 0.5),
        ("rprop", 0.02, 0.01),
    ],
)
def test_the_learning_rate_is_that_of_solvers_by_name(solver: Any, rate: float, expected: float) -> None:
    network = small(solver=solver, learning_rate_init=rate).fit(X_CLASSES, Y_CLASSES).network_
    assert network.learning_rate == expected


def test_a_solver_object_is_not_changed_by_a_fit() -> None:
    solver = AdamW(0.01)
    small(solver=solver).fit(X_CLASSES, Y_CLASSES)
    assert solver.state == {}


@pytest.mark.parametrize("solver", ["lbfgs", "levenberg_marquardt", "rprop", "quickprop"])
def test_solvers_of_all_rows_take_all_rows(solver: str) -> None:
    regressor = small(MLPRegressor, solver=solver, activation="tanh", max_iter=40, alpha=3.0).fit(X_NUMBERS, Y_NUMBERS)
    assert regressor.network_.penalty.rate == pytest.approx(3 / 300)
    assert regressor.score(X_NUMBERS, Y_NUMBERS) > 0.8
    assert not hasattr(regressor, "partial_fit")


@pytest.mark.parametrize(
    ("loss", "name"),
    [("huber:delta=0.5", "Huber"), (Huber(0.1), "Huber"), ("pinball", "Pinball"), ("gaussian_nll", "GaussianNeg")],
)
def test_losses_of_numbers(loss: Any, name: str) -> None:
    regressor = small(MLPRegressor, loss=loss, max_iter=200, learning_rate_init=0.01).fit(X_NUMBERS, Y_NUMBERS)
    assert type(regressor.network_.loss).__name__.startswith(name)
    assert regressor.predict(X_NUMBERS).shape == (300,)
    assert regressor.score(X_NUMBERS, Y_NUMBERS) > 0.8


@pytest.mark.parametrize(
    ("loss", "classes", "name"),
    [
        ("focal", 2, "BinaryFocal"),
        ("focal", 3, "CategoricalFocal"),
        ("hinge", 2, "Hinge"),
        ("hinge", 3, "MultiMargin"),
        ("kl_divergence", 3, "KLDivergence"),
        ("mse", 2, "MeanSquaredError"),
    ],
)
def test_losses_of_classes(loss: str, classes: int, name: str) -> None:
    y = Y_CLASSES % classes
    classifier = small(loss=loss, max_iter=60, learning_rate_init=0.02).fit(X_CLASSES, y)
    assert type(classifier.network_.loss).__name__ == name
    assert classifier.score(X_CLASSES, y) > 0.6
    assert hasattr(classifier, "predict_proba") == (loss != "hinge")
    if loss == "hinge":
        with pytest.raises(AttributeError, match=r"not available for loss='hinge'; use decision_function"):
            classifier.predict_proba(X_CLASSES)


def test_an_output_activation_bounds_numbers() -> None:
    y = np.abs(Y_NUMBERS)
    regressor = small(MLPRegressor, output_activation="relu", max_iter=30).fit(X_NUMBERS, y)
    assert regressor.predict(X_NUMBERS).min() >= 0
    assert regressor.out_activation_ == "relu"


def test_inputs_may_be_augmented() -> None:
    plain = small().fit(X_CLASSES, Y_CLASSES)
    noisy = small(augmentation=NoiseAugmentation(0.5)).fit(X_CLASSES, Y_CLASSES)
    assert plain.loss_ != noisy.loss_


def test_initial_weights_suit_other_activations_and_can_be_chosen() -> None:
    zeros = small(weights_initializer="zeros", max_iter=1, learning_rate_init=1e-12).fit(X_CLASSES, Y_CLASSES)
    assert np.abs(zeros.coefs_[0]).max() < 1e-9
    X = np.random.default_rng(0).normal(size=(50, 400))
    for activation, spread in {"relu": np.sqrt(6 / 500), "leaky_relu": np.sqrt(6 / 400)}.items():
        regressor = small(
            MLPRegressor, hidden_layer_sizes=(100,), activation=activation, max_iter=1, learning_rate_init=1e-12
        ).fit(X, X[:, 0])
        assert np.abs(regressor.coefs_[0]).max() == pytest.approx(spread, rel=1e-2)


def test_numbers_have_the_type_of_the_inputs_or_the_one_that_is_asked_for() -> None:
    for dtype, given, expected in ((None, np.float32, "float32"), (None, np.float64, "float64"),
                                   ("float32", np.float64, "float32"), (None, np.int64, "float64")):  # fmt: skip
        classifier = small(dtype=dtype).fit((10 * X_CLASSES).astype(given), Y_CLASSES)
        assert classifier.coefs_[0].dtype == expected
        assert classifier.predict_proba((10 * X_CLASSES).astype(given)).dtype == np.float64
    regressor = small(MLPRegressor).fit(X_NUMBERS.astype(np.float32), Y_NUMBERS)
    assert regressor.predict(X_NUMBERS).dtype == np.float32


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_pytorch_gives_the_same(cls: Any) -> None:
    X, y = (X_CLASSES, Y_CLASSES) if cls is MLPClassifier else (X_NUMBERS, Y_NUMBERS)
    settings: dict[str, Any] = {"dropout": 0.2, "early_stopping": True, "batch_size": 32}
    ours, torchs = (small(cls, engine=engine, **settings).fit(X, y) for engine in ("numpy", "torch"))
    np.testing.assert_allclose(torchs.loss_curve_, ours.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(torchs.validation_scores_, ours.validation_scores_, rtol=1e-5)
    first, second = (getattr(one, "predict_proba", one.predict)(X) for one in (ours, torchs))
    np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-7)


# Validation, scores and callbacks -------------------------------------------------------------------------------------


def test_validation_rows_are_measured_after_every_epoch() -> None:
    rest = slice(200, None)
    classifier = small(max_iter=20).fit(
        X_CLASSES[:200], Y_CLASSES[:200], X_val=X_CLASSES[rest], y_val=Y_CLASSES[rest], sample_weight_val=np.ones(100)
    )
    assert classifier.n_iter_ == 20
    assert len(classifier.validation_loss_curve_) == len(classifier.validation_scores_) == 20
    assert classifier.validation_scores_[-1] == classifier.score(X_CLASSES[rest], Y_CLASSES[rest])
    assert list(classifier.history_)[:3] == ["epoch", "loss", "penalty"]
    assert classifier.best_loss_ == min(classifier.loss_curve_)
    plain = small(max_iter=20).fit(X_CLASSES[:200], Y_CLASSES[:200])
    np.testing.assert_array_equal(plain.coefs_[0], classifier.coefs_[0])
    assert plain.validation_loss_curve_ is plain.validation_scores_ is None


def test_early_stopping_uses_given_validation_rows_and_keeps_the_best_weights() -> None:
    rest = slice(150, None)
    classifier = small(max_iter=300, early_stopping=True, learning_rate_init=0.02, n_iter_no_change=8).fit(
        X_CLASSES[:150], Y_CLASSES[:150], X_val=X_CLASSES[rest], y_val=Y_CLASSES[rest]
    )
    best = int(np.argmax(classifier.validation_scores_))
    assert classifier.best_iter_ == best + 1 < classifier.n_iter_ < 300
    assert classifier.score(X_CLASSES[rest], Y_CLASSES[rest]) == classifier.best_validation_score_
    assert "validation_accuracy has not improved" in classifier.stop_reason_
    until_then = small(max_iter=best + 1, learning_rate_init=0.02, n_iter_no_change=np.inf)
    until_then.fit(X_CLASSES[:150], Y_CLASSES[:150])
    np.testing.assert_array_equal(classifier.coefs_[0], until_then.coefs_[0])
    assert classifier.t_ == 150 * classifier.n_iter_


def test_held_out_rows_have_the_shares_of_the_classes() -> None:
    y = np.repeat(["a", "b", "c"], [30, 90, 180])
    seen: list[Array] = []

    def look(estimator: Any, X: Any, y: Array) -> float:
        seen.append(y)
        return 0.0

    classifier = small(early_stopping=True, validation_fraction=0.1, scoring=look).fit(X_CLASSES, y)
    assert classifier.t_ == 270 * classifier.n_iter_
    training, held_out = (np.unique(one, return_counts=True)[1].tolist() for one in seen[:2])
    assert training == [27, 81, 162]
    assert held_out == [3, 9, 18]


def mean_error(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
    return -float(mean_absolute_error(y, estimator.predict(X), sample_weight=sample_weight))


@pytest.mark.parametrize(
    ("cls", "scoring", "name", "function"),
    [
        (MLPClassifier, "balanced_accuracy", "balanced_accuracy",
         lambda m, X, y: balanced_accuracy_score(y, m.predict(X))),
        (MLPClassifier, "roc_auc_ovr", "roc_auc_ovr",
         lambda m, X, y: roc_auc_score(y, m.predict_proba(X), multi_class="ovr")),
        (MLPClassifier, make_scorer(balanced_accuracy_score, adjusted=True), "balanced_accuracy_score",
         lambda m, X, y: balanced_accuracy_score(y, m.predict(X), adjusted=True)),
        (MLPRegressor, mean_error, "mean_error", mean_error),
        (MLPRegressor, "neg_median_absolute_error", "neg_median_absolute_error",
         lambda m, X, y: -float(np.median(np.abs(y - m.predict(X))))),
    ],
)  # fmt: skip
def test_any_scorer_is_measured_and_watched(
    cls: Any, scoring: Any, name: str, function: Callable[..., float], tmp_path: Path
) -> None:
    X, y = (X_CLASSES, np.array(["a", "b", "c"])[Y_CLASSES]) if cls is MLPClassifier else (X_NUMBERS, Y_NUMBERS)
    estimator = small(cls, scoring=scoring, early_stopping=True, max_iter=30, random_state=2).fit(
        X[:200], y[:200], X_val=X[200:], y_val=y[200:]
    )
    assert estimator.best_validation_score_ == max(estimator.history_[f"validation_{name}"])
    assert estimator.best_validation_score_ == pytest.approx(function(estimator, X[200:], y[200:]), rel=1e-6)
    estimator.model_.save(tmp_path / "model.safetensors")
    assert Model.load(tmp_path / "model.safetensors").predict(X[:3]).tolist() == estimator.predict(X[:3]).tolist()


def test_several_scorers_and_the_loss() -> None:
    classifier = small(scoring=["f1_macro", "roc_auc_ovo"], early_stopping=True).fit(X_CLASSES, Y_CLASSES)
    assert {"validation_f1_macro", "f1_macro", "validation_roc_auc_ovo"} <= set(classifier.history_)
    by_loss = small(scoring="loss", early_stopping=True, max_iter=30).fit(X_CLASSES, Y_CLASSES)
    assert by_loss.validation_scores_ is None
    assert by_loss.best_iter_ == 1 + int(np.argmin(by_loss.validation_loss_curve_))


def test_callbacks_are_called_in_every_fit() -> None:
    class Count(Callback):
        epochs = 0

        def on_epoch_end(self, run: TrainingRun) -> None:
            self.epochs += 1

    count = Count()
    regressor = small(MLPRegressor, callbacks=[count, EarlyStopping("loss", patience=None, delta=1e9)])
    assert regressor.fit(X_NUMBERS, Y_NUMBERS).n_iter_ == count.epochs == 2
    assert "changed by less" in regressor.stop_reason_
    assert small(MLPRegressor, callbacks=count).fit(X_NUMBERS, Y_NUMBERS).n_iter_ == count.epochs - 2


# Rows and weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_sparse_matrix_stays_sparse(make: Any, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X = X_CLASSES * (np.random.default_rng(0).random(X_CLASSES.shape) < 0.3)
    dense = small(batch_size=32, engine=engine).fit(X, Y_CLASSES)
    # PyTorch is given a few dense rows at a time.
    for kind in (sparse.csr_matrix, sparse.csr_array) if engine == "numpy" else ():
        for method in ("toarray", "todense"):
            monkeypatch.setattr(kind, method, lambda self: pytest.fail("it was made dense"))
    classifier = small(batch_size=32, engine=engine).fit(make(X), Y_CLASSES)
    predicted = classifier.predict_proba(make(X))
    monkeypatch.undo()
    np.testing.assert_allclose(predicted, dense.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_of_pandas_and_polars_give_names(frame: Any) -> None:
    names = [f"column {i}" for i in range(8)]
    X = frame(dict(zip(names, X_CLASSES.T, strict=True)))
    classifier = small().fit(X, Y_CLASSES)
    assert classifier.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(classifier.predict(X), small().fit(X_CLASSES, Y_CLASSES).predict(X_CLASSES))
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(X[names[::-1]])


@pytest.mark.parametrize("batch_size", [16, 300])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_a_row_without_weight_is_no_row(cls: Any, batch_size: int, early_stopping: bool) -> None:
    X, y = (X_CLASSES, Y_CLASSES) if cls is MLPClassifier else (X_NUMBERS, Y_NUMBERS)
    weights = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    kept = weights > 0
    n_training = int(kept.sum() * 0.8)
    settings: dict[str, Any] = {"batch_size": min(batch_size, n_training), "early_stopping": early_stopping}
    with_zeros, without = small(cls, **settings), small(cls, **settings)
    with_zeros.fit(X, y, weights)
    without.fit(X[kept], y[kept], weights[kept])
    for ours, others in zip(with_zeros.coefs_, without.coefs_, strict=True):
        np.testing.assert_array_equal(ours, others)
    assert with_zeros.loss_curve_ == without.loss_curve_


def test_classes_without_weight_are_still_classes() -> None:
    classifier = small().fit(X_CLASSES, Y_CLASSES, (Y_CLASSES < 2).astype(float))
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert classifier.predict_proba(X_CLASSES).shape == (300, 3)


@pytest.mark.parametrize("weights", [np.zeros(300), -np.ones(300), np.ones(299), np.full(300, np.nan)])
def test_impossible_weights_are_refused(weights: Array) -> None:
    with pytest.raises(ValueError, match="weight"):
        small().fit(X_CLASSES, Y_CLASSES, weights)


def test_weights_are_relative_but_for_the_penalty() -> None:
    weights = np.random.default_rng(0).uniform(0.5, 2, 300)
    once, twice = (small(alpha=alpha).fit(X_CLASSES, Y_CLASSES, f * weights) for f, alpha in ((1, 0.1), (2, 0.2)))
    np.testing.assert_allclose(once.coefs_[0], twice.coefs_[0], rtol=1e-9, atol=1e-12)


def test_balanced_classes_have_the_same_weight() -> None:
    y = np.repeat(["rare", "often"], [20, 280])
    shares = 300 / (2 * np.array([20, 280]))
    balanced = small(class_weight="balanced").fit(X_CLASSES, y)
    by_hand = small(class_weight={"rare": shares[0], "often": shares[1]}).fit(X_CLASSES, y)
    weighted = small().fit(X_CLASSES, y, np.repeat(shares, [20, 280]))
    for other in (by_hand, weighted):
        np.testing.assert_allclose(other.coefs_[0], balanced.coefs_[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_predictions_do_not_depend_on_the_other_rows(engine: str, dtype: str) -> None:
    classifier = small(engine=engine, dtype=dtype, batch_normalization=True).fit(X_CLASSES, Y_CLASSES)
    order = np.random.default_rng(0).permutation(300)
    whole = classifier.predict_proba(X_CLASSES)
    np.testing.assert_allclose(classifier.predict_proba(X_CLASSES[order]), whole[order], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=1e-15)


LABELS: dict[str, Any] = {
    "text": np.array(["b", "a", "c"]),
    "objects": np.array(["b", "a", "c"], dtype=object),
    "negative": np.array([-5, 7, 3]),
    "floats": np.array([1.5, 2.0, -1.0]),
    "booleans": np.array([True, False, True]),
    "large": np.array([2**60, 2**60 + 1, 5]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_type_come_back(kind: str) -> None:
    y = LABELS[kind][Y_CLASSES]
    if kind == "floats":
        y = np.where(y == 1.5, 4.0, y)
    classifier = small(max_iter=80, learning_rate_init=0.01).fit(X_CLASSES, y)
    np.testing.assert_array_equal(classifier.classes_, np.unique(y))
    predicted = classifier.predict(X_CLASSES)
    assert predicted.dtype == classifier.classes_.dtype
    assert (predicted == y).mean() > 0.6


# Several outputs ------------------------------------------------------------------------------------------------------


def test_several_labels() -> None:
    X, y = make_multilabel_classification(600, 10, n_classes=4, random_state=0)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    settings: dict[str, Any] = {"max_iter": 200, "learning_rate_init": 0.01}
    classifier = small(early_stopping=True, scoring=["loss", "accuracy"], **settings).fit(X, y)
    probabilities = classifier.predict_proba(X)
    np.testing.assert_array_equal(classifier.predict(X), probabilities > 0.5)
    assert probabilities.shape == (600, 4)
    assert classifier.score(X, y) > 0.3
    assert 0.1 < classifier.best_validation_score_ <= 1
    from_sparse = small(early_stopping=True, scoring="loss", **settings).fit(X, sparse.csr_matrix(y))
    np.testing.assert_allclose(from_sparse.predict_proba(X), probabilities)


def test_several_numbers() -> None:
    y = np.column_stack([Y_NUMBERS, Y_NUMBERS**2])
    regressor = small(MLPRegressor, max_iter=300, early_stopping=True, learning_rate_init=0.01).fit(X_NUMBERS, y)
    assert regressor.predict(X_NUMBERS).shape == (300, 2)
    assert regressor.score(X_NUMBERS, y) > 0.5


def columns_of_classes() -> Array:
    return np.column_stack([np.array(["a", "b", "c"])[Y_CLASSES], np.array(["low", "high"])[(X_CLASSES[:, 0] > 0) * 1]])


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_several_columns_of_classes(engine: str, dtype: Any) -> None:
    y = columns_of_classes()
    classifier = small(
        engine=engine, dtype=dtype, max_iter=150, learning_rate_init=0.02, hidden_layer_sizes=(16,), early_stopping=True
    ).fit(X_CLASSES, y)
    assert [classes.tolist() for classes in classifier.classes_] == [["a", "b", "c"], ["high", "low"]]
    probabilities = classifier.predict_proba(X_CLASSES)
    assert [one.shape for one in probabilities] == [(300, 3), (300, 2)]
    for one, logarithms in zip(probabilities, classifier.predict_log_proba(X_CLASSES), strict=True):
        np.testing.assert_allclose(one.sum(axis=1), 1, rtol=1e-12)
        np.testing.assert_allclose(np.exp(logarithms), one)
    predicted = classifier.predict(X_CLASSES)
    assert (predicted == y).mean(axis=0).min() > 0.75
    assert classifier.score(X_CLASSES, y) == (predicted == y).all(axis=1).mean()
    assert classifier.best_validation_score_ > 0.5
    assert layer_names(classifier) == ["Dense", "ReLU", "Dense", "Parallel"]


def test_each_column_of_classes_is_learnt_as_alone() -> None:
    """Without hidden layers, the columns do not share weights."""
    y = columns_of_classes()
    settings: dict[str, Any] = {"hidden_layer_sizes": (), "solver": "sgd", "alpha": 0, "tol": 0, "batch_size": 300}
    together = small(**settings, max_iter=1, learning_rate_init=1e-30, warm_start=True).fit(X_CLASSES, y)
    alone = small(**settings, max_iter=1, learning_rate_init=1e-30, warm_start=True).fit(X_CLASSES, y[:, 0])
    alone.coefs_[0][...], alone.intercepts_[0][...] = together.coefs_[0][:, :3], together.intercepts_[0][:3]
    for one, targets in ((together, y), (alone, y[:, 0])):
        one.set_params(max_iter=20, learning_rate_init=0.1).fit(X_CLASSES, targets)
    np.testing.assert_allclose(alone.predict_proba(X_CLASSES), together.predict_proba(X_CLASSES)[0], rtol=1e-9)


@pytest.mark.parametrize("kind", ["labels", "columns"])
def test_classes_of_several_columns_have_weights(kind: str) -> None:
    if kind == "labels":
        y: Array = np.column_stack([Y_CLASSES == 0, Y_CLASSES == 1]).astype(int)
        given: Any = [{0: 1.0, 1: 3.0}, {0: 2.0}]
        by_hand = np.where(y[:, 0] == 1, 3.0, 1.0) * np.where(y[:, 1] == 0, 2.0, 1.0)
    else:
        y, given = columns_of_classes(), [{"a": 3.0}, {"low": 0.5, "high": 2.0}]
        by_hand = np.where(y[:, 0] == "a", 3.0, 1.0) * np.where(y[:, 1] == "low", 0.5, 2.0)
    weights = np.random.default_rng(0).uniform(0.5, 2, 300)
    settings: dict[str, Any] = {"alpha": 0.0, "batch_size": 50}
    weighted = small(class_weight=given, **settings).fit(X_CLASSES, y, weights)
    np.testing.assert_array_equal(weighted.coefs_[0], small(**settings).fit(X_CLASSES, y, weights * by_hand).coefs_[0])
    balanced = small(class_weight="balanced", **settings).fit(X_CLASSES, y)
    expected = compute_sample_weight("balanced", y)
    np.testing.assert_allclose(balanced.coefs_[0], small(**settings).fit(X_CLASSES, y, expected).coefs_[0], rtol=1e-9)
    with pytest.raises(InvalidInputError, match="class_weight has 3 elements, and the target has 2 columns"):
        small(class_weight=[None] * 3).fit(X_CLASSES, y)


def test_smoothed_labels_are_those_of_two_classes_each() -> None:
    y = np.column_stack([Y_CLASSES == 0, Y_CLASSES == 1, Y_CLASSES == 2]).astype(int)
    network = small(label_smoothing=0.2, max_iter=1).fit(X_CLASSES, y).network_
    z = small(max_iter=1, learning_rate_init=1e-12).fit(X_CLASSES, y).network_.predict(X_CLASSES)
    smoothed = 0.8 * y + 0.1
    loss = -(smoothed * np.log(z) + (1 - smoothed) * np.log(1 - z)).sum(axis=1).mean()
    assert network.history["loss"][0] == pytest.approx(loss, rel=0.02)
    for settings in ({"label_smoothing": 0.2}, {"preset": "tabular"}):
        with pytest.raises(InvalidInputError, match="one column of classes"):
            MLPClassifier(**settings).fit(X_CLASSES, columns_of_classes())


# Further fits ---------------------------------------------------------------------------------------------------------


def test_a_warm_start_goes_on() -> None:
    classifier = small(warm_start=True, max_iter=4, early_stopping=False).fit(X_CLASSES, Y_CLASSES)
    first = [weights.copy() for weights in classifier.coefs_]
    classifier.set_params(max_iter=3, alpha=0.1, learning_rate_init=0.01).fit(X_CLASSES, Y_CLASSES)
    assert classifier.history_["epoch"] == [1, 2, 3, 4, 5, 6, 7]
    assert len(classifier.loss_curve_) == 7
    assert (classifier.n_iter_, classifier.t_) == (3, 7 * 300)
    assert classifier.history_["learning_rate"] == [0.001] * 4 + [0.01] * 3
    again = small(max_iter=4).fit(X_CLASSES, Y_CLASSES)
    np.testing.assert_array_equal(again.coefs_[0], first[0])
    assert small().fit(X_CLASSES, Y_CLASSES).fit(X_CLASSES, Y_CLASSES).t_ == 5 * 300, "without it, a fit begins afresh"


def test_what_a_warm_start_cannot_go_on_with() -> None:
    classifier = small(warm_start=True).fit(X_CLASSES, Y_CLASSES)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        classifier.fit(X_CLASSES, Y_CLASSES + 1)
    with pytest.raises(ValueError, match=r"hidden layers of \(8,\) units, and the parameters ask for \(9,\)"):
        classifier.set_params(hidden_layer_sizes=(9,)).fit(X_CLASSES, Y_CLASSES)
    with pytest.raises(ValueError, match=r"has the layers .* ReLUActivation.*, .* the parameters ask for .* Tanh"):
        classifier.set_params(hidden_layer_sizes=(8,), activation="tanh").fit(X_CLASSES, Y_CLASSES)
    towns = pd.DataFrame({"town": np.resize(["Faro", "Porto", "Braga", "Evora"], 300)})
    embedded = small(warm_start=True, preprocessor=TablePreprocessor(), embedding_size=3).fit(towns, Y_CLASSES)
    with pytest.raises(ValueError, match=r"layers Parallel \(4, 3\).* ask for Parallel \(4, 2\)"):
        embedded.set_params(embedding_size=2).fit(towns, Y_CLASSES)
    with pytest.raises(ValueError, match="expecting 8 features"):
        classifier.fit(X_CLASSES[:, :4], Y_CLASSES)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_partial_fits_are_the_epochs_of_a_fit(cls: Any) -> None:
    X, y = (X_CLASSES, Y_CLASSES) if cls is MLPClassifier else (X_NUMBERS, Y_NUMBERS)
    whole = small(cls, max_iter=6, n_iter_no_change=np.inf).fit(X, y)
    classes = {"classes": np.unique(y)} if cls is MLPClassifier else {}
    parts = small(cls).partial_fit(X, y, **classes)
    for _ in range(5):
        parts.partial_fit(X, y)
    np.testing.assert_array_equal(parts.coefs_[0], whole.coefs_[0])
    assert parts.loss_curve_ == whole.loss_curve_
    assert (parts.n_iter_, parts.t_) == (1, 6 * 300)


@pytest.mark.parametrize("schedule", [{"schedule": "cosine"}, {"learning_rate": "invscaling"}])
def test_schedules_go_on_in_partial_fits(schedule: dict[str, Any], tmp_path: Path) -> None:
    settings: dict[str, Any] = {"solver": "sgd", "max_iter": 6, "n_iter_no_change": np.inf, **schedule}
    whole = small(MLPRegressor, **settings).fit(X_NUMBERS, Y_NUMBERS)
    parts = small(MLPRegressor, **settings)
    for _ in range(6):
        parts.partial_fit(X_NUMBERS, Y_NUMBERS)
    np.testing.assert_array_equal(parts.coefs_[0], whole.coefs_[0])
    assert parts.history_["learning_rate"] == whole.history_["learning_rate"]
    parts.model_.save(tmp_path / "model.safetensors")
    assert Model.load(tmp_path / "model.safetensors").network.schedule == whole.network_.schedule


def test_columns_of_classes_in_further_fits() -> None:
    y = columns_of_classes()
    parts = small().partial_fit(X_CLASSES, y, [["a", "b", "c"], ["high", "low"]]).partial_fit(X_CLASSES[:9], y[:9])
    assert len(parts.loss_curve_) == 2
    with pytest.raises(ValueError, match="is not the same as on last call"):
        parts.partial_fit(X_CLASSES, y, [["a", "b"], ["high", "low"]])
    y[0, 0] = "new"
    with pytest.raises(ValueError, match=r"'y' has \['new'\]"):
        parts.partial_fit(X_CLASSES, y)
    with pytest.raises(ValueError, match="the training rows do not have"):
        small().fit(X_CLASSES[1:], y[1:], X_val=X_CLASSES, y_val=y)
    with pytest.raises(ValueError, match="warm_start can only be used"):
        small(warm_start=True).fit(X_CLASSES[1:], y[1:]).fit(X_CLASSES, y)


def test_ctrl_c_ends_a_fit_with_the_weights_so_far() -> None:
    class Press(Callback):
        def on_epoch_end(self, run: TrainingRun) -> None:
            if run.epoch == 3:
                signal.raise_signal(signal.SIGINT)

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        classifier = small(max_iter=50, callbacks=Press()).fit(X_CLASSES, Y_CLASSES)
    assert classifier.n_iter_ == 3
    assert classifier.stop_reason_ == "interrupted"
    assert classifier.predict(X_CLASSES).shape == (300,)


def test_what_partial_fit_refuses() -> None:
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        small().partial_fit(X_CLASSES, Y_CLASSES)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        small(early_stopping=True).partial_fit(X_CLASSES, Y_CLASSES, [0, 1, 2])
    with pytest.raises(AttributeError, match=r"not available with preset='tabular', .* use fit, or preset=None"):
        small(preset="tabular").partial_fit(X_CLASSES, Y_CLASSES, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        small(class_weight="balanced").partial_fit(X_CLASSES, Y_CLASSES, [0, 1, 2])
    classifier = small().partial_fit(X_CLASSES, Y_CLASSES, [0, 1, 2, 3])
    assert classifier.predict_proba(X_CLASSES).shape == (300, 4)
    with pytest.raises(ValueError, match="is not the same as on last call"):
        classifier.partial_fit(X_CLASSES, Y_CLASSES, [0, 1, 2])
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        classifier.partial_fit(X_CLASSES, Y_CLASSES + 2)


# Copies and files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_predict_and_train_further(make: Callable[[Any], Any]) -> None:
    fitted = small(warm_start=True, dropout=0.1).fit(X_CLASSES, Y_CLASSES)
    twin = make(fitted)
    np.testing.assert_array_equal(twin.predict_proba(X_CLASSES), fitted.predict_proba(X_CLASSES))
    for one in (fitted, twin):
        one.fit(X_CLASSES, Y_CLASSES)
    np.testing.assert_array_equal(twin.coefs_[0], fitted.coefs_[0])
    twin.coefs_[0][...] = 0
    assert fitted.coefs_[0].any()
    assert not twin.network_.layers[0].weights.any()


def test_clones_have_the_parameters_and_no_network() -> None:
    fitted = small(
        activation=[LeakyReLUActivation(0.2)], solver=AdamW(0.1), loss="focal", schedule=CosineDecay(5),
        callbacks=[EarlyStopping("loss")], dropout=[0.1],
    ).fit(X_CLASSES, Y_CLASSES)  # fmt: skip
    twin = clone(fitted)
    assert not hasattr(twin, "network_")
    assert not hasattr(twin, "coefs_")
    np.testing.assert_array_equal(twin.fit(X_CLASSES, Y_CLASSES).coefs_[0], fitted.coefs_[0])


def test_the_model_is_saved_and_predicts_the_same(tmp_path: Path) -> None:
    y = np.array(["low", "middle", "high"])[Y_CLASSES]
    classifier = small(early_stopping=True).fit(X_CLASSES, y)
    classifier.model_.save(tmp_path / "classes.safetensors")
    model = Model.load(tmp_path / "classes.safetensors")
    np.testing.assert_array_equal(model.predict(X_CLASSES), classifier.predict(X_CLASSES))
    np.testing.assert_allclose(model.predict_proba(X_CLASSES), classifier.predict_proba(X_CLASSES))
    regressor = small(MLPRegressor).fit(X_NUMBERS, Y_NUMBERS)
    regressor.model_.save(tmp_path / "numbers.safetensors")
    model = Model.load(tmp_path / "numbers.safetensors")
    np.testing.assert_array_equal(model.predict(X_NUMBERS), regressor.predict(X_NUMBERS))


def test_the_same_seed_gives_the_same_bits_and_the_global_one_is_used_without() -> None:
    first, second = (small(dropout=0.3, early_stopping=True).fit(X_CLASSES, Y_CLASSES) for _ in range(2))
    np.testing.assert_array_equal(first.coefs_[0], second.coefs_[0])
    drawn = []
    for _ in range(2):
        np.random.seed(5)  # noqa: NPY002  (scikit-learn's convention)
        drawn.append(small(random_state=None).fit(X_CLASSES, Y_CLASSES).coefs_[0])
    np.testing.assert_array_equal(*drawn)
    generator = np.random.RandomState(5)
    one, two = (small(random_state=generator).fit(X_CLASSES, Y_CLASSES) for _ in range(2))
    assert (one.coefs_[0] != two.coefs_[0]).any()


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alpha": -1}, "alpha is -1; allowed are finite numbers from 0 up"),
        ({"batch_size": 0}, "batch_size is 0; allowed are whole numbers from 1 up, or 'auto'"),
        ({"batch_size": "all"}, "batch_size is 'all'"),
        ({"max_iter": 2.5}, "max_iter is 2.5"),
        ({"hidden_layer_sizes": (8, 0)}, "whole numbers of units >= 1"),
        ({"activation": "rellu"}, "Did you mean 'relu'"),
        ({"solver": "adamm"}, "Did you mean 'adam'"),
        ({"learning_rate": "adaptiv"}, "learning_rate is 'adaptiv'.*'adaptive'"),
        ({"learning_rate": "invscaling", "solver": "sgd", "schedule": "cosine"}, "is a schedule"),
        ({"dropout": [0.1, 0.2]}, "there are 1 hidden layers"),
        ({"dropout": 1.0}, "rate"),
        ({"momentum": 1.5}, "momentum is 1.5"),
        ({"validation_fraction": 1.0}, "validation_fraction is 1.0"),
        ({"n_iter_no_change": 0}, "n_iter_no_change is 0"),
        ({"loss": "log_los"}, "no loss called"),
        ({"dtype": "float16"}, "float32 or float64"),
        ({"scoring": "acuracy", "early_stopping": True}, "acuracy"),
        ({"scoring": "acuracy"}, "acuracy"),
        ({"loss": "poisson"}, "poisson is for numbers, and MLPClassifier predicts classes"),
        ({"loss": "gaussian_nll"}, "is for numbers"),
        ({"loss": (8, 4)}, r"hidden_layer_sizes=\(8, 4\)"),
        ({"width": 4}, r"hidden_layer_sizes=\(8,\) and width are both given"),
        ({"n_layers": 2, "hidden_layer_sizes": (8, 4)}, r"hidden_layer_sizes=\(8, 4\) and n_layers are both given"),
        ({"calibrate": True}, "calibrate=True needs rows that the network is not trained on; give X_val"),
        ({"calibrate": True, "early_stopping": True, "loss": "hinge"}, "a loss of probabilities"),
        ({"n_layers": 2, "hidden_layer_sizes": ()}, "give width too"),
        ({"class_weight": {7: 1.0}}, "class_weight.* 7"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"swa_from": 9}, "swa_from is 9"),
        ({"engine": "jax"}, "no engine called 'jax'"),
    ],
)
def test_impossible_parameters_are_explained_by_fit(settings: dict[str, Any], words: str) -> None:
    classifier = small(**settings)
    with pytest.raises(ValueError, match=words):
        classifier.fit(X_CLASSES, Y_CLASSES)


def test_impossible_validation_rows_are_explained() -> None:
    with pytest.raises(InvalidInputError, match="X_val and y_val"):
        small().fit(X_CLASSES, Y_CLASSES, X_val=X_CLASSES)
    with pytest.raises(InvalidInputError, match="X_val and y_val"):
        small().fit(X_CLASSES, Y_CLASSES, y_val=Y_CLASSES)
    with pytest.raises(ValueError, match=r"classes that the training rows do not have: \[3\]"):
        small().fit(X_CLASSES, Y_CLASSES, X_val=X_CLASSES, y_val=Y_CLASSES + 1)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 8 features"):
        small().fit(X_CLASSES, Y_CLASSES, X_val=X_CLASSES[:, :3], y_val=Y_CLASSES)
    with pytest.raises(ValueError, match="The validation set is too small"):
        small(MLPRegressor, early_stopping=True).fit(X_NUMBERS[:5], Y_NUMBERS[:5])


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (X_CLASSES, np.ones(300), r"contains only one class: 1\.0"),
        (X_CLASSES, np.full(300, "no"), "contains only one class: 'no'"),
        (X_CLASSES, Y_NUMBERS, "Unknown label type: continuous"),
        (np.where(X_CLASSES > 2, np.nan, X_CLASSES), Y_CLASSES, "Input X contains NaN"),
        (np.where(X_CLASSES > 2, np.inf, X_CLASSES), Y_CLASSES, "Input X contains infinity"),
        (X_CLASSES[:, 0], Y_CLASSES, "Expected 2D array, got 1D array instead"),
        (X_CLASSES, Y_CLASSES[:9], "inconsistent numbers of samples"),
    ],
)
def test_impossible_rows_are_refused_in_scikit_learns_words(X: Any, y: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small().fit(X, y)


@pytest.mark.parametrize("loss", ["hinge", "binary_cross_entropy"])
def test_a_regressor_refuses_a_loss_of_classes(loss: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{loss} is for classes, and MLPRegressor predicts numbers"):
        small(MLPRegressor, loss=loss).fit(X_NUMBERS, Y_NUMBERS)


def test_partial_fit_refuses_an_average_over_epochs() -> None:
    with pytest.raises(InvalidInputError, match="does not support swa_from"):
        small(swa_from=3).partial_fit(X_CLASSES, Y_CLASSES, classes=[0, 1, 2])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_hinge_loss_has_scores_and_no_probabilities(n_classes: int) -> None:
    y = np.array(["a", "b", "c"])[np.minimum(Y_CLASSES, n_classes - 1)]
    classifier = small(loss="hinge", max_iter=30, scoring="roc_auc_ovr" if n_classes == 3 else "roc_auc").fit(
        X_CLASSES, y
    )
    scores = classifier.decision_function(X_CLASSES)
    assert scores.shape == ((300,) if n_classes == 2 else (300, 3))
    chosen = (scores > 0).astype(int) if n_classes == 2 else scores.argmax(axis=1)
    assert classifier.predict(X_CLASSES).tolist() == classifier.classes_[chosen].tolist()
    assert np.abs(scores).max() > 1
    for name in ("predict_proba", "predict_log_proba"):
        assert not hasattr(classifier, name)
    assert not hasattr(small(), "decision_function")


def test_a_function_and_its_derivative_are_a_loss() -> None:
    def squares(y: Array, p: Array) -> Array:
        return (p - y) ** 2

    def slope(y: Array, p: Array) -> Array:
        return 2 * (p - y)

    own = small(MLPRegressor, loss=(squares, slope)).fit(X_NUMBERS, Y_NUMBERS)
    known = small(MLPRegressor, loss="mse").fit(X_NUMBERS, Y_NUMBERS)
    np.testing.assert_allclose(own.predict(X_NUMBERS), known.predict(X_NUMBERS))
    assert clone(own).loss == (squares, slope)
    assert small(loss=(squares, slope)).fit(X_CLASSES, Y_CLASSES).predict_proba(X_CLASSES).shape == (300, 3)


def test_the_only_row_of_a_class_is_trained_on() -> None:
    y = np.where(np.arange(300) == 7, 3, Y_CLASSES)
    classifier = small(early_stopping=True).fit(X_CLASSES, y)
    assert classifier.classes_.tolist() == [0, 1, 2, 3]
    assert classifier.t_ == 270 * classifier.n_iter_


def test_a_model_of_several_labels_is_whole(tmp_path: Path) -> None:
    X, Y = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    classifier = small(max_iter=30).fit(X, Y)
    classifier.model_.save(tmp_path / "model.safetensors")
    model = Model.load(tmp_path / "model.safetensors")
    labels, probabilities = classifier.predict(X), classifier.predict_proba(X)
    assert model.target.task == "multilabel"
    assert model.predict(X).tolist() == labels.tolist()
    assert np.array_equal(model.predict_proba(X), probabilities)
    assert model.evaluate(X, Y)["mean_squared_error"] == pytest.approx(np.mean((probabilities - Y) ** 2))
    check_numbers("js", model, X, tmp_path)
    answer = ask(build_app(model), X[:2].tolist()).json()
    assert answer == {"predictions": labels[:2].tolist(), "probabilities": model.outputs(X[:2]).tolist()}
    frame = predict(model, X)
    assert list(frame)[:4] == ["prediction_1", "prediction_2", "prediction_3", "probability_1"]
    assert np.array_equal(frame.iloc[:, :3], labels)
    with pytest.raises(DataError, match="must be 0 or 1"):
        model.evaluate(X, 2 * Y)
    with pytest.raises(InvalidInputError, match="labels"):
        model.calibrated(X, Y)


# Calibration and intervals ------------------------------------------------------------------------------------------


def test_held_out_rows_calibrate_a_classifier(tmp_path: Path) -> None:
    given = {"X_val": X_CLASSES[200:], "y_val": Y_CLASSES[200:]}
    settings = {"max_iter": 80, "learning_rate_init": 0.03}
    plain = small(**settings).fit(X_CLASSES[:200], Y_CLASSES[:200], **given)
    tempered = small(**settings, calibrate=True).fit(X_CLASSES[:200], Y_CLASSES[:200], **given)
    assert plain.calibration_ is None
    assert tempered.calibration_.temperature > 1.2
    losses = [log_loss(Y_CLASSES[200:], one.predict_proba(X_CLASSES[200:])) for one in (plain, tempered)]
    assert losses[1] < losses[0]
    assert np.array_equal(plain.predict(X_CLASSES), tempered.predict(X_CLASSES))
    tempered.model_.save(tmp_path / "model.safetensors")
    read = Model.load(tmp_path / "model.safetensors")
    assert np.array_equal(read.predict_proba(X_CLASSES), tempered.predict_proba(X_CLASSES))
    with pytest.raises(InvalidInputError, match="one column of classes"):
        small(calibrate=True, early_stopping=True).fit(X_CLASSES, np.eye(3, dtype=int)[Y_CLASSES])


@pytest.mark.parametrize("loss", ["squared_error", "multi_quantile:quantiles=(0.1,0.5,0.9)"])
@pytest.mark.parametrize("settings", [{"early_stopping": True}, {"preset": "tabular", "hidden_layer_sizes": (100,)}])
def test_a_regressor_has_intervals_of_held_out_rows(settings: dict[str, Any], loss: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1_200, 3))
    y = 50 + X @ [3.0, 2.0, 1.0] + rng.normal(size=1_200)
    regressor = small(MLPRegressor, loss=loss, max_iter=30, **settings).fit(X[:400], y[:400])
    assert regressor.calibration_.n_rows == (400 if "preset" in settings else 40)
    lower, upper = regressor.predict_interval(X[400:], alpha=0.2).T
    assert np.mean((lower <= y[400:]) & (y[400:] <= upper)) == pytest.approx(0.8, abs=0.08)
    limits = pickle.loads(pickle.dumps(regressor)).predict_interval(X[400:], alpha=0.2)
    assert np.array_equal(limits, np.stack([lower, upper], axis=1))
    has_quantiles = loss != "squared_error"
    assert hasattr(regressor, "predict_quantiles") == has_quantiles
    if not has_quantiles:
        with pytest.raises(
            AttributeError, match="not available for loss='squared_error'; give a loss such as 'multi_q"
        ):
            regressor.predict_quantiles(X)
    else:
        quantiles = regressor.predict_quantiles(X[400:])
        assert (np.diff(quantiles, axis=1) > 0).all()
        assert np.array_equal(regressor.predict(X[400:]), quantiles[:, 1])


def test_intervals_of_several_outputs_and_without_held_out_rows() -> None:
    y = np.stack([Y_NUMBERS, 100 * Y_NUMBERS], axis=1)
    limits = small(MLPRegressor, early_stopping=True).fit(X_NUMBERS, y).predict_interval(X_NUMBERS, 0.2)
    assert limits.shape == (300, 2, 2)
    assert (limits[..., 0] < limits[..., 1]).all()
    with pytest.raises(InvalidInputError, match="predict_interval needs rows that the network is not trained on"):
        small(MLPRegressor).fit(X_NUMBERS, Y_NUMBERS).predict_interval(X_NUMBERS)


def test_divergence_is_explained_and_the_last_finite_weights_stay() -> None:
    regressor = small(MLPRegressor, solver="sgd", learning_rate_init=1e6, batch_size=10, max_iter=50)
    with pytest.raises(DivergenceError, match="Try a smaller learning rate"):
        regressor.fit(X_NUMBERS, 100 * Y_NUMBERS)
    assert np.isfinite(regressor.coefs_[0]).all()


def test_an_argument_that_there_is_not_is_named() -> None:
    meant = {"hidden": "hidden_layer_sizes", "epochs": "max_iter", "lr": "learning_rate_init", "drop_out": "dropout"}
    for name, here in meant.items():
        with pytest.raises(InvalidInputError, match=rf"MLPClassifier has no argument '{name}'\. Did you mean '{here}'"):
            MLPClassifier(**{name: 3})
    with pytest.raises(InvalidInputError, match=r"fit has no argument 'weights'"):
        MLPClassifier().fit(X_CLASSES, Y_CLASSES, weights=1)


def test_nothing_is_read_before_a_fit() -> None:
    for name in ("coefs_", "loss_curve_", "history_", "model_", "validation_loss_curve_"):
        assert not hasattr(MLPClassifier(), name)
    assert MLPClassifier().__sklearn_is_fitted__() is False


def test_iris_has_a_page_in_a_notebook() -> None:
    X, y = load_iris(return_X_y=True)
    classifier = small().fit(X, y)
    page = classifier._repr_html_()
    assert "MLPClassifier" in page
    assert "hidden_layer_sizes" in page
    assert len(page) < 200_000
    assert len([layer for layer in classifier.network_.layers if isinstance(layer, DenseLayer)]) == 2


def test_labels_that_are_probably_one_class_or_missing_are_named() -> None:
    labels = np.resize(["yes", "NO", "Yes", " good", "good", "N/A"], 300)
    with pytest.warns(ChainruleWarning) as caught:
        classifier = small(max_iter=1).fit(X_CLASSES, labels)
    messages = " ".join(str(warning.message) for warning in caught)
    assert "' good' and 'good'; 'Yes' and 'yes' of the target differ only in case or in white space" in messages
    assert "the class 'N/A'; drop such rows if their labels are missing" in messages
    assert len(classifier.classes_) == 6
