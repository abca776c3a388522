"""JAX and optax, all steps in one compiled call."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
from datasets import Array
from workload import Workload

from peers.jax_model import JaxPeer


class JaxScan(JaxPeer):
    """One jitted ``lax.scan`` over all steps of the epoch, with donated parameters and state. It is the fastest form,
    but supports no callbacks and no shorter last batch, and is compiled again for every shape.
    """

    def prepare(self, workload: Workload) -> None:
        super().prepare(workload)

        @partial(jax.jit, donate_argnums=(0, 1))
        def run(parameters: Any, state: Any, X: Any, y: Any, order: Any) -> tuple[Any, Any]:
            def step(carry: tuple[Any, Any], rows: Any) -> tuple[tuple[Any, Any], None]:
                return self.updated(*carry, X, y, rows), None

            return jax.lax.scan(step, (parameters, state), order.reshape(-1, workload.batch))[0]

        self.run = run

    def epoch(self, order: Array) -> None:
        trained = self.run(self.parameters, self.state, self.X, self.y, self.on_device(order))
        self.parameters, self.state = jax.block_until_ready(trained)
