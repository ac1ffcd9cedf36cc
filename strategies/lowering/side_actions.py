"""Side actions of an order: where they stand, what they take, and how programs post and await them.

A side action starts when the computation before it in its device's order has ended and its stream is free. Only what
needs it waits: computing a stage for its `UNSHARD`, a backward for its `RELOAD`, the end of the step for `REDUCE_GRAD`,
and a device at a `RELEASE` for the end of the offload.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from solver.exact import in_ticks
from solver.problem import Hold, Key, Placed, Precedence, Problem, Task
from solver.programs import Compute, End, Instruction, Post, SideAction, Wait
from strategies.lowering.as_program import LoweredPrograms
from strategies.lowering.gradients_and_shards import with_reduced_gradients, with_shards
from strategies.lowering.offload import with_offload
from strategies.lowering.stream_action import StreamAction
from strategies.model.actions import Op, PipelineAction
from strategies.model.items import Factors
from strategies.model.pipeline import Pipeline
from strategies.order_files.schedule_file import COPIES, Aside, Token, ops_of

SHARDS, GRADIENTS = ("UNSHARD", "RESHARD"), "REDUCE_GRAD"


@dataclass(frozen=True)
class SideOrder:
    """The side actions of an order, each in its place.

    Attributes
    ----------
    rows : sequence of sequence of token
        The computations and side actions of each device.
    pipeline : Pipeline
        What they cost.
    ticks : int
        Ticks per unit of time.
    gathers_as_given : bool
        Whether the order's file says what is gathered when, and not the number of resident stages.
    """

    rows: Sequence[Sequence[Token]]
    pipeline: Pipeline
    ticks: int
    gathers_as_given: bool = False

    @cached_property
    def every(self) -> list[tuple[StreamAction, int]]:
        """Each side action, device by device, with the number of computations before it."""
        found: list[tuple[StreamAction, int]] = []
        for device, row in enumerate(self.rows):
            turns: Counter[Aside] = Counter()
            computed = 0
            for token in row:
                if isinstance(token, Aside):
                    found.append((StreamAction(device, token, turns[token]), computed))
                    turns[token] += 1
                else:
                    computed += 1
        return found

    def programmed(self, lowered: LoweredPrograms) -> LoweredPrograms:
        """Post every side action in programs, and let computations wait for those that they need."""
        slots: dict[int, dict[int, list[StreamAction]]] = defaultdict(lambda: defaultdict(list))
        for each, computed in self.every:
            slots[each.device][computed].append(each)
        changed = [
            _with_posts(program, columns, slots[device])
            for device, (program, columns) in enumerate(zip(lowered.programs, lowered.columns, strict=True))
        ]
        programs, columns = [each for each, _ in changed], [each for _, each in changed]
        return replace(lowered, programs=programs, columns=columns, sides=self.sides)

    def as_one_problem(self, problem: Problem) -> tuple[Problem, list[list[StreamAction]]] | None:
        """Write computing and side actions as one problem, in which each stream is one more device.

        Then the graph replays both at once, which is much faster than programs. That takes transfers that wait for
        nothing, streams of one device each, whose order is that of posting, and devices that wait for nothing but what
        they compute with.

        Parameters
        ----------
        problem : Problem
            The problem of computing.

        Returns
        -------
        tuple of (Problem, list of list of StreamAction), or None
            The problem without memory, and the order of each stream. Releases are no part of it: they take no time.
            None if only programs can say what happens.
        """
        tasks, precedences = dict(problem.tasks), list(problem.precedences)
        lanes: dict[Hashable, list[StreamAction]] = {}
        actions = iter(self.every)
        for row in self.rows:
            posted: dict[Aside, StreamAction] = {}
            last: Op | None = None
            for token in row:
                if not isinstance(token, Aside):
                    for op in ops_of(token):
                        needs = [posted.pop(need) for need in _needs(op) if need in posted]
                        precedences += [(need, op, 0) for need in needs]
                        last = op
                    continue
                each, _ = next(actions)
                side = self.sides[each]
                if token.kind == "RELEASE":
                    return None
                if token.kind == "RESHARD":
                    continue
                lane = lanes.setdefault(side.stream, [])
                if lane and lane[0].device != each.device:
                    return None
                lane.append(each)
                posted[token] = each
                precedences += [(other, each, 0) for other in (*((last,) if last else ()), *side.follows)]
        for place, lane in enumerate(lanes.values()):
            tasks |= {each: Task(problem.devices + place, self.sides[each].duration) for each in lane}
        devices = problem.devices + len(lanes)
        both = replace(
            problem, devices=devices, tasks=tasks, precedences=precedences, holds=(), capacities=(), static=()
        )
        return both, list(lanes.values())

    def with_releases(self, ends: Mapping[Key, int]) -> dict[Key, tuple[int, int]]:
        """Return when each side action starts and ends, releases included.

        Parameters
        ----------
        ends : mapping of Key to int
            When each computation, and each side action that takes part in `as_one_problem`, ends.
        """
        found: dict[Key, tuple[int, int]] = {}
        actions = iter(self.every)
        for row in self.rows:
            now = 0
            for token in row:
                if not isinstance(token, Aside):
                    now = ends[ops_of(token)[0]]
                    continue
                each, _ = next(actions)
                side = self.sides[each]
                if token.kind == "RESHARD":
                    moment = max(now, *(ends[other] for other in side.follows))
                    found[each] = moment, moment
                else:
                    found[each] = ends[each] - side.duration, ends[each]
        return found

    @cached_property
    def sides(self) -> dict[Key, SideAction]:
        """Every side action with its stream and its duration."""
        gathered: dict[tuple[int, int], StreamAction] = {}
        found: dict[Key, SideAction] = {}
        lasts: dict[tuple[str, int, int | None], int] = {}  # side actions of one kind and size last equally long
        for each, _ in self.every:
            device, action, _ = each
            follows: tuple[Key, ...] = ()
            if action.kind == "UNSHARD":
                gathered[device, action.stage] = each
            elif action.kind == "RESHARD":
                follows = (gathered[device, action.stage],)
            elif action.kind in ("RELEASE", "RELOAD"):
                follows = (each._replace(action=action._replace(kind="OFFLOAD")),)
            alike = action.kind, action.stage, None if action.microbatch is None else self._class_of(action.microbatch)
            if alike not in lasts:
                lasts[alike] = in_ticks(self._lasts(action), self.ticks)
            found[each] = SideAction(device, self._stream(each), lasts[alike], follows)
        return found

    def _class_of(self, microbatch: int) -> int:
        return int(self.pipeline.items.of[microbatch])

    def _stream(self, each: StreamAction) -> Hashable:
        """Return the stream of a side action; a release is done at once, whatever else runs."""
        device, action, _ = each
        sharding, offload = self.pipeline.sharding, self.pipeline.offload
        if action.kind in ("RESHARD", "RELEASE"):
            return "release", each
        if action.kind in COPIES:
            assert offload is not None
            name = "copy" if offload.streams == "one" else action.kind.lower()
            return name, device // 2 if offload.pairs else device
        own = sharding is None or sharding.reduce_stream == "own"
        return "reduce" if own and action.kind == GRADIENTS else "shards", device

    def _lasts(self, action: Aside) -> Fraction:
        costs = self.pipeline.side_costs[action.stage]
        if action.kind in ("OFFLOAD", "RELOAD"):
            assert action.microbatch is not None
            time = costs.offload if action.kind == "OFFLOAD" else costs.reload
            return time * item_size(self.pipeline, action.stage, action.microbatch)
        return {"UNSHARD": costs.gather, GRADIENTS: costs.reduce}.get(action.kind, Fraction(0))

    def awaited(self, rows: Sequence[Placed], beside: Sequence[Placed]) -> Iterator[Precedence]:
        """Yield what computations waited for beside results, as lags behind the ones after which that was posted.

        Parameters
        ----------
        rows, beside : sequence of Placed
            When each operation and each side action ran.
        """
        ends = {row.task: row.end for row in (*rows, *beside)}
        for device, row in enumerate(self.rows):
            turns: Counter[Aside] = Counter()
            posted: dict[Aside, tuple[Op | None, int]] = {}
            first = last = None
            for token in row:
                if isinstance(token, Aside):
                    posted[token] = last, ends[StreamAction(device, token, turns[token])]
                    turns[token] += 1
                    continue
                for op in ops_of(token):
                    for before, end in (posted[need] for need in _needs(op) if need in posted):
                        producer = first if before is None else before
                        if producer is not None and end >= ends[producer]:
                            yield producer, op, end - ends[producer]
                last = ops_of(token)[-1]
                first = first or last

    def offloads(self, stages: int) -> list[int]:
        """Count the offloads of each stage, on all its devices."""
        counts = Counter(each.action.stage for each, _ in self.every if each.action.kind == "OFFLOAD")
        return [counts[stage] for stage in range(stages)]

    def holding(self, problem: Problem) -> Problem:
        """Return a problem whose tasks include the side actions, with all that they take and return.

        A copied share of an activation is returned when its offload ends, or where it is released, and taken again
        when its reload starts. Gathered parameters are held from the start of their gather until they are released,
        gradients from the first backward that makes them until they are reduced.

        Parameters
        ----------
        problem : Problem
            The problem of computing.
        """
        tasks = {**problem.tasks, **{key: Task(side.device, side.duration) for key, side in self.sides.items()}}
        copies: dict[Key, dict[str, StreamAction]] = defaultdict(dict)
        for each, _ in self.every:
            if each.action.microbatch is not None:
                copies[Op(each.action.stage, "F", each.action.microbatch)][each.action.kind] = each
        holds = [part for hold in problem.holds for part in self._copied(hold, copies.get(hold.take, {}))]
        holds += self._shards(problem.amounts_per_unit)
        return replace(problem, tasks=tasks, holds=holds)

    def _copied(self, hold: Hold, copies: Mapping[str, StreamAction]) -> Iterator[Hold]:
        if not copies:
            yield hold
            return
        reload = copies["RELOAD"]
        share = self.pipeline.side_costs[reload.action.stage].share
        moved = tuple((task, int(share * part)) for task, part in hold.returns)
        away = sum(part for _, part in moved)
        kept = tuple((task, part - gone) for (task, part), (_, gone) in zip(hold.returns, moved, strict=True))
        yield Hold(hold.take, hold.amount, ((copies.get("RELEASE", copies["OFFLOAD"]), away), *kept))
        yield Hold(reload, away, moved)

    def _shards(self, amounts: int) -> Iterator[Hold]:
        costs = self.pipeline.side_costs
        gathered: dict[tuple[int, int], StreamAction] = {}
        for each, _ in self.every:
            stage = each.action.stage
            if each.action.kind == "UNSHARD":
                gathered[each.device, stage] = each
            elif each.action.kind == "RESHARD":
                size = in_ticks(costs[stage].weights, amounts)
                yield Hold(gathered.pop((each.device, stage)), size, ((each, size),))
            elif each.action.kind == GRADIENTS and costs[stage].gradients:
                size = in_ticks(costs[stage].gradients, amounts)
                makers = (op for token in self.rows[each.device] for op in ops_of(token) if op.stage == stage)
                yield Hold(next(op for op in makers if op.kind in "BW"), size, ((each, size),))


def item_size(pipeline: Pipeline, stage: int, microbatch: int) -> Fraction:
    """Return the size of an item on a stage, 1 as measured."""
    items = pipeline.items
    factors: Factors = items.classes[items.of[microbatch]]
    return factors.at(stage)[0]


def placed_beside(
    pipeline: Pipeline,
    orders: Sequence[Sequence[PipelineAction]],
    ticks: int,
    *,
    given: Sequence[Sequence[Token | None]] | None = None,
    copied: Sequence[Sequence[Token]] | None = None,
) -> SideOrder:
    """Place the side actions of a pipeline in an order: those of its file where it has any, else by rule.

    Shards are placed by PyTorch's rule (`with_shards`), and a stage's gradients are reduced after its last backward.

    Parameters
    ----------
    pipeline : Pipeline
        What runs beside computing.
    orders : sequence of sequence of (Op or Block)
        The computations of each device.
    ticks : int
        Ticks per unit of time.
    given : sequence of sequence of token or None, optional
        The cells of the order's file.
    copied : sequence of sequence of token, optional
        The computations of each device with the copies that were chosen, in place of the rule's.
    """
    sharding, offload = pipeline.sharding, pipeline.offload
    reduces = sharding is not None or pipeline.data_parallel is not None
    wanted = {
        **dict.fromkeys(SHARDS, sharding is not None), GRADIENTS: reduces, **dict.fromkeys(COPIES, offload is not None),
    }  # fmt: skip
    cells = [[token for token in row if token is not None] for row in copied or given or orders]
    found = {token.kind for row in cells for token in row if isinstance(token, Aside)}
    rows: list[list[Token]] = []
    for device, row in enumerate(cells):
        order = [token for token in row if not isinstance(token, Aside) or wanted.get(token.kind, False)]
        if offload is not None and copied is None and not found & set(COPIES):
            order = with_offload(order, _copied(pipeline), offload.lead)
        if sharding is not None and not found & set(SHARDS):
            number = int(sharding.resident)
            order = with_shards(order, number, sharding.ahead(device, number))
        if reduces and GRADIENTS not in found:
            at_the_end = pipeline.data_parallel is not None and not pipeline.data_parallel.overlap
            order = with_reduced_gradients(order, last=at_the_end)
        rows.append(order)
    return SideOrder(rows, pipeline, ticks, sharding is not None and bool(found & set(SHARDS)))


def _copied(pipeline: Pipeline) -> Callable[[Op], bool]:
    return lambda op: bool(pipeline.side_costs[op.stage].share * pipeline.costs[op.stage].activation)


def _with_posts(
    program: Sequence[Instruction], columns: Sequence[int], slots: Mapping[int, Sequence[StreamAction]]
) -> tuple[list[Instruction], list[int]]:
    """Insert side actions into a program: those before its first computation at its beginning.

    Those behind a computation stand behind its sends: a device that waits for an offload has sent its result before.
    """
    made = _Posting(slots)
    moved: dict[int, int] = {}
    for place, (instruction, column) in enumerate(zip(program, columns, strict=True)):
        if not isinstance(instruction, Post):
            made.post(column)
        if isinstance(instruction, Compute):
            made.await_needs(instruction.name, column)
        moved[place] = len(made.placed)
        made.add(Wait(moved[instruction.post]) if isinstance(instruction, Wait) else instruction, column)
    made.post(columns[-1] if columns else 0)
    return made.placed, made.places


class _Posting:
    """A program into which side actions are inserted."""

    def __init__(self, slots: Mapping[int, Sequence[StreamAction]]) -> None:
        self.slots = dict(slots)
        self.placed: list[Instruction] = []
        self.places: list[int] = []
        self.awaited: dict[Aside, int] = {}
        self.computed = 0

    def add(self, instruction: Instruction, column: int) -> None:
        self.placed.append(instruction)
        self.places.append(column)
        self.computed += isinstance(instruction, Compute)

    def post(self, column: int) -> None:
        """Post what stands behind the computations so far, once."""
        for each in self.slots.pop(self.computed, ()):
            if each.action.kind in ("UNSHARD", "RELOAD"):
                self.awaited[each.action] = len(self.placed)
            self.add(Post((End(each, True),)), column)
            if each.action.kind == "RELEASE":  # the device waits for the end of the offload
                self.add(Wait(len(self.placed) - 1), column)

    def await_needs(self, token: Key, column: int) -> None:
        """Wait for the side actions that a computation needs."""
        for need in _needs(token):
            if need in self.awaited:
                self.add(Wait(self.awaited.pop(need)), column)


def _needs(token: Key) -> Iterator[Aside]:
    """Yield the side actions that a computation waits for."""
    for op in ops_of(token):  # type: ignore[arg-type]  # computations are named by their tokens
        yield Aside(op.stage, "UNSHARD", None)
        if op.kind in "BI":
            yield Aside(op.stage, "RELOAD", op.microbatch)


def placed_rows(ran: Mapping[Key, tuple[int, ...]]) -> list[Placed]:
    """List when each side action ran, device by device in the order of time."""
    rows = [Placed(key, key.device, *times[-2:]) for key, times in ran.items() if isinstance(key, StreamAction)]
    return sorted(rows, key=lambda row: (row.device, row.start, row.end))
