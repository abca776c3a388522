"""Check the libraries of the server and open its port, before large libraries are imported."""

from __future__ import annotations

import errno
import importlib.util
import socket

from chainrule.errors import EXTRAS, InvalidInputError, missing_packages

__all__ = ["check_installed", "open_port"]

BACKLOG = 1024


def check_installed() -> None:
    """Raise ``InvalidInputError`` if a library for serving is not installed."""
    if any(importlib.util.find_spec(name) is None for name in EXTRAS["app"]):
        raise missing_packages("Serving", "app")


def open_port(host: str, port: int) -> socket.socket:
    """Return a socket that listens on this address. Port 0 chooses a free port.

    Clients that connect before the server is ready wait. Raises ``InvalidInputError`` if the port is in use or not
    permitted, or if the host is not an address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError):
        raise InvalidInputError(f"There is no host '{host}' to listen on; try --host 127.0.0.1.") from None
    listener = socket.socket(family, kind, protocol)
    try:
        # The port of a server that has just stopped can be used again immediately; a port in use cannot.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        reasons = {
            errno.EADDRINUSE: f"Port {port} of {host} is in use; stop the program that uses it, or choose another port "
            "with --port.",
            errno.EACCES: f"Port {port} requires more permissions; choose one above 1023 with --port.",
            errno.EADDRNOTAVAIL: f"'{host}' is not an address of this machine; try --host 127.0.0.1, or 0.0.0.0 for "
            "all addresses.",
        }
        message = reasons.get(error.errno or 0, f"Could not listen on port {port} of {host}: {error.strerror}.")
        raise InvalidInputError(message) from None
    return listener
