"""Runs on data that come through a pipe: kept in the folder of the run, so that it can be resumed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from chainrule.callbacks import Callback, TrainingRun
from chainrule.data import file_content
from chainrule.errors import DataError, ModelFileError
from chainrule.runs import (
    RunFolder,
    RunInterrupted,
    TrainOptions,
    evaluate,
    predict,
    resume_run,
    train,
    train_run,
)
from support.tables import write_visits

pytestmark = pytest.mark.usefixtures("without_figures")


class StopAt(Callback):
    def on_batch_end(self, run: TrainingRun) -> None:
        if run.epoch == 2:
            run.interrupt("interrupted")


@pytest.fixture
def visits(tmp_path: Path) -> bytes:
    return write_visits(tmp_path / "visits.csv").read_bytes()


def pipe(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this the standard input, which can be read once."""

    class Input:
        buffer = io.BytesIO(content)

    monkeypatch.setattr(file_content.sys, "stdin", Input)


def options(out: Path) -> TrainOptions:
    return TrainOptions("-", target="bought", epochs=5, out=out)


def test_a_run_from_a_pipe_is_that_from_the_file(
    visits: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(visits, monkeypatch)
    result = train_run(options(tmp_path / "piped"))
    whole = train_run(TrainOptions(tmp_path / "visits.csv", target="bought", epochs=5, out=tmp_path / "whole"))
    assert result.metrics == whole.metrics
    assert RunFolder(tmp_path / "piped").piped_data.read_bytes() == visits
    pipe(visits, monkeypatch)
    assert evaluate(result, "-") == evaluate(whole, tmp_path / "visits.csv")
    pipe(visits, monkeypatch)
    assert predict(result, "-").equals(predict(whole, tmp_path / "visits.csv"))
    pipe(visits, monkeypatch)
    assert train("-", "bought", epochs=5, verbose=False).metrics == whole.metrics


def test_a_run_from_a_pipe_is_resumed_also_from_another_place(
    visits: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(visits, monkeypatch)
    whole = train_run(options(tmp_path / "whole"))
    pipe(visits, monkeypatch)
    with pytest.raises(RunInterrupted):
        train_run(options(tmp_path / "cut"), [StopAt()])
    (tmp_path / "cut").rename(tmp_path / "moved")
    assert resume_run(tmp_path / "moved").metrics == whole.metrics
    pipe(visits, monkeypatch)
    with pytest.raises(RunInterrupted):
        train_run(options(tmp_path / "cut"), [StopAt()])
    RunFolder(tmp_path / "cut").piped_data.unlink()
    with pytest.raises(ModelFileError, match=r"piped-data' cannot be read"):
        resume_run(tmp_path / "cut")


def test_data_that_cannot_be_trained_on_leave_nothing_behind(
    visits: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in (b"a,bought\n1,2\n1,2,3\n", b"", b"a,b\n1,2\n"):
        pipe(content, monkeypatch)
        with pytest.raises(DataError):
            train_run(options(tmp_path / "run"))
        assert not (tmp_path / "run").exists()
    pipe(visits, monkeypatch)
    with pytest.raises(RunInterrupted):
        train_run(options(tmp_path / "run"), [StopAt()])
    names = {entry.name for entry in (tmp_path / "run").iterdir()}
    pipe(b"a,b\n1,2\n", monkeypatch)
    with pytest.raises(DataError):
        train_run(options(tmp_path / "run"), force=True)
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == names
    assert RunFolder(tmp_path / "run").piped_data.read_bytes() == visits


def test_data_of_a_replaced_run_go(visits: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = RunFolder(tmp_path / "run").piped_data
    pipe(visits, monkeypatch)
    train_run(options(tmp_path / "run"))
    other = visits[: visits.rindex(b"\n", 0, -1) + 1]
    pipe(other, monkeypatch)
    train_run(options(tmp_path / "run"), force=True)
    assert piped.read_bytes() == other
    assert not list((tmp_path / "run").glob("*.earlier"))
    train_run(TrainOptions(tmp_path / "visits.csv", target="bought", epochs=1, out=tmp_path / "run"), force=True)
    assert not piped.exists()
