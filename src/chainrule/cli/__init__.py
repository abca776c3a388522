"""The command line. Each command imports the libraries that it needs when it runs, so that ``--help`` is fast."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    # During the imports, Ctrl-C ends the program without a traceback. A process that ignores SIGINT, such as a
    # background job of a shell, still ignores it.
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from chainrule.cli.app import app

    signal.signal(signal.SIGINT, handler)
    app(prog_name="chainrule")
