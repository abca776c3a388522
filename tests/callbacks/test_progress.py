"""Showing progress where there is a terminal and where there is none, and stopping on Ctrl-C."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import pytest

import chainrule.callbacks.progress as progress_module
from chainrule.callbacks import (
    Callback,
    EarlyStopping,
    EpochPrinter,
    ProgressBar,
    StopOnInterrupt,
    TrainingRun,
    interrupt,
)
from chainrule.errors import DivergenceError, InvalidInputError
from chainrule.files import Checkpoint
from chainrule.layers import DenseLayer
from chainrule.metrics import Metric
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import SGD
from support.networks import bits_of, network_of, regression_rows

DATA = regression_rows(40)


def trained(*callbacks: Callback, epochs: int = 3, **settings: object) -> NeuralNetwork:
    network = network_of(DenseLayer(1, (5,)), metric="r2", epochs=epochs, batch_size=10, **settings)
    return network.fit(DATA, validation=DATA, callbacks=callbacks)


def test_the_printer_writes_a_line_an_epoch_and_the_reason_for_stopping() -> None:
    stream = io.StringIO()
    network = trained(EpochPrinter(stream))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    loss, r2 = network.history["loss"][0], network.history["validation_r2"][0]
    assert lines[0].startswith(f"epoch 1/3: loss {loss:.4g}, r2 ")
    assert f"validation_r2 {r2:.4g}" in lines[0]
    assert "gradient_norm" not in lines[0]
    stream = io.StringIO()
    trained(EpochPrinter(stream), EarlyStopping(patience=None, delta=1e9), epochs=9)
    assert stream.getvalue().splitlines()[-1].startswith("stopped after epoch 2: validation_loss changed by less")


def test_verbose_prints_to_where_standard_output_goes_now(capsys: pytest.CaptureFixture[str]) -> None:
    trained(verbose=True)
    trained(verbose=False)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [f"epoch {i}/3" for i in (1, 2, 3)]


def test_a_long_epoch_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_PARTS", 0)
    stream, bar = io.StringIO(), ProgressBar()
    bar._stream, bar.watches_every_batch = stream, True
    trained(bar, epochs=2)
    assert [line for line in stream.getvalue().splitlines() if "batches" in line] == [
        f"epoch {epoch}/2: {batch} of 4 batches" for epoch in (1, 2) for batch in (1, 2, 3)
    ]


def test_without_a_terminal_the_bar_is_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    trained(ProgressBar(stream), epochs=50)
    assert [line.split(":")[0] for line in stream.getvalue().splitlines()] == ["epoch 50/50"], "seldom, when it is fast"
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0)
    stream = io.StringIO()
    trained(ProgressBar(stream))
    lines = stream.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert "validation_r2" in lines[0]
    assert "\x1b" not in stream.getvalue()


def test_the_line_of_the_epoch_that_stopped_the_run_is_printed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def lines(seconds: float) -> list[str]:
        monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", seconds)
        stream = io.StringIO()
        trained(ProgressBar(stream), EarlyStopping(patience=None, delta=1e9), epochs=9)
        return [line.split(":")[0] for line in stream.getvalue().splitlines()]

    assert lines(1e9) == ["epoch 2/9"]
    assert lines(0) == ["epoch 1/9", "epoch 2/9"]


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, train: object) -> str:
    """Run ``train(stream)`` with a pseudo-terminal for its stream, and return what it showed."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        try:
            while part := os.read(ours, 4096):
                shown.extend(part)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as stream:
        assert callable(train)
        train(stream)
    reader.join(10)
    os.close(ours)
    return shown.decode()


def test_on_a_terminal_the_bar_moves_and_ends_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(stream: TextIO) -> None:
        trained(ProgressBar(stream), epochs=5)

    shown = on_a_terminal(monkeypatch, train)
    assert "\x1b[" in shown
    assert "epoch 5/5" in shown
    assert re.search("━{5,}", shown)
    assert "\x1b[?25h" in shown, "the cursor is given back"


def test_the_bar_is_taken_away_when_training_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(stream: TextIO) -> None:
        with pytest.raises(DivergenceError):
            trained(ProgressBar(stream), optimizer=SGD(1e30))
        with pytest.raises(InvalidInputError, match="watches"):
            trained(ProgressBar(stream), EarlyStopping(monitor="nothing"))

    before = set(threading.enumerate())
    shown = on_a_terminal(monkeypatch, train)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") > 0
    new = set(threading.enumerate()) - before
    for thread in new:
        thread.join(10)  # on a busy machine, the thread of a stopped bar may need a moment to end
    assert not any(thread.is_alive() for thread in new), "a live bar still refreshes itself"


class Output:
    """What IPython's display returns: one output of a cell, which can be replaced."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def __call__(self, content: dict[str, str], *, raw: bool, display_id: bool) -> Output:
        assert raw
        assert display_id
        self.shown.append(content)
        return self

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(content)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Output:
    """Have modules that look like IPython in a notebook's kernel."""
    output, shell = Output(), SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=output))
    return output


def test_in_a_notebook_the_bar_is_one_output_that_stays_full(
    notebook: Output, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = trained(ProgressBar(), epochs=5)
    assert '<progress value="0" max="20"></progress> epoch 0/5' in notebook.shown[0]["text/html"]
    last = notebook.shown[-1]
    assert last["text/plain"].startswith(f"epoch 5/5; loss {network.history.last('loss'):.4g}, r2 ")
    assert last["text/html"] == f'<progress value="20" max="20"></progress> {last["text/plain"]}'
    assert len(notebook.shown) < 10, "it is replaced now and then, not at every batch"
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_UPDATES", 0)
    notebook.shown.clear()
    trained(ProgressBar(), EarlyStopping(patience=None, delta=1e9), epochs=9)
    places = [int(re.findall('value="(.*?)"', content["text/html"])[0]) for content in notebook.shown]
    assert places == sorted(places)
    assert "s left" in notebook.shown[-2]["text/plain"]
    assert "; stopped: validation_loss changed by less than 1e+09" in notebook.shown[-1]["text/plain"]
    assert "left" not in notebook.shown[-1]["text/plain"]


def test_in_a_notebook_a_stream_that_is_given_is_still_written_to(notebook: Output) -> None:
    stream = io.StringIO()
    trained(ProgressBar(stream))
    assert stream.getvalue().startswith("epoch 3/3: loss ")
    assert not notebook.shown


def test_names_of_metrics_are_no_html(notebook: Output) -> None:
    network = network_of(DenseLayer(1, (5,)), metric=Metric("<b>", lambda y, p: 0.5), epochs=1)
    network.fit(DATA, callbacks=[ProgressBar()])
    assert "&lt;b&gt; 0.5" in notebook.shown[-1]["text/html"]


# Ctrl-C -------------------------------------------------------------------------------------------


class PressCtrlC(Callback):
    def __init__(self, epoch: int, batch: int, times: int = 1) -> None:
        self.place, self.times = (epoch, batch), times

    def on_batch_end(self, run: TrainingRun) -> None:
        if (run.epoch, run.batch) == self.place:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_ctrl_c_stops_after_the_step_and_saves_where_it_stopped(batch: int, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    path = tmp_path / "checkpoint"
    network = trained(PressCtrlC(1, batch), StopOnInterrupt(), EarlyStopping(), Checkpoint(path, every=10), epochs=4)
    assert network.stop_reason == "interrupted"
    assert network.history.n_epochs == 1
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = NeuralNetwork.resume(path, DATA, validation=DATA, callbacks=[StopOnInterrupt(), EarlyStopping()])
    assert bits_of(resumed) == bits_of(trained(EarlyStopping(), epochs=4))
    assert resumed.stop_reason is None


class PressAtEnd(Callback):
    """Presses Ctrl-C when an epoch is in the history, as if in its validation."""

    def __init__(self, epoch: int, order: int = 0) -> None:
        self.epoch, self.place = epoch, order

    @property
    def order(self) -> int:  # type: ignore[override]
        return self.place

    def on_epoch_end(self, run: TrainingRun) -> None:
        if run.epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("epoch", [2, 4])
def test_ctrl_c_in_validation_stops_after_the_epoch(epoch: int, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    callbacks = [PressAtEnd(epoch), StopOnInterrupt(), EarlyStopping(), Checkpoint(path, every=10)]
    network = trained(*callbacks, epochs=4)
    assert (network.stop_reason, network.history.n_epochs) == ("interrupted", epoch)
    resumed = NeuralNetwork.resume(path, DATA, validation=DATA, callbacks=[EarlyStopping()])
    assert bits_of(resumed) == bits_of(trained(EarlyStopping(), epochs=4))


def test_ctrl_c_in_the_validation_that_ends_a_run_does_not_undo_its_end(tmp_path: Path) -> None:
    """Early stopping has decided, the weights of its best epoch are kept, and the checkpoint knows."""

    def stopping() -> EarlyStopping:
        return EarlyStopping(patience=None, delta=1e9)

    path, ended = tmp_path / "checkpoint", trained(stopping(), epochs=4)
    with pytest.raises(KeyboardInterrupt):
        trained(StopOnInterrupt(), PressAtEnd(2), stopping(), Checkpoint(path), epochs=4)
    resumed = NeuralNetwork.resume(path, DATA, validation=DATA, callbacks=[stopping()])
    assert resumed.stop_reason == ended.stop_reason
    assert bits_of(resumed) == bits_of(ended)


def test_ctrl_c_after_the_last_look_is_passed_on() -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trained(StopOnInterrupt(), PressAtEnd(3, order=200), epochs=3)
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_pressed_twice_at_once_saves_as_one_does(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    network = trained(PressCtrlC(1, 2, times=2), StopOnInterrupt(), Checkpoint(path, every=10), epochs=4)
    assert network.stop_reason == "interrupted"
    assert path.exists()


def test_a_ctrl_c_some_seconds_after_the_first_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "SECONDS_OF_ONE_PRESS", -1.0)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trained(PressCtrlC(1, 2, times=2), StopOnInterrupt(), epochs=4)
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_signal_is_given_back_when_the_fit_never_begins() -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(InvalidInputError, match="watches"):
        trained(StopOnInterrupt(), EarlyStopping(monitor="nothing"))
    assert signal.getsignal(signal.SIGINT) is handler


def test_outside_the_main_thread_it_does_nothing() -> None:
    networks: list[NeuralNetwork] = []
    thread = threading.Thread(target=lambda: networks.append(trained(StopOnInterrupt())))
    thread.start()
    thread.join()
    assert networks[0].history.n_epochs == 3
