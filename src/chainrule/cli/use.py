"""``chainrule predict`` and ``chainrule evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["evaluate", "predict"]

ROWS_ON_A_TERMINAL = 20

_RUN = typer.Argument(help="The run folder, or a model file.")
_ENGINE = typer.Option("--engine", help="What computes: numpy or torch.")
_DEVICE = typer.Option("--device", help="For torch: auto (a GPU where there is one), cpu, cuda, cuda:1, mps, ...")
_SHOW_CODE = typer.Option("--show-code", help="Print the Python that does the same, and do nothing.")


def predict(
    run: Annotated[Path, _RUN],
    file: Annotated[str, typer.Argument(help="A file with the columns that were trained on, or a data set's name.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The CSV file to write.")] = None,
    engine: Annotated[str, _ENGINE] = "numpy",
    device: Annotated[str, _DEVICE] = "auto",
    show_code: Annotated[bool, _SHOW_CODE] = False,
) -> None:
    """Predict the target of each row of a file; for classes with their probabilities.

    The file may lack the target column. Categories that training never saw and missing numbers are fine. Without
    --out the predictions are printed as CSV.

    Example: chainrule predict runs/houses new-houses.csv -o prices.csv
    """
    from chainrule.engines import choose_engine
    from chainrule.errors import InvalidInputError
    from chainrule.runs import load_run, predict_source
    from chainrule.runs.code import code_for_prediction

    chosen = choose_engine(engine, device)
    if show_code:
        print(code_for_prediction(run, file, out, chosen), end="")
        return
    if out is not None and (out.is_dir() or (out.exists() and Path(file).exists() and out.samefile(file))):
        raise InvalidInputError(
            f"'{out}' is {'a folder' if out.is_dir() else 'the file to read'}; choose another --out."
        )
    model = load_run(run)
    model.network.engine = chosen
    predictions = predict_source(model, file)
    if out is not None:
        from chainrule.files.atomic import write_atomically

        write_atomically(out, predictions.to_csv(index=False, float_format="%.7g"))
        print(f"{len(predictions):,} predictions are in {out}")
        return
    n_shown = ROWS_ON_A_TERMINAL if sys.stdout.isatty() else len(predictions)
    print(predictions[:n_shown].to_csv(index=False, float_format="%.7g"), end="")
    if n_shown < len(predictions):
        print(f"... and {len(predictions) - n_shown:,} more; write all of them with -o FILE", file=sys.stderr)


def evaluate(
    run: Annotated[Path, _RUN],
    file: Annotated[str, typer.Argument(help="A file that has the target column too, or a data set's name.")],
    engine: Annotated[str, _ENGINE] = "numpy",
    device: Annotated[str, _DEVICE] = "auto",
    show_code: Annotated[bool, _SHOW_CODE] = False,
) -> None:
    """Measure a model on rows whose targets are known.

    Example: chainrule evaluate runs/houses sold-last-month.csv
    """
    from chainrule.cli.show import metrics_table
    from chainrule.engines import choose_engine
    from chainrule.runs import evaluate_source, load_run
    from chainrule.runs.code import code_for_evaluation

    chosen = choose_engine(engine, device)
    if show_code:
        print(code_for_evaluation(run, file, chosen), end="")
        return
    model = load_run(run)
    model.network.engine = chosen
    metrics_table(f"Measured on {file}", {str(run): evaluate_source(model, file)})
    if Path(file).name == model.notes.get("data"):
        print("Note: the model was trained on data of this name; on rows that it has seen, the figures flatter it.")
