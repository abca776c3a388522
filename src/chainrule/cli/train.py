"""``chainrule train`` and ``chainrule resume``."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from chainrule.cli.printing import printable_console, write_data
from chainrule.cli.show import print_metrics, print_sentence

if TYPE_CHECKING:
    from chainrule.callbacks import Callback
    from chainrule.runs import RunResult, TrainOptions

__all__ = ["TrainCommand", "UsageError", "parse_options", "read_hidden", "resume", "train"]

UsageError: Any = typer.BadParameter.__base__  # from the copy of click inside Typer, or from the installed click
_DATA, _NETWORK, _TRAINING = "The data", "The network", "The training"
_STOPPING, _MACHINE, _RESULT = "Early stopping", "The machine", "The result"


def _option(panel: str, *names: str, help: str, metavar: str | None = None) -> Any:
    """Return an option that the help lists in ``panel``."""
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, readable=False)


def train(
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="A file (CSV, TSV, Parquet, NPZ; - for the standard input), a name from 'chainrule data list', or any "
            "number of Parquet files.",
        ),
    ],
    target: Annotated[str | None, _option(_DATA, "--target", "-t", help="The column to predict.")] = None,
    task: Annotated[
        str | None,
        _option(_DATA, "--task", help="binary, multiclass or regression; by default inferred from the target."),
    ] = None,
    categorical: Annotated[
        list[str] | None,
        _option(_DATA, "--categorical", metavar="COLUMN", help="A column to read as categories; may be repeated."),
    ] = None,
    numeric: Annotated[
        list[str] | None,
        _option(
            _DATA,
            "--numeric",
            metavar="COLUMN[=NUMBER]",
            help="A column to read as numbers; price=1.234,5 or price=1,234.5 sets the separators; may be repeated.",
        ),
    ] = None,
    date: Annotated[
        list[str] | None,
        _option(
            _DATA,
            "--date",
            metavar="COLUMN[=ORDER]",
            help="A column to read as dates; day=dmy or day=mdy sets the order of 01/02/2023; may be repeated.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None, _option(_DATA, "--drop", metavar="COLUMN", help="A column to drop; may be repeated.")
    ] = None,
    missing_word: Annotated[
        list[str] | None,
        _option(_DATA, "--missing-word", metavar="TEXT", help="A text that means a missing value; may be repeated."),
    ] = None,
    missing: Annotated[
        str, _option(_DATA, "--missing", help="The replacement of missing numbers: median, mean, or zero.")
    ] = "median",
    drop_missing_target: Annotated[
        bool, _option(_DATA, "--drop-missing-target", help="Drop rows whose target is missing.")
    ] = False,
    test_size: Annotated[
        float | None,
        _option(_DATA, "--test-size", help="Share (or number) of test rows: 0.2 by default, 0 for none."),
    ] = None,
    validation_size: Annotated[
        float | None,
        _option(
            _DATA,
            "--validation-size",
            help="Share of the other rows for validation, with --preset plain only; 0.2 with early stopping.",
        ),
    ] = None,
    split: Annotated[
        str, _option(_DATA, "--split", help="auto (stratified by class), random, or time (test the latest rows).")
    ] = "auto",
    group: Annotated[
        str | None,
        _option(
            _DATA, "--group", metavar="COLUMN", help="Keep rows with the same value in the same part; not an input."
        ),
    ] = None,
    time: Annotated[
        str | None,
        _option(_DATA, "--time", metavar="COLUMN", help="Sort by this column and test the latest rows; not an input."),
    ] = None,
    preset: Annotated[
        str,
        _option(
            _NETWORK,
            "--preset",
            help="tabular: an ensemble that starts from a linear model, for tables in memory; plain: one network, "
            "which is always used for other data.",
        ),
    ] = "tabular",
    hidden: Annotated[
        str | None,
        _option(
            _NETWORK,
            "--hidden",
            metavar="UNITS",
            help="Units of the hidden layers, such as 128,64, or 'none' for no hidden layer.",
        ),
    ] = None,
    activation: Annotated[
        str | None,
        _option(
            _NETWORK,
            "--activation",
            "-a",
            help="Activation of the hidden layers: relu, elu:alpha=0.5, ...",
        ),
    ] = None,
    dropout: Annotated[
        float | None,
        _option(_NETWORK, "--dropout", help="Share of units to drop: by default 0.1, or 0 with --preset plain."),
    ] = None,
    batch_norm: Annotated[
        bool, _option(_NETWORK, "--batch-norm", help="Normalise every hidden layer; with --preset plain only.")
    ] = False,
    output_activation: Annotated[
        str | None,
        _option(
            _NETWORK,
            "--output-activation",
            help="Output activation of a regression, such as relu for targets that are never negative.",
        ),
    ] = None,
    loss: Annotated[str | None, _option(_NETWORK, "--loss", help="mean_squared_error, huber:delta=2, ...")] = None,
    epochs: Annotated[
        int | None,
        _option(
            _TRAINING,
            "--epochs",
            "-e",
            help="Passes over the training rows; by default, early stopping determines their number.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        _option(
            _TRAINING,
            "--batch-size",
            "-b",
            help="Rows per step; by default 32 to 1,024, depending on the number of rows.",
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        _option(_TRAINING, "--optimizer", help="adam, lbfgs, adamw:weight_decay=0.01,beta1=0.95, ..."),
    ] = None,
    schedule: Annotated[
        str | None,
        _option(
            _TRAINING,
            "--schedule",
            help="Learning-rate schedule: cosine, one_cycle, step:every=20,factor=0.5, ...",
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        _option(
            _TRAINING, "--calibrate", help="Calibrate class probabilities by a temperature, fitted to held-out rows."
        ),
    ] = False,
    seed: Annotated[int, _option(_TRAINING, "--seed", "-s", help="The seed of all random numbers.")] = 0,
    early_stopping: Annotated[
        bool | None,
        _option(
            _STOPPING,
            "--early-stopping/--no-early-stopping",
            help="Stop when the validation loss stops improving; on by default, unless --epochs is given without the "
            "options below.",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        _option(
            _STOPPING,
            "--patience",
            help="Epochs without improvement before stopping; by default half of the epochs, or 10 to 50 with --preset "
            "plain.",
        ),
    ] = None,
    min_delta: Annotated[float, _option(_STOPPING, "--min-delta", help="The smallest improvement that counts.")] = 0.0,
    min_epochs: Annotated[int, _option(_STOPPING, "--min-epochs", help="The minimum number of epochs.")] = 0,
    monitor: Annotated[
        str | None,
        _option(
            _STOPPING,
            "--monitor",
            help="The quantity to monitor; by default the validation loss; another one with --preset plain only.",
        ),
    ] = None,
    engine: Annotated[
        str,
        _option(_MACHINE, "--engine", help="numpy, or torch for GPUs and, with torchrun, for several machines."),
    ] = "numpy",
    device: Annotated[
        str, _option(_MACHINE, "--device", help="For torch: auto (a GPU if there is one), cpu, cuda, mps, ...")
    ] = "auto",
    precision: Annotated[
        str, _option(_MACHINE, "--precision", help="For torch: bfloat16 or float16 for mixed precision.")
    ] = "float32",
    compile: Annotated[
        bool, _option(_MACHINE, "--compile", help="For torch: compile the network with torch.compile.")
    ] = False,
    out: Annotated[
        Path | None, _option(_RESULT, "--out", "-o", help="The run folder; by default runs/SOURCE-TIME.")
    ] = None,
    force: Annotated[
        bool, _option(_RESULT, "--force", help="Replace the finished or interrupted run that is in the run folder.")
    ] = False,
    checkpoint_every: Annotated[int, _option(_RESULT, "--checkpoint-every", help="Epochs between checkpoints.")] = 5,
    show_code: Annotated[
        bool, _option(_RESULT, "--show-code", help="Print the equivalent Python code and exit.")
    ] = False,
    quiet: Annotated[bool, _option(_RESULT, "--quiet", "-q", help="Print the run folder and nothing else.")] = False,
    **network: Any,
) -> None:
    """Train a network on a table or a data set, and write the model and a report to a run folder.

    The target determines the output layer and the loss. The encoding of the columns is learned from the training rows.
    A table in memory trains an ensemble that starts from a linear model and uses all rows except the test rows; other
    data, and --preset plain, train one network and hold out validation rows. The network is evaluated on the test rows
    and compared with simple baselines. Ctrl-C saves a checkpoint.

    Several Parquet files (also a folder or a pattern), and a file that is too large for the memory, are streamed: the
    memory does not grow with the number of rows.

    Example: chainrule train houses.csv --target price

    Example: chainrule train big/*.parquet --target price --epochs 3

    Example: chainrule train mnist --hidden 128,64 --epochs 10 --batch-size 64
    """
    from chainrule.runs import code_for_training, train_run

    options = read_options(locals())
    if show_code:
        print(code_for_training(options), end="")
    else:
        _run_and_print(quiet, lambda callbacks, announce: train_run(options, callbacks, announce, force=force))


def read_options(given: Mapping[str, Any]) -> TrainOptions:
    """Return the options of a run from the arguments of :func:`train`."""
    from chainrule.runs import TrainOptions

    arguments = {**given, **given.get("network", {})}
    source, hidden = arguments["source"], arguments["hidden"]
    renamed = {"batch_norm": "batch_normalization", "date": "dates", "missing_word": "missing_words"}
    options = {renamed.get(name, name): value for name, value in arguments.items()}
    options |= {
        name: tuple(options[name] or ()) for name in ("categorical", "numeric", "dates", "drop", "missing_words")
    }
    options["source"] = source[0] if len(source) == 1 else tuple(source)
    options["hidden"] = None if hidden is None else read_hidden(hidden)
    return TrainOptions(**{field.name: options[field.name] for field in dataclasses.fields(TrainOptions)})


class TrainCommand(TyperCommand):
    """``chainrule train``, with the options that the settings of a network declare in place of ``**network``.

    The settings are imported only when the command is used, because importing them loads NumPy.
    """

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments with the options of :func:`train` and of the network."""
        from chainrule.named import argument_hint
        from chainrule.runs.options import NETWORK_OPTIONS, TrainOptions

        signature = inspect.signature(train, eval_str=True)
        parameters = [
            parameter for parameter in signature.parameters.values() if parameter.kind != inspect.Parameter.VAR_KEYWORD
        ]
        for name, network_option in NETWORK_OPTIONS.items():
            setting = network_option.setting
            option = _option(setting.group, *network_option.flags, help=setting.help)
            hint: Any = Annotated[network_option.plain_hint, option]
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=network_option.default, annotation=hint)
            )

        def command(**arguments: Any) -> None:
            train(**arguments)

        # Typer reads the options of a command from its signature and its annotations.
        typed_command: Any = command
        typed_command.__signature__ = signature.replace(parameters=parameters)
        typed_command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        application = typer.Typer(add_completion=False)
        application.command(help=self.help)(command)
        try:
            return typer.main.get_command(application).make_context(info_name, args, parent, **extra)
        except UsageError as error:
            if getattr(getattr(error, "param", None), "name", "") == "source":
                error.message = "Give a file, such as houses.csv, or the name of a data set, such as digits."
            name = getattr(error, "option_name", "")  # of an unknown option
            hint = _as_options(argument_hint(name.lstrip("-").replace("-", "_"), TrainOptions))
            if hint:
                error.message, error.possibilities = f"No such option: {name}.{hint}", None
            raise


def parse_options(arguments: Sequence[str], refused: Mapping[str, str]) -> TrainOptions:
    """Return the options of a run from the arguments of ``chainrule train``, without running it.

    ``refused`` has a sentence for each parameter that may not be given.
    """
    context = TrainCommand("train").make_context("chainrule train", list(arguments))
    for name, sentence in refused.items():
        if context.get_parameter_source(name).name == "COMMANDLINE":
            raise UsageError(sentence)
    return read_options(context.params)


def _as_options(hint: str) -> str:
    """Return a hint about arguments with the options of the command in their place.

    >>> _as_options("Give it to the optimizer, as in optimizer='adamw:weight_decay=0.01'. Did you mean 'batch_size'?")
    "Give it to the optimizer, as in --optimizer 'adamw:weight_decay=0.01'. Did you mean --batch-size?"
    """
    hint = re.sub(r"(\w+)='", lambda found: f"--{found[1].replace('_', '-')} '", hint)
    return re.sub(r"(?<=mean )'(\w+)'", lambda found: f"--{found[1].replace('_', '-')}", hint)


def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.", readable=False)],
    engine: Annotated[
        str | None, typer.Option("--engine", help="The engine: numpy or torch; by default that of the interrupted run.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="With --engine torch: auto, cpu, cuda, mps, ...")] = "auto",
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", "-e", min=1, help="The total number of epochs; also continues a finished run."),
    ] = None,
    keep_best: Annotated[
        bool,
        typer.Option("--keep-best", help="Save the best weights so far as the model, without training."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the run folder and nothing else.")] = False,
) -> None:
    """Resume an interrupted run. The result is the same as without the interruption.

    --epochs also continues a finished run. --keep-best saves the model of an interrupted run without further training.

    Example: chainrule resume runs/houses-20261121-101500
    """
    from chainrule.runs import resume_run

    settings: dict[str, Any] = {"engine": engine, "device": device, "epochs": epochs, "keep_best": keep_best}
    _run_and_print(quiet, lambda callbacks, announce: resume_run(run, callbacks, announce, **settings))


def read_hidden(text: str) -> tuple[int, ...]:
    """Return the units of the hidden layers from ``"64,32"``; ``"none"`` means no hidden layer."""
    from chainrule.errors import InvalidInputError

    if text.strip().lower() in ("none", ""):
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InvalidInputError(
            f"--hidden is '{text}'; give whole numbers with commas between them, as 64,32."
        ) from None


def _run_and_print(quiet: bool, start_run: Callable[[list[Callback], Callable[[str], None]], RunResult]) -> None:
    """Train or resume a run, and print its progress, its metrics and how to use the model."""
    from chainrule.callbacks import ProgressBar
    from chainrule.errors import ChainruleWarning, shell_command
    from chainrule.kernels.compiling import quiet_about_compiling

    if quiet:
        warnings.simplefilter("ignore", ChainruleWarning)
        with quiet_about_compiling():
            result = start_run([], lambda sentence: None)
        if result.rank == 0:
            write_data(f"{result.folder}\n")
        return
    with _spinner() as show_spinner:

        def announce(sentence: str) -> None:
            (show_spinner if sentence.startswith("Fitting") else print_sentence)(sentence)

        result = start_run([ProgressBar()], announce)
    if result.rank > 0:  # only process 0 prints results
        return
    baselines = {baseline.name: baseline.metrics for baseline in reversed(result.baselines)}
    print()
    print_metrics(result.title, {"this network": result.metrics, **baselines})
    if result.verdict:
        print_sentence(result.verdict)
    for baseline in result.baselines:
        if baseline.note:
            print_sentence(f"Note: {baseline.note}.")
    epochs = "1 epoch" if result.history.n_epochs == 1 else f"{result.history.n_epochs} epochs"
    print_sentence(f"Trained for {epochs} in {result.seconds:.1f} s: {result.stop_reason}.")
    assert result.folder is not None
    print_sentence(f"The run folder is {result.folder}; open {result.folder / 'report.html'}")
    print_sentence(f"To predict: {shell_command('predict', result.folder)} NEW_ROWS.csv -o predictions.csv")


@contextlib.contextmanager
def _spinner() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows a sentence with a spinner on a terminal, until the end of the block."""
    stderr = printable_console(stderr=True)
    with contextlib.ExitStack() as stack:

        def show_spinner(sentence: str) -> None:
            if stderr.is_terminal:
                stack.enter_context(stderr.status(sentence))

        yield show_spinner
