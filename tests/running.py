"""Runs ppopt as a user does, in its own process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_ppopt(*arguments: str, cwd: Path | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ppopt", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False, **more)


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
