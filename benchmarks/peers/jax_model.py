"""The network, the loss and the optimizer of the JAX peers, as pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from datasets import Array
from workload import Workload

from peers.base import Peer

# On the CPU, steps are faster in the calling thread than in a second one: on one core, a jitted MNIST step took 395
# instead of 438 us.
jax.config.update("jax_cpu_enable_async_dispatch", False)

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}
Parameters = list[tuple[Any, Any]]


class JaxPeer(Peer):
    """The data are on the device; parameters and optimizer state are donated to every call."""

    library = "jax"

    def prepare(self, workload: Workload) -> None:
        if workload.dropout or workload.batch_norm or workload.n_rows % workload.batch:
            raise NotImplementedError("only plain layers and full batches are supported")
        self.workload = workload
        self.X, self.y = jnp.asarray(workload.inputs()), jnp.asarray(workload.targets())
        self.parameters: Parameters = [(jnp.asarray(W), jnp.asarray(b)) for W, b in workload.weights()]
        self.optimizer = {
            "adam": optax.adam(workload.learning_rate),
            "rmsprop": optax.rmsprop(workload.learning_rate, decay=0.99, eps=1e-8, eps_in_sqrt=False),
        }[workload.optimizer]
        self.state = self.optimizer.init(self.parameters)
        self._predict = jax.jit(lambda parameters, X: self.head(self.forward(parameters, X)))

    def forward(self, parameters: Parameters, x: Any) -> Any:
        activation = ACTIVATIONS[self.workload.activation]
        for W, b in parameters[:-1]:
            x = activation(x @ W + b)
        W, b = parameters[-1]
        return x @ W + b

    def head(self, logits: Any) -> Any:
        """Turn logits into outputs."""
        if self.workload.loss == "cross_entropy":
            return jax.nn.softmax(logits)
        return jax.nn.sigmoid(logits) if self.workload.loss == "binary_cross_entropy" else logits

    def batch_loss(self, parameters: Parameters, x: Any, y: Any) -> Any:
        logits = self.forward(parameters, x)
        losses: dict[str, Callable[[], Any]] = {
            "cross_entropy": lambda: optax.softmax_cross_entropy_with_integer_labels(logits, y),
            "binary_cross_entropy": lambda: optax.sigmoid_binary_cross_entropy(logits[:, 0], y),
            "mean_squared_error": lambda: (logits[:, 0] - y) ** 2,
        }
        return losses[self.workload.loss]().mean()

    def updated(self, parameters: Parameters, state: Any, X: Any, y: Any, rows: Any) -> tuple[Any, Any]:
        """Return parameters and state after one step on these rows."""
        gradient = jax.grad(self.batch_loss)(parameters, X[rows], y[rows])
        updates, state = self.optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state

    def on_device(self, order: Array) -> Any:
        """Return the row numbers as a device array."""
        return jnp.asarray(order.astype(np.int32))

    def outputs(self, X: Array) -> Array:
        return np.asarray(self._predict(self.parameters, X))
