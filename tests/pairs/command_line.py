"""The same judgement on the command line: exit status, no traceback, and consistent output."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from ppopt.commands.cli import cli
from tests.pairs.drawn_models import Model

ARGUMENTS = {
    "evaluate": ["evaluate", "1f1b", "zb-h1", "interleaved-overlap", "zb-v", "dualpipe-v"],
    "optimize": ["optimize", "--placement", "linear", "--workers", "1", "--time-limit", "0.5"],
    "compare": ["compare", "--placement", "linear", "--workers", "1", "--time-limit", "0.5"],
    "plan": ["plan", "1f1b", "zb-h1", "--stages-per-device", "1", "--workers", "1", "--time-limit", "0.5"],
    "frontier": ["frontier", "--placement", "linear", "--points", "3", "--workers", "1", "--time-limit", "0.7"],
    "sweep": ["sweep", "--jobs", "1", "--time-limit", "0.3"],
}

MEANINGS = {
    "evaluate": {0, 2},
    "optimize": {0, 3},
    "compare": {0, 3},
    "plan": {0, 2, 3, 4},
    "frontier": {0},
    "sweep": {0, 1},
}
"""The allowed exit statuses on a valid model; 2 is for schedules that cannot run, and for plans of stages."""


def command_line_faults(command: str, model: Model) -> Iterator[str]:
    """Run a command in this process as the command line would, and yield its faults."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        if command == "sweep":
            runs: list[Any] = ["1f1b", "zb-v", {"optimize": "linear"}]
            base = {"base": model.mapping, "axes": {"microbatches": [2]}, "run": runs}
            file.write_text(json.dumps(base))
            arguments = ["sweep", str(file), *ARGUMENTS["sweep"][1:], "--format", "json"]
        else:
            file.write_text(json.dumps(model.mapping))
            arguments = [*ARGUMENTS[command], "-c", str(file), "--format", "json"]
        result = CliRunner().invoke(cli, arguments)
    shown = f"ppopt {' '.join(arguments)}"
    for fault in _faults(command, model, result):
        yield f"{shown}: {fault}"


def _faults(command: str, model: Model, result: Result) -> Iterator[str]:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        yield f"traceback: {type(result.exception).__name__}: {result.exception}"
        return
    if result.exit_code not in MEANINGS[command]:
        yield f"exit status {result.exit_code}: {result.stderr.strip()}"
        return
    if command == "plan" and (result.exit_code == 2) != ("layers" not in model.mapping):
        yield f"exit status {result.exit_code}: {result.stderr.strip()}"
    if result.exit_code and not result.stderr.strip() and command != "sweep":
        yield f"exit status {result.exit_code} without a word"
    if result.stdout:
        yield from _disagreements(json.loads(result.stdout))


def _disagreements(shown: Any) -> Iterator[str]:
    """Find any bound above the makespan next to it; schedules over the memory limit have no bound."""
    if isinstance(shown, list):
        for each in shown:
            yield from _disagreements(each)
    if not isinstance(shown, dict):
        return
    makespan, bound = shown.get("makespan"), shown.get("bound")
    fits = not shown.get("over_memory_limit") and shown.get("fits", True)
    if makespan is not None and bound is not None and fits and bound > makespan:
        yield f"the bound {bound!r} is above the makespan {makespan!r}"
    for each in shown.values():
        yield from _disagreements(each)
