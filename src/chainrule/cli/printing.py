r"""Escape control characters in everything that is printed.

The names of files and columns and the labels of classes may contain escape sequences, which a terminal would execute.
While a command runs, its output is redirected to streams that print a control character as an escape such as ``\x1b``.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["on_one_line", "printable", "printable_console", "printable_output", "write_data"]

# Control characters except line breaks and tabs, characters that change the direction of text, separators of lines
# and paragraphs, and surrogates, which cannot be encoded.
_CONTROL_CHARACTERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return a text in which control characters, except line breaks and tabs, are replaced by escapes.

    >>> print(printable("red: \x1b[31m"))
    red: \x1b[31m
    """
    return _CONTROL_CHARACTERS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def on_one_line(text: str) -> str:
    """Return a text in which control characters, also line breaks and tabs, are replaced by escapes."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


@contextmanager
def printable_output() -> Iterator[None]:
    """Escape control characters in what is written to the standard output and error, until the end of the block."""
    with contextlib.ExitStack() as stack:
        if sys.stdout is not None:  # None if the standard output is closed
            stack.enter_context(contextlib.redirect_stdout(cast("TextIO", _PrintableStream(sys.stdout))))
        if sys.stderr is not None:
            stack.enter_context(contextlib.redirect_stderr(cast("TextIO", _PrintableStream(sys.stderr))))
        yield


def write_data(text: str) -> None:
    """Write data to the standard output. Control characters are escaped only if it is a terminal."""
    stream: Any = sys.stdout
    if isinstance(stream, _PrintableStream) and not stream.isatty():
        stream = stream.rich_proxied_file
    stream.write(text)


def printable_console(**settings: Any) -> Console:
    """Return a rich console that escapes control characters in texts, but not in the styles that rich adds."""
    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
    from rich.segment import Segment

    class Printable:
        def __init__(self, renderable: ConsoleRenderable) -> None:
            self.renderable = renderable

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for segment in console.render(self.renderable, options):
                yield segment if segment.control else Segment(printable(segment.text), segment.style)

    class Hook(RenderHook):
        def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
            return [Printable(renderable) for renderable in renderables]

    console = Console(highlight=False, emoji=False, **settings)
    console.push_render_hook(Hook())
    return console


class _PrintableStream:
    """A stream that escapes control characters before it writes to another stream.

    ``rich_proxied_file`` is the other stream. rich writes its own escape sequences directly to it.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)
