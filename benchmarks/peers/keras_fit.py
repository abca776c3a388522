"""Keras 3."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from datasets import Array
from peers.base import Peer
from workload import Workload

if keras.backend.backend() == "jax":
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)  # as for the other JAX peers


class KerasFit(Peer):
    """``model.fit`` on arrays with the JAX backend (the fastest backend here), compiled with XLA, and with
    ``steps_per_execution``, which Keras recommends for small models.

    It draws its own order; in the check it gets the rows in the given order with ``shuffle=False``.
    """

    library = "keras"
    steps_per_execution = int(os.environ.get("BENCH_KERAS_STEPS", "8"))

    def prepare(self, workload: Workload) -> None:
        self.workload = workload
        self.X, self.y = workload.inputs(), workload.targets()
        if workload.for_check:
            order = workload.order(0)[: workload.n_rows]
            self.X, self.y = self.X[order], self.y[order]
        heads = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "mean_squared_error": "linear"}
        layers: list[keras.Layer] = [keras.Input((workload.widths[0],))]
        for n_units in workload.widths[1:-1]:
            layers.append(keras.layers.Dense(n_units, activation=workload.activation))
        layers.append(keras.layers.Dense(workload.widths[-1], activation=heads[workload.loss]))
        self.model = keras.Sequential(layers)
        self.model.set_weights([array for pair in workload.weights() for array in pair])
        loss = {"cross_entropy": "sparse_categorical_crossentropy"}.get(workload.loss, workload.loss)
        optimizers = {
            "adam": keras.optimizers.Adam(workload.learning_rate, epsilon=1e-8),
            "rmsprop": keras.optimizers.RMSprop(workload.learning_rate, rho=0.99, epsilon=1e-8),
        }
        steps_an_epoch = workload.n_steps // workload.epochs_a_round
        self.model.compile(
            optimizer=optimizers[workload.optimizer],
            loss=loss,
            steps_per_execution=min(self.steps_per_execution, steps_an_epoch),
        )
        self.note = f"backend {keras.backend.backend()}, steps_per_execution {self.steps_per_execution}"

    def epoch(self, order: Array) -> None:
        self.model.fit(
            self.X,
            self.y,
            batch_size=self.workload.batch,
            epochs=self.workload.epochs_a_round,
            shuffle=not self.workload.for_check,
            verbose=0,
        )

    def outputs(self, X: Array) -> Array:
        return np.asarray(self.model(X))
