"""Whatever is wrong with what a user gives: one sentence that names it, exit code 2, and nothing left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chainrule.activations import ELUActivation
from chainrule.optimizer import AdamW
from chainrule.runs import load_run
from chainrule.schedules import CosineDecay
from support.commands import chainrule, run_without_privileges
from support.served import price_model
from support.tables import write_houses, write_lines, write_visits

pytestmark = pytest.mark.usefixtures("without_figures")

PRICE_MODEL = price_model()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files good and bad, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    write_houses(tmp_path / "houses.csv")
    write_visits(tmp_path / "visits.csv")
    write_lines(tmp_path / "one.csv", "a,b", [f"{row},yes" for row in range(40)])
    write_lines(tmp_path / "text.csv", "a,b", [f"{'oops' if r == 36 else r},{'yn'[r % 2]}" for r in range(40)])
    write_lines(tmp_path / "nan.csv", "a,b", [f"{row},{'' if row == 7 else row * 1.5}" for row in range(40)])
    write_lines(tmp_path / "many.csv", "a,b", [f"{row},name{row}" for row in range(40)])
    (tmp_path / "empty.csv").touch()
    (tmp_path / "no-run").mkdir()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("words")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("train houses.csv --target prise", "Did you mean 'price'?"),
        ("train houses.csv", "area, rooms, town, price"),
        ("train one.csv -t b", "only one class, 'yes'"),
        ("train text.csv -t b --preset plain", "row 37 has 'oops'"),
        ("train empty.csv -t b", "empty.csv is empty"),
        (
            "train nan.csv -t b",
            "'b' is missing in row 8; fill it in, or drop such rows with --drop-missing-target",
        ),
        ("train many.csv -t b", "40 classes in 40 rows"),
        ("train mnits", "Did you mean 'mnist'?"),
        ("train house.csv -t price", "Did you mean 'houses.csv'?"),
        ("train . -t price", "contains no .parquet file"),
        ("train visits.csv -t bought --lr -1", "learning_rate of Adam is -1.0"),
        ("train visits.csv -t bought --hidden 64,abc", "--hidden is '64,abc'"),
        ("train visits.csv -t bought --hidden 0", "hidden layers"),
        ("train visits.csv -t bought --optimizer adamm", "Did you mean 'adam'?"),
        ("train visits.csv -t bought --drop nothing", "'nothing', which the table does not have"),
        ("train visits.csv -t bought --loss cce", "does not suit a binary target"),
        ("train visits.csv -t bought --seed -1", "seed is -1"),
        (
            "train visits.csv -t bought --preset plain --epochs 5 --patience 1 --monitor nonsense --out run",
            "'nonsense', which this fit does not",
        ),
        (
            "train visits.csv -t bought --no-early-stopping --patience 3",
            "patience can only be given with early stopping",
        ),
        ("train visits.csv -t bought --missing medain", "Did you mean 'median'?"),
        ("train visits.csv -t bought --output-activation relu", "follow from its classes"),
        ("train digits --missing mean", "not a table with named columns"),
        ("train visits.csv -t bought --hidden 1000000,1000000", "units needs 480,001 GB"),
        ("train visits.csv -t bought --out thesis", "'thesis' contains files that do not belong to a chainrule run"),
        ("train visits.csv -t bought --out visits.csv", "is a file"),
        ("train digits --target x", "its target cannot be changed"),
        ("predict no-run visits.csv -o out.parquet", "give 'out.parquet' a name that ends in .csv"),
        ("predict no-run visits.csv", "no run.json from chainrule train"),
        ("predict no_run visits.csv", "Did you mean 'no-run'?"),
        ("evaluate no-run visits.csv", "no run.json"),
        ("resume no-run", "no run.json"),
        ("data show iriss", "Did you mean 'iris'?"),
        ("data fetch iriss", "Did you mean 'iris'?"),
        ("check --activation rellu", "Did you mean 'relu'?"),
        ("check --outputs 0", "at least one"),
    ],
)
def test_bad_input_is_one_sentence(folder: Path, command: str, sentence: str) -> None:
    before = sorted(folder.rglob("*"))
    result = chainrule(*command.split())
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert sentence in result.stderr
    assert sorted(folder.rglob("*")) == before


LONG = "x" * 300
LOOP = "cannot be read: too many levels of symbolic links"
NO_USER = "begins with the home folder of a user, and there is no such user"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (f"train {LONG} -t b", "cannot be read: file name too long"),
        (f"train {LONG}.csv -t b", "cannot be read: file name too long"),
        (f"train {'deep/' * 1000}t.csv -t b", "cannot be read: file name too long"),
        (f"train {'deep/' * 1000}t.parquet -t b", "cannot be read: file name too long"),
        (f"train {'deep/' * 1000}*.parquet -t b", "cannot be read: file name too long"),
        (f"train one.csv -t a --out {LONG}", "Could not use the folder"),
        (f"resume {LONG}", "cannot be read: file name too long"),
        (f"predict {LONG} one.csv", "cannot be read: file name too long"),
        (f"predict run {LONG}.csv", "cannot be read: file name too long"),
        (f"predict run one.csv -o {LONG}.csv", "File name too long"),
        (f"evaluate run {LONG}.parquet", "cannot be read: file name too long"),
        (f"export run --to c -o {LONG}.c", "File name too long"),
        ("train loop -t b", LOOP),
        ("train loop.csv -t b", LOOP),
        ("train loop/t.csv -t b", LOOP),
        ("train one.csv -t a --out loop", "'loop' is a broken link; choose a folder for the run"),
        ("resume loop", LOOP),
        ("predict loop one.csv", LOOP),
        ("predict run loop.csv", LOOP),
        ("predict run one.csv -o loop.csv", "Too many levels of symbolic links"),
        ("train ~no-such-user/t.csv -t b", NO_USER),
        ("train ~no-such-user/t.parquet -t b", NO_USER),
        ("train ~no-such-user/*.parquet -t b", NO_USER),
        ("train ~no-such-user/1.parquet ~no-such-user/2.parquet -t b", NO_USER),
        ("train visits.csv -t bought --out ~no-such-user/run", NO_USER),
        ("resume ~no-such-user/run", NO_USER),
        ("predict ~no-such-user/run one.csv", NO_USER),
        ("predict run ~no-such-user/t.csv", NO_USER),
        ("predict run one.csv -o ~no-such-user/p.csv", NO_USER),
        ("export ~no-such-user/run --to c", NO_USER),
        ("resume pipe", "is not a run folder"),
        ("predict pipe one.csv", "is not a run folder"),
        ("resume piped-record", "no run.json from chainrule train"),
    ],
)
def test_a_path_that_leads_nowhere_is_one_sentence(folder: Path, command: str, sentence: str) -> None:
    for name in ("loop", "loop.csv"):
        (folder / name).symlink_to(name)
    os.mkfifo(folder / "pipe")
    (folder / "piped-record").mkdir()
    os.mkfifo(folder / "piped-record" / "run.json")
    PRICE_MODEL.save(folder / "run")
    before = sorted(folder.rglob("*"))
    result = chainrule(*command.split())
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert sentence in result.stderr
    assert sorted(folder.rglob("*")) == before


CLOSED = {
    "train closed.csv -t b": "closed.csv cannot be read: permission denied",
    "train closed/t.csv -t b": "closed/t.csv cannot be read: permission denied",
    "train closed/t.parquet -t b": "closed/t.parquet cannot be read: permission denied",
    "train closed -t b": "closed cannot be read: permission denied",
    "train one.csv -t a --out closed/run": "Could not use the folder 'closed/run': Permission denied",
    "resume closed/run": "closed/run/run.json cannot be read: permission denied",
    "resume record": "record/run.json cannot be read: permission denied",
    "predict closed/run one.csv": "closed/run/run.json cannot be read: permission denied",
    "predict closed.csv one.csv": "closed.csv cannot be read: permission denied",
    "predict run closed.csv": "closed.csv cannot be read: permission denied",
    "predict run one.csv -o closed/p.csv": "Could not write 'closed/p.csv': Permission denied",
    "export run --to c -o closed/m.c": "Could not write 'closed/m.c': Permission denied",
}


def test_a_path_without_permission_is_one_sentence(folder: Path) -> None:
    PRICE_MODEL.save(folder / "run")
    (folder / "record").mkdir()
    (folder / "closed").mkdir()
    closed = [folder / "closed.csv", folder / "record" / "run.json", folder / "closed"]
    for path in closed[:2]:
        path.write_text("a,b\n1,2\n")
    for path in closed:
        path.chmod(0)
    try:
        results = run_without_privileges(*CLOSED)
    finally:
        for path in closed:
            path.chmod(0o700)
    for (command, sentence), (code, output, errors) in zip(CLOSED.items(), results, strict=True):
        assert (code, output) == (2, ""), command
        assert errors.startswith("Error: ")
        assert len(errors.splitlines()) == 1
        assert sentence in errors


@pytest.mark.parametrize("command", ["train", "train visits.csv --lr abc", "train visits.csv --no-such-option", "fly"])
def test_a_command_that_cannot_be_read_ends_with_2(folder: Path, command: str) -> None:
    assert chainrule(*command.split()).exit_code == 2


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            "train",
            "Missing argument 'SOURCE'. Give a file, such as houses.csv, or the name of a data set, such as digits.",
        ),
        ("predict", "Missing argument 'RUN'."),
        ("predict run", "Missing argument 'FILES'."),
        ("resume", "Missing argument 'RUN'."),
        (
            "train iris --weight-decay 0.1",
            "Give it to the optimizer, as in --optimizer 'adamw:weight_decay=0.01', or use the penalty l2.",
        ),
        ("train iris --beta-1 0.9", "a setting of the optimizer, as in --optimizer 'lion:beta_1=...'."),
        ("train iris --delta 0.9", "a setting of the loss, as in --loss 'huber:delta=...'."),
        ("train iris --random-state 1", "No such option: --random-state. Did you mean --seed?"),
        ("train iris --max-iter 1", "No such option: --max-iter. Did you mean --epochs?"),
    ],
)
def test_what_is_missing_or_unknown_is_named(command: str, sentence: str) -> None:
    result = chainrule(*command.split())
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.replace("\u2502", " ").split())


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("export run", "Give the format (--to): onnx, torch, c, js."),
        ("export run -o model.bin", "Give the format (--to), which the suffix of 'model.bin' does not determine: onnx"),
        ("export run --to c -o model.onnx", "'model.onnx' has the suffix of the format 'onnx'"),
        ("train iris --optimizer adam:epsilom=0.5", "Adam has no argument 'epsilom'. Did you mean 'epsilon'?"),
        ("train iris --optimizer adam:", "The optimizer 'adam:' cannot be read at ''"),
        ("train iris --optimizer sgd:nesterov=maybe", "The nesterov of SGD is 'maybe'"),
        ("train iris --loss huber:delta=-1", "The delta of Huber is -1"),
        ("train iris --schedule step:every=0", "The every of StepDecay is 0"),
        ("train iris --activation elu:alpha=x", "alpha"),
    ],
)
def test_settings_after_a_name_are_checked_before_the_data_are_read(command: str, sentence: str) -> None:
    result = chainrule(*command.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_settings_after_a_name_reach_the_network_the_record_and_the_code(folder: Path) -> None:
    settings = "--optimizer adamw:weight_decay=0.01,beta_1=0.95 --schedule cosine:final=0.1 --activation elu:alpha=0.5"
    command = ["train", "visits.csv", "-t", "bought", "--preset", "plain", "--epochs", "2", *settings.split()]
    assert 'optimizer="adamw:weight_decay=0.01,beta_1=0.95"' in chainrule(*command, "--show-code").stdout
    assert chainrule(*command, "--out", "run", "-q").exit_code == 0
    network = load_run("run").network
    assert repr(network.optimizer) == repr(AdamW(weight_decay=0.01, beta1=0.95))
    assert network.schedule == CosineDecay(epochs=2, final=0.1)
    assert repr(network.layers[1]) == repr(ELUActivation(alpha=0.5))
    assert chainrule("resume", "run", "--epochs", "3", "-q").exit_code == 0


def test_a_disk_that_is_full_at_once_leaves_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    result = chainrule("train", "visits.csv", "-t", "bought", "--out", "run")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert not (folder / "run").exists()


def test_training_that_diverges_ends_with_1(folder: Path) -> None:
    result = chainrule(*["train", "houses.csv", "-t", "price", "--optimizer", "sgd", "--lr", "1e20", "--out", "run"])
    assert result.exit_code == 1
    assert "Error: Training stopped" in result.stderr
    assert chainrule("predict", "run", "houses.csv").stderr.startswith("Error: The run in 'run' has no model, because")


def test_a_run_that_has_lost_its_model_says_so(folder: Path) -> None:
    assert chainrule(*["train", "visits.csv", "-t", "bought", "--epochs", "1", "--out", "run"]).exit_code == 0
    (folder / "run" / "model.safetensors").unlink()
    result = chainrule("predict", "run", "visits.csv")
    assert result.exit_code == 2
    assert "The file model.safetensors of the run in" in result.stderr
    result = chainrule("resume", "run")
    assert result.exit_code == 2
    assert "is finished" in result.stderr


def test_predictions_never_replace_the_rows_they_were_made_from(folder: Path) -> None:
    assert chainrule(*["train", "visits.csv", "-t", "bought", "--epochs", "1", "--out", "run"]).exit_code == 0
    before = (folder / "visits.csv").read_bytes()
    result = chainrule("predict", "run", "visits.csv", "-o", "visits.csv")
    assert result.exit_code == 2
    assert "the file to read" in result.stderr
    assert (folder / "visits.csv").read_bytes() == before
    assert chainrule("predict", "run", "visits.csv", "-o", "thesis").exit_code == 2


def test_an_output_that_cannot_be_written_is_told_and_one_that_nobody_reads_is_not(folder: Path) -> None:
    assert chainrule(*["train", "visits.csv", "-t", "bought", "--epochs", "1", "--out", "run"]).exit_code == 0
    write_visits(folder / "more.csv", 5000)  # more than any buffer holds
    for arguments in (["predict", "run", "more.csv"], ["--version"]):
        command = [sys.executable, "-m", "chainrule", *arguments]
        with Path("/dev/full").open("w") as full:
            result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert result.returncode == 2
        assert result.stderr == "Error: Could not write the output: No space left on device.\n"
        ours, theirs = os.pipe()
        os.close(ours)
        result = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
        os.close(theirs)
        assert (result.returncode, result.stderr) == (1, "")
