"""Every message of ppopt uses the singular for counts of one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import ppopt
from ppopt.commands.cli import cli
from solver.counted import counted
from strategies.model.placements import make_placement

SMALLEST = ["--devices", "1", "--microbatches", "1"]
LAYERS = """
devices: 1
microbatches: 1
layers:
  - {name: decoder, count: 1, forward: 1, backward: 2, activation: 1, static: 1, recompute: 1}
memory: {limit: 9}
"""
NOUNS = (
    "device stage microbatche layer operation action plan limit schedule entrie boundarie core processe step time "
    "fault transfer row file group hop cell"
)
SINGULAR = re.compile(rf"(?<![\d.,×:])\b1 (?:[a-z]+ )?(?:{NOUNS.replace(' ', '|')})s\b")


def assert_singular(text: str) -> None:
    assert not (found := SINGULAR.search(text)), text[max(0, found.start() - 60) : found.end() + 20]


def test_a_plural_is_found() -> None:
    for text in ("1 devices", "of 1 microbatches", "1 decoder layers", "over 1 stages."):
        with pytest.raises(AssertionError):
            assert_singular(text)
    for text in ("1 device", "21 devices", "0.1 stages", "1 per device", "2 of 1,001 stages"):
        assert_singular(text)


@pytest.mark.parametrize(
    ("count", "what", "text"),
    [
        (1, "device", "1 device"),
        (0, "device", "0 devices"),
        (2, "microbatch", "2 microbatches"),
        (1, "microbatch", "1 microbatch"),
        (20_000, "operation", "20,000 operations"),
        (2, "process", "2 processes"),
        (3, "entry", "3 entries"),
        (1, "boundary", "1 boundary"),
    ],
)
def test_a_number_and_its_noun(count: int, what: str, text: str) -> None:
    assert counted(count, what) == text


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "1f1b", "zb-v", "--report", "page.html", *SMALLEST],
        ["evaluate", "1f1b", "zb-h1", "--stages", "1", "--noise", "0.1", "--samples", "1", *SMALLEST],
        ["optimize", "--explain", *SMALLEST],
        ["optimize", "--explain", "--noise", "0.1", "--robust", "--time-limit", "0.5", *SMALLEST],
        ["compare", "--time-limit", "0.5", "--report", "page.html", "--memory-limit", "1", *SMALLEST],
        ["compare", "--strategies", "gpipe", "--no-optimize", "--report", "page.html", *SMALLEST, "--memory-limit=1"],
        ["frontier", "--limits", "1", "--time-limit", "0.5", "--report", "page.html", *SMALLEST],
        ["plan", "1f1b", "-c", "layers.yaml", "--report", "page.html", "--stages-per-device", "1"],
        ["plan", "zb-v", "-c", "layers.yaml", "--stages-per-device", "1"],
        ["plan", "1f1b", "-c", "layers.yaml", "--memory-limit", "0.5"],
        ["evaluate", "interleaved:stages=3", "--devices", "1", "--microbatches", "1", "--stages", "2"],
        ["evaluate", "1f1b", "--time", "forward.1=2", *SMALLEST, "--stages", "1"],
        ["check", "one.csv", "--communicators"],
        ["evaluate", "one.csv"],
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)  # fmt: skip
def test_commands_count_one_in_the_singular(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("layers.yaml").write_text(LAYERS)
    Path("one.csv").write_text("0F0,0B0\n")
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.output
    assert_singular(result.output)
    for page in tmp_path.glob("*.html"):
        body = page.read_text().partition("<body")[2]
        assert_singular(re.sub(r"<script.*?</script>", "", body, flags=re.DOTALL))


@pytest.mark.parametrize(
    "mapping",
    [
        {"devices": 1, "microbatches": 1, "stages": 1, "times": {"forward": [1, 2], "backward": 2}},
        {"devices": 1, "microbatches": 1, "memory": {"limit": [1, 2]}},
        {"devices": 1, "microbatches": 1, "stages": 2, "communication": {"latency": [1, 2]}},
        {"devices": 1, "microbatches": 1, "communication": {"devices_per_node": 2}},
        {"devices": 1, "microbatches": 1, "layers_per_stage": [2], "layers": [{"name": "t", "forward": 1}]},
        {"devices": 1, "microbatches": 1, "stages": 1, "layers": [{"name": "t", "earliest_stage": 1}]},
    ],
    ids=lambda mapping: " ".join(list(mapping)[2:]),
)  # fmt: skip
def test_mistakes_count_one_in_the_singular(mapping: dict[str, object]) -> None:
    with pytest.raises(ppopt.InputError) as refused:
        ppopt.Pipeline.from_mapping(mapping)
    assert_singular(str(refused.value))


def test_what_python_shows_counts_one_in_the_singular() -> None:
    pipeline = ppopt.Pipeline.from_mapping({"devices": 1, "microbatches": 1})
    assert_singular(repr(ppopt.evaluate(pipeline, "1f1b")))
    assert_singular(repr(ppopt.compare(pipeline, ["1f1b"], optimize=False)))
    assert_singular(repr(ppopt.frontier(pipeline, limits=[1], time_limit=0)))
    with pytest.raises(ppopt.InputError) as refused:
        make_placement("linear", 1, 2, 1)
    assert_singular(str(refused.value))
