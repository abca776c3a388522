"""The commands, and what a user sees when one goes wrong: one sentence, and an exit code."""

from __future__ import annotations

import contextlib
import errno
import inspect
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from chainrule import __version__
from chainrule.cli.check import check
from chainrule.cli.data import data_app
from chainrule.cli.export import export
from chainrule.cli.printing import on_one_line, printable_output
from chainrule.cli.serve import SIGNALLED, serve
from chainrule.cli.show import warnings_as_sentences
from chainrule.cli.train import TrainCommand, resume, train
from chainrule.cli.use import evaluate, predict
from chainrule.errors import ChainruleError, DivergenceError

__all__ = ["app"]


# What a write to the standard output may fail with: the disk is full, a quota or a limit is reached, nobody reads.
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)


_UsageError: Any = typer.BadParameter.__base__  # Typer has a click of its own, or the one that is installed


class _Commands(TyperGroup):
    """Turns the errors of every command into a sentence and an exit code.

    They are 2 for bad input, 1 for training that diverged, and 130 after Ctrl-C, as shells have it.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            with _printable_errors():
                return super().invoke(ctx)
        except DivergenceError as error:
            _fail(str(error), 1, is_of_all=True)
        except ChainruleError as error:
            _fail(str(error), 2)
        except MemoryError as error:
            _fail(f"There is not enough memory ({str(error) or 'out of memory'}); try fewer units or rows.", 2)
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # PyTorch's, which is not loaded for its name
                raise
            _fail("The device has not enough memory; try smaller batches, fewer units, or --device cpu.", 2)
        except OSError as error:
            if _is_of_output(error):
                raise
            place = "" if error.filename is None else f"{error.filename}: "
            _fail(f"The system reports a problem: {place}{error.strerror or error}.", 2)
        except KeyboardInterrupt as interrupt:
            _fail(str(interrupt) or "Interrupted.", SIGNALLED + signal.SIGINT, "", is_of_all=True)

    def main(self, *args: Any, **settings: Any) -> Any:
        """Read the command line and run; bring out all that was printed while it can still be told that it fails."""
        with printable_output():
            try:
                try:
                    with warnings_as_sentences():
                        return super().main(*args, **settings)
                finally:
                    _flush()
            except OSError as error:
                if not _is_of_output(error):
                    raise
                with contextlib.suppress(OSError):
                    sys.stdout.close()  # or Python would try again at its end
                if error.errno == errno.EPIPE:
                    sys.exit(1)
                print(f"Error: Could not write the output: {error.strerror}.", file=sys.stderr)
                sys.exit(2)

    def make_context(self, *args: Any, **settings: Any) -> Any:
        """Read the arguments before the command."""
        with _printable_errors():
            return super().make_context(*args, **settings)


def _is_of_output(error: OSError) -> bool:
    return error.errno in _OUTPUT_ERRORS and error.filename is None


@contextlib.contextmanager
def _printable_errors() -> Iterator[None]:
    """Make the message of an argument that cannot be read printable: Typer shows it in a box of its own."""
    try:
        yield
    except _UsageError as error:
        error.message = on_one_line(error.message)
        raise


def _flush() -> None:
    if sys.stdout is not None:  # as it is when the caller has closed it
        sys.stdout.flush()


def _fail(sentence: str, code: int, prefix: str = "Error: ", *, is_of_all: bool = False) -> None:
    """End with this sentence; of several processes to which the same has happened, only the first says it."""
    _flush()
    sentence = on_one_line(sentence)
    rank = os.environ.get("RANK", "0")
    if rank == "0" or not is_of_all:
        print(f"{prefix}{sentence}" if rank == "0" else f"Process {rank}: {prefix}{sentence}", file=sys.stderr)
    raise typer.Exit(code)


def _help_of(command: Callable[..., None]) -> str:
    """Return a docstring as a help text that flows: a line for each paragraph, and brackets that are no markup."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs).replace("[", "\\[")


# Where matplotlib finds no folder for its cache it takes a temporary one, and says so in two lines of its own.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", cls=TrainCommand, help=_help_of(train))(lambda: None)
for _command in (resume, predict, evaluate, export, serve):
    app.command(no_args_is_help=True, help=_help_of(_command))(_command)
app.command(help=_help_of(check))(check)
app.add_typer(data_app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"chainrule {__version__}")
        raise typer.Exit


@app.callback()
def commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train feed-forward neural networks on tables and images, evaluate them, and predict with them.

    Start with: chainrule train digits
    """
