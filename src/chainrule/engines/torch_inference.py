"""Prediction with PyTorch, in chunks of rows."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from chainrule.engines.base import ErrorOf
from chainrule.engines.input_gradient import chunks_of, refuse_codes
from chainrule.engines.torch_batches import as_array, as_tensor
from chainrule.engines.torch_modules import build_module
from chainrule.engines.torch_threads import limited_torch_threads
from chainrule.engines.torch_workers import choose_device
from chainrule.stack import LayerStack
from chainrule.types import Array, Inputs, is_sparse

__all__ = ["infer", "input_gradient", "predict"]

ROWS_PER_CHUNK, NUMBERS_PER_CHUNK = 2**14, 2**24  # upper bounds of the size of a chunk


def predict(stack: LayerStack, inputs: Inputs, n_layers: int | None, device: str) -> Array:
    """Return the outputs of the stack, or of its first layers, computed on the device."""
    rows = stack.check_inputs(inputs)
    chosen = choose_device(device)
    # Without a limit, the first predictions would start threads. A forked child would wait for these threads forever.
    with limited_torch_threads():
        outputs = as_array(infer(build_module(stack)[:n_layers].to(chosen), rows, chosen))
    non_finite = np.flatnonzero(~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1))
    if non_finite.size:
        stack.forward(
            rows[non_finite[:1]], n_layers=n_layers
        )  # a layer may raise an error, such as for an unknown code
    return outputs


def input_gradient(
    stack: LayerStack, inputs: Inputs, error_of: ErrorOf, n_layers: int | None, device: str
) -> tuple[Array, Array]:
    """Return the outputs of the stack, or of its first layers, and dL/d(inputs), by the autograd of PyTorch."""
    rows, chosen = stack.check_inputs(inputs), choose_device(device)
    outputs, gradients = [], []
    with limited_torch_threads():
        module = build_module(stack)[:n_layers].to(chosen).requires_grad_(False)
        for part, chunk in chunks_of(rows):
            x = as_tensor(chunk).to(chosen).requires_grad_()
            y = module(x)
            outputs.append(as_array(y.detach()))
            if not np.isfinite(outputs[-1]).all():
                raise refuse_codes()
            error = as_tensor(np.ascontiguousarray(error_of(outputs[-1], part))).to(chosen)
            if not y.requires_grad:  # the inputs are codes
                gradients.append(np.zeros_like(chunk))
                continue
            (gradient,) = torch.autograd.grad(y, x, error)
            gradients.append(as_array(gradient))
    return np.concatenate(outputs), np.concatenate(gradients)


@torch.inference_mode()
def infer(module: torch.nn.Module, rows: Inputs, device: torch.device) -> Tensor:
    """Return the module's outputs, computed in chunks. CSR rows are converted to dense arrays chunk by chunk."""
    chunks = []
    n_rows = max(1, min(ROWS_PER_CHUNK, NUMBERS_PER_CHUNK // math.prod(rows.shape[1:])))
    for start in range(0, max(rows.shape[0], 1), n_rows):
        chunk = rows[start : start + n_rows]
        chunks.append(module(as_tensor(chunk.toarray() if is_sparse(chunk) else chunk).to(device)))
    return torch.cat(chunks)
