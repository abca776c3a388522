"""What a trained network is worth, and what a run leaves in its folder: the model, its history, a report, a record."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.baselines import Baseline, measure_baselines
from chainrule.callbacks import EarlyStopping
from chainrule.files.atomic import write_atomically
from chainrule.history import History
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS
from chainrule.report import ReportData, write_report
from chainrule.runs.code import code_for_training
from chainrule.runs.folder import RunFolder
from chainrule.runs.options import TrainOptions
from chainrule.runs.prepared import PreparedData
from chainrule.runs.source import shown_source
from chainrule.summary import summarize

__all__ = ["RunResult", "add_baselines", "describe_network", "describe_result", "measure_network", "write_results"]


@dataclass(frozen=True)
class RunResult:
    """A run that is done: where it is, what it made, and what that is worth.

    ``measured`` and the metrics of the ``baselines`` are those of the test rows, in the units of the target.
    ``seconds`` are those spent in training. ``rank`` says which of several processes this is: process 0 alone writes
    the files and fits the baselines.
    """

    folder: Path
    model: Model
    data: PreparedData
    history: History
    measured: dict[str, float]
    baselines: tuple[Baseline, ...]
    stop_reason: str
    seconds: float
    rank: int = 0


def measure_network(
    network: NeuralNetwork, data: PreparedData, stopper: EarlyStopping | None, folder: Path, rank: int
) -> RunResult:
    """Return what a run has come to, without baselines to compare with."""
    model = Model(network, data.target, data.table, data.scaling, data.target_name, data.notes())
    history, reason = network.history, _stop_reason(network, stopper)
    seconds = sum(history["seconds"])
    return RunResult(folder, model, data, history, model.evaluate(data.test), (), reason, seconds, rank)


def add_baselines(result: RunResult, seed: int) -> RunResult:
    """Return the result beside what simple models make of the same rows."""
    data = result.data
    baselines = measure_baselines(
        data.training_sample, data.test, scaling=data.scaling, seed=seed, n_rows=data.training.n_rows
    )
    return dataclasses.replace(result, baselines=baselines)


def write_results(result: RunResult, folder: RunFolder, options: TrainOptions, record: dict[str, Any]) -> None:
    """Write the model, its history and the report, which shows when and by what the run of ``record`` was begun."""
    result.model.save(folder.model)
    write_atomically(folder.history, result.history.to_csv())
    write_report(folder.report, _report(result, options, record))


def describe_result(result: RunResult) -> dict[str, Any]:
    """Return what the record says of a run that is done, as JSON values."""
    return {
        "status": "finished",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "epochs": result.history.n_epochs,
        "training_seconds": round(result.seconds, 3),
        "stop_reason": result.stop_reason,
        "measured_on": "test rows" if result.data.has_test_part else "training rows",
        "metrics": _finite(result.measured),
        "baselines": {one.name: _finite(one.metrics) for one in result.baselines},
        "notes": [one.note for one in result.baselines if one.note],
    }


def describe_network(network: NeuralNetwork, options: TrainOptions) -> str:
    """Return the network and how it is trained, on one line."""
    stack = network.stack
    widths = [stack.input_shape()[0], *options.hidden, stack.output_shape()[0]]
    epochs = f"{'at most ' if options.stops_early else ''}{_epochs(network.epochs)}"
    rate = f"{OPTIMIZERS.name_of(network.optimizer)} at {network.learning_rate:g}"
    return (
        f"network {'-'.join(map(str, widths))}, {options.activation}, {stack.vector.size:,} parameters; "
        f"{rate}, batches of {network.batch_size}, {epochs}"
    )


def _report(result: RunResult, options: TrainOptions, record: dict[str, Any]) -> ReportData:
    data, network, sizes = result.data, result.model.network, result.data.describe()
    assert data.test.y is not None
    return ReportData(
        title=f"{data.name}: {data.target_name}" if data.target_name else data.name,
        task=data.target.task,
        class_names=data.training.label_names,
        history=result.history,
        measured=result.measured,
        baselines={one.name: one.metrics for one in result.baselines},
        y_true=data.test.y,
        outputs=result.model.outputs(data.test),
        columns=[] if data.table is None else data.table.describe(),
        facts={
            "source": shown_source(options.source),
            "rows": f"{sizes['rows']:,}: {sizes['training_rows']:,} to train on, {sizes['validation_rows']:,} to "
            f"validate, {sizes['test_rows']:,} to test",
            "measured on": "the test rows" if data.has_test_part else "the training rows, for want of others",
            "network": describe_network(network, options),
            "stopped": result.stop_reason,
            "training time": f"{result.seconds:.1f} s",
            "seed": str(options.seed),
            "started": str(record["started"]),
            "computed by": "; ".join(map(_in_words, record.get("computed_by", []))),
            **{name: str(version) for name, version in record["versions"].items()},
            **{f"note on {one.name}": one.note for one in result.baselines if one.note},
        },
        code=code_for_training(options, data),
        summary=summarize(network.stack, network.optimizer, network.batch_size),
        target=data.target_name or "value",
    )


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _stop_reason(network: NeuralNetwork, stopper: EarlyStopping | None) -> str:
    """Return why training ended, in a sentence without a full stop, and which weights were kept."""
    done = "its one epoch is" if network.history.n_epochs == 1 else f"all {network.history.n_epochs} epochs are"
    reason = network.stop_reason or f"{done} done"
    if stopper is None or stopper.best_epoch in (0, network.history.n_epochs):
        return reason
    return f"{reason}; the weights of epoch {stopper.best_epoch} are kept"


def _in_words(computer: dict[str, Any]) -> str:
    """Return an entry of the record's ``computed_by``: torch 2.13.0 on cpu, 2 processes, from epoch 5."""
    n_processes, first_epoch = computer["processes"], computer["first_epoch"]
    several = f", {n_processes} processes" if n_processes > 1 else ""
    later = f", from epoch {first_epoch}" if first_epoch > 1 else ""
    return f"{computer['engine']} {computer['version']} on {computer['device']}{several}{later}"


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    """Return metrics as JSON can hold them."""
    return {name: value if np.isfinite(value) else None for name, value in metrics.items()}
