"""The result of a run, and the files that are written to the run folder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.activations import ACTIVATIONS, ActivationLayer
from chainrule.baselines import Baseline, measure_baselines
from chainrule.calibration import Calibration
from chainrule.callbacks import EarlyStopping
from chainrule.estimators.tabular import describe_design
from chainrule.explain import Explanations, explain_model
from chainrule.files.atomic import write_atomically
from chainrule.history import History
from chainrule.layers import DenseLayer, EnsembleMeanLayer
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS
from chainrule.report import NETWORK, Report, ReportData, compare, render_report
from chainrule.runs.code import code_for_training
from chainrule.runs.fitting import Fitting
from chainrule.runs.folder import RunFolder
from chainrule.runs.options import TrainOptions
from chainrule.runs.prepared import PreparedData
from chainrule.runs.source import shown_source
from chainrule.summary import summarize

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunResult", "add_baselines", "describe_network", "describe_result", "measure_network", "write_results"]


@dataclass(frozen=True, eq=False, repr=False)
class RunResult:
    """The result of a finished run: the trained model and its metrics.

    Attributes
    ----------
    model
        The trained model, which predicts rows with the columns of the training data.
    history
        Loss and metrics of every epoch.
    metrics
        The metrics on the test set, in the units of the target; on the training set if no test rows were held out.
    baselines
        Simple models that were trained on the same rows, with their metrics.
    data
        The encoded training, validation and test sets.
    stop_reason
        The reason why the training ended.
    seconds
        The duration of the training in seconds.
    folder
        The run folder; None if no files were written.
    options
        The options of the run.
    record
        The content of ``run.json``.
    rank
        The number of this process. Only process 0 writes files and fits the baselines.
    explanations
        The explanations for the report; if None, writing the report computes those that take about a second.
    """

    model: Model
    history: History
    metrics: dict[str, float]
    baselines: tuple[Baseline, ...]
    data: PreparedData
    stop_reason: str
    seconds: float
    folder: Path | None
    options: TrainOptions
    record: dict[str, Any]
    rank: int = 0
    explanations: Explanations | None = None

    @property
    def test_rows(self) -> tuple[Any, Any]:
        """The test rows and their labels or numbers: a table with the columns of the source, or a Dataset and None.

        They are training rows if no test rows were held out. Of a large table, they are a sample of 10,000 rows.
        """
        test, sample = self.data.test, self.data.test_sample
        if sample is None:
            return test, None
        frame, rows = sample
        assert test.y is not None
        return frame, self.data.target.labels_of(test.y[rows]) if self.data.target.classes else test.y[rows]

    def explain(self, **settings: Any) -> Explanations:
        """Return all explanations of the model, measured on the test rows; see :func:`explain_model`."""
        return explain_model(self, **{"seed": self.options.seed, **settings})

    @cached_property
    def report(self) -> Report:
        """The report, which a notebook displays and ``result.report.save("report.html")`` writes to a file."""
        return Report(render_report(_report_data(self)))

    def to_frame(self) -> pd.DataFrame:
        """Return the metrics as a pandas frame: one row for each metric, one column for each model."""
        import pandas as pd

        baselines = {baseline.name: baseline.metrics for baseline in reversed(self.baselines)}
        return pd.DataFrame({NETWORK: self.metrics, **baselines})

    @property
    def title(self) -> str:
        """A title for the metrics, with the number of rows that they were measured on."""
        rows = "test rows" if self.data.has_test_part else "training rows, because no test rows were held out"
        return f"Measured on {self.data.test.n_rows:,} {rows}"

    @property
    def verdict(self) -> str:
        """Whether the network or the best baseline is better, and what to do if it is the baseline."""
        baselines = {baseline.name: baseline.metrics for baseline in self.baselines}
        comparison = compare(self.data.target.task, self.metrics, baselines, self.data.test.n_rows)
        return " ".join(filter(None, (comparison.verdict, comparison.advice)))

    def __repr__(self) -> str:
        table = self.to_frame().to_string(float_format=lambda value: f"{value:.4g}")
        folder = "" if self.folder is None else f"\nThe run folder is {self.folder}."
        verdict = f"\n{self.verdict}" if self.verdict else ""
        training = f"Trained for {_epochs(self.history.n_epochs)} in {self.seconds:.1f} s: {self.stop_reason}."
        return f"{self.title}\n{table}{verdict}\n{training}{folder}"


def measure_network(
    network: NeuralNetwork,
    data: PreparedData,
    fitting: Fitting,
    *,
    folder: Path | None,
    options: TrainOptions,
    record: dict[str, Any],
    rank: int,
) -> RunResult:
    """Return the result of a run without baselines; held-out rows calibrate a regression, and classes on request."""
    held_out, calibration = fitting.validation, None
    if held_out is not None and (options.calibrate or not data.target.classes):
        assert held_out.y is not None
        calibration = Calibration.learn(network, data.target, held_out.X, held_out.y, held_out.sample_weight)
    model = Model(
        network, data.target, data.table, data.scaling, data.target_name, data.notes(), calibration=calibration
    )
    history, reason = network.history, _stop_reason(network, fitting.early_stopping)
    seconds = sum(history["seconds"])
    metrics = model.evaluate(data.test)
    return RunResult(model, history, metrics, (), data, reason, seconds, folder, options, record, rank)


def add_baselines(result: RunResult) -> RunResult:
    """Return the result with baselines that are trained and measured on the same rows."""
    data, seed = result.data, result.options.seed
    assert seed is not None
    baselines = measure_baselines(
        data.training_sample, data.test, scaling=data.scaling, seed=seed, n_rows=data.training.n_rows
    )
    return dataclasses.replace(result, baselines=baselines)


def write_results(result: RunResult, folder: RunFolder) -> None:
    """Write the model, the history and the report."""
    result.model.save(folder.model)
    write_atomically(folder.history, result.history.to_csv())
    result.report.save(folder.report)


def describe_result(result: RunResult) -> dict[str, Any]:
    """Return the entries of the record for a finished run, as JSON values."""
    return {
        "status": "finished",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "epochs": result.history.n_epochs,
        "training_seconds": round(result.seconds, 3),
        "stop_reason": result.stop_reason,
        "measured_on": "test rows" if result.data.has_test_part else "training rows",
        "metrics": _finite(result.metrics),
        "baselines": {baseline.name: _finite(baseline.metrics) for baseline in result.baselines},
        "notes": [baseline.note for baseline in result.baselines if baseline.note],
    }


def describe_network(network: NeuralNetwork, options: TrainOptions) -> str:
    """Return one line about the network, its optimizer, the batch size and the number of epochs."""
    stack = network.stack
    if isinstance(network.layers[-1], EnsembleMeanLayer):
        made = describe_design(network)
    else:
        dense = [layer for layer in network.layers if isinstance(layer, DenseLayer)]
        widths = [stack.input_shape()[0], *(layer.n_units for layer in dense)]
        made = f"network {'-'.join(map(str, widths))}"
        hidden = [layer for layer in network.layers if isinstance(layer, ActivationLayer)]
        made += f", {ACTIVATIONS.name_of(hidden[0])}" if len(dense) > 1 else ""
    epochs = f"{'at most ' if options.stops_early else ''}{_epochs(network.epochs)}"
    optimizer = network.optimizer
    rate = f"{OPTIMIZERS.name_of(optimizer)} at {network.learning_rate:g}"
    batches = "all rows in each step" if optimizer.full_batch else f"batches of {network.batch_size}"
    return f"{made}, {stack.vector.size:,} parameters; {rate}, {batches}, {epochs}"


def _report_data(result: RunResult) -> ReportData:
    data, model, network, sizes = result.data, result.model, result.model.network, result.data.describe()
    options, record = result.options, result.record
    assert data.test.y is not None
    validation = f"{sizes['validation_rows']:,} validation"
    if data.validation is None and "validation_loss" in result.history:
        validation = "each validated by members not trained on it"
    return ReportData(
        title=f"{data.name}: {data.target_name}" if data.target_name else data.name,
        task=data.target.task,
        class_names=data.training.label_names,
        history=result.history,
        measured=result.metrics,
        baselines={baseline.name: baseline.metrics for baseline in result.baselines},
        y_true=data.test.y,
        outputs=model.outputs(data.test),
        columns=data.describe_columns(),
        facts={
            "source": shown_source(options.source),
            "rows": f"{sizes['rows']:,}: {sizes['training_rows']:,} training, {validation}, "
            f"{sizes['test_rows']:,} test{f'; split {data.split_by}' if data.split_by else ''}"
            f"{f'; {data.n_without_target:,} without a target dropped' if data.n_without_target else ''}",
            "measured on": result.title.removeprefix("Measured on "),
            "network": describe_network(network, options),
            "stopped": result.stop_reason,
            "training time": f"{result.seconds:.1f} s",
            "seed": str(options.seed),
            "started": str(record["started"]),
            "computed by": "; ".join(map(_describe_engine, record.get("computed_by", []))),
            **{name: str(version) for name, version in record["versions"].items()},
            **{f"note on {baseline.name}": baseline.note for baseline in result.baselines if baseline.note},
        },
        code=code_for_training(options, data),
        summary=summarize(network.stack, network.optimizer, network.batch_size),
        target=data.target_name or "value",
        warnings=data.warnings,
        explanations=result.explain(thorough=False) if result.explanations is None else result.explanations,
        is_tested_apart=data.has_test_part,
        intervals=model.predict_interval(data.test) if _has_intervals(model) else None,
        temperature=model.temperature,
    )


def _has_intervals(model: Model) -> bool:
    """Return whether there are the nine held-out rows that intervals of 90 % need."""
    scores = model.calibration.scores if model.calibration else ()
    return bool(scores) and len(scores[0]) >= 9


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _stop_reason(network: NeuralNetwork, stopper: EarlyStopping | None) -> str:
    """Return why the training ended, as a sentence without a full stop, and which weights were kept."""
    done = "the only epoch is" if network.history.n_epochs == 1 else f"all {network.history.n_epochs} epochs are"
    reason = network.stop_reason or f"{done} done"
    if stopper is not None and stopper.from_start and stopper.best_epoch == 0:
        return "no epoch was better than the linear model at the start, which is kept"
    if stopper is None or stopper.best_epoch in (0, network.history.n_epochs):
        return reason
    return f"{reason}; the weights of epoch {stopper.best_epoch} are kept"


def _describe_engine(entry: dict[str, Any]) -> str:
    """Return an entry of ``computed_by`` as text, such as "torch 2.13.0 on cpu, 2 processes, from epoch 5"."""
    n_processes, first_epoch = entry["processes"], entry["first_epoch"]
    processes = f", {n_processes} processes" if n_processes > 1 else ""
    start = f", from epoch {first_epoch}" if first_epoch > 1 else ""
    return f"{entry['engine']} {entry['version']} on {entry['device']}{processes}{start}"


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    """Return metrics as JSON values, with None for numbers that are not finite."""
    return {name: value if np.isfinite(value) else None for name, value in metrics.items()}
