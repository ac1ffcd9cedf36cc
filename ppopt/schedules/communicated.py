"""Orders whose sends and receives wait for each other, and for earlier ones on a communicator."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from ppopt.schedules.as_run import Transferred
from ppopt.schedules.communicator_verdicts import describe_hang
from ppopt.schedules.order_files import refuse_communication_faults, refuse_copy_faults, refuse_faults_beside
from reports.metrics import Beside
from solver.checker import violations
from solver.errors import InputError
from solver.exact import in_ticks
from solver.problem import Block, Placed, Problem
from solver.program_faults import find_crossings
from solver.programs import Queues
from solver.rendezvous import ProgramTimes, RendezvousDeadlockError, run
from solver.rendezvous_checker import run_violations
from solver.replay import timeline
from strategies.language.orders import make_orders, parse_strategy
from strategies.lowering.as_program import LoweredPrograms, as_programs
from strategies.lowering.as_pytorch import lower_as_pytorch
from strategies.lowering.at_once import lower_at_once, queues_of_their_own
from strategies.lowering.batched import BATCHED, batched_programs
from strategies.lowering.by_time import BY_TIME, lower_by_time
from strategies.lowering.offload_in_turns import copies_in_turns
from strategies.lowering.overlapped import OVERLAPPED, overlapped_programs
from strategies.lowering.receive_buffers import ReceiveBuffers, Size, receive_buffers
from strategies.lowering.side_actions import SideOrder, placed_beside
from strategies.lowering.side_actions import placed_rows as rows_beside
from strategies.lowering.transfers import Crossings, receive, send
from strategies.model.actions import Op, PipelineAction
from strategies.model.communication import DEFAULT_COMMUNICATORS
from strategies.model.communicators import MEANINGS, queues
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.order_files.given_order import GivenOrder
from strategies.order_files.schedule_file import Token


class Communicated(NamedTuple):
    """The times of an order whose communication waits.

    Attributes
    ----------
    rows : list of Placed
        When each operation runs.
    transfers : dict of Op to Transferred
        When each result moves, by its producer.
    placed_by : str
        Whose placement of sends and receives it is: `BY_TIME`, ``the file``, or a framework's; empty if they need none.
    buffers : tuple of ReceiveBuffers
        What each device holds for its receives; empty if transfers need none.
    sides : SideRun or None
        The side actions; None if the pipeline has none.
    """

    rows: list[Placed]
    transfers: dict[Op, Transferred]
    placed_by: str
    buffers: tuple[ReceiveBuffers, ...] = ()
    sides: SideRun | None = None


class SideRun(NamedTuple):
    """The side actions of a schedule.

    Attributes
    ----------
    order : SideOrder
        Where they stand.
    beside : Beside
        When each ran, by `StreamAction`, and what it held.
    """

    order: SideOrder
    beside: Beside


class Lowered(NamedTuple):
    """An order with its communication placed.

    Attributes
    ----------
    lowered : LoweredPrograms
        The programs.
    communicators : str
        The communicators that they run with; empty if transfers wait for nothing, or only for their links.
    placed_by : str
        As in `Communicated`.
    """

    lowered: LoweredPrograms
    communicators: str
    placed_by: str


_PLACED_BY = {"timed": BY_TIME, "pytorch": "PyTorch", "given": "the file"}
_PROGRAMS = {"batched": (BATCHED, batched_programs), "megatron": (OVERLAPPED, overlapped_programs)}
"""The schedules for which a framework has a program, and what writes it, by ``p2p`` and ``lowering``."""


def program_of(pipeline: Pipeline) -> tuple[str, str]:
    """Return the key and the value that give some schedules a framework's program; an empty value for none.

    Parameters
    ----------
    pipeline : Pipeline
        With its rule of waiting.
    """
    key = "p2p" if pipeline.semantics == "batched" else "lowering"
    asked = getattr(pipeline, key) if pipeline.semantics in ("batched", "rendezvous") else None
    return (key, asked) if asked in _PROGRAMS else (key, "")


def programs_note(given: GivenOrder, pipeline: Pipeline) -> str:
    """Say that a file holds the order of a schedule that a framework's program would run; empty if it does not.

    Parameters
    ----------
    given : GivenOrder
        The file: its transfers are placed by time.
    pipeline : Pipeline
        In its number of stages.
    """
    key, asked = program_of(pipeline)
    programs = _PROGRAMS[asked][0] if asked else {}
    rows = [list(order) for order in given.orders]
    for name, whose in programs.items():
        strategy, _ = parse_strategy(name)
        for options in strategy.variants(pipeline):
            with suppress(InputError):
                placement, orders = make_orders(strategy, pipeline, options)
                if placement.homes == given.placement.homes and [list(order) for order in orders] == rows:
                    label = name + "".join(f":{option}={value}" for option, value in options.items())
                    return (
                        f"{given.name}: is the order of {label}, which {key}: {asked} runs as {whose} does; transfers "
                        f"of a file are placed by time, so name {label} instead of the file to compute that"
                    )
    return ""


class Order:
    """An order of computations, with everything needed to place its communication.

    Parameters
    ----------
    label : str
        Its name in messages.
    pipeline : Pipeline
        The costs.
    placement : Placement
        Which device holds which stage.
    problem : Problem
        The scheduled problem.
    orders : sequence of sequence of (Op or Block)
        The actions of each device.
    rows : sequence of Placed
        When each operation runs if no transfer waits.
    given : GivenOrder, optional
        The order's file, if it comes from one.
    searched : bool
        Whether a search found it. Then no framework has a program for it, and its communication is placed by time.
    copied : sequence of sequence of token, optional
        The computations of each device with the copies that were chosen, in place of the rule's.
    """

    def __init__(
        self,
        label: str,
        pipeline: Pipeline,
        placement: Placement,
        problem: Problem,
        orders: Sequence[Sequence[PipelineAction]],
        rows: Sequence[Placed],
        given: GivenOrder | None = None,
        *,
        searched: bool = False,
        copied: Sequence[Sequence[Token]] | None = None,
    ) -> None:
        self.label, self.pipeline, self.placement, self.problem = label, pipeline, placement, problem
        self.orders, self.rows, self.given, self.searched, self.copied = orders, rows, given, searched, copied
        self.crossings = Crossings(placement)

    def moving(self, transfer: Op) -> tuple[int, int]:
        """Return how long a transfer is moving, and how much later it arrives, in ticks."""
        boundary = min(transfer.stage, self.crossings.consumer_stage(transfer))
        items = self.pipeline.items
        factors = items.classes[items.of[transfer.microbatch]]
        hop = self.pipeline.hop(boundary, *self.crossings.devices(transfer), transfer.kind, factors)
        scale = self.problem.ticks_per_unit
        return in_ticks(hop.transfer, scale), in_ticks(hop.latency, scale)

    def lowered(self, lowering: str) -> LoweredPrograms:
        """Place sends and receives, and write the order as programs.

        Raises
        ------
        InputError
            If this order does not allow it, or the file has faults.
        """
        return as_programs(self.lowered_rows(lowering), self.placement, self.problem.duration, self.moving)

    def lowered_rows(self, lowering: str) -> Sequence[Sequence[Token | None]]:
        """Place sends and receives: by time, as PyTorch does, or as in the file."""
        if lowering == "given":
            if self.given is None or self.given.lowered is None:
                raise InputError(
                    f"{self.label}: lowering: given takes a file that holds its communication, and this has none; "
                    "timed and pytorch place it"
                )
            refuse_communication_faults(self.given)
            return self.given.lowered
        if lowering == "pytorch":
            try:
                return lower_as_pytorch(self.orders, self.placement)
            except InputError as error:
                raise InputError(f"{self.label}: lowering: pytorch: {error}") from None
        ends = {row.task: row.end for row in self.rows}
        by_action = {
            action: ends[action.first if isinstance(action, Block) else action]
            for order in self.orders
            for action in order
        }
        return lower_by_time(self.orders, self.placement, by_action)

    def side_order(self) -> SideOrder:
        """Place the side actions.

        Raises
        ------
        InputError
            If they come from a file that has faults.
        """
        given = None
        if self.given is not None:
            if self.pipeline.sharding is not None or self.pipeline.data_parallel is not None:
                refuse_faults_beside(self.given, sharded=self.pipeline.sharding is not None)
            if self.pipeline.offload is not None:
                refuse_copy_faults(self.given)
            given = self.given.beside
        if self._published == "pipeoffload" and self.pipeline.offload is not None:
            given = copies_in_turns(self.pipeline)
        ticks = self.problem.ticks_per_unit
        return placed_beside(self.pipeline, self.orders, ticks, given=given, copied=self.copied)

    def placed(self) -> Lowered:
        """Place sends and receives as the pipeline says.

        With ``p2p: batched`` and ``lowering: megatron``, a schedule for which a framework has a program runs that. All
        other orders, and all that a search found, have their transfers placed by time.

        Raises
        ------
        InputError
            As for `lowered`, or if the framework does not take the sizes.
        """
        pipeline = self.pipeline
        if pipeline.semantics in ("async", "links"):
            rows = lower_at_once(self.orders, self.crossings)
            return Lowered(as_programs(rows, self.placement, self.problem.duration, self.moving), "", "")
        key, asked = program_of(pipeline)
        communicators = "rank" if key == "p2p" else pipeline.communicators or DEFAULT_COMMUNICATORS
        if not asked:
            lowering = "timed" if self.searched else pipeline.lowering or "timed"
            return Lowered(self.lowered(lowering), communicators, _PLACED_BY[lowering])
        programs, write = _PROGRAMS[asked]
        name = self._published
        if name not in programs:
            return Lowered(self.lowered("timed"), communicators, BY_TIME)
        try:
            lowered = write(name, self.orders, self.placement, self.problem.duration, self.moving)
        except InputError as error:
            raise InputError(f"{self.label}: {key}: {asked}: {error}") from None
        return Lowered(lowered, communicators, programs[name])

    def queues_with(self, communicators: str) -> Queues:
        """Name the queues of transfers; each has one of its own where they wait for nothing."""
        return queues(communicators or "edge") if self.pipeline.semantics != "async" else queues_of_their_own

    @property
    def _published(self) -> str:
        """The published schedule; empty for any other order."""
        name, _, options = self.label.partition(":")
        is_name = all("=" in option for option in options.split(",")) if options else True
        return name if is_name and self.given is None and not self.searched else ""


def communicate(order: Order) -> Communicated:
    """Compute all times if transfers wait as the pipeline says.

    Raises
    ------
    InputError
        If the order hangs, with the cycle; or as `Order.placed`.
    """
    side_order = order.side_order() if order.pipeline.streams else None
    if side_order is not None and order.pipeline.semantics == "async":
        found = _on_graph(order, side_order)
        if found is not None:
            return found
    lowered, communicators, placed_by = order.placed()
    if side_order is not None:
        lowered = side_order.programmed(lowered)
    waits = order.pipeline.semantics != "async"
    made = run_lowered(order.label, lowered, communicators, order.queues_with(communicators))
    transfers: dict[Op, Transferred] = {}
    for key, moved in made.transfers.items() if waits else ():
        assert isinstance(key, Op)
        source, destination, _, latency = lowered.transfers[key]
        transfers[key] = Transferred(source, destination, *moved, moved.end + latency)
    buffers: tuple[ReceiveBuffers, ...] = ()
    if communicators:
        buffers = receive_buffers(lowered, order.placement, sizes_of_results(order.pipeline, order.placement))
    sides = None
    if side_order is not None:
        sides = SideRun(side_order, Beside(side_order.holding(order.problem), rows_beside(made.sides)))
    return Communicated(placed_rows(made), transfers, placed_by, buffers, sides)


def sizes_of_results(pipeline: Pipeline, placement: Placement) -> Size:
    """Return what tells the bytes of each transfer, from ``communication.bytes``."""
    crossings, items = Crossings(placement), pipeline.items

    @cache
    def size_of_class(boundary: int, kind: str, number: int) -> Fraction | None:
        return pipeline.result_size(boundary, kind, items.classes[number])

    def size(transfer: Op) -> Fraction | None:
        boundary = min(transfer.stage, crossings.consumer_stage(transfer))
        return size_of_class(boundary, transfer.kind, items.of[transfer.microbatch])

    return size


def _on_graph(order: Order, side_order: SideOrder) -> Communicated | None:
    """Replay an order with its side actions on the graph; None if only programs can say what happens."""
    written = side_order.as_one_problem(order.problem)
    if written is None:
        return None
    problem, lanes = written
    try:
        made = timeline(problem, [*order.orders, *lanes])
    except InputError:  # programs say what waits for what
        return None
    if found := violations(problem, made, memory=False):
        raise RuntimeError(f"{order.label}: the checker found {len(found)} faults, the first: {found[0]}")
    rows = [row for row in made if row.device < order.problem.devices]
    sides = rows_beside(side_order.with_releases({row.task: row.end for row in made}))
    run_beside = SideRun(side_order, Beside(side_order.holding(order.problem), sides))
    return Communicated(rows, {}, "", sides=run_beside)


def run_lowered(
    label: str, lowered: LoweredPrograms, communicators: str, own_queues: Queues | None = None
) -> ProgramTimes:
    """Run programs, and check the result.

    Parameters
    ----------
    label : str
        What the order is called.
    lowered : LoweredPrograms
        The programs.
    communicators : str
        The communicators; empty if transfers wait for nothing, or only for their links.
    own_queues : callable, optional
        The queues, if they are not those of the communicators.

    Raises
    ------
    InputError
        If the programs hang or cross.
    """
    crossed = find_crossings(lowered.programs, lowered.transfers)
    if crossed:
        sent, received = crossed[0].sent, crossed[0].received
        assert isinstance(sent, Op)
        assert isinstance(received, Op)
        raise InputError(f"{label}: is crossed: {receive(received)} would take what {send(sent)} sends")
    name = own_queues or queues(communicators)
    try:
        made = run(lowered.programs, lowered.transfers, name, lowered.sides)
    except RendezvousDeadlockError as error:
        cycle = describe_hang(error.cycle, lowered, communicators)
        using = f" with communicators: {communicators} ({MEANINGS[communicators]})" if communicators else ""
        raise InputError(f"{label}: hangs{using}: {cycle}") from None
    found = run_violations(lowered.programs, lowered.transfers, name, made, lowered.sides)
    if found:
        raise RuntimeError(f"{label}: the checker found {len(found)} faults, the first: {found[0]}")
    return made


def placed_rows(made: ProgramTimes) -> list[Placed]:
    """List when each operation runs, device by device."""
    rows: list[Placed] = []
    blocks = 0
    for device, computed in enumerate(made.computed):
        for name, start, end in computed:
            if isinstance(name, Block):
                rows += [Placed(task, device, start, end, blocks) for task in name]
                blocks += 1
            else:
                rows.append(Placed(name, device, start, end))
    return rows


def lost(order: Order, lowering: str, communicators: str) -> Fraction:
    """Compute how much longer an order takes than with communication placed by time, as a ratio.

    Raises
    ------
    InputError
        If the order hangs.
    """
    one, other = (run_lowered(order.label, order.lowered(how), communicators).makespan for how in (lowering, "timed"))
    return Fraction(one - other, other)
