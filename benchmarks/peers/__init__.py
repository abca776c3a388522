"""The programs that are compared: one class per program, in modules that import only the library of the program."""

from __future__ import annotations

import importlib

from peers.base import Peer

PEERS = {
    "chainrule": "ours:Ours",
    "floor": "floor:Floor",
    "torch": "torch_eager:TorchEager",
    "torch-compiled": "torch_compiled:TorchCompiled",
    "torch-script": "torch_script:TorchScript",
    "torch-dense": "torch_sparse:TorchDense",
    "torch-dense-batches": "torch_sparse:TorchDenseBatches",
    "torch-embedding-bag": "torch_sparse:TorchEmbeddingBag",
    "torch-ddp": "torch_ddp:TorchDDP",
    "torch-on-device": "torch_on_device:TorchOnDevice",
    "jax-step": "jax_step:JaxStep",
    "jax-scan": "jax_scan:JaxScan",
    "sklearn": "sklearn_mlp:SklearnMLP",
    "keras": "keras_fit:KerasFit",
    "skorch": "skorch_net:SkorchNet",
    "onnxruntime": "onnx_runtime:OnnxRuntime",
}


def load(name: str) -> type[Peer]:
    """Import the module of a peer, which imports its library."""
    module, cls = PEERS[name].split(":")
    peer: type[Peer] = getattr(importlib.import_module(f"peers.{module}"), cls)
    return peer
