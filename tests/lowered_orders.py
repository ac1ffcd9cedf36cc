"""Golden data of communication, and lowered orders for tests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import ppopt
from ppopt import Schedule
from solver.problem import Block
from solver.programs import Compute, End, Instruction, Post, Transfer, Wait
from strategies.lowering.as_program import LoweredPrograms, as_programs
from strategies.lowering.by_time import lower_by_time
from strategies.lowering.transfers import Crossings, end_of, receive, send
from strategies.model.actions import Op, PipelineAction
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import Aside, Token, parse_token
from tests.conftest import DATA

TIMES = {"forward": 1, "backward": 2, "backward_input": 1, "backward_weight": 1}


@cache
def golden() -> dict[str, Any]:
    return json.loads((DATA / "communication.json").read_text())


def evaluated_with_transfers(schedule: str, devices: int, stages: int, microbatches: int, transfer: float) -> Schedule:
    sizes = {"devices": devices, "stages": stages, "microbatches": microbatches}
    costs = ppopt.Pipeline.from_mapping({**sizes, "times": TIMES, "p2p_latency": transfer})
    return ppopt.evaluate(costs, schedule, engine="graph")


def ends_of(schedule: Schedule) -> dict[PipelineAction, int]:
    """Return the end of each action of a schedule."""
    ends = {row.task: row.end for row in schedule.rows}
    actions = (action for order in schedule.actions for action in order)
    return {action: ends[action.first if isinstance(action, Block) else action] for action in actions}


def lowered_by_time(schedule: Schedule) -> list[list[Token]]:
    return lower_by_time(schedule.actions, schedule.layout, ends_of(schedule))


def programs_of(schedule: Schedule, rows: Sequence[Sequence[Token]], transfer: float) -> LoweredPrograms:
    ticks = Fraction(str(transfer)) * schedule.problem.ticks_per_unit
    return as_programs(rows, schedule.layout, schedule.problem.duration, lambda _: (int(ticks), 0))


def late(orders: Sequence[Sequence[PipelineAction]], placement: Placement) -> list[list[Token]]:
    """Place receives right before their use and sends right after their producer: the first patch of pytorch#172668."""
    crossings = Crossings(placement)
    return [[token for action in order for token in _late(action, crossings)] for order in orders]


def _late(action: PipelineAction, crossings: Crossings) -> list[Token]:
    receives = [receive(transfer) for transfer in crossings.consumed(action)]
    return [*receives, action, *(send(transfer) for transfer in crossings.produced(action))]


def program_row(row: Mapping[str, Any]) -> tuple[list[list[Instruction]], dict[Op, Transfer]]:
    """Read a framework's program from the golden data, with one tick for a transfer and twenty for F."""
    homes: dict[Op, dict[bool, int]] = {}
    programs: list[list[Instruction]] = []
    for device, lines in enumerate(row["instructions"]):
        programs.append([_instruction(line) for line in lines])
        for instruction in programs[-1]:
            for end in instruction.ends if isinstance(instruction, Post) else ():
                homes.setdefault(end.transfer, {})[end.is_send] = device
    return programs, {key: Transfer(sides[True], sides[False], 1) for key, sides in homes.items()}


def _instruction(line: str) -> Instruction:
    letter, *names = line.split(" ")
    if letter == "C":
        kinds = re.findall(r"\d([FBIW])\d", names[0])
        return Compute(names[0], sum({"F": 20, "B": 40, "I": 20, "W": 20}[kind] for kind in kinds))
    if letter == "W":
        return Wait(int(names[0]))
    return Post(tuple(_end(name) for name in names))


def _end(name: str) -> End:
    token = parse_token(name)
    assert isinstance(token, Aside)
    end = end_of(token)
    assert end is not None
    return end
