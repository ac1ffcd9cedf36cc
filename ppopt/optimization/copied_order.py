"""What to copy to the host in an order, so that it fits the memory and loses little time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import NamedTuple, cast

from ppopt.schedules.communicated import Order, placed_rows
from reports.metrics import Beside, measure
from solver.problem import Hold, Key, tasks_of
from solver.programs import Queues
from solver.rendezvous import run
from solver.replay import timeline
from solver.states import Objective
from strategies.lowering.as_program import LoweredPrograms
from strategies.lowering.offload import with_offload
from strategies.lowering.side_actions import placed_beside
from strategies.lowering.side_actions import placed_rows as rows_beside
from strategies.model.actions import Op, PipelineAction
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import Token
from strategies.problem.dependencies import build_problem, split_as_in

LEADS = (2, 1, 3, 4, 0)
"""How many computations before its backward a reload is issued."""

DELAYS = (1, 3, 0, 2, 4)
"""How many computations an offload has behind its forward before its device waits for it."""

IsOver = Callable[[], bool]
"""Whether the time is up."""


class Pace(NamedTuple):
    """How long before its backward a device has an activation back, and how long it gives an offload.

    Attributes
    ----------
    lead, delay : int
        In computations.
    """

    lead: int
    delay: int


USUAL = Pace(LEADS[0], DELAYS[0])
"""The pace that is tried first."""

HURRIED = Pace(0, 0)
"""The pace with the least memory."""


class Choice(NamedTuple):
    """What is copied in an order, and what comes of it; of two choices the lesser `key` is better.

    Attributes
    ----------
    paces : tuple of Pace
        For each device.
    kept : frozenset of Op
        The forwards whose activations are not copied in any case.
    excess : Fraction
        By how much devices are over their limits, added up.
    length : float
        The objective.
    copied : frozenset of Op
        The forwards whose activations are copied.
    """

    paces: tuple[Pace, ...]
    kept: frozenset[Op]
    excess: Fraction
    length: float
    copied: frozenset[Op]

    @property
    def key(self) -> tuple[Fraction, float, int]:
        """What fits comes first, then what is short, then what copies little."""
        return self.excess, self.length, len(self.copied)


class CopiedOrder:
    """An order whose devices copy as few activations as they must, and wait where one must be gone.

    Parameters
    ----------
    pipeline, placement
        What is scheduled, with ``offload``.
    actions : sequence of sequence of (Op or Block)
        The computations of each device.
    objective : {"makespan", "span"}
        What is minimised.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        placement: Placement,
        actions: Sequence[Sequence[PipelineAction]],
        objective: Objective,
    ) -> None:
        problem = build_problem(pipeline, placement, split_as_in(actions))
        self.pipeline, self.placement, self.problem = pipeline, placement, problem
        self.actions, self.objective = actions, objective
        self.taken: Counter[Key] = Counter()
        self.returned: Counter[Key] = Counter()
        self.moved: dict[Op, int] = {}
        for hold in problem.holds:
            self.taken[hold.take] += hold.amount
            self.returned.update(dict(hold.returns))
            if moved := self._moved(hold):
                self.moved[cast("Op", hold.take)] = moved

    @cached_property
    def _lowered(self) -> tuple[LoweredPrograms, Queues]:
        """The programs without copies, with the queues of their transfers."""
        rows = timeline(self.problem, self.actions)
        order = Order("", self.pipeline, self.placement, self.problem, self.actions, rows, searched=True)
        lowered, communicators, _ = order.placed()
        return lowered, order.queues_with(communicators)

    def _moved(self, hold: Hold) -> int:
        share = self.pipeline.side_costs[cast("Op", hold.take).stage].share
        return sum(int(share * part) for _, part in hold.returns)

    def rows(self, paces: Sequence[Pace], kept: frozenset[Op]) -> tuple[list[list[Token]], frozenset[Op]]:
        """Place the copies of a choice, and return what is copied."""
        copied: set[Op] = set()
        rows: list[list[Token]] = []
        for device, (order, pace) in enumerate(zip(self.actions, paces, strict=True)):
            lead, gone = self._gone(device, pace, kept)
            copied |= gone.keys()
            rows.append(with_offload(order, gone.__contains__, lead, least_in_flight=0, released=gone))
        return rows, frozenset(copied)

    @property
    def can_fit(self) -> bool:
        """Whether copies can bring every device within its limit in this order."""
        return all(self._gone_at(device, HURRIED)[1] for device in range(len(self.actions)))

    def copying(self, pace: Pace) -> Fraction:
        """Return for how long the busiest stream copies at one pace for all devices."""
        offload = self.pipeline.offload
        assert offload is not None
        busiest = Fraction(0)
        for device in range(len(self.actions)):
            gone = self._gone(device, pace, frozenset())[1]
            costs = [self.pipeline.side_costs[forward.stage] for forward in gone]
            there, back = (sum(each, Fraction(0)) for each in ([c.offload for c in costs], [c.reload for c in costs]))
            busiest = max(busiest, there + back if offload.streams == "one" else max(there, back))
        return busiest

    def tried(self, paces: tuple[Pace, ...], kept: frozenset[Op] = frozenset()) -> Choice:
        """Replay the order with a choice of copies."""
        pipeline, problem = self.pipeline, self.problem
        rows, copied = self.rows(paces, kept)
        sides = placed_beside(pipeline, self.actions, problem.ticks_per_unit, copied=rows)
        without, queues = self._lowered
        lowered = sides.programmed(without)
        made = run(lowered.programs, lowered.transfers, queues, lowered.sides)
        beside = Beside(sides.holding(problem), rows_beside(made.sides))
        figures = measure(problem, placed_rows(made), pipeline.ideal, beside=beside)
        excess = sum(figures.excesses(pipeline.limits).values(), Fraction(0))
        length = figures.span if self.objective == "span" else figures.makespan
        return Choice(paces, kept, excess, length, copied)

    def at_pace(self, pace: Pace) -> Choice:
        """Replay the order with one pace for all devices."""
        return self.tried((pace,) * len(self.actions))

    def _gone(self, device: int, pace: Pace, kept: frozenset[Op]) -> tuple[int, dict[Op, int]]:
        """Choose what a device copies as in `_gone_at`, at a pace at which it fits, with the lead of that."""
        less_delay = [Pace(pace.lead, delay) for delay in range(pace.delay, -1, -1)]
        less_lead = [Pace(lead, 0) for lead in range(pace.lead - 1, -1, -1)]
        for each in (*less_delay, *less_lead):
            gone, fits = self._gone_at(device, each, kept)
            if fits:
                break
        return each.lead, gone

    def _gone_at(self, device: int, pace: Pace, kept: frozenset[Op] = frozenset()) -> tuple[dict[Op, int], bool]:
        """Choose what a device copies, and the number of computations after which it must be gone.

        Where the device would hold more than its limit, what is not needed for the longest time goes. Then its memory
        follows from its order, however long the copies take: it waits for them.

        Returns
        -------
        tuple of (dict of Op to int, bool)
            The choice, and whether the device then fits.
        """
        capacity = self.problem.capacities[device]
        level = self._levels(device)
        if capacity is None or max(level, default=0) <= capacity:
            return {}, True
        gone: dict[Op, int] = {}
        away = self._away(device, pace)
        begins: dict[int, list[Op]] = {}
        for forward, (first, end) in away.items():
            if first < end and forward not in kept:
                begins.setdefault(first, []).append(forward)
        there: list[Op] = []
        for place in range(len(level)):
            there = [each for each in there if away[each][1] > place] + begins.get(place, [])
            while level[place] > capacity and there:
                longest = max(there, key=lambda each: away[each][1])
                there.remove(longest)
                gone[longest] = place
                for between in range(place, away[longest][1]):
                    level[between] -= self.moved[longest]
            if level[place] > capacity:
                return gone, False
        return gone, True

    def _away(self, device: int, pace: Pace) -> dict[Op, tuple[int, int]]:
        """Return from which computation of a device on, and before which, each activation can be away."""
        ran: dict[Op, int] = {}
        away: dict[Op, tuple[int, int]] = {}
        for place, action in enumerate(self.actions[device]):
            for op in cast("tuple[Op, ...]", tasks_of(action)):
                forward = op._replace(kind="F")
                if forward not in self.moved:
                    continue
                if op.kind == "F":
                    ran[forward] = place
                elif op.kind in "BI":
                    away[forward] = ran[forward] + 1 + pace.delay, place - pace.lead
        return away

    def _levels(self, device: int) -> list[int]:
        """Return what a device holds for microbatches during each of its computations, without copies."""
        levels: list[int] = []
        now = 0
        for action in self.actions[device]:
            tasks = tasks_of(action)
            now += sum(self.taken[task] for task in tasks)
            levels.append(now)
            now -= sum(self.returned[task] for task in tasks)
        return levels


def better_pace(order: CopiedOrder, best: Choice, is_over: IsOver) -> Choice:
    """Find the best pace for all devices together: first the delay, then the lead.

    Parameters
    ----------
    order, best
        The order, and what is copied in it so far, with one pace for all devices.
    is_over : callable
        Whether the time is up: then the best so far is returned.
    """
    for delay in DELAYS:
        if best.copied and not is_over():
            best = min(best, order.at_pace(Pace(LEADS[0], delay)), key=_key)
    for lead in LEADS[1:]:
        if best.copied and not is_over():
            best = min(best, order.at_pace(Pace(lead, best.paces[0].delay)), key=_key)
    return best


def better_copies(order: CopiedOrder, best: Choice, is_over: IsOver) -> Choice:
    """Give single devices another pace, and keep activations whose copies do not pay.

    Parameters
    ----------
    order, best
        The order, and what is copied in it so far.
    is_over : callable
        Whether the time is up.
    """
    before = None
    while before != best.key and best.copied:
        before = best.key
        for paces, kept in _changes(best):
            if is_over():
                return best
            best = min(best, order.tried(paces, kept), key=_key)
    return best


def _changes(choice: Choice) -> Iterator[tuple[tuple[Pace, ...], frozenset[Op]]]:
    """List choices beside one: another pace for one device, or groups of activations that are kept."""
    paces, kept = choice.paces, choice.kept
    for device, lead, delay in product(range(len(paces)), LEADS, DELAYS):
        if Pace(lead, delay) != paces[device]:
            yield (*paces[:device], Pace(lead, delay), *paces[device + 1 :]), kept
    for group in _groups(choice.copied):
        yield paces, kept | group


def _groups(copied: frozenset[Op]) -> Iterator[frozenset[Op]]:
    """List groups of forwards, the largest first: of whole stages, every second one, ranges, and single ones."""
    by_stage: dict[int, list[Op]] = {}
    for op in sorted(copied):
        by_stage.setdefault(op.stage, []).append(op)
    stages = list(by_stage.values())
    yield from map(frozenset, stages)
    for stage, offset in product(stages, range(2)):
        yield frozenset(stage[offset::2])
    size = max(map(len, stages), default=0) // 2
    while size >= 1:
        for stage in stages:
            yield from (frozenset(stage[first : first + size]) for first in range(0, len(stage), size))
        size //= 2


def _key(choice: Choice) -> tuple[Fraction, float, int]:
    return choice.key
