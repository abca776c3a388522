"""Runs: from a file or a data set's name to a trained model in a folder of its own, as ``chainrule train`` does it.

>>> from chainrule.runs import TrainOptions, train_run
>>> result = train_run(TrainOptions("iris", hidden=(8,), epochs=2, out="runs/iris"))      # doctest: +SKIP
>>> result.measured["accuracy"], result.folder                                           # doctest: +SKIP
"""

from __future__ import annotations

from chainrule.runs.checking import Check
from chainrule.runs.code import code_for_training
from chainrule.runs.folder import RunFolder, load_run
from chainrule.runs.options import TrainOptions
from chainrule.runs.preparation import prepare_data
from chainrule.runs.prepared import PreparedData
from chainrule.runs.results import RunResult
from chainrule.runs.running import RunInterrupted, resume_run, train_run
from chainrule.runs.using import evaluate_source, predict_chunks, predict_source

__all__ = [
    "Check",
    "PreparedData",
    "RunFolder",
    "RunInterrupted",
    "RunResult",
    "TrainOptions",
    "code_for_training",
    "evaluate_source",
    "load_run",
    "predict_chunks",
    "predict_source",
    "prepare_data",
    "resume_run",
    "train_run",
]
