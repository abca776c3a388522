"""Running the commands: in this process, which is quick, or in one of their own, which can be killed."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path

from typer.testing import CliRunner, Result

from chainrule.cli.app import app
from support.children import child_environment

__all__ = ["chainrule", "run_without_privileges", "start", "wait_for"]


def chainrule(*arguments: object) -> Result:
    """Run a command in this process; an exception that is no exit is a failure of the command line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    command = [sys.executable, "-m", "chainrule", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


_RUN_ALL = """
import json, sys
from support.commands import chainrule
results = [chainrule(*command.split()) for command in sys.argv[1:]]
print(json.dumps([(result.exit_code, result.stdout, result.stderr) for result in results]))
"""


def run_without_privileges(*commands: str) -> list[tuple[int, str, str]]:
    """Run commands in another process, which must respect permissions even if the tests are run by root.

    Return the exit code, the output and the errors of each.
    """
    done = subprocess.run(
        [sys.executable, "-c", _RUN_ALL, *commands],
        env=child_environment(), capture_output=True, text=True, check=True, preexec_fn=_drop_privileges,
    )  # fmt: skip
    return [(code, output, errors) for code, output, errors in json.loads(done.stdout)]


def _drop_privileges() -> None:
    """Give up, for the program that is run next, root's right to read, write and search everywhere."""
    bounding_set_drop, dac_override, dac_read_search = 24, 1, 2
    for capability in (dac_override, dac_read_search):
        ctypes.CDLL(None).prctl(bounding_set_drop, capability, 0, 0, 0)


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Wait until the process has written a file."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{path} did not appear in {seconds} s"
        time.sleep(0.002)
