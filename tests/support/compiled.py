"""Layers computed by compiled code, one at a time, to be compared with their own passes."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engines.operations import Buffers, Calls
from chainrule.kernels.tape import Tape
from chainrule.layers import Layer
from chainrule.program import N_NOISE_SETTINGS, Program
from chainrule.types import Array

__all__ = ["pass_compiled"]


def pass_compiled(layer: Layer, x: Array, error: Array) -> tuple[Array, Array]:
    """Go through a layer and back in compiled code; return its output and dL/dx. The gradients are in its views."""
    dtype, n_rows = np.dtype(x.dtype), len(x)
    program, tape = Program.of([layer], is_training=True), Tape()
    calls = Calls(tape, Buffers(n_rows, dtype), {program.input: np.array(x).reshape(-1)}, to_input=True)
    calls.forward(program.operations)
    calls.errors[program.output] = np.array(error).reshape(-1)
    calls.backward(len(program.operations))
    input_error = calls.errors[program.input]
    for operation, name in calls.noise:
        source, kind = operation.source, float(operation.kind == "normal")
        settings = np.array([*source.key, source.epoch, source.step, kind, 0, 0])
        assert settings.size == N_NOISE_SETTINGS
        tape.bind(name, settings.ctypes.data)
    tape.run(n_rows, n_rows, 1, np.zeros(1))
    outputs: Any = calls.locations[program.output]
    shape = (n_rows, *layer.output_shape())
    return outputs[: np.prod(shape)].reshape(shape).copy(), input_error[: x.size].reshape(x.shape).copy()
