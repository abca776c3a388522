"""The command ``chainrule``. Each command imports the heavy libraries that it needs, so that help comes at once."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    from chainrule.cli.app import app

    app(prog_name="chainrule")
