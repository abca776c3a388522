"""onnxruntime, for predictions only."""

from __future__ import annotations

import os

import onnx
import onnxruntime
from datasets import Array
from onnx import TensorProto, helper, numpy_helper
from workload import Workload

from peers.base import Peer


class OnnxRuntime(Peer):
    """A graph of Gemm and Relu nodes with a Softmax, with all graph optimisations, run by an ``InferenceSession`` with
    the same number of threads as the other programs.
    """

    library = "onnxruntime"

    def prepare(self, workload: Workload) -> None:
        if workload.loss != "cross_entropy" or workload.batch_norm:
            raise NotImplementedError("only plain classifiers are supported")
        nodes, initializers, value = [], [], "x"
        pairs = workload.weights()
        for number, (W, b) in enumerate(pairs):
            initializers += [numpy_helper.from_array(W, f"W{number}"), numpy_helper.from_array(b, f"b{number}")]
            nodes.append(helper.make_node("Gemm", [value, f"W{number}", f"b{number}"], [f"z{number}"]))
            last = number == len(pairs) - 1
            value = "y" if last else f"a{number}"
            nodes.append(helper.make_node("Softmax" if last else "Relu", [f"z{number}"], [value]))
        shapes = {"x": workload.widths[0], "y": workload.widths[-1]}
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, n]) for name, n in shapes.items())
        graph = helper.make_graph(nodes, "network", [x], [y], initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def outputs(self, X: Array) -> Array:
        outputs: Array = self.session.run(None, {"x": X})[0]
        return outputs
