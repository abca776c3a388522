"""A model as a ``torch.export`` program: a graph of PyTorch's operators that needs no chainrule, and no Python to run.

PyTorch has no tensors of text, so a table goes in as one float64 matrix (rows, columns), the columns in the order of
``columns`` in the file's ``chainrule.json``:

==========  ==========================================================================================================
kind        in the matrix
==========  ==========================================================================================================
number      itself; NaN where it is missing
date        days since 1970-01-01 UTC, the time as a fraction; NaN where it is missing
category    its place in the column's ``categories``; -1 for a value that is not among them, NaN where it is missing
==========  ==========================================================================================================

A model of arrays or images, and a bare network, take what the network takes, in its own type. Classes come out as a
dictionary of ``code``, shape (rows,), the place in ``classes``, and ``probabilities``, shape (rows, classes); numbers
as ``value``, shape (rows, numbers), in the target's own units; a bare network gives its outputs as one tensor. The
number of rows is free.

>>> import torch                                                                      # doctest: +SKIP
>>> extra = {"chainrule.json": ""}                                                    # doctest: +SKIP
>>> program = torch.export.load("model.pt2", extra_files=extra)                       # doctest: +SKIP
>>> program.module()(torch.tensor([[52.0, 3.0, 1.0]], dtype=torch.float64))["value"]  # doctest: +SKIP
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.columns import ColumnPlan
from chainrule.engines.torch_engine import check_installed
from chainrule.export.meaning import describe_model, frame_of, network_of, read_column
from chainrule.export.program import PredictionLayer, layers_before
from chainrule.files.atomic import write_atomically
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array, is_sparse

if TYPE_CHECKING:
    import torch

__all__ = ["build_torch_program", "torch_inputs", "write_torch_program"]


def build_torch_program(model: Model | NeuralNetwork) -> torch.export.ExportedProgram:
    """Return the model as a program for any number of rows.

    Raises ``InvalidInputError`` for a layer or a loss of the user's own, and where PyTorch is missing.
    """
    check_installed()
    import torch
    from torch import nn

    from chainrule.engines.torch_modules import LayerModule, build_module, torch_dtype
    from chainrule.export import torch_parts as parts

    stack = network_of(model).stack
    modules: list[nn.Module] = [build_module(stack)]
    shape, dtype = stack.input_shape(), torch_dtype(stack.dtype)
    if isinstance(model, Model):
        modules.append(LayerModule(PredictionLayer(model)))
        modules.append(parts.Classes() if model.target.classes else parts.Numbers())
        if model.table is not None:
            columns = tuple(plan.name for plan in model.table.feature_plan.columns)
            plan = model.table.feature_plan
            before = map(LayerModule, layers_before(plan, stack.dtype))
            modules = [parts.TableFeatures(plan, columns, dtype), *before, *modules]
            shape, dtype = (len(columns),), torch.float64
    rows = torch.zeros((3, *shape), dtype=dtype)  # what they are is of no matter
    whole = nn.Sequential(*modules).eval().requires_grad_(False)
    return torch.export.export(whole, (rows,), dynamic_shapes=({0: torch.export.Dim("rows")},))


def write_torch_program(model: Model | NeuralNetwork, path: str | Path) -> None:
    """Write the program to one file, whole or not at all, with what its columns and classes mean."""
    program = build_torch_program(model)
    import torch

    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"chainrule.json": json.dumps(describe_model(model))})
    write_atomically(path, content.getvalue())


def torch_inputs(model: Model | NeuralNetwork, data: Any) -> torch.Tensor:
    """Return what the program takes for the rows that ``model.predict`` takes."""
    check_installed()
    import torch

    if isinstance(model, Model):
        if model.table is not None:
            frame = frame_of(model, data)
            columns = [_column_input(plan, frame[plan.name]) for plan in model.table.feature_plan.columns]
            return torch.from_numpy(np.column_stack(columns))
        data = model.inputs(data)
    stack = network_of(model).stack
    rows = data.toarray() if is_sparse(data) else np.asarray(getattr(data, "X", data))
    return torch.from_numpy(np.array(rows, stack.dtype).reshape(len(rows), *stack.input_shape()))


def _column_input(plan: ColumnPlan, column: Any) -> Array:
    if plan.kind != "category":
        return read_column(plan, column)
    codes: dict[str | None, float] = {text: code for code, text in enumerate(plan.categories)}
    codes[None] = np.nan
    return np.array([codes.get(text, -1) for text in plan.read_texts(column)], np.float64)
