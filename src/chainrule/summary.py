"""A network as a table: layers, shapes, parameters, memory."""

from __future__ import annotations

import math

from chainrule.optimizer import Optimizer
from chainrule.stack import LayerStack
from chainrule.types import Shape

__all__ = ["summarize"]


def summarize(stack: LayerStack, optimizer: Optimizer, batch_size: int) -> str:
    """Return the table as text; sizes that are not known yet show as ``?``.

    The memory of training is that of the parameters, their gradients, the optimizer's state, and the outputs of every
    layer, forward and backward, for one batch.
    """
    rows = [("layer", "output shape", "parameters")]
    for index, layer in enumerate(stack.layers, start=1):
        shape = _shape(layer.output_shape()) if layer.is_built else "?"
        n_parameters = f"{layer.parameters():,}" if layer.is_built else "?"
        rows.append((f"{index} {layer.layer_name()}", shape, n_parameters))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {n:>{widths[2]}}" for name, shape, n in rows]
    lines.insert(1, "-" * len(lines[0]))
    if not stack.is_built:
        return "\n".join([*lines, "The input shape is not known yet; fit the network or give it to the first layer."])
    size, width = stack.dtype.itemsize, stack.vector.size
    state = sum(array.nbytes for array in optimizer.fresh().allocate_state(width, stack.dtype).values())
    outputs = 2 * batch_size * size * sum(math.prod(layer.output_shape()) for layer in stack.layers)
    lines += [
        "-" * len(lines[1]),
        f"{width:,} trainable parameters, {stack.dtype.name}, {_bytes(width * size)}",
        f"training with batches of {batch_size}: {_bytes(2 * width * size + state + outputs)}",
    ]
    return "\n".join(lines)


def _shape(shape: Shape) -> str:
    return "(rows, " + ", ".join(str(size) for size in shape) + ")"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
