"""``chainrule export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export"]

# How to use the file of each format, printed after the export.
_USAGE = {
    "onnx": "Open it with: onnxruntime.InferenceSession({text})",
    "torch": "Open it with: torch.export.load({text}).module()",
    "c": "Try it on a CSV file: cc -std=c99 -O2 -DCHAINRULE_MAIN {word} -lm -o predict && ./predict < rows.csv",
    "js": "Use it: import {{ predict }} from {module};",
}


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder, or a model file.", readable=False)],
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FORMAT", help="onnx, torch, c or js; by default that of the suffix of --out."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write; by default in the folder of the model.", readable=False),
    ] = None,
    show_code: Annotated[bool, typer.Option("--show-code", help="Print the equivalent Python code and exit.")] = False,
) -> None:
    """Write a model with its preprocessing as one file that does not need chainrule.

    The formats are an ONNX graph, a torch.export program, a C99 source and a JavaScript module.

    Example: chainrule export runs/houses --to c -o houses.c
    """
    import json
    import shlex

    from chainrule.errors import InvalidInputError
    from chainrule.export import FORMATS, export_model, find_format
    from chainrule.paths import expand_user, is_folder, is_same_file
    from chainrule.runs import RunFolder, load_run
    from chainrule.runs.code import code_for_export

    format_name, run = find_format(to, out), expand_user(run)
    source = RunFolder(run).model if is_folder(run) else run
    path = source.with_suffix(FORMATS[format_name]) if out is None else expand_user(out)
    if show_code:
        print(code_for_export(run, path, format_name), end="")
        return
    if is_folder(path) or is_same_file(path, source):
        raise InvalidInputError(
            f"'{path}' is {'a folder' if is_folder(path) else 'the model itself'}; choose another --out."
        )
    model = load_run(run)
    export_model(model, path, format_name)
    size = path.stat().st_size
    print(f"Wrote {path} ({size / 1e6:,.1f} MB)" if size >= 1e6 else f"Wrote {path} ({size / 1e3:,.1f} kB)")
    if model.calibration is not None and model.calibration.scores:
        print("The file does not compute intervals; use 'chainrule predict --interval' or 'chainrule serve'.")
    module = json.dumps(f"./{path.name}", ensure_ascii=False)
    print(
        _USAGE[format_name].format(
            text=json.dumps(str(path), ensure_ascii=False), word=shlex.quote(str(path)), module=module
        )
    )
