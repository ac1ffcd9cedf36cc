"""Every verdict made from estimates says so; figures are those of the same costs without a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import ppopt
from tests.running import call_ppopt

LAYERS = [
    {"name": "embedding", "forward": 0.1, "backward": 0.2, "static": 1, "latest_stage": 0},
    {"name": "decoder", "count": 6, "forward": 1, "backward": 2, "activation": 1, "static": 1},
    {"name": "head", "forward": 1.2, "backward": 2.4, "static": 1, "earliest_stage": -1},
]
COSTS: dict[str, Any] = {"devices": 2, "microbatches": 4, "unit": "ms", "layers": LAYERS}
COMMANDS = {
    "evaluate": ("evaluate", "1f1b", "gpipe"),
    "compare": ("compare", "--strategies", "1f1b,gpipe", "--time-limit", "4"),
    "optimize": ("optimize", "--placement", "linear", "--time-limit", "2", "--explain"),
    "plan": ("plan", "1f1b", "--time-limit", "3"),
    "frontier": ("frontier", "--placement", "linear", "--points", "2", "--time-limit", "0"),
}


def printed(folder: Path, name: str, source: str | None) -> str:
    file = folder / f"{source}.yaml"
    file.write_text(yaml.safe_dump(COSTS | ({"source": source} if source else {})))
    result = call_ppopt(*COMMANDS[name], "-c", str(file))
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_verdicts_on_estimates_say_so(name: str, tmp_path: Path) -> None:
    assert "on estimated costs" in printed(tmp_path, name, "estimated").lower()
    assert "estimated" not in printed(tmp_path, name, "measured")


def test_pages_say_so(tmp_path: Path) -> None:
    file, page = tmp_path / "costs.yaml", tmp_path / "page.html"
    file.write_text(yaml.safe_dump(COSTS | {"source": "estimated", "memory": {"unit": "GB", "limit": 40}}))
    for name in ("compare", "plan"):
        assert call_ppopt(*COMMANDS[name], "-c", str(file), "--report", str(page)).returncode == 0
        assert "On estimated costs, " in page.read_text()


def test_frontiers_say_so_in_a_notebook_and_on_a_slide() -> None:
    for source, said in (("estimated", True), ("measured", False)):
        pipeline = ppopt.Pipeline.from_mapping(COSTS | {"source": source})
        found = ppopt.frontier(pipeline, placement="linear", points=2, time_limit=0)
        for text in (found.sentence, found._repr_html_(), json.dumps(found.slide().to_dict())):
            assert ("On estimated costs, " in text) == said


def test_sweeps_say_so(tmp_path: Path) -> None:
    grid, page = tmp_path / "grid.yaml", tmp_path / "page.html"
    base = {"devices": 2, "microbatches": 4, "times": {"forward": 1, "backward": 2}, "source": "estimated"}
    grid.write_text(yaml.safe_dump({"base": base, "axes": {"microbatches": [4, 8]}, "run": ["1f1b", "gpipe"]}))
    assert call_ppopt("sweep", str(grid), "--jobs", "1", "--report", str(page)).returncode == 0
    assert "On estimated costs, 1f1b wins" in page.read_text()


def test_the_source_and_the_tokens_of_a_microbatch_are_kept_and_change_nothing() -> None:
    more = {"source": "estimated", "tokens": 8192}
    plain, estimated = (ppopt.Pipeline.from_mapping(COSTS | each) for each in ({}, more))
    assert estimated.to_mapping() == plain.to_mapping() | more
    assert ppopt.Pipeline.from_mapping(json.loads(json.dumps(estimated.to_mapping()))) == estimated
    assert ppopt.evaluate(estimated, "1f1b").makespan == ppopt.evaluate(plain, "1f1b").makespan
    with pytest.raises(ppopt.InputError, match="source: must be one of estimated, measured; found 'guessed'"):
        ppopt.Pipeline.from_mapping(COSTS | {"source": "guessed"})
    with pytest.raises(ppopt.InputError, match="tokens: must be a whole number of at least 1; found 0"):
        ppopt.Pipeline.from_mapping(COSTS | {"tokens": 0})
