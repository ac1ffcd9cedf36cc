"""The makespans measured with PP-Emulation: every row, with CP-SAT all but the largest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ppopt import Pipeline
from tests.conftest import DATA
from tests.evaluated import evaluated

ROWS = json.loads((DATA / "pp_emulation_makespans.json").read_text())
SIZES = ("devices", "stages", "microbatches")
ROWS_BY_STRATEGY = sorted({row["strategy"] for row in ROWS})
MOST_FOR_CPSAT = 512
"""Most forwards of a row for CP-SAT, which takes five times as long for the 122 larger rows as for all others."""


def costs_of(row: dict[str, Any]) -> Pipeline:
    times = {key: value for key, value in row.items() if key not in (*SIZES, "strategy", "makespan")}
    return Pipeline.from_mapping({**{size: row[size] for size in SIZES}, "times": times})


def forwards(row: dict[str, Any]) -> int:
    return int(row["stages"] * row["microbatches"])


def rows_for(strategy: str, engine: str) -> list[dict[str, Any]]:
    rows = sorted((row for row in ROWS if row["strategy"] == strategy), key=forwards)
    return rows if engine == "graph" else [row for row in rows if forwards(row) <= MOST_FOR_CPSAT]


def test_there_are_751_rows() -> None:
    assert len(ROWS) == 751
    assert sum(len(rows_for(strategy, "cpsat")) for strategy in ROWS_BY_STRATEGY) == 629


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["graph", "cpsat"])
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("strategy", ROWS_BY_STRATEGY)
def test_every_makespan_is_reproduced_exactly(strategy: str, part: int, engine: str) -> None:
    for row in rows_for(strategy, engine)[part::4]:
        makespan = evaluated(strategy, costs_of(row), engine).makespan
        # the golden values are sums of floats; ours is the exact sum of the decimals, rounded once
        assert makespan == round(row["makespan"], 6), row


@pytest.mark.parametrize(
    ("strategy", "devices", "microbatches", "stages", "overlapped", "makespan"),
    [
        ("1f1b", 4, 8, 4, 3, 33),
        ("1f1b", 8, 16, 8, 3, 69),
        ("zb1p", 4, 8, 4, 3, 27),
        ("zb1p", 8, 16, 8, 3, 55),
        ("interleaved", 4, 8, 8, 3, 57),
        ("interleaved", 8, 16, 16, 3, 117),
        ("dualpipe", 4, 10, 4, 3, 32),
        ("dualpipe", 8, 20, 8, 3, 66),
        ("dualpipe", 8, 32, 8, 3, 102),
        ("dualpipe-v", 4, 10, 8, 3, 66),
        ("dualpipe-v", 8, 20, 16, 3, 134),
        ("interleaved-overlap", 4, 16, 8, 2.5, 91.5),
        ("interleaved-overlap", 4, 16, 8, 3, 105),
    ],
)
@pytest.mark.parametrize("engine", ["graph", "cpsat"])
def test_published_makespans_in_unit_chunk_times(
    strategy: str, devices: int, microbatches: int, stages: int, overlapped: float, makespan: float, engine: str
) -> None:
    times = {"forward": 1, "backward_input": 1, "backward_weight": 1, "overlapped_forward_backward": overlapped}
    costs = Pipeline.from_mapping({"devices": devices, "stages": stages, "microbatches": microbatches, "times": times})
    assert evaluated(strategy, costs, engine).makespan == makespan
