"""The head of a request: for whom it is meant, and how long it may be."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from chainrule.serving.base import Limits, RequestError, tell

__all__ = ["CheckHead", "Hosts"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Hosts:
    """The names under which a server may be asked, as the Host header of a request gives them.

    A web page of a stranger can make a browser send requests to any address, this machine's included (DNS rebinding);
    the Host header then holds the stranger's name.

    Parameters
    ----------
    address
        The address that the server listens at. It is a name of the server, and so are the names of the loopback
        interface. A server that listens at all addresses of its machine may also be asked by any numeric address, which
        no stranger can own, and by the machine's name.
    allowed
        More names, such as that of a proxy in front of the server; ``"*"`` allows any.
    """

    def __init__(self, address: str, allowed: Collection[str] = ()) -> None:
        names = {*LOOPBACK, address, *allowed}
        self.takes_any = "*" in allowed
        self.takes_numeric = _is_unspecified(address)
        if self.takes_numeric:
            names |= {socket.gethostname(), socket.getfqdn()}
        self.names = frozenset(name.lower().rstrip(".") for name in names)

    def __contains__(self, host: str) -> bool:
        """Tell whether the value of a Host header, with or without a port, names this server."""
        name = _without_port(host).lower().rstrip(".")
        return self.takes_any or name in self.names or (self.takes_numeric and _is_numeric(name))


class CheckHead:
    """Middleware that refuses requests with a head too long (431), without one Host (400), or for another (421)."""

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Hosts | None) -> None:
        self.app, self.limits, self.hosts = app, limits, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if its head is one for this server."""
        if scope["type"] == "http":
            try:
                self._check(scope)
            except RequestError as error:
                await tell(error, close=True)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers, hosts = scope["headers"], self.hosts
        n_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        n_bytes += sum(len(name) + len(value) + 4 for name, value in headers)
        if n_bytes > self.limits.head_bytes:
            raise RequestError(431, f"The request's line and headers go beyond {self.limits.head_bytes:,} bytes.")
        if hosts is None:
            return
        named = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(named) != 1:
            raise RequestError(400, f"The request has {len(named) or 'no'} Host headers; a request has one.")
        if named[0] not in hosts:
            name = _without_port(named[0])[:80]
            raise RequestError(421, f"This server is not {name!r}; start it with --allow-host to accept this name.")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_numeric(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_unspecified(address: str) -> bool:
    return address == "" or (_is_numeric(address) and ipaddress.ip_address(address).is_unspecified)
