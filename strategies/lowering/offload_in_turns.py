"""Places copies as PipeOffload's authors do: two devices share a link, and while one offloads, the other reloads."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from solver.errors import InputError
from strategies.model.actions import Op
from strategies.model.pipeline import Pipeline
from strategies.order_files.schedule_file import Aside, Token
from strategies.rules.groups_in_slots import groups_in_slots, latest_delay

ALONE = 0.7
"""The time of a copy while nothing is reloaded yet, relative to one that shares the link."""

SHORTEST = 1 / 64
"""The shortest turn that is planned, in slots; copies that take less, or no time, get such turns."""

Slots = list[tuple[float, Op]]
"""The operations of a device, each with its start; all last 1."""


class Copy(NamedTuple):
    """An offload or a reload in the timetable.

    Attributes
    ----------
    turn : int
        The turn of its device: offloads have even ones, reloads odd ones.
    start, end : float
        When it is planned to start and to end, in slots.
    """

    turn: int
    start: float
    end: float


def with_copies_in_turns(pipeline: Pipeline, stages: Container[int], copy: float) -> list[list[Token]]:
    """Return PipeOffload's order of each device with `OFFLOAD`, `RELEASE` and `RELOAD`.

    The authors' timetable gives each operation a slot. On each pair of devices copies take turns of equal length, in
    which one device may offload and the other reload. A forward is offloaded in the first free turn after it, a
    backward's activation comes in the last free turn that ends a slot before it. At `RELEASE` a device waits for the
    end of an offload, and gives its memory back. Ties are common, and decided by the last bit of a float, as there.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, cut into PipeOffload's stages.
    stages : container of int
        The stages whose activations are offloaded.
    copy : float
        The time of a copy in slots.

    Raises
    ------
    InputError
        If a reload would have to start before its offload has ended.
    """
    rows = _late_forwards(slots_of(pipeline))
    lowered: list[list[Token]] = []
    for first in range(0, len(rows), 2):
        pair = rows[first : first + 2]
        origin = pair[0][0][0] + 1
        plans = [_turns(row, stages, copy, origin + place * copy) for place, row in enumerate(pair)]
        _hurry(pair, plans, copy * ALONE)
        lowered += [list(_placed(row, plan)) for row, plan in zip(pair, plans, strict=True)]
    return lowered


def copies_in_turns(pipeline: Pipeline) -> list[list[Token]]:
    """Return PipeOffload's order with the copies that a pipeline asks for.

    A slot is a third of F, I and W of the longest stage, and a turn the mean of the longest offload and reload.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, cut into PipeOffload's stages, with ``offload``.

    Raises
    ------
    InputError
        As `with_copies_in_turns`.
    """
    slot = max(each.forward + each.backward_input + each.backward_weight for each in pipeline.costs) / 3
    turn = max(each.offload + each.reload for each in pipeline.side_costs) / 2
    stages = {stage for stage, each in enumerate(pipeline.side_costs) if each.share}
    return with_copies_in_turns(pipeline, stages, max(float(turn / slot), SHORTEST))


def slots_of(pipeline: Pipeline) -> list[Slots]:
    """Return the authors' timetable of computing, which leaves each device as much time before it as fits."""
    delay = latest_delay(pipeline, group=1)
    return [
        [(float(slot + min(device, delay)), op) for slot, op in groups_in_slots(pipeline, device, group=1)]
        for device in range(pipeline.devices)
    ]


def _late_forwards(rows: Sequence[Slots]) -> list[Slots]:
    """Postpone what follows the first microbatch in the warm-up as far as its users and the first backward allow."""
    starts = {op: start for row in rows for start, op in row}
    for row in reversed(rows):
        first = next(place for place, (_, op) in enumerate(row) if op.kind != "F")
        latest = row[first][0] - 1
        top = max(op.stage for _, op in row)
        for start, op in reversed(row[:first]):
            if (op.stage, op.microbatch) == (top, 0):
                break
            latest = starts[op] = max(start, min(starts[op._replace(stage=op.stage + 1)], latest) - 1)
    return [[(starts[op], op) for _, op in row] for row in rows]


def _turns(row: Slots, stages: Container[int], copy: float, origin: float) -> dict[tuple[str, Op], Copy]:
    """Give each offload the first free turn after its forward, each reload the last one before its backward."""
    ended = {(op.stage, op.microbatch): start + 1 for start, op in row if op.kind == "F" and op.stage in stages}
    backwards = [(start, op) for start, op in row if op.kind == "I" and op.stage in stages]
    long = {op[::2] for start, op in backwards if start - 1 - ended[op[::2]] > (copy + copy) * 3}
    plan: dict[tuple[str, Op], Copy] = {}
    now, turn = origin, 0
    for start, op in row:
        if op.kind == "F" and op[::2] in long:
            while now < start + 1:
                now, turn = now + 2 * copy, turn + 2
            plan["OFFLOAD", op] = Copy(turn, now, now + copy)
            now, turn = now + 2 * copy, turn + 2
    while now < row[-1][0] + 1:
        now, turn = now + 2 * copy, turn + 2
    for start, op in reversed(backwards):
        if op[::2] in long:
            while now > start - 1:
                now, turn = now - 2 * copy, turn - 2
            if now - copy <= plan["OFFLOAD", op._replace(kind="F")].end:
                raise InputError(f"pipeoffload: no time to reload {op}; offload fewer stages, or copy faster")
            plan["RELOAD", op] = Copy(turn - 1, now - copy, now)
            now, turn = now - 2 * copy, turn - 2
    return plan


def _hurry(pair: Sequence[Slots], plans: Sequence[dict[tuple[str, Op], Copy]], alone: float) -> None:
    """Let the offloads of both devices before the first reload follow each other, each at its faster pace."""
    planned = sorted((each.turn + place, place, key) for place, plan in enumerate(plans) for key, each in plan.items())
    first_reload = next((turn for turn, _, (kind, _) in planned if kind == "RELOAD"), 0)
    starts = [{op: start for start, op in row} for row in pair]
    now = 0.0
    for turn, place, key in planned:
        if turn == first_reload:
            return
        now = max(now, starts[place][key[1]] + 1)
        plans[place][key] = Copy(plans[place][key].turn, now, now + alone)
        now += alone


def _placed(row: Slots, plan: dict[tuple[str, Op], Copy]) -> Iterator[Token]:
    """Put each copy before the computation in whose slot it starts, each release before the next that starts later."""
    starts = [start for start, _ in row]
    ends = [start + 1 for start in starts]
    copies: list[tuple[int, float, int, Aside]] = []
    for (kind, op), (_, start, end) in plan.items():
        place = bisect_right(ends, start)
        copies.append((place, start, 2 * (kind == "RELOAD"), Aside(op.stage, kind, op.microbatch)))
        if kind == "OFFLOAD":
            copies.append((bisect_left(starts, end), end, 1, Aside(op.stage, "RELEASE", op.microbatch)))
    copies.sort(reverse=True)
    for place, (_, op) in enumerate(row):
        while copies and copies[-1][0] <= place:
            yield copies.pop()[3]
        yield op
    yield from (copies.pop()[3] for _ in range(len(copies)))
