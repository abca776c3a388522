r"""What reaches a terminal: no control characters, whoever has written the names and labels in what is printed.

A file of a stranger may have escape sequences in its name, its columns or its labels, and a terminal obeys them. While
a command runs, everything that it prints goes through here, and a control character is shown as its escape: ``\x1b``.
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

# Control characters but for line breaks and tabs, characters that change the direction of text, separators of lines
# and paragraphs, and halves of characters, which no encoding can write.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return a text with each control character as its escape; line breaks and tabs stay.

    >>> print(printable("red: \x1b[31m"))
    red: \x1b[31m
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def on_one_line(text: str) -> str:
    """Return a text with each control character as its escape, line breaks and tabs too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


@contextmanager
def printable_output() -> Iterator[None]:
    """Within the block, have all that is printed on the standard output and the standard error made printable."""
    with contextlib.ExitStack() as stack:
        if sys.stdout is not None:  # as it is when the caller has closed it
            stack.enter_context(contextlib.redirect_stdout(cast("TextIO", _PrintableStream(sys.stdout))))
        if sys.stderr is not None:
            stack.enter_context(contextlib.redirect_stderr(cast("TextIO", _PrintableStream(sys.stderr))))
        yield


def write_data(text: str) -> None:
    """Write data to the standard output: exactly as they are into a file or a pipe, printable on a terminal."""
    stream: Any = sys.stdout
    if isinstance(stream, _PrintableStream) and not stream.isatty():
        stream = stream.rich_proxied_file
    stream.write(text)


def printable_console(**settings: Any) -> Console:
    """Return a console of rich: what it is given to print is made printable, its own colours stay."""
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
    """A stream that makes printable what is written to it.

    ``rich_proxied_file`` is the stream itself: consoles of rich write there, whose own escape sequences are wanted.
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
