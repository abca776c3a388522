"""``chainrule check``."""

from __future__ import annotations

from typing import Annotated

import typer

from chainrule.cli.train import read_hidden

__all__ = ["check"]


def check(
    hidden: Annotated[str, typer.Option("--hidden", metavar="UNITS", help="Units of the hidden layers.")] = "8,4",
    activation: Annotated[str, typer.Option("--activation", "-a", help="Activation of the hidden layers.")] = "tanh",
    loss: Annotated[
        str, typer.Option("--loss", help="The loss; it also determines the outputs.")
    ] = "mean_squared_error",
    inputs: Annotated[int, typer.Option("--inputs", help="Columns of inputs.")] = 5,
    outputs: Annotated[int, typer.Option("--outputs", help="Numbers to predict, or classes.")] = 1,
    rows: Annotated[int, typer.Option("--rows", help="Random rows to check with.")] = 30,
    dropout: Annotated[float, typer.Option("--dropout", help="Share of units to drop.")] = 0.0,
    batch_norm: Annotated[bool, typer.Option("--batch-norm", help="Normalise every hidden layer.")] = False,
    l1: Annotated[float, typer.Option("--l1", help="Penalty on the sum of |weights|.")] = 0.0,
    l2: Annotated[float, typer.Option("--l2", help="Penalty on half the sum of squared weights.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", "-s", help="The seed of the random numbers.")] = 0,
    engine: Annotated[
        str, typer.Option("--engine", help="The engine that computes the gradient: numpy or torch.")
    ] = "numpy",
    device: Annotated[str, typer.Option("--device", help="For torch: auto, cpu, cuda, ...")] = "auto",
    show_code: Annotated[bool, typer.Option("--show-code", help="Print the equivalent Python code.")] = False,
) -> None:
    """Check the gradients of backward propagation against finite differences of the loss, in float64.

    The exit code is 1 if a gradient is wrong.

    Example: chainrule check --activation gelu --loss huber --hidden 16,8 --outputs 3
    """
    from chainrule.runs import Check
    from chainrule.runs.code import code_for_check

    gradient_check = Check(
        hidden=read_hidden(hidden),
        activation=activation,
        loss=loss,
        inputs=inputs,
        outputs=outputs,
        rows=rows,
        dropout=dropout,
        batch_normalization=batch_norm,
        l1=l1,
        l2=l2,
        seed=seed,
        engine=engine,
        device=device,
    )
    if show_code:
        print(code_for_check(gradient_check), end="")
        return
    report = gradient_check.run()
    print(report)
    if not report:
        raise typer.Exit(1)
