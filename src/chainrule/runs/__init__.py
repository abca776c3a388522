"""Train, evaluate and predict on data frames, files and named data sets, like the commands.

>>> import chainrule
>>> result = chainrule.train("iris", hidden=(8,), epochs=2, verbose=False)
>>> len(chainrule.predict(result, "iris"))
150

:func:`train` writes no files unless ``out=`` is given. :func:`train_run` writes a run folder, which :func:`load_run`
and :func:`resume_run` read.
"""

from __future__ import annotations

from chainrule.runs.checking import Check
from chainrule.runs.code import code_for_training
from chainrule.runs.explaining import explain_run, load_result
from chainrule.runs.folder import RunFolder, load_run
from chainrule.runs.options import TrainOptions
from chainrule.runs.predictions import evaluate, predict, predict_chunks
from chainrule.runs.preparation import prepare_data
from chainrule.runs.prepared import PreparedData
from chainrule.runs.results import RunResult
from chainrule.runs.running import RunInterrupted, resume_run, train, train_run

__all__ = [
    "Check",
    "PreparedData",
    "RunFolder",
    "RunInterrupted",
    "RunResult",
    "TrainOptions",
    "code_for_training",
    "evaluate",
    "explain_run",
    "load_result",
    "load_run",
    "predict",
    "predict_chunks",
    "prepare_data",
    "resume_run",
    "train",
    "train_run",
]
