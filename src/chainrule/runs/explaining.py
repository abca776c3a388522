"""Explain the model of a finished run, and write the explanations into its report."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chainrule.baselines import Baseline
from chainrule.errors import ChainruleWarning, InvalidInputError, ModelFileError, shell_command
from chainrule.metrics import Metric
from chainrule.metrics.registry import MetricFunction
from chainrule.named import checked
from chainrule.paths import expand_user
from chainrule.runs.folder import RunFolder, load_run
from chainrule.runs.results import RunResult
from chainrule.runs.running import check_source, prepare, recorded_options
from chainrule.runs.source import Frame

__all__ = ["explain_run", "load_result"]


@checked
def load_result(path: str | Path, *, source: Frame | None = None) -> RunResult:
    """Return the result of a finished run from its folder. The data are read and prepared again.

    Raises ModelFileError if the run is not finished, or if its data have changed.

    Parameters
    ----------
    path
        The run folder.
    source
        The data frame of a run that was trained on a data frame.
    """
    folder = RunFolder(expand_user(path))
    record = folder.read_record()
    model = load_run(folder.path)
    if record.get("status") != "finished":
        raise ModelFileError(
            f"The run in '{folder.path}' is not finished; finish it with: {shell_command('resume', folder.path)}"
        )
    options = recorded_options(folder, record, source)
    check_source(folder, record, options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChainruleWarning)  # those of the training
        data = prepare(options, lambda _: None)
    notes = {note.split(" was fitted", 1)[0]: note for note in record.get("notes", [])}
    baselines = [
        Baseline(name, _numbers(metrics), notes.get(name, "")) for name, metrics in record.get("baselines", {}).items()
    ]
    return RunResult(
        model,
        model.network.history,
        _numbers(record.get("metrics", {})),
        tuple(baselines),
        data,
        str(record.get("stop_reason", "")),
        float(record.get("training_seconds", math.nan)),
        folder.path,
        options,
        record,
    )


@checked
def explain_run(
    path: str | Path,
    *,
    metric: str | Metric | MetricFunction | None = None,
    columns: Sequence[str] | str | None = None,
    max_rows: int | None = None,
    seed: int | None = None,
    source: Frame | None = None,
) -> RunResult:
    """Compute all explanations of the model of a finished run on its test rows, and write them into its report.

    The result has them in its attribute ``explanations``.

    Parameters
    ----------
    path
        The run folder.
    metric
        The metric of the importance and of the robustness; by default accuracy or R2.
    columns
        The columns whose partial dependence is drawn; by default the four most important.
    max_rows
        The number of test rows to use; see :func:`chainrule.explain.explain_model`.
    seed
        The seed of samples and permutations; by default that of the run.
    source
        The data frame of a run that was trained on a data frame.
    """
    result = load_result(path, source=source)
    if result.data.test.n_rows < 2:
        raise InvalidInputError(f"The run in '{path}' has {result.data.test.n_rows} test row; explanations need two.")
    seeds: dict[str, Any] = {} if seed is None else {"seed": seed}
    found = result.explain(metric=metric, columns=columns, max_rows=max_rows, **seeds)
    result = dataclasses.replace(result, explanations=found)
    assert result.folder is not None
    result.report.save(RunFolder(result.folder).report)
    return result


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Return recorded metrics, in which None stands for a number that is not finite."""
    return {name: math.nan if value is None else float(value) for name, value in metrics.items()}
