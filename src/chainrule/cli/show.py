"""How results look on a terminal."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TextIO

from chainrule.cli.printing import on_one_line, printable_console

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "is_first_process", "metrics_table", "say", "shown_number", "warnings_as_sentences"]

WIDTH_ELSEWHERE = 200


def console() -> Console:
    """Return a console on the standard output; where that is no terminal, lines are as long as they are."""
    width = None if sys.stdout.isatty() else WIDTH_ELSEWHERE
    return printable_console(file=sys.stdout, width=width, soft_wrap=width is not None)


def is_first_process() -> bool:
    """Whether this process says what happens: the first of those that torchrun has started, or the only one."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def warnings_as_sentences() -> Iterator[None]:
    """Print the warnings of chainrule, once each and without the line of code that they come from."""
    from chainrule.errors import ChainruleWarning

    with warnings.catch_warnings():
        show = warnings.showwarning

        def print_or_show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, ChainruleWarning):
                show(message, category, filename, lineno, file, line)
            elif is_first_process():
                print(f"Warning: {on_one_line(str(message))}", file=sys.stderr)

        warnings.simplefilter("always", ChainruleWarning)
        warnings.showwarning = print_or_show
        yield


def say(sentence: str) -> None:
    """Print a sentence about what is going on."""
    console().print(on_one_line(sentence), style="dim" if sentence.startswith("network") else "", markup=False)


def shown_number(value: float) -> str:
    """Return a metric as people read it: 0.9712, 48,210, or a dash for a number that does not exist."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    if value == 0 or 1e-4 <= abs(value) < 1000:
        return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"


def metrics_table(title: str, columns: Mapping[str, Mapping[str, float]]) -> None:
    """Print metrics under a title, one row each, with one column for each method; the first stands out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Names of files may hold brackets, which are no markup.
    table = Table(
        title=Text(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title_style="bold",
    )
    table.add_column("")
    for place, name in enumerate(columns):
        table.add_column(Text(name), justify="right", style="bold" if place == 0 else "")
    for metric in next(iter(columns.values())):
        table.add_row(metric.replace("_", " "), *(shown_number(values[metric]) for values in columns.values()))
    console().print(table)
