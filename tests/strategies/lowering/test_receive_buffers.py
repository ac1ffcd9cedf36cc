"""How many receive buffers a device holds: pytorch#196465's tables, and intervals counted apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest

import ppopt
from strategies.lowering.as_program import as_programs, moves_at_once, unit_durations
from strategies.lowering.as_pytorch import lower_as_pytorch
from strategies.lowering.receive_buffers import by_figure, receive_buffers
from strategies.order_files.schedule_file import Token
from tests.lowered_orders import TIMES, evaluated_with_transfers

TABLES = [
    ("zb-v", 8, [5, 14, 16, 8], [3, 11, 12, 7], (43, 33)),
    ("interleaved", 16, [22, 30, 28, 32], [14, 20, 17, 16], (112, 67)),
]
"""Schedule, stages on 4 ranks, each rank's slots with a pool for each stage and direction, with a single pool, sums."""


def lowered(name: str, devices: int, stages: int, microbatches: int, *, deferred: bool = False) -> Any:
    schedule = evaluated_with_transfers(name, devices, stages, microbatches, 0)
    return schedule, lower_as_pytorch(schedule.actions, schedule.layout, deferred=deferred)


def counted(rows: Sequence[Sequence[Token]], schedule: ppopt.Schedule) -> dict[str, Any]:
    return dict(
        by_figure(
            receive_buffers(
                as_programs(rows, schedule.layout, unit_durations, moves_at_once),
                schedule.layout,
                lambda _: Fraction(3),
            )
        )
    )


@pytest.mark.parametrize(("name", "stages", "pooled", "held", "sums"), TABLES)
@pytest.mark.parametrize("microbatches", [8, 16, 32])
def test_the_tables_of_pytorch_196465(
    name: str, stages: int, pooled: list[int], held: list[int], sums: tuple[int, int], microbatches: int
) -> None:
    """Its tables are of PyTorch's own lowering without ``defer_pp_recv``, and do not depend on the microbatches."""
    schedule, rows = lowered(name, 4, stages, microbatches)
    found = counted(rows, schedule)
    assert found["pooled"] == pooled
    assert found["held"] == held
    assert (sum(pooled), sum(held)) == sums
    assert found["held_bytes"] == [3 * each for each in held]


def test_deferred_receives_need_fewer() -> None:
    schedule, rows = lowered("zb-v", 4, 8, 8, deferred=True)
    found = counted(rows, schedule)
    assert (sum(found["pooled"]), sum(found["held"])) == (39, 30)
    assert found["unused"] == [1, 1, 1, 1]


def most(intervals: list[tuple[int, int]]) -> int:
    return max((sum(start <= at <= end for start, end in intervals) for at, _ in intervals), default=0)


def intervals_of(row: Sequence[Token]) -> dict[str, list[int]]:
    """Count overlapping intervals of columns; cells are read as texts."""
    column = {
        half: place for place, token in enumerate(row) for half in str(token).strip("()").replace(")", ";").split(";")
    }
    unused: list[tuple[int, int]] = []
    pools: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for cell, at in column.items():
        if "RECV" not in cell:
            continue
        stage, rest = cell.split("RECV_")
        number = rest[1:]
        backward = column.get(f"{stage}B{number}", column.get(f"{stage}I{number}"))
        first = column[f"{stage}F{number}"] if rest[0] == "F" else backward
        assert first is not None
        unused.append((at, first))
        pools[stage + rest[0]].append((at, column.get(f"{stage}B{number}", column.get(f"{stage}W{number}", -1))))
    held = [each for pool in pools.values() for each in pool]
    return {"unused": [most(unused)], "held": [most(held)], "pooled": [sum(map(most, pools.values()))]}


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize(
    ("name", "stages"),
    [("gpipe", 3), ("1f1b", 3), ("zb-h1", 3), ("interleaved", 6), ("zb-v", 6), ("dualpipe-v", 6), ("looped-bfs", 6)],
)
def test_slots_are_the_most_intervals_that_overlap(name: str, stages: int, deferred: bool) -> None:
    schedule, rows = lowered(name, 3, stages, 7, deferred=deferred)
    found = counted(rows, schedule)
    for device, row in enumerate(rows):
        assert {key: [found[key][device]] for key in ("unused", "held", "pooled")} == intervals_of(row)


def costs(**more: Any) -> ppopt.Pipeline:
    return ppopt.Pipeline.from_mapping({"devices": 2, "stages": 2, "times": TIMES, "microbatches": 2, **more})


BYTES = {"bytes": 8, "bytes_backward": 2, "bandwidth": 4}


def test_json_has_them_where_sends_and_receives_are_placed() -> None:
    made = ppopt.evaluate(costs(p2p="rendezvous", lowering="pytorch", communication=BYTES), "gpipe").to_dict()
    assert made["receive_buffers"] == {
        "unused": [1, 1],  # both devices take turns, so each receive stands right before its use
        "held": [1, 2],
        "pooled": [1, 2],
        "unused_bytes": [2.0, 8.0],
        "held_bytes": [2.0, 16.0],
    }
    assert "unused_bytes" not in ppopt.evaluate(costs(p2p="rendezvous"), "gpipe").to_dict()["receive_buffers"]
    assert "receive_buffers" in ppopt.evaluate(costs(p2p="batched"), "1f1b").to_dict()
    for more in ({}, {"p2p": "links", "communication": {"transfer": 1}}):
        assert "receive_buffers" not in ppopt.evaluate(costs(**more), "gpipe").to_dict()


def test_a_larger_microbatch_takes_more_bytes() -> None:
    sizes = [{"size": 1}, {"size": 3}]
    made = ppopt.evaluate(
        costs(p2p="rendezvous", lowering="pytorch", communication=BYTES, microbatches=sizes), "gpipe"
    ).to_dict()
    assert made["receive_buffers"]["held_bytes"] == [6, 8 + 24]


def test_one_device_receives_nothing() -> None:
    made = ppopt.evaluate(costs(devices=1, stages=1, p2p="rendezvous"), "gpipe").to_dict()
    assert made["receive_buffers"] == {
        "unused": [0], "held": [0], "pooled": [0], "unused_bytes": [0.0], "held_bytes": [0.0]
    }  # fmt: skip
