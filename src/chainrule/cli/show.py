"""Print sentences, warnings and tables of metrics on a terminal."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from chainrule.cli.printing import on_one_line, printable_console

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "console",
    "format_number",
    "is_first_process",
    "print_metrics",
    "print_sentence",
    "print_table",
    "print_warnings",
]

WIDTH_WITHOUT_TERMINAL = 200


def console() -> Console:
    """Return a rich console on the standard output. Long lines are wrapped only on a terminal."""
    width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    return printable_console(file=sys.stdout, width=width, soft_wrap=width is not None)


def is_first_process() -> bool:
    """Return whether this process prints results: process 0 of those started by torchrun, or the only one."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def print_warnings() -> Iterator[None]:
    """Print the warnings of chainrule as one line each, without the line of code that raised them."""
    from chainrule.errors import ChainruleWarning

    with warnings.catch_warnings():
        show_other_warning = warnings.showwarning

        def show_warning(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, ChainruleWarning):
                show_other_warning(message, category, filename, lineno, file, line)
            elif is_first_process():
                print(f"Warning: {on_one_line(str(message))}", file=sys.stderr)

        warnings.simplefilter("always", ChainruleWarning)
        warnings.showwarning = show_warning
        yield


def print_sentence(sentence: str) -> None:
    """Print one line; the description of the network is printed dimmed."""
    console().print(on_one_line(sentence), style="dim" if sentence.startswith("network") else "", markup=False)


def format_number(value: float) -> str:
    """Return a metric as text, such as 0.9712 or 48,210. NaN is shown as a dash."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    if value == 0 or 1e-4 <= abs(value) < 1000:
        return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"


def print_metrics(title: str, columns: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table with one row per metric and one column per method."""
    metrics = next(iter(columns.values()))
    rows = {metric.replace("_", " "): [values[metric] for values in columns.values()] for metric in metrics}
    print_table(title, list(columns), rows)


def print_table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[float]]) -> None:
    """Print a table of numbers, with the names of the rows on the left. The first column is printed in bold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Text is not parsed as rich markup, so that brackets in names are printed.
    table = Table(
        title=Text(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title_style="bold",
    )
    table.add_column("")
    for index, name in enumerate(columns):
        table.add_column(Text(name), justify="right", style="bold" if index == 0 else "")
    for name, values in rows.items():
        table.add_row(Text(name), *map(format_number, values))
    console().print(table)
