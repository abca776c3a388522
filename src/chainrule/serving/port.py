"""What is looked at before anything heavy is loaded: whether the server's libraries are there, and its port free."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import socket

from chainrule.errors import EXTRAS, InvalidInputError, missing_packages

__all__ = ["check_installed", "claim_port"]

BACKLOG = 1024
# Of an answer, the system holds so many bytes that it has not sent: what lies there is out of sight, and a client that
# takes some of it could not be told from one that takes nothing.
UNSENT_BYTES = 2**16


def check_installed() -> None:
    """Raise ``InvalidInputError`` where a library that serving needs is missing."""
    if any(importlib.util.find_spec(name) is None for name in EXTRAS["app"]):
        raise missing_packages("Serving", "app")


def claim_port(host: str, port: int) -> socket.socket:
    """Return a socket that listens at this address; clients that come early wait in it. Port 0 takes any free one.

    Raises ``InvalidInputError`` where the port is taken, not allowed, or the host is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError):
        raise InvalidInputError(f"There is no host '{host}' to listen at; try --host 127.0.0.1.") from None
    listener = socket.socket(family, kind, protocol)
    try:
        # A port whose last server has just stopped may be taken again at once; one that is listened at may not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # every connection has it from its listener
            with contextlib.suppress(OSError):  # of a system that knows its name only
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        reasons = {
            errno.EADDRINUSE: f"Port {port} of {host} is in use; stop the program that has it, or choose another with "
            "--port.",
            errno.EACCES: f"Port {port} may not be used without more rights; choose one above 1023 with --port.",
            errno.EADDRNOTAVAIL: f"'{host}' is no address of this machine; try --host 127.0.0.1, or 0.0.0.0 for all.",
        }
        sentence = reasons.get(error.errno or 0, f"Could not listen at port {port} of {host}: {error.strerror}.")
        raise InvalidInputError(sentence) from None
    return listener
