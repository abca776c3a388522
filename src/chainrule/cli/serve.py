"""``chainrule serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["SIGNAL_EXIT_CODE", "serve"]

SIGNAL_EXIT_CODE = 128  # added to the number of the signal that ended a program, as shells do


def serve(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder, or a model file.", readable=False)],
    host: Annotated[
        str,
        typer.Option(
            "--host", help="The address to listen on; 0.0.0.0 accepts requests from all machines, without a password."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="The port; 0 chooses a free one.")] = 8000,
    max_rows: Annotated[
        int, typer.Option("--max-rows", min=1, help="The maximum number of rows in one request.")
    ] = 10_000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            help="An additional host name that clients may use, such as a proxy's; * allows any; may be repeated.",
        ),
    ] = None,
    show_code: Annotated[bool, typer.Option("--show-code", help="Print the equivalent Python code and exit.")] = False,
) -> None:
    """Serve the predictions of a model over HTTP, until Ctrl-C.

    POST /predict accepts rows as JSON or CSV, and the page / shows the inputs of the model. The extra 'app' must be
    installed.

    Example: chainrule serve runs/houses --port 8000
    """
    if show_code:
        from chainrule.runs.code import code_for_serving

        print(code_for_serving(run, host, port, max_rows, allow_host or ()), end="")
        return
    from chainrule.serving.port import check_installed, open_port

    check_installed()
    with open_port(host, port) as listener:
        from chainrule.runs import load_run
        from chainrule.serving import Limits
        from chainrule.serving import serve as serve_model
        from chainrule.serving.description import curl_command, example_row

        model = load_run(run)

        def print_address(address: str) -> None:
            # 0.0.0.0 and [::] mean all addresses; clients on this machine use the loopback address.
            local = address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
            command = curl_command(local, example_row(model))
            print(f"{run} is served at {address} until Ctrl-C; try: {command}", flush=True)

        limits = Limits(rows=max_rows, waiting_rows=max(max_rows, Limits.waiting_rows))
        signal_number = serve_model(
            model, host, limits=limits, allow_hosts=allow_host or (), listener=listener, on_start=print_address
        )
    if signal_number:
        raise typer.Exit(SIGNAL_EXIT_CODE + signal_number)
