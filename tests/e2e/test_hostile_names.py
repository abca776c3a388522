"""Names and labels with control characters, in files of strangers: a terminal gets their escapes, data stay exact."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from support.commands import chainrule
from support.tables import write_lines

pytestmark = pytest.mark.usefixtures("without_figures")

# Sets the title of the terminal, colours it, clears it (as one character), turns the direction of text, and begins a
# new line on some terminals.
HOSTILE = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202e\u2028."
ESCAPED = r"\x1b]0;owned"
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]")


TABLE, BAD, LABEL, RUN = f"table{HOSTILE}.csv", f"bad{HOSTILE}.csv", f"label{HOSTILE}", f"run{HOSTILE}"
TRAIN = ("train", TABLE, "-t", LABEL, "--preset", "plain", "--epochs", "1", "--out", RUN)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two tables and a run."""
    folder = tmp_path_factory.mktemp("trained")
    rows = [f"{row % 9},{row % 5},{'ab'[row % 2]}{HOSTILE}" for row in range(80)]
    write_lines(folder / TABLE, f"x{HOSTILE},z{HOSTILE},{LABEL}", rows)
    rows[36] = f"oops{HOSTILE},{rows[36].partition(',')[2]}"
    write_lines(folder / BAD, f"x{HOSTILE},z{HOSTILE},{LABEL}", rows)
    with contextlib.chdir(folder):
        assert chainrule(*TRAIN).exit_code == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(trained, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (TRAIN, 2),
        ((*TRAIN, "--force"), 0),
        (("train", TABLE, "-t", LABEL, "--show-code"), 0),
        (("train", TABLE), 2),
        (("train", TABLE, "-t", f"lable{HOSTILE}"), 2),
        (("train", BAD, "-t", LABEL), 2),
        (("train", TABLE, f"--epoch{HOSTILE}"), 2),
        (("train", TABLE, "--epochs", HOSTILE), 2),
        ((f"trian{HOSTILE}",), 2),
        (("resume", RUN), 2),
        (("resume", f"ran{HOSTILE}"), 2),
        (("evaluate", RUN, TABLE), 0),
        (("predict", RUN, TABLE, "-o", f"p{HOSTILE}.csv"), 0),
        (("predict", RUN, TABLE, "--show-code"), 0),
        (("export", RUN, "--to", "c"), 0),
        (("export", RUN, "--to", HOSTILE), 2),
        (("data", "show", HOSTILE), 2),
        (("check", "--activation", HOSTILE), 2),
    ],
)
def test_no_control_character_is_printed(folder: Path, arguments: tuple[str, ...], exit_code: int) -> None:
    result = chainrule(*arguments)
    assert result.exit_code == exit_code, result.output
    assert CONTROL.findall(result.stdout + result.stderr) == []
    if "--epochs" not in arguments[-2:]:
        assert ESCAPED in re.sub(r"[│╮╯╭╰─\s]|\\u001b|\\x07", "", result.output).replace("]0;", r"\x1b]0;", 1)


def test_predictions_are_exact_in_a_pipe(folder: Path) -> None:
    printed = chainrule("predict", RUN, TABLE)
    assert chainrule("predict", RUN, TABLE, "-o", "p.csv").exit_code == 0
    assert printed.stdout == Path("p.csv").read_text()
    assert set(pd.read_csv("p.csv")["prediction"]) <= {f"a{HOSTILE}", f"b{HOSTILE}"}


IN_TURN = """
import json, sys
from chainrule.cli import main
for arguments in json.loads(sys.argv[1]):
    print("The next command:", flush=True)
    sys.argv = ["chainrule", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code
"""


def test_a_terminal_gets_no_escape_sequence_of_a_stranger_and_keeps_its_colours(folder: Path) -> None:
    commands = [(*TRAIN, "--force"), ("predict", RUN, TABLE), ("evaluate", RUN, TABLE)]
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", IN_TURN, json.dumps(commands)]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "300"}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    received = b""
    try:
        while piece := os.read(ours, 2**16):
            received += piece
    except OSError:  # the terminal has no more writers
        pass
    os.close(ours)
    assert process.wait() == 0
    _, trained, predicted, evaluated = received.decode().split("The next command:\r\n")
    for text in (trained, predicted, evaluated):
        assert ESCAPED in text
        assert not re.search("owned\x07|\x1b\\]|\x9b|\x1b\\[31m|\u202e|\u2028", text)
    assert "\x1b[1m" in evaluated, "the model's own column is bold"


def test_a_sentence_stays_one_line_whatever_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = chainrule("resume", "run\nError: all is lost")
    assert result.stderr == "Error: There is no run folder 'run\\nError: all is lost'.\n"
