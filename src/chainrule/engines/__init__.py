"""The engines, which train stacks of layers and compute predictions."""

from __future__ import annotations

from chainrule.engines.base import Engine, Evaluation, Group, Session, TrainingPlan
from chainrule.engines.evaluation import evaluate_outputs
from chainrule.engines.numpy_engine import NumpyEngine
from chainrule.engines.registry import EngineLike, choose_engine, describe_engine, read_engine
from chainrule.engines.torch_engine import TorchEngine

__all__ = [
    "Engine",
    "EngineLike",
    "Evaluation",
    "Group",
    "NumpyEngine",
    "Session",
    "TorchEngine",
    "TrainingPlan",
    "choose_engine",
    "describe_engine",
    "evaluate_outputs",
    "read_engine",
]
