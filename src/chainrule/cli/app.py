"""The Typer application, which converts the errors of the commands to messages and exit codes."""

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
from chainrule.cli.compare import compare
from chainrule.cli.data import data_app
from chainrule.cli.explain import explain
from chainrule.cli.export import export
from chainrule.cli.labs import labs
from chainrule.cli.printing import on_one_line, printable_output
from chainrule.cli.serve import SIGNAL_EXIT_CODE, serve
from chainrule.cli.show import print_warnings
from chainrule.cli.train import TrainCommand, UsageError, resume, train
from chainrule.cli.use import evaluate, predict
from chainrule.errors import ChainruleError, DivergenceError

__all__ = ["app"]


# The errors of writes to the standard output: full disk, exceeded quota or file size limit, I/O error, closed pipe.
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)


class _Commands(TyperGroup):
    """A group of commands that prints the message of an error and exits with a code.

    The codes are 2 for invalid input, 1 for diverged training, and 130 after Ctrl-C, as is usual in shells.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and exit with a message if it raises an error that users can cause."""
        try:
            with _printable_errors():
                return super().invoke(ctx)
        except DivergenceError as error:
            _fail(str(error), 1, in_all_processes=True)
        except ChainruleError as error:
            _fail(str(error), 2)
        except MemoryError as error:
            _fail(f"There is not enough memory ({str(error) or 'out of memory'}); try fewer units or rows.", 2)
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # compared by name, because PyTorch may not be imported
                raise
            _fail("The device has not enough memory; try smaller batches, fewer units, or --device cpu.", 2)
        except OSError as error:
            if _is_output_error(error):
                raise
            place = "" if error.filename is None else f"{error.filename}: "
            _fail(f"The system reports a problem: {place}{error.strerror or error}.", 2)
        except KeyboardInterrupt as interrupt:
            _fail(str(interrupt) or "Interrupted.", SIGNAL_EXIT_CODE + signal.SIGINT, "", in_all_processes=True)

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run the command line, and flush the output, so that a failed write is reported."""
        with printable_output():
            try:
                try:
                    with print_warnings():
                        return super().main(*args, **settings)
                finally:
                    _flush()
            except OSError as error:
                if not _is_output_error(error):
                    raise
                with contextlib.suppress(OSError):
                    sys.stdout.close()  # otherwise Python flushes it again at exit
                if error.errno == errno.EPIPE:
                    sys.exit(1)
                print(f"Error: Could not write the output: {error.strerror}.", file=sys.stderr)
                sys.exit(2)

    def make_context(self, *args: Any, **settings: Any) -> Any:
        """Parse the arguments before the name of the command."""
        with _printable_errors():
            return super().make_context(*args, **settings)


def _is_output_error(error: OSError) -> bool:
    return error.errno in _OUTPUT_ERRORS and error.filename is None


@contextlib.contextmanager
def _printable_errors() -> Iterator[None]:
    """Escape control characters in the messages of invalid arguments, which Typer prints itself."""
    try:
        yield
    except UsageError as error:
        error.message = on_one_line(error.message)
        raise


def _flush() -> None:
    if sys.stdout is not None:  # None if the standard output is closed
        sys.stdout.flush()


def _fail(sentence: str, code: int, prefix: str = "Error: ", *, in_all_processes: bool = False) -> None:
    """Print a message and exit. Only process 0 prints a message that is the same in all processes."""
    _flush()
    sentence = on_one_line(sentence)
    rank = os.environ.get("RANK", "0")
    if rank == "0" or not in_all_processes:
        print(f"{prefix}{sentence}" if rank == "0" else f"Process {rank}: {prefix}{sentence}", file=sys.stderr)
    raise typer.Exit(code)


def _help_text(command: Callable[..., None]) -> str:
    """Return the docstring of a command as a help text: one line per paragraph, with brackets escaped for rich."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs).replace("[", "\\[")


# matplotlib logs a warning if it cannot create its cache folder; it then uses a temporary folder.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", cls=TrainCommand, help=_help_text(train))(lambda: None)
app.command(
    help=_help_text(compare),
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": ["--help"],  # a short option would be taken out of -thouses
    },
)(compare)
for _command in (resume, predict, evaluate, explain, export, serve, check, labs):
    app.command(help=_help_text(_command))(_command)
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
