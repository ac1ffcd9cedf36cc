"""A file holds an order, not a framework's program: what differs is said where it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import Pipeline

BATCHED = {"p2p": "batched"}
OVERLAPPED = {"p2p": "rendezvous", "lowering": "megatron"}


def read_back(name: str, folder: Path, **more: Any) -> tuple[ppopt.Schedule, ppopt.Schedule, list[str]]:
    mapping = {"devices": 4, "microbatches": 8, "times": {"forward": 10, "backward": 20}}
    pipeline = Pipeline.from_mapping(mapping | {"communication": {"transfer": 3}} | more)
    named = ppopt.evaluate(pipeline, name)
    file = folder / "order.csv"
    ppopt.export(named, file)
    read = ppopt.evaluate(pipeline, file)
    return named, read, [note for note in read.notes if "is the order of" in note]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("1f1b", BATCHED),
        ("interleaved", BATCHED),
        ("interleaved:group_size=8", OVERLAPPED),
        ("dualpipe-v", BATCHED | {"microbatches": 10}),
    ],
)
def test_a_file_names_the_schedule_whose_program_it_does_not_run(
    name: str, rule: dict[str, Any], tmp_path: Path
) -> None:
    named, read, told = read_back(name, tmp_path, **rule)
    (note,) = told
    asked = next(f"{key}: {rule[key]}" for key in ("lowering", "p2p") if key in rule)
    assert f"is the order of {name}, which {asked} runs as {named.placed_by} does" in note
    assert read.placed_by == "time"


@pytest.mark.parametrize(("name", "rule"), [("zb-h1", BATCHED), ("1f1b", {"p2p": "rendezvous"}), ("1f1b", {})])
def test_a_file_that_no_program_could_run_is_replayed_as_its_schedule(
    name: str, rule: dict[str, Any], tmp_path: Path
) -> None:
    named, read, told = read_back(name, tmp_path, **rule)
    assert told == []
    assert (read.makespan, read.peak_memory) == (named.makespan, named.peak_memory)
