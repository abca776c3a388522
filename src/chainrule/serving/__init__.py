"""Serve a trained model over HTTP, with ``chainrule serve RUN`` or as an application for any ASGI server.

>>> from chainrule.runs import load_run
>>> from chainrule.serving import build_app, serve
>>> app = build_app(load_run("runs/houses"))      # doctest: +SKIP
>>> serve(load_run("runs/houses"), port=8000)     # doctest: +SKIP

Starlette and uvicorn are required, which the extra ``app`` installs. They are imported only when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.serving.app import build_app as build_app
    from chainrule.serving.base import Limits as Limits
    from chainrule.serving.port import open_port as open_port
    from chainrule.serving.server import serve as serve

_MODULE_OF = {"build_app": "app", "Limits": "base", "open_port": "port", "serve": "server"}

__all__ = ["Limits", "build_app", "open_port", "serve"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'chainrule.serving' has no attribute '{name}'.")
    from chainrule.serving.port import check_installed

    check_installed()
    value = globals()[name] = getattr(importlib.import_module(f"chainrule.serving.{_MODULE_OF[name]}"), name)
    return value
