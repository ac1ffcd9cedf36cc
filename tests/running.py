"""Runs ppopt's commands: as a user does, in a process of its own, or faster within this one."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from ppopt.commands.cli import cli


def run_ppopt(*arguments: str, cwd: Path | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ppopt", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False, **more)


def call_ppopt(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command within this process, which saves the second that a process takes to start.

    Tests of the process itself (signals, pipes, start-up) use ``run_ppopt``.
    """
    with contextlib.chdir(cwd or Path.cwd()):
        result = CliRunner().invoke(cli, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


_PRESSED = """
import os, re, signal, sys, threading
from ppopt.commands.cli import main
from ppopt.commands.progress_line import ProgressLine

after, told, *arguments = sys.argv[1:]
pressed = []

def press():
    if not pressed:
        pressed.append(True)
        threading.Timer(float(after), os.kill, (os.getpid(), signal.SIGINT)).start()

def show(line, standing):
    if not told:
        press()

def say(line, text):
    if told and re.match(told, text):
        press()

ProgressLine.show, ProgressLine.say = show, say
sys.argv = ["ppopt", *arguments]
main()
"""


def interrupted(*arguments: str, told: str = "", after: float = 0.2, **more: Any) -> subprocess.CompletedProcess[str]:
    """Press Ctrl-C ``after`` seconds after a search reports its first result, or after its progress contains ``told``.

    So the interrupted step depends neither on the machine's load nor on the start-up time of ppopt.
    """
    return subprocess.run(
        [sys.executable, "-c", _PRESSED, str(after), told, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=allow_ctrl_c,
        **more,
    )


def allow_ctrl_c() -> None:
    """Restore SIGINT, which a shell makes all its background processes ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
