"""Python programs equivalent to the commands, which ``--show-code`` prints and every report contains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chainrule.engines import Engine, TorchEngine
from chainrule.runs.checking import Check
from chainrule.runs.fitting import uses_tabular_preset
from chainrule.runs.options import TrainOptions
from chainrule.runs.preparation import prepare_data
from chainrule.runs.prepared import PreparedData
from chainrule.runs.source import Frame, RunSource

__all__ = [
    "code_for_check",
    "code_for_evaluation",
    "code_for_explanation",
    "code_for_export",
    "code_for_prediction",
    "code_for_serving",
    "code_for_training",
]


def code_for_training(options: TrainOptions, data: PreparedData | None = None) -> str:
    """Return a program that trains the same network as these options. The data are read if they are not given."""
    if data is None:
        options.check()
        data = prepare_data(options.source, **options.data_settings())
    is_tabular = uses_tabular_preset(options, data)
    n_rows = data.training.n_rows
    target = data.target
    settings = options.design_settings(target) if is_tabular else options.network_settings(n_rows, target)
    schedule = settings.get("schedule")
    stopping = None if is_tabular else options.early_stopping_settings(n_rows)
    imports = ["Model", "ProgressBar", *([] if is_tabular else ["build_network"])]
    imports += [] if stopping is None else ["EarlyStopping"]
    if isinstance(settings.get("engine"), TorchEngine):
        imports.append("TorchEngine")
    lines = [f"from chainrule import {', '.join(sorted(imports))}"]
    lines += ["from chainrule.estimators.tabular import design_network"] if is_tabular else []
    held_out = "design.validation" if is_tabular else "data.validation" if data.validation is not None else ""
    calibrates = bool(held_out) and (options.calibrate or not data.target.classes)
    lines += ["from chainrule.calibration import Calibration"] if calibrates else []
    lines.append("from chainrule.runs import prepare_data")
    if schedule is not None and not isinstance(schedule, str):
        lines.append(f"from chainrule.schedules import {type(schedule).__name__}")
    data_settings = options.data_settings()
    if not is_tabular:
        data_settings.pop("preset", None)
    arguments = [_as_code(options.source), *_keywords(data_settings)]
    lines += ["", *_call("data = prepare_data", arguments)]
    callbacks = [] if stopping is None else [f"EarlyStopping({', '.join(_keywords(stopping))})"]
    if is_tabular:
        lines += _call("design = design_network", ["data.training", *_keywords(settings)])
        lines.append("network = design.network")
        callbacks += [] if options.early_stopping is False else ["design.stopping"]
        fitted = ["design.training"]
    else:
        lines += _call("network = build_network", ["data.training.n_features", "data.target", *_keywords(settings)])
        fitted = ["data.training"]
    fitted += [f"validation={held_out}"] if held_out else []
    callbacks.append("ProgressBar()")
    lines += _call("network.fit", [*fitted, f"callbacks=[{', '.join(callbacks)}]"])
    parts = ["network", "data.target", "data.table", "data.scaling", "data.target_name", "data.notes()"]
    if calibrates:
        rows = [f"{held_out}.{name}" for name in ("X", "y", "sample_weight")]
        lines += _call("calibration = Calibration.learn", ["network", "data.target", *rows])
        parts.append("calibration")
    lines += [
        "",
        *_call("model = Model", parts),
        "print(model.evaluate(data.test))",
        'model.save("model.safetensors")',
    ]
    return "\n".join(lines) + "\n"


def code_for_prediction(
    run: str | Path,
    source: RunSource,
    out: str | Path | None,
    keep: Sequence[str],
    engine: Engine,
    interval: float | None = None,
) -> str:
    """Return a program that writes the predictions for the rows of a file, or prints them if ``out`` is None."""
    kept = (f", keep={list(keep)}" if keep else "") + ("" if interval is None else f", interval={interval!r}")
    end = "print(predictions)" if out is None else f"predictions.to_csv({_as_code(out)}, index=False)"
    return (
        "from chainrule.runs import load_run, predict\n"
        f"{_loading(run, engine)}"
        f"predictions = predict(model, {_as_code(source)}{kept})\n"
        f"{end}\n"
    )


def code_for_evaluation(run: str | Path, source: RunSource, engine: Engine, drop_missing_target: bool) -> str:
    """Return a program that prints the metrics of a model on a file with targets."""
    drops = ", drop_missing_target=True" if drop_missing_target else ""
    return (
        "from chainrule.runs import evaluate, load_run\n"
        f"{_loading(run, engine)}"
        f"print(evaluate(model, {_as_code(source)}{drops}))\n"
    )


def code_for_explanation(
    run: str | Path, metric: str | None, columns: Sequence[str] | None, max_rows: int | None
) -> str:
    """Return a program that writes the explanations of a model into the report of its run."""
    given = {"metric": metric, "columns": columns, "max_rows": max_rows}
    settings = "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)
    return (
        "from chainrule.runs import explain_run\n\n"
        f"result = explain_run({_as_code(run)}{settings})\n"
        "print(result.explanations.importance.to_frame())\n"
    )


def code_for_export(run: str | Path, path: str | Path, to: str) -> str:
    """Return a program that writes a model as a file of another format."""
    return (
        "from chainrule.export import export_model\n"
        "from chainrule.runs import load_run\n\n"
        f"export_model(load_run({_as_code(run)}), {_as_code(path)}, {_as_code(to)})\n"
    )


def code_for_serving(run: str | Path, host: str, port: int, max_rows: int, allow_hosts: Sequence[str] = ()) -> str:
    """Return a program that serves a model over HTTP."""
    allowed = f", allow_hosts={list(allow_hosts)}" if allow_hosts else ""
    return (
        "from chainrule.runs import load_run\n"
        "from chainrule.serving import Limits, serve\n\n"
        f"model = load_run({_as_code(run)})\n"
        f"serve(model, {_as_code(host)}, {port}, limits=Limits(rows={max_rows}){allowed}, on_start=print)\n"
    )


def _loading(run: str | Path, engine: Engine) -> str:
    load = f"model = load_run({_as_code(run)})\n"
    if not isinstance(engine, TorchEngine):
        return f"\n{load}"
    device = "" if engine.device == "auto" else _as_code(engine.device)
    return f"from chainrule import TorchEngine\n\n{load}model.network.engine = TorchEngine({device})\n"


def code_for_check(check: Check) -> str:
    """Return a program that checks the gradients of a network on random rows."""
    target = check.target()
    target_code = f"Target({_as_code(target.task)}, "
    target_code += f"{target.classes})" if target.classes else f"n_columns={target.n_columns})"
    y = (
        f"rng.integers(0, {len(target.classes)}, {check.rows})"
        if target.classes
        else (f"rng.normal(size=({check.rows}, {check.outputs}))")
    )
    lines = [
        "import numpy as np",
        "",
        "from chainrule import Dataset, Target, build_network, check_gradients",
        "",
        f"rng = np.random.default_rng({check.seed})",
        f"X = rng.normal(size=({check.rows}, {check.inputs}))",
        f"y = {y}",
        f"target = {target_code}",
    ]
    lines += _call("network = build_network", [str(check.inputs), "target", *_keywords(check.network_settings())])
    lines.append("print(check_gradients(network, Dataset(X, y, target=target)))")
    return "\n".join(lines) + "\n"


def _keywords(settings: dict[str, Any]) -> list[str]:
    return [f"{name}={_as_code(value)}" for name, value in settings.items()]


def _as_code(value: Any) -> str:
    """Return a value as Python code. Paths become texts, several files a list, and a data frame the name ``frame``."""
    if isinstance(value, Frame):
        return "frame"
    if isinstance(value, tuple) and any(isinstance(part, Path) for part in value):
        return f"[{', '.join(_as_code(part) for part in value)}]"
    return json.dumps(str(value), ensure_ascii=False) if isinstance(value, str | Path) else repr(value)


def _call(function: str, arguments: list[str]) -> list[str]:
    """Return a function call as lines: one line if it is short enough, otherwise several lines of arguments."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= 110:
        return [line]
    lines, row = [f"{function}("], ""
    for argument in arguments:
        if row and len(row) + len(argument) > 100:
            lines.append(f"    {row.rstrip()}")
            row = ""
        row += f"{argument}, "
    return [*lines, f"    {row.rstrip()}", ")"]
