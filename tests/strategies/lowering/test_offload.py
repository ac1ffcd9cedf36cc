"""`OFFLOAD` and `RELOAD` in an order: sail-sg's scheduler and PipeOffload's figure 1, in a replay of their own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Any

import pytest

import ppopt
from ppopt import InputError, Pipeline
from strategies.lowering.offload import most_in_flight, with_offload
from strategies.lowering.offload_in_turns import slots_of, with_copies_in_turns
from strategies.model.actions import Op, parse_action
from strategies.order_files.schedule_file import Aside, Token
from tests.conftest import DATA
from tests.evaluated import UNIT, evaluated

GOLDEN = json.loads((DATA / "offload.json").read_text())
ROWS = GOLDEN["golden_sail_scheduler"]["rows"]
FIGURE = GOLDEN["replay"]["rows"][1:]
ALONG_THE_ORDER = {"F": 1, "RELOAD": 1, "B": -1, "W": -1, "RELEASE": -1}


def costs(devices: int, chunks: int, microbatches: int, times: dict[str, float] = UNIT) -> Pipeline:
    sizes = {"devices": devices, "stages": devices * chunks, "microbatches": microbatches}
    return Pipeline.from_mapping({**sizes, "times": times})


def of_row(row: dict[str, Any]) -> tuple[Pipeline, list[list[Token]], float]:
    pipeline, copy = costs(row["devices"], row["chunks"], row["microbatches"]), round(3 * row["k"] / 2, 2)
    return pipeline, with_copies_in_turns(pipeline, range(row["offloaded_chunks"] * row["devices"]), copy), copy


def every(_: Op) -> bool:
    return True


def of_stage(stage: int) -> Callable[[Op], bool]:
    return lambda op: op.stage == stage


def computing(row: Sequence[Token]) -> list[Token]:
    return [token for token in row if isinstance(token, Op)]


class Replay:
    """A replay of F = I = W = 1, B = 2 with copies, each as early as its order, its inputs and its stream allow."""

    def __init__(self, rows: Sequence[Sequence[Token]], stages: int, copy: Fraction, one_stream: bool = False) -> None:
        self.stages, self.copy, self.one_stream = stages, copy, one_stream
        self.free = [Fraction(0)] * len(rows)
        self.ends: dict[tuple[int, str, int], Fraction] = {}
        self.streams: defaultdict[tuple[int, str], Fraction] = defaultdict(Fraction)
        self.changes: list[list[tuple[Fraction, int]]] = [[] for _ in rows]
        self.released = {token[::2] for row in rows for token in row if token[1] == "RELEASE"}
        left = [list(row[::-1]) for row in rows]
        while any(left):
            runnable = [device for device, row in enumerate(left) if row and self._needs(row[-1]) <= self.ends.keys()]
            assert runnable, "circle of waiting"
            for device in runnable:
                self._run(device, left[device].pop())

    @property
    def makespan(self) -> Fraction:
        return max(self.free)

    @property
    def peaks(self) -> list[int]:
        return [max(accumulate(change for _, change in sorted(each))) for each in self.changes]

    def _needs(self, token: Any) -> set[tuple[int, str, int]]:
        stage, kind, microbatch = token
        back = [(stage + 1, kind)] if stage < self.stages - 1 else [(stage, "F")]
        if (stage, "OFFLOAD", microbatch) in self.ends:
            back.append((stage, "RELOAD"))
        needs = {
            "F": [(stage - 1, "F")] if stage else [],
            "B": back,
            "I": back,
            "W": [(stage, "I")],
            "OFFLOAD": [],
            "RELEASE": [(stage, "OFFLOAD")],
            "RELOAD": [(stage, "OFFLOAD")],
        }
        return {(*each, microbatch) for each in needs[kind]}

    def _run(self, device: int, token: Any) -> None:
        stage, kind, microbatch = token
        start = max([self.free[device], *(self.ends[each] for each in self._needs(token))])
        if kind in ("OFFLOAD", "RELOAD"):
            stream = device, "" if self.one_stream else kind
            start = max(start, self.streams[stream])
            end = self.streams[stream] = start + self.copy
        else:
            end = self.free[device] = start + {"RELEASE": 0, "B": 2}.get(kind, 1)
        self.ends[token] = end
        if kind in ("F", "RELOAD"):
            self.changes[device].append((start, 1))
        elif kind in ("B", "W", "RELEASE") or (kind == "OFFLOAD" and (stage, microbatch) not in self.released):
            self.changes[device].append((end, -1))


@pytest.mark.exhaustive(7)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(str(row[key]) for key in list(row)[:5]))
def test_copies_are_where_sail_sgs_scheduler_puts_them(row: dict[str, Any]) -> None:
    pipeline, rows, copy = of_row(row)
    made = ppopt.evaluate(pipeline, "pipeoffload", engine="graph")
    assert [list(map(str, computing(each))) for each in rows] == [list(order) for order in made.orders]
    assert list(made.peak_memory) == row["peak_before"]
    assert max(slots[-1][0] + 1 for slots in slots_of(pipeline)) == row["length_slots"]
    held = [accumulate(ALONG_THE_ORDER.get(token.kind, 0) for token in each) for each in rows]  # type: ignore[union-attr]
    assert [max(each) for each in held] == row["peak_after"]
    assert Replay(rows, pipeline.stages, Fraction(str(copy))).peaks == row["peak_after"]


def test_pipeoffload_is_interleaving_in_groups_of_one() -> None:
    for devices, microbatches in ((1, 3), (3, 7), (4, 1)):
        pipeline = costs(devices, 3, microbatches, {"forward": 2, "backward_input": 3, "backward_weight": 1})
        assert evaluated("pipeoffload", pipeline).orders == evaluated("interleaved-group:group_size=1", pipeline).orders


@pytest.mark.parametrize("devices", [1, 5, 6])
def test_every_copy_stands_between_its_forward_and_its_backward(devices: int) -> None:
    pipeline = costs(devices, 4, 20)
    found = 0
    for row in with_copies_in_turns(pipeline, {0, 1, devices, devices + 1}, 0.5):
        at = {str(token): place for place, token in enumerate(row)}
        for stage, kind, microbatch in row:  # type: ignore[misc]
            if kind == "OFFLOAD":
                found += 1
                along = ("F", "OFFLOAD", "RELEASE", "RELOAD", "I")
                assert [at[f"{stage}{each}{microbatch}"] for each in along] == sorted(
                    at[f"{stage}{each}{microbatch}"] for each in along
                )
    assert found >= 20


def test_copies_that_take_too_long_are_an_error() -> None:
    with pytest.raises(InputError, match=r"^pipeoffload: no time to reload \d+I\d+; offload fewer stages, or copy fas"):
        with_copies_in_turns(costs(8, 4, 32), range(32), 2.4)


@pytest.mark.parametrize(("k", "lost", "peaks"), FIGURE)
def test_figure_one_of_pipeoffload(k: float, lost: float, peaks: list[int]) -> None:
    made = evaluated("1f1b", costs(8, 1, 32, {"forward": 1, "backward": 2}))
    rows = [with_offload([parse_action(text) for text in order], every) for order in made.orders]
    replay = Replay(rows, 8, Fraction(str(k)) * 3 / 2, one_stream=True)
    assert replay.peaks == peaks
    assert round(100 * (1 - float(Fraction(made.makespan) / replay.makespan)), 1) == lost


ORDER = ("0F0", "0F1", "4F0", "4B0", "0F2", "0I0", "0I1", "0W0", "0I2", "0W1", "0W2")


def test_copies_stand_right_behind_the_forward_and_a_lead_before_the_backward() -> None:
    order = [Op(int(stage), kind, int(microbatch)) for stage, kind, microbatch in ORDER]
    lowered = with_offload(order, of_stage(0), lead=3)
    assert " ".join(map(str, lowered)) == (
        "0F0 0OFFLOAD0 0F1 0OFFLOAD1 0RELOAD0 4F0 0RELOAD1 4B0 0F2 0OFFLOAD2 0RELOAD2 0I0 0I1 0W0 0I2 0W1 0W2"
    )
    assert with_offload(order, of_stage(0), least_in_flight=4) == order
    assert with_offload(order, of_stage(4), lead=9)[2:6] == [
        order[2],
        Aside(4, "OFFLOAD", 0),
        Aside(4, "RELOAD", 0),
        order[3],
    ]
    assert with_offload([], every) == []


def test_a_block_counts_its_forward_before_its_backward_ends() -> None:
    order = [parse_action(text) for text in ("0F0", "0F1", "(0F2;0B0)OVERLAP_F_B", "0B1", "0B2")]
    assert most_in_flight(order) == 3
    assert " ".join(map(str, with_offload(order, of_stage(0)))) == (
        "0F0 0OFFLOAD0 0RELOAD0 0F1 0OFFLOAD1 0RELOAD1 (0F2;0B0)OVERLAP_F_B 0OFFLOAD2 0RELOAD2 0B1 0B2"
    )
