"""Compare models over several seeds or folds, and choose hyper-parameters by cross-validation."""

from __future__ import annotations

from chainrule.experiments.comparison import Comparison
from chainrule.experiments.configuration import Configuration, Run
from chainrule.experiments.running import compare, compare_training
from chainrule.experiments.tuning import TuningResult, tune_hyperparameters

__all__ = ["Comparison", "Configuration", "Run", "TuningResult", "compare", "compare_training", "tune_hyperparameters"]
