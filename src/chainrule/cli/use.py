"""``chainrule predict`` and ``chainrule evaluate``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli.printing import write_data
from chainrule.cli.show import is_first_process, print_metrics

if TYPE_CHECKING:
    import pandas as pd

    from chainrule.model import Model

__all__ = ["evaluate", "predict"]

ROWS_ON_A_TERMINAL = 20

# readable=False: load_run reports an unreadable path in one sentence, where Typer would print a box.
_RUN = typer.Argument(metavar="RUN", help="The run folder, or a model file.", readable=False)
_FILES = typer.Argument(
    metavar="FILES",
    help="A file with the columns of the training data (- for the standard input); any number of Parquet files, "
    "a folder or a pattern; or a data set's name.",
)
_ENGINE = typer.Option("--engine", help="The engine: numpy or torch.")
_DEVICE = typer.Option("--device", help="For torch: auto (a GPU if there is one), cpu, cuda, cuda:1, mps, ...")
_SHOW_CODE = typer.Option("--show-code", help="Print the equivalent Python code and exit.")


def predict(
    run: Annotated[Path, _RUN],
    file: Annotated[list[str], _FILES],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The CSV file to write.", readable=False)] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", help="A column of the file, such as an id, to write before the predictions; may be repeated."
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            "--interval",
            metavar="SHARE",
            help="Add lower and upper limits to a regression; about this share of the true values lies outside them.",
        ),
    ] = None,
    engine: Annotated[str, _ENGINE] = "numpy",
    device: Annotated[str, _DEVICE] = "auto",
    show_code: Annotated[bool, _SHOW_CODE] = False,
) -> None:
    """Predict the target of each row of a file; for a classification, also the class probabilities.

    The target column is not needed. Unknown categories and missing numbers are allowed. Without --out, the predictions
    are printed as CSV. Any number of Parquet files of any size can be given.

    Example: chainrule predict runs/houses new-houses.csv -o prices.csv --keep id --interval 0.1
    """
    if not is_first_process():
        return
    from chainrule.engines import choose_engine
    from chainrule.errors import InvalidInputError
    from chainrule.paths import expand_user, is_folder, is_same_file
    from chainrule.runs import load_run, predict_chunks
    from chainrule.runs.code import code_for_prediction

    chosen, source, kept = choose_engine(engine, device), _source(file), keep or []
    if show_code:
        print(code_for_prediction(run, source, out, kept, chosen, interval), end="")
        return
    out = None if out is None else expand_user(out)
    if out is not None and (is_folder(out) or any(is_same_file(out, Path(one)) for one in file)):
        raise InvalidInputError(
            f"'{out}' is {'a folder' if is_folder(out) else 'the file to read'}; choose another --out."
        )
    if out is not None and out.suffix.lower() == ".parquet":
        raise InvalidInputError(f"Predictions are written as CSV; give '{out}' a name that ends in .csv.")
    model = load_run(run)
    model.network.engine = chosen
    text = _CsvText(model, predict_chunks(model, source, keep=kept, interval=interval), n_kept=len(kept))
    if out is not None:
        from chainrule.files.atomic import write_atomically

        write_atomically(out, text)
        print(f"Wrote {text.n_rows:,} predictions to {out}")
        return
    if sys.stdout.isatty():
        text.max_rows = ROWS_ON_A_TERMINAL
    for piece in text:
        write_data(piece)
    if text.max_rows is not None and text.n_rows > text.max_rows:
        print(f"... and {text.n_rows - text.max_rows:,} more; write all of them with -o FILE", file=sys.stderr)


class _CsvText:
    """An iterator over the CSV text of predictions, one piece per chunk.

    Only the first ``max_rows`` predictions are written (None: all); ``n_rows`` counts all of them.
    """

    def __init__(self, model: Model, chunks: Iterable[pd.DataFrame], n_kept: int) -> None:
        self.model, self.chunks, self.n_kept, self.n_rows = model, chunks, n_kept, 0
        self.max_rows: int | None = None

    def __iter__(self) -> Iterator[str]:
        from chainrule.runs.predictions import prediction_csv

        for chunk in self.chunks:
            shown = chunk if self.max_rows is None else chunk[: max(self.max_rows - self.n_rows, 0)]
            if len(shown) or self.n_rows == 0:
                yield prediction_csv(self.model, shown, header=self.n_rows == 0, n_kept=self.n_kept)
            self.n_rows += len(chunk)


def evaluate(
    run: Annotated[Path, _RUN],
    file: Annotated[list[str], _FILES],
    drop_missing_target: Annotated[
        bool, typer.Option("--drop-missing-target", help="Drop rows whose target is missing.")
    ] = False,
    engine: Annotated[str, _ENGINE] = "numpy",
    device: Annotated[str, _DEVICE] = "auto",
    show_code: Annotated[bool, _SHOW_CODE] = False,
) -> None:
    """Evaluate a model on rows with known targets. The file must have the target column.

    Any number of Parquet files can be given. They are read in pieces.

    Example: chainrule evaluate runs/houses sold-last-month.csv
    """
    if not is_first_process():
        return
    from chainrule.engines import choose_engine
    from chainrule.runs import evaluate, load_run
    from chainrule.runs.code import code_for_evaluation
    from chainrule.runs.predictions import is_named_like_training_data
    from chainrule.runs.source import shown_source

    chosen, source = choose_engine(engine, device), _source(file)
    if show_code:
        print(code_for_evaluation(run, source, chosen, drop_missing_target), end="")
        return
    model = load_run(run)
    model.network.engine = chosen
    metrics = evaluate(model, source, drop_missing_target=drop_missing_target)
    print_metrics(f"Measured on {shown_source(source)}", {str(run): metrics})
    if is_named_like_training_data(model, source):
        print("Note: the model was trained on data of this name; metrics on training rows are too optimistic.")


def _source(files: list[str]) -> str | tuple[Path, ...]:
    return files[0] if len(files) == 1 else tuple(map(Path, files))
