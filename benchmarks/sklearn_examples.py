"""Examples of scikit-learn's documentation, run with its MLP and with ours: only the import differs.

    python benchmarks/sklearn_examples.py

Prints a table in Markdown with the test scores and the processor time of the fits in seconds, on one thread. The two
libraries are fitted in turn, and the numbers are the medians of five fits each.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before NumPy is loaded

import numpy as np
import sklearn.neural_network
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_circles,
    make_classification,
    make_moons,
    make_multilabel_classification,
    make_regression,
)
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import chainrule

warnings.simplefilter("ignore")

N_FITS = 5

Example = Callable[[ModuleType], tuple[Any, Any, Any]]


def split(data: tuple[Any, Any], **settings: Any) -> list[Any]:
    return train_test_split(*data, random_state=1, **settings)  # type: ignore[no-any-return]


def training_curves(mlp: ModuleType) -> tuple[Any, Any, Any]:
    """plot_mlp_training_curves: SGD with Nesterov momentum and a decreasing rate."""
    settings = {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.9, "learning_rate_init": 0.2}
    return mlp.MLPClassifier(random_state=0, max_iter=15, **settings), *_scaled(load_digits(return_X_y=True))


def _scaled(data: tuple[Any, Any]) -> tuple[Any, Any]:
    return MinMaxScaler().fit_transform(data[0]), data[1]


EXAMPLES: dict[str, Example] = {
    "MLPClassifier, class documentation": lambda mlp: (
        mlp.MLPClassifier(random_state=1, max_iter=300), *make_classification(n_samples=100, random_state=1)
    ),
    "MLPRegressor, class documentation": lambda mlp: (
        mlp.MLPRegressor(random_state=1, max_iter=2000, tol=0.1),
        *make_regression(n_samples=200, n_features=20, random_state=1),
    ),
    "user guide, L-BFGS with two layers": lambda mlp: (
        mlp.MLPClassifier(solver="lbfgs", alpha=1e-5, hidden_layer_sizes=(5, 2), random_state=1),
        *load_iris(return_X_y=True),
    ),
    "user guide, several labels": lambda mlp: (
        mlp.MLPClassifier(solver="lbfgs", alpha=1e-5, hidden_layer_sizes=(15,), random_state=1),
        *make_multilabel_classification(random_state=1),
    ),
    "user guide, scaling in a pipeline": lambda mlp: (
        make_pipeline(StandardScaler(), mlp.MLPClassifier(random_state=1)), *load_breast_cancer(return_X_y=True)
    ),
    "plot_mlp_alpha, moons": lambda mlp: (
        make_pipeline(
            StandardScaler(),
            mlp.MLPClassifier(
                solver="lbfgs", alpha=0.1, random_state=1, max_iter=2000, early_stopping=False,
                hidden_layer_sizes=[10, 10],
            ),
        ),
        *make_moons(noise=0.3, random_state=0),
    ),
    "plot_mlp_training_curves, digits": training_curves,
    "plot_mnist_filters, on the digits": lambda mlp: (
        mlp.MLPClassifier(
            hidden_layer_sizes=(40,), max_iter=8, alpha=1e-4, solver="sgd", random_state=1, learning_rate_init=0.2
        ),
        *_scaled(load_digits(return_X_y=True)),
    ),
    "plot_classifier_comparison, circles": lambda mlp: (
        mlp.MLPClassifier(alpha=1, max_iter=1000, random_state=42), *make_circles(noise=0.2, factor=0.5, random_state=1)
    ),
    "plot_partial_dependence, early stopping": lambda mlp: (
        make_pipeline(
            StandardScaler(),
            mlp.MLPRegressor(
                hidden_layer_sizes=(30, 15), learning_rate_init=0.01, early_stopping=True, random_state=0
            ),
        ),
        *load_diabetes(return_X_y=True),
    ),
    "GridSearchCV over alpha": lambda mlp: (
        GridSearchCV(
            mlp.MLPClassifier((32,), random_state=0, max_iter=100), {"alpha": 10.0 ** -np.arange(1, 7)}, cv=3
        ),
        *_scaled(load_digits(return_X_y=True)),
    ),
}  # fmt: skip


def fit_seconds(example: Example, module: ModuleType) -> tuple[float, float]:
    """Return the test score and the seconds of processor time of one fit."""
    estimator, X, y = example(module)
    X_train, X_test, y_train, y_test = split((X, y))
    start = time.process_time()
    estimator.fit(X_train, y_train)
    seconds = time.process_time() - start
    return float(estimator.score(X_test, y_test)), seconds


def main() -> None:
    print("| example | scikit-learn: score | seconds | chainrule: score | seconds |\n|---|---:|---:|---:|---:|")
    modules = (sklearn.neural_network, chainrule)
    for name, example in EXAMPLES.items():
        fit_seconds(example, chainrule)  # loads the compiled code
        fits = [[fit_seconds(example, module) for module in modules] for _ in range(N_FITS)]
        cells = []
        for place in range(len(modules)):
            score, seconds = np.median([row[place] for row in fits], axis=0)
            cells += [f"{score:.3f}", f"{seconds:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
