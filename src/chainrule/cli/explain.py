"""``chainrule explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli.show import is_first_process, print_table

if TYPE_CHECKING:
    from chainrule.explain import PermutationImportance

__all__ = ["explain"]

MOST_COLUMNS = 20


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.", readable=False)],
    metric: Annotated[
        str | None, typer.Option("--metric", help="The metric that measures the importance; by default accuracy or r2.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            help="Show the predictions as a function of this column; by default, of the four most important; "
            "may be repeated.",
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows", min=2, help="The number of test rows to use; by default up to 5,000, fewer for large networks."
        ),
    ] = None,
    show_code: Annotated[bool, typer.Option("--show-code", help="Print the equivalent Python code and exit.")] = False,
) -> None:
    """Explain the predictions of a trained model, and write the explanations into the report of its run.

    The importance of the columns, the predictions by column, the contributions of the columns to single predictions,
    and the robustness against small changes are measured on the test rows. The data of the run are read again.

    Example: chainrule explain runs/houses --column area
    """
    if not is_first_process():
        return
    from chainrule.runs import RunFolder, explain_run
    from chainrule.runs.code import code_for_explanation

    if show_code:
        print(code_for_explanation(run, metric, column or None, rows), end="")
        return
    result = explain_run(run, metric=metric, columns=column or None, max_rows=rows)
    assert result.explanations is not None
    if result.explanations.importance is not None:
        _print_importance(result.explanations.importance)
    print(f"The explanations are in {RunFolder(run).report}")


def _print_importance(importance: PermutationImportance) -> None:
    metric = importance.metric.replace("_", " ")
    means, deviations = importance.importances_mean, importance.importances_std
    shown = importance.order[:MOST_COLUMNS]
    cells = {importance.columns[k]: (means[k], deviations[k]) for k in shown}
    print_table(
        f"How much worse the {metric} becomes if a column is shuffled, on {importance.n_rows:,} rows",
        ("mean", "standard deviation"),
        cells,
    )
    if len(importance.columns) > len(shown):
        print(f"... and {len(importance.columns) - len(shown):,} less important columns")
