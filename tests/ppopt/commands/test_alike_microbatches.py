"""Microbatches that are all as measured, written as a list, are their number in every command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.running import call_ppopt

MODEL = {"devices": 2, "times": {"forward": 1, "backward": 2, "attention": 0.25}, "tokens": 100, "p2p_latency": 0.1}
LAYERS = {"devices": 2, "tokens": 100, "layers": [{"name": "t", "count": 4, "forward": 1, "backward": 2}]}
LIST = [{"count": 2}, {"size": 1, "attention": 1}, {"documents": [100]}]

COMMANDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "evaluate": (MODEL, ["evaluate", "1f1b", "zb-h1", "dualpipe-v", "interleaved", "--noise", "0.1", "--draw"]),
    "evaluate --save": (MODEL, ["evaluate", "1f1b", "--save", "FILE.csv"]),
    "evaluate --trace": (MODEL, ["evaluate", "1f1b", "--trace", "FILE.json"]),
    "evaluate --export": (MODEL, ["evaluate", "1f1b", "--export", "FILE.csv"]),
    "compare": (MODEL, ["compare", "--strategies", "1f1b,zb-h1,zb-v", "--no-optimize", "--format", "json"]),
    "optimize": (MODEL, ["optimize", "--workers", "1", "--time-limit", "10", "--format", "json"]),
    "optimize --feed": (MODEL, ["optimize", "--feed", "1f1b", "--time-limit", "1"]),
    "plan": (LAYERS, ["plan", "1f1b", "--time-limit", "10", "--workers", "1", "--format", "json"]),
    "calibrate": (MODEL, ["calibrate", "--measured", "1f1b=20"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_list_is_the_number(name: str, tmp_path: Path) -> None:
    mapping, arguments = COMMANDS[name]
    said = []
    for place, microbatches in enumerate((4, LIST)):
        config = tmp_path / "config.json"
        config.write_text(json.dumps(mapping | {"microbatches": microbatches}))
        files = [each.replace("FILE", str(tmp_path / f"{place}")) for each in arguments]
        done = call_ppopt(*files, "-c", str(config))
        assert done.returncode == 0, done.stderr
        written = [path.read_text() for path in sorted(tmp_path.glob(f"{place}.*"))]
        text = re.sub(r"[0-9.]+ s\b|\"seconds\": [0-9.e-]+|/[01]\.(csv|json)", "", done.stdout)
        said.append((text, written))
    assert said[0] == said[1]


def test_a_sweep_of_both_gives_the_same(tmp_path: Path) -> None:
    grid = tmp_path / "grid.json"
    axes = {"microbatches": [4, LIST], "p2p_latency": [0, 0.5]}
    grid.write_text(json.dumps({"base": MODEL | {"microbatches": 1}, "axes": axes, "run": ["1f1b", "zb-h1"]}))
    done = call_ppopt("sweep", str(grid), "--format", "json", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    rows = rows["rows"] if isinstance(rows, dict) else rows
    figures = [(row["p2p_latency"], row["strategy"], row["makespan"], row["bound"]) for row in rows]
    assert figures[: len(figures) // 2] == figures[len(figures) // 2 :]
    assert len(figures) == 8
