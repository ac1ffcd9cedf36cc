"""A schedule: orders, the times at which each action starts and ends, and its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from ppopt.process.internal_error import InternalError
from ppopt.schedules.as_run import Transferred, as_it_ran
from ppopt.schedules.export import export
from reports.metrics import Figures
from reports.numbers import number
from solver.counted import counted
from solver.exact import in_ticks, written_bound
from solver.problem import Block, Placed, Problem
from solver.states import Objective, Source, Status
from strategies.language.orders import actions_as_text
from strategies.language.registry import all_strategies
from strategies.layouts.runs_in import Framework, runs_in
from strategies.lowering.by_time import BY_TIME
from strategies.lowering.receive_buffers import ReceiveBuffers, by_figure
from strategies.model.actions import Op, PipelineAction
from strategies.model.cuts import counts_by_kind
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import Token
from strategies.problem.hidden_communication import hidden_communication
from strategies.problem.search_problem import Allowed

if TYPE_CHECKING:
    from pathlib import Path

    import networkx as nx
    import pandas as pd

    from ppopt.schedules.communicated import SideRun
    from reports.content import HeldLayers, Presented, ShownTransfer
    from reports.idle import Waiting
    from reports.ladder import Ladder
    from reports.noise import NoiseFigures
    from reports.table import Row
    from solver.bounds.bound import Bound
    from solver.problem import Action
    from strategies.lowering.stream_action import StreamAction


BETWEEN = " = "
"""The separator between the names of one order."""


def refuse_below_bound(what: str, value: Fraction, proven: Fraction | None) -> None:
    """Refuse a result below its proven bound: one of the two is wrong.

    Parameters
    ----------
    what : str
        The result's name.
    value, proven : Fraction
        The result and the bound, exact; None if nothing is proven.

    Raises
    ------
    InternalError
        With both values.
    """
    if proven is not None and value < proven:
        raise InternalError(f"{what}: {float(value):.10g} is below the bound {float(proven):.10g}")


def overhead_in_ticks(pipeline: Pipeline, problem: Problem, orders: Sequence[Sequence[PipelineAction]]) -> list[int]:
    """Add up the overhead of each device's actions, in ticks."""
    return [in_ticks(pipeline.overhead_of(order), problem.ticks_per_unit) for order in orders]


@dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """What `ppopt.evaluate` returns.

    Attributes
    ----------
    strategy : str
        The schedule's name, with its options.
    pipeline : Pipeline
        The pipeline as it was run, cut to fit the schedule.
    layout : Placement
        Which device holds which stage.
    figures : Figures
        All figures; each is also an attribute of the schedule itself.
    engine : str
        What computed the times: ``cpsat`` or ``graph``; ``measured`` for those of a trace.
    seconds : float
        The time from the pipeline to the checked figures.
    status : str
        ``replayed`` for a published schedule; ``optimal`` or ``feasible`` for the result of a search; ``measured`` for
        a step of a trace.
    objective : str
        The quantity that was minimised and that the bound applies to: ``makespan`` or ``span``.
    bound, gap : float or None
        A proven lower bound of the objective, and (T − bound) ÷ T, if a bound is known.
    proven : Fraction or None
        The bound without rounding. A schedule below it is refused.
    bound_held_by : Bound or None
        The argument that proves the bound.
    allowed : Allowed
        What its search was allowed to use: ``split_backward`` and ``overlap``. For a given order, what a search may use
        that it is compared with.
    interrupted : bool
        Whether Ctrl-C ended the search.
    ended : str
        When or why a search ended that did not prove its schedule to be the best; empty for all others.
    notes : tuple of str
        Notes for the user about this schedule, e.g. that the model was re-partitioned.
    problem : Problem
        The scheduling problem; its keys are `Op`.
    actions : list of list of (Op or Block)
        The actions of each device.
    rows : list of Placed
        When each operation runs, in exact ticks of 1 / ``problem.ticks_per_unit``.
    unhindered_makespan : Fraction or None
        The makespan without waits of transfers and without work beside computing, if there can be any.
    transfers : mapping of Op to Transferred
        If transfers can wait: when each result moves, by its producer.
    placed_by : str
        Whose placement of sends and receives it is: ``time``, ``the file``, or a framework's; empty if they need none.
    receive_buffers : tuple of ReceiveBuffers
        If sends and receives are placed: the most buffers that each device holds for its receives.
    lowered : list of list of (Op, Block, Aside or None), or None
        The cells of the schedule's file, if that contains communication.
    sides : SideRun or None
        What its devices do beside computing: gathers, reductions, copies.
    noise : NoiseFigures or None
        Its makespan with drawn times, if `ppopt.under_noise` drew them.
    """

    strategy: str
    pipeline: Pipeline
    layout: Placement
    figures: Figures
    engine: Source
    seconds: float
    status: Status
    problem: Problem
    actions: Sequence[Sequence[PipelineAction]]
    rows: Sequence[Placed]
    objective: Objective = "makespan"
    proven: Fraction | None = None
    bound_held_by: Bound | None = None
    allowed: Allowed = field(default_factory=Allowed)
    interrupted: bool = False
    ended: str = ""
    notes: tuple[str, ...] = ()
    unhindered_makespan: Fraction | None = None
    transfers: Mapping[Op, Transferred] = field(default_factory=dict)
    placed_by: str = ""
    receive_buffers: tuple[ReceiveBuffers, ...] = ()
    lowered: Sequence[Sequence[Token | None]] | None = None
    sides: SideRun | None = None

    def __post_init__(self) -> None:
        if self.proven is not None:
            refuse_below_bound(self.strategy, self._exact_value, self.proven)

    @property
    def _exact_value(self) -> Fraction:
        return self.exact_span if self.objective == "span" else self.exact_makespan

    @property
    def communication_share(self) -> float | None:
        """The relative increase of the makespan by waiting transfers and work beside computing; None without both."""
        if self.unhindered_makespan is None:
            return None
        return float(self.exact_makespan / self.unhindered_makespan - 1)

    @property
    def placed_for_want_of_program(self) -> bool:
        """Whether transfers are placed by time although the pipeline asks for a framework's placement, or a file's."""
        pipeline = self.pipeline
        asked = pipeline.framework is not None or pipeline.p2p == "batched" or pipeline.lowering not in (None, "timed")
        return asked and self.placed_by == BY_TIME

    @cached_property
    def problem_as_run(self) -> Problem:
        """The problem with the actual lags of transfers, gathers and reloads, so that waits are explained by them."""
        problem = self.problem
        if self.sides is not None:
            added = self.sides.order.awaited(self.rows, self.sides.beside.rows)
            problem = replace(problem, precedences=[*problem.precedences, *added])
        return as_it_ran(problem, self.rows, self.transfers) if self.transfers else problem

    noise: NoiseFigures | None = None

    @property
    def placement(self) -> str:
        """The placement's name; ``custom`` for an unusual one."""
        return self.layout.name

    @property
    def makespan(self) -> float:
        """T: the last end minus the first start, and what a step takes after its last operation."""
        return self.figures.makespan

    @cached_property
    def exact_makespan(self) -> Fraction:
        """The makespan without rounding."""
        rows = self._rows_and_side_actions
        ticks = max(row.end for row in rows) - min(row.start for row in rows)
        return Fraction(ticks, self.problem.ticks_per_unit) + self.pipeline.after

    @cached_property
    def exact_span(self) -> Fraction:
        """The span without rounding."""
        ends: dict[int, tuple[int, int]] = {}
        for row in self._rows_and_side_actions:
            is_action = row.task in self.problem.tasks  # a gather ahead of the first action is not part of the span
            first, last = ends.get(row.device, (row.start, row.end))
            ends[row.device] = min(first, row.start) if is_action else first, max(last, row.end)
        return Fraction(max(last - first for first, last in ends.values()), self.problem.ticks_per_unit)

    @property
    def _rows_and_side_actions(self) -> Sequence[Placed]:
        return self.rows if self.sides is None else [*self.rows, *self.sides.beside.rows]

    @property
    def span(self) -> float:
        """S: the longest (last end − first start) of one device."""
        return self.figures.span

    @property
    def busy(self) -> tuple[float, ...]:
        """For each device, the total duration of its actions, a block counted once."""
        return self.figures.busy

    @property
    def overhead(self) -> tuple[float, ...]:
        """For each device, the total overhead of its actions."""
        return self.figures.overhead

    @property
    def overhead_ticks(self) -> list[int]:
        """The same for the actions that are written out, in ticks; in a measured step, as far as gaps had room."""
        if self.status == "measured":
            return [round(each * self.problem.ticks_per_unit) for each in self.figures.overhead]
        return overhead_in_ticks(self.pipeline, self.problem, self.actions)

    @cached_property
    def has_blocks(self) -> bool:
        """Whether a device runs a forward and a backward together."""
        return any(isinstance(action, Block) for order in self.actions for action in order)

    @cached_property
    def hidden_communication(self) -> float | None:
        """The share of the communication within layers that overlapped blocks hide; None where no layer has parts."""
        if not self.pipeline.has_parts or self.status == "measured":
            return None
        share = hidden_communication(self.pipeline, self.actions)
        return None if share is None else float(share)

    @property
    def resident(self) -> int | None:
        """How many stages of a device have their parameters at once; None if nothing is sharded, or a file says it."""
        sharding = self.pipeline.sharding
        if sharding is None or self.sides is None or self.sides.order.gathers_as_given:
            return None
        return int(sharding.resident)

    @property
    def ideal(self) -> float:
        """U: all forwards and backwards, un-overlapped, spread evenly over the devices."""
        return self.figures.ideal

    @property
    def bubble_ratio(self) -> float:
        """1 − Σ busy ÷ (devices × T)."""
        return self.figures.bubble_ratio

    @property
    def bubble_over_ideal(self) -> float:
        """(T − U) ÷ U; negative if overlap beats U."""
        return self.figures.bubble_over_ideal

    @property
    def span_bubble_ratio(self) -> float:
        """1 − U ÷ S, the Zero Bubble paper's bubble."""
        return self.figures.span_bubble_ratio

    @property
    def peak_memory(self) -> tuple[float, ...]:
        """For each device, the peak of its activation memory."""
        return self.figures.peak_memory

    @property
    def memory_taken(self) -> tuple[Fraction, Fraction]:
        """The key for comparing the memory of equally short schedules: the largest peak of a device, then their sum."""
        return max(self.figures.peaks), sum(self.figures.peaks, Fraction(0))

    @property
    def bound(self) -> float | None:
        """A proven lower bound of the objective."""
        return None if self.proven is None else written_bound(self.proven, self._exact_value)

    @property
    def gap(self) -> float | None:
        """(T − bound) ÷ T, or (S − bound) ÷ S if the span is the objective; None if no bound is known."""
        return None if self.bound is None else (self.objective_value - self.bound) / self.objective_value

    @property
    def objective_value(self) -> float:
        """The makespan, or the span if that is the objective."""
        return self.span if self.objective == "span" else self.makespan

    @property
    def limits(self) -> list[float | None]:
        """The memory limit of each device; None if unlimited."""
        return [None if limit is None else float(limit) for limit in self.pipeline.limits]

    @property
    def fits(self) -> bool:
        """Whether every device keeps its memory limit."""
        return not self.over_limit

    @property
    def over_limit(self) -> list[int]:
        """The devices that hold more than their limit."""
        return list(self.figures.excesses(self.pipeline.limits))

    @property
    def lacks_second_copy(self) -> bool:
        """Whether it keeps two copies of the weights, and its memory counts none: ``memory.static`` is not known."""
        return len(self.layout.homes) > 1 and not any(cost.static for cost in self.pipeline.costs)

    @property
    def may_win(self) -> bool:
        """Whether it can be the best of several: it fits, and no second copy is missing from its memory."""
        return self.fits and not self.lacks_second_copy

    @property
    def is_searched(self) -> bool:
        """Whether a search found the schedule; otherwise its order was given."""
        return self.status in ("optimal", "feasible")

    @property
    def is_published(self) -> bool:
        """Whether it has the name of a published schedule."""
        return self.strategy.partition(":")[0].partition(BETWEEN)[0] in all_strategies()

    @cached_property
    def runs_in(self) -> tuple[Framework, ...]:
        """The frameworks that run the order: as a schedule of their own, or because they load any on its placement."""
        if self.status == "measured":
            return ()
        found = runs_in(self.strategy.split(BETWEEN), self.layout)
        return tuple(each for each in found if not (each.loads and self.pipeline.are_sliced))

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """One row per operation, and per side action: device, stage, microbatch, op, start, end, block."""
        from reports.timeline import timeline_frame

        beside = () if self.sides is None else self.sides.beside.rows
        return timeline_frame(self.rows, self.problem.ticks_per_unit, beside)

    @cached_property
    def orders(self) -> list[list[str]]:
        """The actions of each device in PyTorch's grammar."""
        return actions_as_text(self.actions)

    @cached_property
    def waiting(self) -> Waiting:
        """What the devices wait for, and for how long, in ticks."""
        from reports.idle import explain_idle

        beside = () if self.sides is None else self.sides.beside.rows
        return explain_idle(self.problem_as_run, self.rows, beside).with_overhead(self.overhead_ticks)

    @cached_property
    def dag(self) -> nx.DiGraph[Action]:
        """The graph of the fixed order, in ticks.

        Nodes are the actions (`Op` or `Block`) with ``device`` and ``duration``; an edge's ``lag`` is the least time
        from the end of its tail to the start of its head. The makespan is the longest path.
        """
        from solver.order_graph import order_graph

        return order_graph(self.problem, self.actions)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, as in ``--format json``."""
        return {
            "strategy": self.strategy,
            "devices": self.pipeline.devices,
            "stages": self.pipeline.stages,
            "microbatches": self.pipeline.microbatches,
            "makespan": self.makespan,
            "span": self.span,
            "ideal": self.ideal,
            **({"overhead": list(self.overhead)} if any(self.overhead) else {}),
            "bubble_ratio": self.bubble_ratio,
            "bubble_over_ideal": self.bubble_over_ideal,
            "span_bubble_ratio": self.span_bubble_ratio,
            **({"hidden_communication": self.hidden_communication} if self.pipeline.has_parts else {}),
            "peak_memory": list(self.peak_memory),
            "over_memory_limit": self.over_limit,
            "lacks_second_copy": self.lacks_second_copy,
            "objective": self.objective,
            "bound": self.bound,
            "gap": self.gap,
            "status": self.status,
            "engine": self.engine,
            "runs_in": [framework.name for framework in self.runs_in],
            "seconds": self.seconds,
            "ended": self.ended,
            "notes": list(self.notes),
            **({} if self.noise is None else {"noise": self.noise.to_dict()}),
            **self._side_values(),
        } | self._communication_values()

    def _side_values(self) -> dict[str, Any]:
        return self._offload_values() | self._sharding_values()

    def _offload_values(self) -> dict[str, Any]:
        offloaded = self.offloaded
        if not offloaded:
            return {}
        number, every = sum(offloaded), len(offloaded) * len(self.pipeline.items.of)
        share = number / every
        return {"offloaded": {"activations": number, "share_of_activations": share, "by_stage": offloaded}}

    def _sharding_values(self) -> dict[str, Any]:
        if self.sides is None or self.pipeline.sharding is None:
            return {}
        sharding, costs = self.pipeline.sharding, self.pipeline.side_costs
        by_stage, by_device = [0] * len(costs), [0] * self.pipeline.devices
        moved = [Fraction(0)] * self.pipeline.devices
        for each, _ in self.sides.order.every:
            if each.action.kind == "UNSHARD":
                by_stage[each.action.stage] += 1
                by_device[each.device] += 1
                moved[each.device] += costs[each.action.stage].gather
        values: dict[str, Any] = {
            "resident": self.resident,
            "gathers": by_stage,
            "gathers_by_device": by_device,
        }
        if sharding.bandwidth is not None:
            rate = sharding.bandwidth
            pairs = zip(by_stage, costs, strict=True)
            values["gathered_bytes"] = [float(number * cost.gather * rate) for number, cost in pairs]
            values["gathered_bytes_by_device"] = [float(time * rate) for time in moved]
        return values

    @property
    def offloaded(self) -> list[int]:
        """How many activations of each stage are copied to the host; empty without offload."""
        if self.sides is None or self.pipeline.offload is None:
            return []
        return self.sides.order.offloads(self.pipeline.stages or 0)

    @property
    def gathers(self) -> list[int]:
        """How often each stage's parameters are gathered, on all its devices; empty without sharding."""
        return list(self._side_values().get("gathers", ()))

    def _communication_values(self) -> dict[str, Any]:
        if self.unhindered_makespan is None:
            return {}
        return {
            **({} if self.pipeline.framework is None else {"framework": self.pipeline.framework}),
            "p2p": self.pipeline.semantics,
            "placed_by": self.placed_by or None,
            "makespan_async": float(self.unhindered_makespan),
            "communication": self.communication_share,
            **({"receive_buffers": by_figure(self.receive_buffers)} if self.receive_buffers else {}),
        }

    def export(
        self,
        path: str | Path,
        force_order_only: bool = False,
        *,
        lowered: bool = False,
        unshard: bool = False,
    ) -> tuple[str, ...]:
        """Write the order as a file that PyTorch's pipeline runtime loads; see `ppopt.export`.

        Parameters
        ----------
        path : str or Path
            The file; it appears only when it is complete.
        force_order_only, lowered, unshard : bool
            As for `ppopt.export`.

        Returns
        -------
        tuple of str
            Notes on the file.

        Raises
        ------
        InputError
            If the order is bidirectional and the export is not forced, or the file cannot be written.
        """
        return export(self, path, force_order_only=force_order_only, lowered=lowered, unshard=unshard)

    def table_row(self) -> Row:
        """Make the schedule's row of a table."""
        from reports.table import Row
        from reports.units import Units

        pipeline = self.pipeline
        return Row(
            self.strategy,
            (pipeline.devices, pipeline.stages or 0, pipeline.microbatches),
            self.figures,
            self.pipeline.limits,
            self.status,
            self.objective,
            self.bound,
            Units(pipeline.unit or "", pipeline.memory.unit or ""),
            self.communication_share,
            self.placed_for_want_of_program,
            None if self.status == "measured" else {each.letter: each.name for each in self.runs_in},
            self.lacks_second_copy,
            pipeline.source or "",
            self.resident,
        )

    def presented(self, ladder: Ladder | None = None, values: dict[str, Any] | None = None) -> Presented:
        """Make the presentation of the schedule in a report.

        Parameters
        ----------
        ladder : Ladder, optional
            Where its time goes.
        values : dict, optional
            Its figures as plain values, if there are more than its own.
        """
        from reports.content import Presented

        return Presented(
            summary=self.table_row(),
            placement=self.placement,
            local_stages=self.layout.local_stages,
            problem=self.problem_as_run,
            timeline=self.rows,
            waiting=self.waiting,
            orders=self.orders,
            ladder=ladder,
            searched=self.is_searched,
            notes=self.notes,
            transfers=self._shown_transfers(),
            values=self.to_dict() if values is None else values,
            cut=tuple(self._held_layers()),
            items=self.names_of_items,
            noise=self.noise,
            given=not self.is_searched and not self.is_published and self.status != "measured",
            beside=None if self.sides is None else self.sides.beside,
        )

    @property
    def names_of_items(self) -> tuple[str, ...]:
        """What slices are called, such as 3.1 for slice 1 of microbatch 3; empty if microbatches are whole."""
        return tuple(self.pipeline.items.names) if self.pipeline.are_sliced else ()

    def _shown_transfers(self) -> list[ShownTransfer]:
        """List both ends of each transfer, from the time it was ready until the end of its move, and side actions."""
        from reports.content import DOES, ShownTransfer

        shown: list[ShownTransfer] = []
        items = self.names_of_items
        for op, each in self.transfers.items():
            item = items[op.microbatch] if items else op.microbatch
            name = f"{op.stage}{op.kind}{item} from device {each.source} to {each.destination}"
            shown.append(ShownTransfer(each.source, name, each.sendable, each.start, each.end))
            shown.append(ShownTransfer(each.destination, name, each.receivable, each.start, each.end))
        if self.sides is not None:
            for task, device, start, end, _ in self.sides.beside.rows:
                if end > start:
                    stage, kind, number = cast("StreamAction", task).action
                    name = f"{stage}{kind}{'' if number is None else items[number] if items else number}"
                    shown.append(ShownTransfer(device, name, start, start, end, DOES[kind]))
        return sorted(shown, key=lambda each: (each.device, each.start, each.name))

    def _held_layers(self) -> Iterator[HeldLayers]:
        """List the layers of each device and stage, with recomputed layers listed separately."""
        from reports.content import HeldLayers

        pipeline = self.pipeline
        if pipeline.layers is None or pipeline.layers_per_stage is None:
            return
        held = counts_by_kind(pipeline.layers, pipeline.layers_per_stage)
        for device, local in enumerate(self.layout.local_stages):
            for stage, _ in local:
                again = (
                    pipeline.recomputed_per_stage[stage] if pipeline.recomputed_per_stage else (0,) * len(held[stage])
                )
                for kind, count, twice in zip(pipeline.layers.kinds, held[stage], again, strict=True):
                    for costs, how_many in ((kind.costs, count - twice), (kind.recomputed, twice)):
                        if costs is not None and how_many:
                            time = float(how_many * (costs.forward + costs.backward))
                            static = float(how_many * costs.static)
                            is_again = costs is not kind.costs
                            yield HeldLayers(device, stage, kind.name, how_many, is_again, time, static)

    def _repr_html_(self) -> str:
        """Show the timeline in a notebook as a picture, which needs no network."""
        from reports.page.notebook import timeline_html

        return timeline_html(self.presented())

    def _repr_mimebundle_(self, **_what: object) -> dict[str, Any]:
        """Offer a notebook the timeline as a picture, a chart, and text."""
        from reports.page.notebook import mimebundle

        return mimebundle(self.presented(), repr(self))

    def __repr__(self) -> str:
        pipeline = self.pipeline
        unit = f" {pipeline.unit}" if pipeline.unit else ""
        return (
            f"<Schedule {self.strategy}: {counted(pipeline.devices, 'device')}, "
            f"{counted(pipeline.stages or 0, 'stage')}, {counted(pipeline.microbatches, 'microbatch')}, "
            f"makespan {number(self.makespan)}{unit}, "
            f"bubble ratio {self.bubble_ratio:.4f}>"
        )
