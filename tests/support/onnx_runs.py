"""Running an ONNX graph in the two runtimes that must agree with us: onnxruntime and ONNX's own reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx.reference import ReferenceEvaluator

from chainrule.export.onnx_graph import build_onnx, onnx_inputs
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array

__all__ = ["TOLERANCE", "assert_predicts_alike", "run_onnx"]

TOLERANCE = 1e-6


def run_onnx(graph: Any, feeds: dict[str, Array]) -> dict[str, dict[str, Array]]:
    """The graph's outputs by name, from each runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    reference = ReferenceEvaluator(graph)
    names = [output.name for output in graph.graph.output]
    found = {"onnxruntime": session.run(None, feeds)}
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # the reference's sigmoid also works out the side that it does not take
        found["reference"] = reference.run(None, feeds)
    return {runtime: dict(zip(names, outputs, strict=True)) for runtime, outputs in found.items()}


def assert_predicts_alike(model: Model | NeuralNetwork, rows: Any, tolerance: float = TOLERANCE) -> None:
    """The graph gives the model's probabilities or numbers, and its labels, in both runtimes."""
    graph = build_onnx(model)
    feeds = onnx_inputs(model, rows)
    for runtime, outputs in run_onnx(graph, feeds).items():
        if isinstance(model, NeuralNetwork):
            expected, got = model.predict(rows), outputs["outputs"]
        elif model.target.classes:
            expected, got = model.outputs(rows), outputs["probabilities"]
            if expected.shape[1] == 1:
                expected = np.hstack([1 - expected, expected])
            # Where two classes are equally likely, the last digit decides.
            best = np.sort(expected, axis=1)
            clear = best[:, -1] - best[:, -2] > 2 * tolerance
            assert clear.mean() > 0.9
            labels = [label if isinstance(label, str) else str(label) for label in outputs["label"].tolist()]
            same = np.array(labels) == np.array([str(label) for label in model.predict(rows).tolist()])
            assert same[clear].all(), runtime
        else:
            expected, got = model.outputs(rows), outputs["value"]
        assert got.dtype == expected.dtype
        largest = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * largest, err_msg=runtime)
