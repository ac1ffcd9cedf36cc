"""Planning: the best cut for every schedule and number of stages, side by side, within the time limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from os import PathLike
from time import perf_counter
from typing import Any

from ppopt.cutting.fixed_order import FixedOrder
from ppopt.cutting.order_as_partition import Recompute
from ppopt.evaluation.evaluate import check_pipeline
from ppopt.planning.candidates import USUAL_STAGES_PER_DEVICE, Candidates, gather, label_of, name_of
from ppopt.planning.compared_layouts import GivenLayout, compare_layouts, read_layouts
from ppopt.planning.free_plans import FreePlans, free_plans
from ppopt.planning.infeasible import Lack, gathered, other_numbers_of_stages, why_nothing_fits
from ppopt.planning.options import PlanOptions, read_stages_per_device
from ppopt.planning.pace import CAUTION, MANY_ACTIONS, Pace, measured_pace, size_of
from ppopt.planning.plans import MOST_SHOWN, Plan, Planning, Unplanned
from ppopt.planning.race import Entry, Race
from ppopt.planning.reasons import Alternatives, reasons
from ppopt.planning.replayed_plans import LEAST_TO_COMPARE, MOST_TO_COMPARE, OnPhase, Replays
from ppopt.process.garbage import collection_paused
from ppopt.process.internal_error import as_reason
from ppopt.process.interrupt import interrupt_noted, interrupt_put_off
from ppopt.process.single_threaded_blas import single_threaded_blas
from ppopt.process.time_limit import MOMENT, Afterwards, least_seconds
from ppopt.schedules.order_files import read_named
from solver.errors import InfeasibleError, InputError
from solver.search.state import Progress
from strategies.language.registry import all_strategies
from strategies.layouts.frameworks import FRAMEWORKS
from strategies.model.numbers import shown as name_value
from strategies.model.pipeline import Pipeline
from strategies.order_files.given_order import GivenOrder, Named

SHARE_OF_WRITING = 0.5
"""Share of the time for writing orders."""

SHARE_OF_FIXED = 0.4
"""Share of the time for published orders, if orders are searched as well."""

SHARE_OF_REASONS = 0.05
"""Share of the time reserved for the cuts that the best plan is compared with."""

SHARE_OF_ROOM = 0.3
"""Share of the time reserved for cuts that leave room for what is held beside computing, where there is a limit."""

MOST_COMPARED = 3
"""The most cuts that the best plan is compared with."""

BOUNDS_OF_A_PAGE, SHARE_OF_BOUNDS = 8.0, 0.2
"""Most seconds, and largest share of the time left, for the bounds of a page's ladders."""


def plan(
    pipeline: Pipeline,
    strategies: Iterable[str | PathLike[str] | GivenOrder] | str | None = None,
    *,
    stages_per_device: int | Iterable[int] | None = None,
    free: bool = False,
    placement: str | None = None,
    split_backward: bool = True,
    recompute: Recompute | None = None,
    empty_stages: bool = True,
    layouts: Iterable[object] = (),
    time_limit: float = 60.0,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    on_phase: OnPhase | None = None,
    raise_infeasible: bool = True,
    afterwards: Afterwards | None = None,
    framework: str | None = None,
) -> Planning:
    """Find the layers of each stage, and which are recomputed, for each of several schedules.

    Parameters
    ----------
    pipeline : Pipeline
        With layers; its cut, if any, is ignored.
    strategies : iterable of str or path, optional
        Names and schedule files as for `ppopt.evaluate`; by default every known schedule. A schedule that does not fit
        is left out, with a reason.
    stages_per_device : int or iterable of int, optional
        How many stages a device holds; by default as each schedule requires, or 2, 3 and 4 if it takes any number.
    free : bool
        Whether to search for the order as well, together with the cut.
    placement : str, optional
        With ``free``: the placement to search, one that ``ppopt plan --help`` lists.
    split_backward : bool
        With ``free``: whether backwards may be I and W.
    recompute : {"none", "per-stage", "uniform-k"}, optional
        What may be recomputed: nothing; any number of layers of each stage; the first k layers of every stage. By
        default anything, if there is a memory limit and the layers give the cost of recomputation.
    empty_stages : bool
        Whether stages may be empty.
    layouts : iterable of str or list
        Layouts in the format of Megatron, torchtitan or DeepSpeed, to compare the plans with.
    time_limit : float
        Seconds in all. Each schedule gets a short turn; then those that may still win get longer ones.
    workers : int, optional
        Threads.
    seed : int
        The seed of everything random.
    progress, on_phase : callable, optional
        ``progress(standing)`` is called whenever the current schedule's best plan or bound changes,
        ``on_phase(text)`` with the current phase.
    raise_infeasible : bool
        Whether to raise an error if nothing fits the memory; otherwise the result says why, and has no plans.
    afterwards : Afterwards, optional
        Work on the result that must fit into the same time.
    framework : str, optional
        The training framework that runs the plans: only orders that it runs, and for Megatron-Core and DeepSpeed only
        cuts that it takes.

    Returns
    -------
    Planning
        The plans, best first. Ctrl-C ends the search early, with the plans so far.

    Raises
    ------
    InfeasibleError
        If it is proven that nothing fits the memory.
    InputError
        If an argument is wrong, or no schedule fits the pipeline.
    """
    options = PlanOptions(
        strategies=_read_names(strategies),
        stages_per_device=read_stages_per_device(stages_per_device),
        free=free,
        placement=placement,
        split_backward=split_backward,
        recompute=recompute,
        empty_stages=empty_stages,
        layouts=tuple(layouts),
        time_limit=time_limit,
        workers=workers,
        seed=seed,
        progress=progress,
        framework=framework,
    )
    check_pipeline(pipeline)
    pipeline.refuse_unequal("plan")
    if pipeline.offload is not None:
        raise InputError(
            "offload: plan counts whole activations, so it cannot choose a cut for copies; leave offload out, and give "
            "the cut to ppopt evaluate or frontier --offload"
        )
    if pipeline.layers is None:
        raise InputError("layers: a plan needs the model as its layers; this pipeline gives the times of its stages")
    made = _Planner(pipeline, options, on_phase or _tell_nobody, afterwards or Afterwards()).run()
    if raise_infeasible and made.infeasible is not None:
        raise made.infeasible
    return made


def _tell_nobody(_text: str) -> None:
    pass


def _read_names(strategies: Any) -> tuple[Named, ...] | None:
    if strategies is None:
        return None
    if isinstance(strategies, (str, PathLike, GivenOrder)):
        strategies = [strategies]
    if not isinstance(strategies, Iterable):
        raise InputError(f"strategies: must be a list of names; found {name_value(strategies)}")
    names = tuple(map(read_named, strategies))
    if not names:
        raise InputError("strategies: name at least one")
    return names


@dataclass
class _Planner:
    """One run of `plan`."""

    pipeline: Pipeline
    options: PlanOptions
    on_phase: OnPhase
    afterwards: Afterwards
    began: float = field(default_factory=perf_counter)
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.recompute = self.options.recomputation(self.pipeline)
        self.ends = self.began + self.options.time_limit
        self.pace: Pace | None = None
        self.replaying = self.bounds = 0.0
        self.promised = 0.0
        self.replays = Replays(self.options, self.recompute, self.on_phase, lambda: self.interrupted)

    @collection_paused()
    @single_threaded_blas()
    def run(self) -> Planning:
        layouts = read_layouts(self.pipeline, self.options.layouts)
        candidates = self._gather(layouts)
        race = Race(
            [
                Entry(
                    order,
                    starts=tuple(layout.cut for layout in layouts if len(layout.cut) == order.stages),
                    needs=self._foreseen(order),
                )
                for order in candidates.fitting
            ],
            self.recompute,
            self.options.empty_stages,
            self.options.seed,
            self.options.progress,
            self.on_phase,
            self._finishing,
        )
        if race.entries:
            self._race(race)
        plans, cannot_run = self._plans_of(race)
        lacks = {id(entry): self._why_infeasible(entry.order) for entry in race.entries if entry.is_infeasible}
        unplanned = [self._unplanned(entry, lacks.get(id(entry))) for entry in race.entries if entry.makespan is None]
        unplanned += cannot_run
        unplanned += [Unplanned(label, reason, is_proven=False) for label, reason in candidates.too_long]
        if self.options.free and not self.interrupted:
            free = self._free(plans)
            plans += free.plans
            unplanned += free.unplanned
            self.interrupted |= free.interrupted
        with interrupt_put_off(self._interrupt):
            return self._gathered_plans(plans, unplanned, candidates, race, list(lacks.values()), layouts)

    def _plans_of(self, race: Race) -> tuple[list[Plan], list[Unplanned]]:
        """Replay the best cuts; if transfers wait, an order may hang."""
        plans: list[Plan] = []
        cannot_run: list[Unplanned] = []
        with interrupt_put_off(self._interrupt):
            for entry in race.entries:
                if entry.makespan is not None:
                    try:
                        plans.append(self.replays.plan_of(entry, self.ends))
                    except InputError as error:
                        cannot_run.append(Unplanned(label_of(entry.order), str(error), is_proven=False))
                    except Exception as error:
                        label = label_of(entry.order)
                        cannot_run.append(Unplanned(label, as_reason(label, error), is_proven=False))
        return plans, cannot_run

    def _interrupt(self) -> None:
        self.interrupted = True

    def _gathered_plans(
        self,
        plans: list[Plan],
        unplanned: Sequence[Unplanned],
        candidates: Candidates,
        race: Race,
        lacks: Sequence[Lack],
        layouts: Sequence[GivenLayout],
    ) -> Planning:
        """Rank the plans, and add their reasons."""
        plans, refused = self._that_run(plans)
        unplanned = [*unplanned, *refused]
        plans.sort(key=_rank)
        failed = not plans and all(each.is_proven for each in unplanned)
        compared = compare_layouts(layouts, candidates.fitting, plans)
        return Planning(
            pipeline=self.pipeline,
            plans=tuple(self._explained(plans, candidates.fitting)),
            unplanned=tuple(unplanned),
            left_out=tuple(candidates.left_out),
            layouts=tuple(compared.layouts),
            layouts_left_out=tuple(compared.left_out),
            interrupted=self.interrupted,
            infeasible=self._why_nothing(race, lacks) if failed else None,
            seconds=perf_counter() - self.began,
        )

    def _that_run(self, plans: Sequence[Plan]) -> tuple[list[Plan], list[Unplanned]]:
        """Separate the plans whose cut the framework cannot take; PyTorch and others take any."""
        framework = self.options.runs_for
        title = None if framework is None else framework.title
        if title is None or title not in FRAMEWORKS:
            return list(plans), []
        whole = [plan for plan in plans if plan.exports[title].is_whole]
        refused = [plan for plan in plans if not plan.exports[title].is_whole]
        return whole, [
            Unplanned(each.label, "; ".join(each.exports[title].cannot), is_proven=False) for each in refused
        ]

    def _gather(self, layouts: Sequence[GivenLayout]) -> Candidates:
        """List the orders, including those with the numbers of stages of the layouts to compare."""
        self.on_phase("writing orders")
        names, numbers = self.options.strategies, self.options.stages_per_device
        also = {len(layout.cut) // self.pipeline.devices for layout in layouts}
        every = names or list(all_strategies())
        most = max(numbers or USUAL_STAGES_PER_DEVICE) * self.pipeline.devices * self.pipeline.microbatches
        if most > MANY_ACTIONS:
            self.pace = measured_pace(self.pipeline, self.recompute, empty=self.options.empty_stages)
        may_take = None if self.pace is None else self._may_take
        found = gather(
            self.pipeline,
            every,
            numbers,
            also=also,
            all_of_them=names is None,
            only=self.options.restriction,
            may_take=may_take,
            until=self.ends - (1 - SHARE_OF_WRITING) * self.options.time_limit,
        )
        if not found.fitting and not found.too_long and not self.options.free:
            lines = [f"{name}: {reason}" for name, reason in found.left_out]
            raise InputError("\n".join(lines) or "stages_per_device: no schedule takes that number")
        found.fitting.sort(key=lambda order: order.stages)  # the quick ones first
        return found

    def _may_take(self, actions: int) -> str | None:
        """Say why one more order with this many actions would take too long; count it if it would not."""
        assert self.pace is not None
        seconds = self.pace.answering * actions
        if perf_counter() + self.promised + seconds <= self.ends + MOMENT:
            self.promised += seconds
            return None
        beside = f", and those of shorter orders {self.promised:.1f} s" if self.promised else ""
        return (
            f"no time for it: writing, cutting for and replaying its {actions:,} operations takes about {seconds:.1f} s"
            f"{beside}; the time limit is {self.options.time_limit:g} s"
        )

    def _foreseen(self, order: FixedOrder) -> float:
        """Predict the seconds of a first cut for an order, if orders are long."""
        return 0.0 if self.pace is None else self.pace.planning * size_of(order)

    def _race(self, race: Race) -> None:
        self.replaying = self._seconds_per_action(race.entries[0].order)
        left = self.ends - perf_counter()
        if self.afterwards.bounded:
            self.bounds = min(BOUNDS_OF_A_PAGE, SHARE_OF_BOUNDS * max(0.0, left))
        share = SHARE_OF_FIXED if self.options.free else 1.0
        compared = min(MOST_TO_COMPARE, max(LEAST_TO_COMPARE, SHARE_OF_REASONS * left))
        if self.pipeline.streams and any(limit is not None for limit in self.pipeline.limits):
            compared += SHARE_OF_ROOM * max(0.0, left)

        def interrupt() -> None:
            self.interrupted = race.interrupted = True

        with interrupt_noted(interrupt):
            try:
                race.run(perf_counter() + share * max(0.0, left - compared))
            except KeyboardInterrupt:
                interrupt()
        self.ends -= self._page([entry.order for entry in race.entries if entry.makespan is not None])

    def _finishing(self, orders: Sequence[FixedOrder]) -> float:
        """Predict the time to replay the plans and the cuts they are compared with, and to write a page."""
        waits, layouts = self.pipeline.waits, len(self.options.layouts)
        replays = 1 + layouts + waits * (1 + layouts)
        sizes = [size_of(order) for order in orders]
        actions = replays * sum(sizes) + MOST_COMPARED * max(sizes, default=0)
        return CAUTION * self.replaying * actions + self._page(orders)

    def _page(self, orders: Sequence[FixedOrder]) -> float:
        """Predict the time of a page about the plans."""
        actions = sum(sorted(size_of(order) for order in orders)[-MOST_SHOWN:])
        return CAUTION * self.replaying * self.afterwards.per_schedule * actions + self.bounds

    def _seconds_per_action(self, order: FixedOrder) -> float:
        """Measure the time of replaying an action."""
        if self.pace is not None:
            return self.pace.replaying / CAUTION

        def replay() -> tuple[float]:
            began = perf_counter()
            with suppress(Exception):  # a deadlock or an internal error: reported later
                self.replays.replayed(order, order.pipeline)
            return (perf_counter() - began,)

        return least_seconds(replay)[0] / size_of(order)

    @property
    def _recompute_at_most(self) -> Recompute:
        return "none" if self.recompute == "none" else "per-stage"

    def _why_infeasible(self, order: FixedOrder) -> Lack:
        return why_nothing_fits(order, self._recompute_at_most, empty=self.options.empty_stages)

    def _why_nothing(self, race: Race, lacks: Sequence[Lack]) -> InfeasibleError | None:
        """Say what lacks least, and whether another number of stages would help a schedule that takes any."""
        if not lacks:
            return InfeasibleError("infeasible: no cut and no order fits the memory limit", 0, Fraction(0), Fraction(0))
        least = min(lacks, key=lambda lack: lack.amount)
        order = next(entry.order for entry in race.entries if label_of(entry.order) == least.label)
        same = [each.order for each in race.entries if name_of(each.order) == name_of(order)]
        tried = [each.stages // each.pipeline.devices for each in same]
        others = other_numbers_of_stages(order, self._recompute_at_most, tried, empty=self.options.empty_stages)
        return gathered(lacks, others)

    def _unplanned(self, entry: Entry, lack: Lack | None) -> Unplanned:
        label = label_of(entry.order)
        if entry.fault:
            return Unplanned(label, entry.fault, is_proven=False)
        if lack is not None:
            return Unplanned(label, lack.reason, is_proven=True)
        why = (
            "the search was interrupted"
            if self.interrupted
            else f"the time limit of {self.options.time_limit:g} s was used up"
        )
        what = "no cut that fits" if any(limit is not None for limit in self.pipeline.limits) else "no cut"
        return Unplanned(label, f"{what} was found: {why}", is_proven=False)

    def _free(self, plans: Sequence[Plan]) -> FreePlans:
        return free_plans(
            self.pipeline,
            self.options,
            self.recompute != "none",
            plans,
            self.ends - SHARE_OF_REASONS * self.options.time_limit,
            self.on_phase,
        )

    def _explained(self, plans: Sequence[Plan], orders: Sequence[FixedOrder]) -> Iterator[Plan]:
        """Add the reasons; for the best plan, including comparisons with other cuts."""
        by_name = {(name_of(order), order.stages): order for order in orders}
        for place, plan in enumerate(plans):
            order = by_name.get((plan.name, plan.pipeline.stages or 0))
            best, others = plan, Alternatives()
            if place == 0 and order is not None and not plan.is_free and self._has_time_to_compare(plan, order):
                self.on_phase("explaining")
                best, others = self.replays.compared(plan, order, self.ends - perf_counter())
            yield replace(best, reasons=reasons(best, others), even_makespan=_as_float(others.even))

    def _has_time_to_compare(self, plan: Plan, order: FixedOrder) -> bool:
        """Return whether a long order can be compared with other cuts before the time is up."""
        others = any(limit is not None for limit in plan.pipeline.limits) + any(plan.recomputed_per_stage)
        replays = CAUTION * self.replaying * (1 + others) * size_of(order)
        return perf_counter() + replays + others * self._foreseen(order) <= self.ends + MOMENT


def _rank(plan: Plan) -> tuple[bool, Fraction, bool, tuple[Fraction, Fraction]]:
    """Rank plans by makespan and memory; those whose memory lacks a second copy of the weights come last."""
    return plan.schedule.lacks_second_copy, plan.exact_makespan, plan.is_free, plan.schedule.memory_taken


def _as_float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
