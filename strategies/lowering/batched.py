"""Programs of frameworks in which devices exchange batches of sends and receives and wait for each batch.

Megatron-Core's 1F1B and interleaved 1F1B work this way, as do DualPipe and DualPipeV in their authors' code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from solver.errors import InputError
from solver.problem import Block, Key
from solver.programs import Compute, End, Instruction, Post, Transfer, Wait
from strategies.lowering.as_program import LoweredPrograms
from strategies.lowering.transfers import Crossings
from strategies.model.actions import Op, PipelineAction
from strategies.model.placements import Placement
from strategies.rules.interleaving import warmup_of_groups

Order = Sequence[PipelineAction]

MEGATRON = "Megatron-Core"
BATCHED = {"1f1b": MEGATRON, "interleaved": MEGATRON, "dualpipe": "DualPipe's code", "dualpipe-v": "DualPipe's code"}
"""The schedules with a program, and whose it is."""


@dataclass
class _Groups:
    """The groups of sends and receives before each action of a device, and after its last one.

    Attributes
    ----------
    groups : mapping of int to list of list of End
        Keyed by the action's index; the last index is the end.
    """

    groups: dict[int, list[list[End]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, place: int, ends: Sequence[End]) -> None:
        """Put a separate group before an action; an empty one is dropped."""
        if ends:
            self.groups[place].append(list(ends))

    def join(self, place: int, ends: Sequence[End]) -> None:
        """Add ends to the single group before an action."""
        if not self.groups[place]:
            self.groups[place].append([])
        self.groups[place][0] += ends


def batched_programs(
    name: str,
    orders: Sequence[Order],
    placement: Placement,
    duration: Callable[[PipelineAction], int],
    moving: Callable[[Op], tuple[int, int]],
) -> LoweredPrograms:
    """Write the programs of a schedule as its framework communicates.

    Parameters
    ----------
    name : str
        The schedule, one of `BATCHED`.
    orders : sequence of sequence of (Op or Block)
        The computations of each device.
    placement : Placement
        Which device holds which stage.
    duration, moving : callable
        As for `as_programs`.

    Raises
    ------
    InputError
        If the framework does not take the sizes.
    """
    crossings = Crossings(placement)
    if name == "interleaved":
        refuse_sizes(orders[0], placement, ", in batches")
        if placement.devices == 2:
            raise InputError("Megatron-Core's interleaved schedule takes more than 2 devices in batches")
    programs: list[list[Instruction]] = []
    columns: list[list[int]] = []
    for device, order in enumerate(orders):
        program, places = _program(order, _slots(name, device, order, crossings), duration)
        programs.append(program)
        columns.append(places)
    return LoweredPrograms(programs, timed_transfers(crossings, moving), columns)


def timed_transfers(crossings: Crossings, moving: Callable[[Op], tuple[int, int]]) -> dict[Key, Transfer]:
    """List all transfers with their devices and times."""
    return {transfer: Transfer(*crossings.devices(transfer), *moving(transfer)) for transfer in crossings.all()}


def refuse_sizes(order: Order, placement: Placement, how: str = "") -> None:
    """Refuse groups of microbatches that Megatron-Core does not interleave.

    Parameters
    ----------
    order : sequence of (Op or Block)
        The computations of the first device.
    placement : Placement
        Which device holds which stage.
    how : str
        How it communicates, for the message.

    Raises
    ------
    InputError
        If a group has fewer microbatches than there are devices.
    """
    devices, microbatches = placement.devices, placement.microbatches
    forwards = [action for action in order if isinstance(action, Op) and action.kind == "F"]
    group = _group(forwards) or devices
    rest = microbatches % group
    if devices == 1 or (group >= devices and not 0 < rest < devices):
        return
    if group > devices:
        raise InputError(
            f"Megatron-Core's interleaved schedule takes no last group of fewer microbatches than devices, {devices}; "
            f"{microbatches} in groups of {group} leave {rest}"
        )
    raise InputError(
        "Megatron-Core's interleaved schedule takes a number of microbatches that is a multiple of the devices, "
        f"{devices}{how}; found {microbatches}"
    )


def _group(forwards: Sequence[Op]) -> int:
    """Count the forwards of the first stage before another stage's first; 0 if there is no other stage."""
    return next((place for place, op in enumerate(forwards) if op.stage != forwards[0].stage), 0)


def _slots(name: str, device: int, order: Order, crossings: Crossings) -> _Groups:
    if name == "1f1b":
        return _between(order, crossings)
    if name == "interleaved":
        return Interleaved(device, order, crossings).slots()
    return _dualpipe(device, order, crossings)


def _program(
    order: Order, slots: _Groups, duration: Callable[[PipelineAction], int]
) -> tuple[list[Instruction], list[int]]:
    program: list[Instruction] = []
    columns: list[int] = []
    for place in range(len(order) + 1):
        for group in slots.groups.get(place, ()):
            program += [Post(tuple(group)), Wait(len(program))]
            columns += [place, place]
        if place < len(order):
            program.append(Compute(order[place], duration(order[place])))
            columns.append(place)
    return program, columns


def sends_of(action: PipelineAction, crossings: Crossings) -> list[End]:
    """Return the sends of an action's results."""
    return [End(transfer, True) for transfer in crossings.produced(action)]


def receives_of(action: PipelineAction, crossings: Crossings) -> list[End]:
    """Return the receives of an action's inputs."""
    return [End(transfer, False) for transfer in crossings.consumed(action)]


def _same_way(before: PipelineAction, after: PipelineAction) -> bool:
    kinds = [action.kind == "F" for action in (before, after) if isinstance(action, Op)]
    return len(kinds) == 2 and kinds[0] == kinds[1]


def _between(order: Order, crossings: Crossings) -> _Groups:
    """Exchange results of one computation and inputs of the next, in two groups if both go the same way."""
    slots = _Groups()
    for place in range(len(order) + 1):
        sends = sends_of(order[place - 1], crossings) if place else []
        receives = receives_of(order[place], crossings) if place < len(order) else []
        if place and place < len(order) and _same_way(order[place - 1], order[place]):
            slots.add(place, sends)
            slots.add(place, receives)
        else:
            slots.add(place, sends + receives)
    return slots


class Interleaved:
    """Megatron-Core's interleaved schedule with ``batch_p2p_comm``.

    A forward and the backward after it are followed by one group for both: their results, and the inputs of the next
    pair. On most devices, the next input to receive is that of the next computation. On the device where results enter
    a new chunk, it is that of the computation p − 1 places earlier, one chunk on.
    """

    def __init__(self, device: int, order: Order, crossings: Crossings) -> None:
        self.device, self.order, self.crossings = device, order, crossings
        ops = [action for action in order if isinstance(action, Op)]
        self.forwards = [op for op in ops if op.kind == "F"]
        self.backwards = [op for op in ops if op.kind != "F"]
        self.devices = crossings.placement.devices
        self.warmup = max(next(place for place, op in enumerate(ops) if op.kind != "F") - 1, self._warmup())

    def _warmup(self) -> int:
        """Count the warm-up by its rule: if all forwards come first, the order does not show whether the last is in it.

        The last forward may be the only one of the steady phase; one group for it and its backward then follows them.
        """
        chunks = self.crossings.stages // self.devices
        group = _group(self.forwards)
        return min(len(self.forwards), warmup_of_groups(self.devices, self.device, chunks, group))

    def slots(self) -> _Groups:
        """Place the groups."""
        slots, steady = _Groups(), len(self.forwards) - self.warmup
        slots.add(0, receives_of(self.forwards[0], self.crossings))
        first = receives_of(self.backwards[0], self.crossings)
        for place in range(self.warmup):
            group = sends_of(self.forwards[place], self.crossings) + self.next_forward(place)
            is_last = place == self.warmup - 1
            slots.add(place + 1, group + (first if is_last and steady else []))
            if is_last and not steady:
                slots.add(place + 1, first)
        if not self.warmup:
            slots.add(0, first)
        for place in range(steady):
            forward = self.warmup + place
            group = sends_of(self.forwards[forward], self.crossings) + sends_of(self.backwards[place], self.crossings)
            group += self.next_forward(forward) + self.next_backward(place)
            slots.add(self.warmup + 2 * place + 2, group)
        for place in range(steady, len(self.backwards)):
            group = sends_of(self.backwards[place], self.crossings) + self.next_backward(place)
            slots.add(self.warmup + steady + place + 1, group)
        return slots

    def next_forward(self, place: int) -> list[End]:
        """Return the receive that follows a forward."""
        if self.device:
            return self._of_next(self.forwards, place)
        source = self._entering(self.forwards, place)
        stage = None if source is None else source.stage + self.devices
        if source is None or stage is None or stage >= self.crossings.stages:
            return []
        return receives_of(source._replace(stage=stage), self.crossings)

    def next_backward(self, place: int) -> list[End]:
        """Return the receive that follows a backward."""
        if self.device < self.devices - 1:
            return self._of_next(self.backwards, place)
        source = self._entering(self.backwards, place)
        if source is None or source.stage < self.devices:
            return []
        return receives_of(source._replace(stage=source.stage - self.devices), self.crossings)

    def _of_next(self, ops: Sequence[Op], place: int) -> list[End]:
        return receives_of(ops[place + 1], self.crossings) if place + 1 < len(ops) else []

    def _entering(self, ops: Sequence[Op], place: int) -> Op | None:
        back = place - (self.devices - 1)
        return ops[back] if back >= 0 else None


def _dualpipe(device: int, order: Order, crossings: Crossings) -> _Groups:
    """Place DualPipe's communication: one group before every computation, with four exceptions.

    In the phase of alternating forwards, the receive for a near forward is posted one computation early, and its send
    one computation late (except on the inner rank of DualPipe). In the next phase, the receive of a far forward stands
    before the W. On the inner rank, the last far forward's send waits for the first near forward of the main phase,
    whose own send waits for the backward after it.
    """
    places = crossings.placement
    is_v = len(places.homes) == 1
    ranks = places.devices if is_v else places.devices // 2
    rank = device if is_v else min(device, places.devices - 1 - device)
    inner = ranks - rank - 1
    alternating = 2 * inner
    weights = alternating + 2 * (rank + 1)
    main = weights + 3 * inner
    send_late = {alternating + 2 * turn for turn in range(rank + 1)} if is_v or inner else set()
    if not inner and main < len(order) and _is_forward(order[main]):
        send_late |= {main - 1, main}
    receive_early = {alternating + 2 * turn for turn in range(1, rank + 1)}
    receive_early |= {weights + 3 * turn + 2 for turn in range(inner)}
    slots = _Groups()
    for place, action in enumerate(order):
        slots.join(place + (2 if place in send_late else 1), sends_of(action, crossings))
    for place, action in enumerate(order):
        for end in receives_of(action, crossings):
            slots.join(_receive_slot(place, action, end, main, weights - 1, receive_early), [end])
    for place in [place for place, groups in slots.groups.items() if not any(groups)]:
        del slots.groups[place]
    return slots


def _receive_slot(place: int, action: PipelineAction, end: End, main: int, last_far: int, early: set[int]) -> int:
    """Return the index of the computation before which a receive is posted."""
    if place in early:
        return place - 1
    is_forward = isinstance(end.transfer, Op) and end.transfer.kind == "F"
    begins = action.first if isinstance(action, Block) else action
    return last_far if place == main and is_forward and _is_forward(begins) else place


def _is_forward(action: object) -> bool:
    return isinstance(action, Op) and action.kind == "F"
