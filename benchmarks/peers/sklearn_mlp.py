"""scikit-learn's multilayer perceptron."""

from __future__ import annotations

import warnings

import numpy as np
from datasets import Array
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from workload import Workload

from peers.base import Peer

warnings.simplefilter("ignore", ConvergenceWarning)


class SklearnMLP(Peer):
    """``MLPClassifier`` or ``MLPRegressor``, float32, without penalty or early stopping. A round is one call, so
    that the data are checked once per round: ``partial_fit`` if a round is an epoch, otherwise ``fit`` with
    ``warm_start``, which resets the state of Adam. CSR rows are not converted.

    It shuffles the rows itself; in the check, the rows are in the given order and ``shuffle=False``.
    """

    library = "scikit-learn"
    difference = "its Adam adds epsilon before the bias correction, not after it as in the paper"

    def prepare(self, workload: Workload) -> None:
        if workload.dropout or workload.batch_norm:
            raise NotImplementedError("scikit-learn has neither dropout nor batch normalisation")
        self.workload = workload
        if workload.optimizer != "adam":
            self.difference = f"it has no {workload.optimizer} and trains with Adam"
            self.tolerance = 1.0
        self.X, self.y = workload.inputs(), workload.targets()
        if workload.for_check:
            order = workload.order(0)[: workload.n_rows]
            self.X, self.y = self.X[order], self.y[order]
        activation = {"relu": "relu", "sigmoid": "logistic"}[workload.activation]
        self.model = (MLPClassifier if workload.n_classes else MLPRegressor)(
            hidden_layer_sizes=workload.widths[1:-1],
            activation=activation,
            alpha=workload.l2 * min(workload.batch, workload.n_rows),  # divided by the rows of the batch
            batch_size=min(workload.batch, workload.n_rows),
            learning_rate_init=workload.learning_rate,
            max_iter=workload.epochs_a_round,
            shuffle=not workload.for_check,
            tol=0.0,
            n_iter_no_change=10**9,
            random_state=0,
            warm_start=True,
        )
        # A short fit allocates the arrays. Then the given weights are copied, and the optimizer is reset.
        some = np.unique(self.y, return_index=True)[1] if workload.n_classes else np.arange(2)
        self.model.set_params(batch_size=len(some))
        self.model.fit(self.X[some], self.y[some])
        self.model.set_params(batch_size=min(workload.batch, workload.n_rows))
        for layer, (W, b) in enumerate(workload.weights()):
            self.model.coefs_[layer][...] = W
            self.model.intercepts_[layer][...] = b
        del self.model._optimizer
        self.train = self.model.partial_fit if workload.epochs_a_round == 1 else self.model.fit

    def epoch(self, order: Array) -> None:
        self.train(self.X, self.y)

    def outputs(self, X: Array) -> Array:
        if not self.workload.n_classes:
            return self.model.predict(X)
        p = self.model.predict_proba(X)
        return p[:, 1] if self.workload.n_classes == 2 else p
