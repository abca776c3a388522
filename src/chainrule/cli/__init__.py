"""The command ``chainrule``. Heavy libraries are imported by the commands that need them, so that help comes at once."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    from chainrule.cli.app import app

    app(prog_name="chainrule")
