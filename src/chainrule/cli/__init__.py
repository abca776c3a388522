"""The command ``chainrule``. Each command imports the heavy libraries that it needs, so that help comes at once."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    # Until the commands are there, Ctrl-C ends the program at once, without a traceback of imports; where it is
    # ignored, as in the background, it still is.
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from chainrule.cli.app import app

    signal.signal(signal.SIGINT, handler)
    app(prog_name="chainrule")
