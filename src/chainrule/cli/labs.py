"""``chainrule labs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.printing import write_data
from chainrule.cli.show import print_sentence

__all__ = ["labs"]


def labs(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The name or number of a lab, such as 05_mnist, mnist or 5.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the notebook.")] = Path(),
    solution: Annotated[bool, typer.Option("--solution", help="Copy the solutions of the exercises instead.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing notebook.")] = False,
) -> None:
    """List the labs, or copy one into a folder as a notebook that is ready to run.

    The labs teach neural networks to students who have never trained one, with real data.

    Example: chainrule labs regression
    """
    from chainrule.errors import InvalidInputError
    from chainrule.labs import copy_lab, lab_names, lab_title

    if name is None:
        width = max(map(len, lab_names()), default=0)
        write_data("".join(f"{known:{width}}  {lab_title(known)}\n" for known in lab_names()))
        if solution:
            raise InvalidInputError("Give the name of the lab whose solutions to copy, such as: labs 1 --solution")
        print_sentence("To copy one as a notebook: chainrule labs NAME")
        return
    path = copy_lab(name, out, solution=solution, force=force)
    print_sentence(f"The notebook is {path}. To open it, run: pip install jupyterlab, and then: jupyter lab {path}")
