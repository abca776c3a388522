"""``chainrule compare``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.printing import write_data
from chainrule.cli.show import print_sentence
from chainrule.cli.train import UsageError, parse_options

__all__ = ["compare"]

_NOT_HERE = "chainrule compare has no option {}; leave it out."
_REFUSED = {
    "seed": "The seeds are 0, 1, ...; give --seeds, the number of runs of each configuration, instead of --seed.",
    "out": "Give --out without the short form -o, and not inside --with.",
    "quiet": "Give --quiet without the short form -q, and not inside --with.",
    "show_code": _NOT_HERE.format("--show-code"),
    "force": _NOT_HERE.format("--force"),
}


def compare(
    context: typer.Context,
    variants: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="OPTIONS",
            help="Add a configuration: options of 'chainrule train', in quotes, that it has in addition to the others; "
            "may be repeated.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="The number of runs of each configuration.")] = 5,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Parallel processes; by default one per core.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="A folder for the results and the curves. Runs whose results are already there are not repeated.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the table and nothing else.")] = False,
) -> None:
    """Compare several settings of 'chainrule train' over several seeds: mean, standard deviation, and significance.

    SOURCE and the options that are not listed here are those of 'chainrule train'. They describe the first
    configuration. Each --with adds a configuration, with these options and those in quotes. Each seed holds out
    different test rows, the same for all configurations, except for data sets with an official test set.

    Example: chainrule compare digits --preset plain --epochs 20 --with "--dropout 0.3" --with "--hidden 256"
    """
    from chainrule.errors import InvalidInputError, listed
    from chainrule.experiments.running import compare_options

    configurations = {}
    for name in dict.fromkeys(["as given", *(variants or [])]):
        try:
            added = [] if name == "as given" else shlex.split(name)
            if name != "as given" and not (added and added[0].startswith("-")):
                raise UsageError("give options of 'chainrule train' in quotes, such as --with \"--dropout 0.3\".")
            configurations[name] = parse_options([*context.args, *added], _REFUSED)
        except UsageError as error:
            error.message = error.message if name == "as given" else f"--with '{name}': {error.message}"
            error.ctx = context  # for the usage and the help of this command
            raise
        except ValueError as error:
            raise InvalidInputError(f"--with '{name}' cannot be read: {error}.") from error
    result = compare_options(configurations, seeds, n_jobs=jobs, folder=out, verbose=not quiet)
    written = () if out is None else result.save(out)
    write_data(f"{result.table().to_string()}\n")
    if quiet:
        return
    print_sentence(result.conclusion())
    if written:
        print_sentence(f"The results are in {out}: {listed([path.name for path in written])}.")
