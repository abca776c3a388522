"""Functions that all engines share: the evaluation of outputs, and the search for numbers that are not finite."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.data.batches import Batch
from chainrule.data.weights import weights_of_rows
from chainrule.engines.base import Evaluation
from chainrule.errors import DivergenceError
from chainrule.head import Head
from chainrule.losses import row_weights_of
from chainrule.optimizer import Optimizer
from chainrule.stack import LayerStack
from chainrule.types import Array, is_sparse

__all__ = ["evaluate_outputs", "explain_divergence", "find_non_finite"]


def evaluate_outputs(head: Head, outputs: Array, targets: Array, sample_weight: Array | None) -> Evaluation:
    """Return the mean loss of these outputs of the head's body, and what the network predicts by them.

    For an ensemble, it is the loss of the mean prediction of the members, in which they have the weights of the row if
    ``sample_weight`` has the shape (rows, members).
    """
    predictions = head.predictions(outputs, sample_weight)
    row_weights = row_weights_of(weights_of_rows(sample_weight), len(targets), outputs.dtype)
    if head.average is None:
        loss = head.evaluate(targets, outputs, row_weights, np.empty_like(outputs))
    elif head.has_mean_logits:
        logits = head.mean_logits(outputs, sample_weight)
        loss = head.loss.evaluate_logits(targets, logits, row_weights, np.empty_like(logits))
    else:
        loss = head.loss.evaluate(targets, predictions, row_weights, np.empty_like(predictions))
    return Evaluation(loss, predictions)


def find_non_finite(stack: LayerStack, optimizer: Optimizer) -> str | None:
    """Return the name of an array of the network or the optimizer with a number that is not finite, or None."""
    for layer_index, layer in enumerate(stack.layers, start=1):
        for name, values in (*layer.parameter_views.items(), *layer.state.items()):
            if not _all_finite(values):
                return f"the {name} of layer {layer_index} ({layer.layer_name()})"
    for name, values in optimizer.state.items():
        if values.size == stack.vector.size and not _all_finite(values):
            return f"the {name} of {type(optimizer).__name__}"
    return None


def explain_divergence(stack: LayerStack, head: Head, batch: Batch, learning_rate: float) -> DivergenceError:
    """Return an error that names the first number that is not finite, in the order of the computation."""
    where = "the loss"
    inputs = batch.inputs.data if is_sparse(batch.inputs) else batch.inputs
    if not np.isfinite(inputs).all():  # because of an augmentation; other data have been checked
        where = "an input of this batch"
    elif not np.isfinite(batch.targets).all():
        where = "a target of this batch"
    outputs: Any = batch.inputs
    for index, layer in enumerate(stack.layers[: head.n_body_layers], start=1):
        if any(not np.isfinite(values).all() for values in layer.parameter_views.values()):
            where = f"a parameter of layer {index} ({layer.layer_name()})"
            break
        with np.errstate(all="ignore"):
            outputs = layer.forward_propagation(outputs)
        if not np.isfinite(outputs).all():
            where = f"the output of layer {index} ({layer.layer_name()})"
            break
    return DivergenceError(
        f"Training stopped: {where} is not finite at learning rate {learning_rate:g}. Try a smaller learning rate, "
        "clip_norm=1, or standardised inputs; the network holds the weights of its last whole epoch."
    )


def _all_finite(values: Array) -> bool:
    """Return whether all values are finite. The sum, which is computed faster, is checked first."""
    return math.isfinite(values.sum()) or bool(np.isfinite(values).all())
