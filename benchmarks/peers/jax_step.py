"""JAX and optax, one jitted call per step."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
from datasets import Array
from workload import Workload

from peers.jax_model import JaxPeer


class JaxStep(JaxPeer):
    """One call of a jitted function per step, with donated parameters and state. It slices the row numbers from the
    order on the device, so that a step sends one integer to the device. The result is awaited once per epoch.
    """

    def prepare(self, workload: Workload) -> None:
        super().prepare(workload)

        @partial(jax.jit, donate_argnums=(0, 1))
        def step(parameters: Any, state: Any, X: Any, y: Any, order: Any, number: Any) -> tuple[Any, Any]:
            rows = jax.lax.dynamic_slice_in_dim(order, number * workload.batch, workload.batch)
            return self.updated(parameters, state, X, y, rows)

        self.step = step

    def epoch(self, order: Array) -> None:
        rows = self.on_device(order)
        parameters, state = self.parameters, self.state
        for number in range(self.workload.n_steps):
            parameters, state = self.step(parameters, state, self.X, self.y, rows, number)
        self.parameters, self.state = jax.block_until_ready((parameters, state))
