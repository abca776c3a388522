"""Keras 3."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
from datasets import Array
from workload import Workload

from peers.base import Peer

if keras.backend.backend() == "jax":
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)  # as in the other JAX peers


class KerasFit(Peer):
    """``model.fit`` on arrays with the JAX backend (the faster of JAX and PyTorch), compiled with XLA, the loss from
    logits, and 32 ``steps_per_execution``, which Keras recommends for small models (8 and 1 were slower).

    It shuffles the rows itself; in the check, the rows are in the given order and ``shuffle=False``.
    """

    library = "keras"
    difference = "its Adam adds epsilon before the bias correction, not after it as in the paper"
    steps_per_execution = int(os.environ.get("BENCH_KERAS_STEPS", "32"))

    def prepare(self, workload: Workload) -> None:
        self.workload = workload
        self.X, self.y = workload.inputs(), workload.targets()
        if workload.for_check:
            order = workload.order(0)[: workload.n_rows]
            self.X, self.y = self.X[order], self.y[order]
        layers: list[keras.Layer] = [keras.Input((workload.widths[0],))]
        for n_units in workload.widths[1:-1]:
            layers.append(keras.layers.Dense(n_units, activation=workload.activation))
        layers.append(keras.layers.Dense(workload.widths[-1]))
        self.model = keras.Sequential(layers)
        self.model.set_weights([array for pair in workload.weights() for array in pair])
        losses = {
            "cross_entropy": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "binary_cross_entropy": keras.losses.BinaryCrossentropy(from_logits=True),
            "mean_squared_error": keras.losses.MeanSquaredError(),
        }
        optimizers = {
            "adam": keras.optimizers.Adam(workload.learning_rate, epsilon=1e-8),
            "rmsprop": keras.optimizers.RMSprop(workload.learning_rate, rho=0.99, epsilon=1e-8),
        }
        steps_per_epoch = workload.n_steps // workload.epochs_a_round
        self.model.compile(
            optimizer=optimizers[workload.optimizer],
            loss=losses[workload.loss],
            steps_per_execution=min(self.steps_per_execution, steps_per_epoch),
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
        logits = self.model(X)
        if self.workload.loss == "cross_entropy":
            logits = keras.ops.softmax(logits)
        elif self.workload.loss == "binary_cross_entropy":
            logits = keras.ops.sigmoid(logits)
        return keras.ops.convert_to_numpy(logits)
