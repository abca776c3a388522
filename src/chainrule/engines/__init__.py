"""The engines: what turns a stack and a plan into training steps."""

from __future__ import annotations

from chainrule.engines.base import Engine, Evaluation, Session, TrainingPlan, check_bound
from chainrule.engines.numpy_engine import NumpyEngine

__all__ = ["Engine", "Evaluation", "NumpyEngine", "Session", "TrainingPlan", "check_bound"]
