"""The best cut of a model for a fixed order of its operations, with a proof.

`plan_fixed_order` finds the layers of each stage, and what to recompute, for which a published schedule (or one from a
file) is shortest within the memory, and proves it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from time import perf_counter
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from ppopt.cutting.fixed_order import FixedOrder, length_within_memory, read_order
from ppopt.cutting.order_as_partition import (
    Orders,
    Recompute,
    Written,
    all_costs,
    write_partition,
)
from ppopt.cutting.quick import quick_cut
from ppopt.cutting.work_bound import work_bound
from solver import jit
from solver.bounds.between import none_between
from solver.deadline import is_over
from solver.errors import InputError
from solver.partitioning import loops
from solver.partitioning.longest_path import Replay
from solver.partitioning.problem import Split
from solver.partitioning.solve import Answer, best_split, quick_split
from solver.partitioning.splits import InfeasibleSplitError
from strategies.language.orders import make_orders
from strategies.language.registry import Strategy
from strategies.model.cuts import ByKind, Counts
from strategies.model.layers import Layers
from strategies.model.numbers import shown
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement

PlanStatus: TypeAlias = Literal["optimal", "feasible", "infeasible", "unknown"]
"""Proven best; found, but maybe not the best; no cut fits the memory, proven; nothing found in time."""

RECOMPUTES: tuple[Recompute, ...] = get_args(Recompute)


@dataclass(frozen=True)
class FixedPlan:
    """The best cut found for an order, and a bound on all cuts.

    Attributes
    ----------
    strategy : str
        The order's name, as given.
    stages : int
        The number of stages.
    layers_per_stage : tuple of int or None
        How many layers each stage holds; None if no cut was found.
    recomputed_per_stage : tuple of tuple of int or None
        How many layers are recomputed, for each stage and kind of layers, as `Pipeline.with_cut` takes it; None if no
        layer is recomputed.
    makespan : Fraction or None
        The order's makespan with this cut, exact, in the pipeline's unit.
    bound : Fraction
        With this order, no cut that fits the memory is shorter, whatever is recomputed of what may be. Exact.
    status : {"optimal", "feasible", "infeasible", "unknown"}
        Proven best; found, but maybe not the best; proven that no cut fits the memory; nothing found in time.
    seconds : float
        The time it took.
    uniform_k : int or None
        With ``recompute="uniform-k"``: the number of layers recomputed on every stage.
    is_fixed : bool
        Whether the order is the same for all cuts. If not, nothing is proven beyond `work_bound`, which is the bound.
    nodes, paths : int
        How many sets of cuts were examined, and how many paths through the order.
    notes : tuple of str
        Notes for the user.
    cut : Pipeline or None
        The pipeline with this cut.
    placement : Placement or None
        Which device holds which stage.
    orders : sequence of sequence of (Op or Block)
        The actions of each device; `ppopt.evaluation.evaluate.replay_orders` replays them.
    """

    strategy: str
    stages: int
    layers_per_stage: Counts | None
    recomputed_per_stage: ByKind | None
    makespan: Fraction | None
    bound: Fraction
    status: PlanStatus
    seconds: float
    uniform_k: int | None = None
    is_fixed: bool = True
    nodes: int = 0
    paths: int = 0
    notes: tuple[str, ...] = ()
    cut: Pipeline | None = field(default=None, repr=False)
    placement: Placement | None = field(default=None, repr=False)
    orders: Orders = field(default=(), repr=False)

    @property
    def gap(self) -> float | None:
        """(makespan − bound) ÷ makespan; None without a cut."""
        return None if not self.makespan else float((self.makespan - self.bound) / self.makespan)


OnSolution: TypeAlias = Callable[[Fraction, Counts], None]
"""``on_solution(makespan, layers_per_stage)``."""

OnBound: TypeAlias = Callable[[Fraction], None]
"""``on_bound(bound)``."""


def plan_fixed_order(
    pipeline: Pipeline,
    strategy: Any,
    *,
    stages: int | None = None,
    recompute: Recompute = "none",
    empty: bool = True,
    time_limit: float = 10.0,
    seed: int = 0,
    starts: tuple[tuple[Counts, ByKind | None], ...] = (),
    on_solution: OnSolution | None = None,
    on_bound: OnBound | None = None,
    stop: Callable[[], bool] | None = None,
    order: FixedOrder | None = None,
) -> FixedPlan:
    """Find the cut and recomputation for which an order is shortest within the memory, and prove it.

    Parameters
    ----------
    pipeline : Pipeline
        With layers; its cut, if any, is ignored.
    strategy : str, path or GivenOrder
        As `ppopt.evaluate` takes it: a name with options, or a schedule file.
    stages : int, optional
        The number of stages; by default the strategy's.
    recompute : {"none", "per-stage", "uniform-k"}
        What may be recomputed: nothing; any layers of each stage; the same number of layers on every stage, the first
        ones of each, as Megatron-LM's ``--recompute-method block`` does.
    empty : bool
        Whether stages may be empty.
    time_limit : float
        Seconds.
    seed : int
        Seed of everything random.
    starts : tuple of (layers_per_stage, recomputed_per_stage)
        Known cuts; the answer is never longer than one of them that fits.
    on_solution, on_bound : callable, optional
        Called with each better makespan and its cut, and with each better bound.
    stop : callable, optional
        Called often; the search ends when it returns True. Ctrl-C also ends the search, with the best so far.
    order : FixedOrder, optional
        The order, if it is known already; ``strategy`` and ``stages`` are then ignored.

    Returns
    -------
    FixedPlan
        A strategy whose order depends on costs is planned without a proof, and a note says so.

    Raises
    ------
    InputError
        If an argument is wrong, the strategy does not fit, or the layers' pins allow no cut.
    """
    started = perf_counter()
    if recompute not in RECOMPUTES:
        raise InputError(f"recompute: {shown(recompute)} is not known; allowed are {', '.join(RECOMPUTES)}")
    order = order or read_order(pipeline, strategy, stages=stages)
    search = _Search(order, recompute, empty, started + time_limit, seed, starts, on_solution, on_bound, stop)
    with suppress(KeyboardInterrupt):
        search.run()
    return replace(search.plan(), seconds=perf_counter() - started)


FLOOR_NODES = 40
"""Tree nodes examined for a bound that ignores memory."""

FIRST_TURN, GROWTH = 0.5, 4.0
"""Seconds of the first turn for each number of recomputed layers, if time allows, and the growth factor per turn."""

RESTARTS = 8
"""Restarts of planning for an order that changes with the cut."""

_NO_PROOF = (
    "{} makes its order from the costs of the stages, so every cut has another; the plan is the best of those that "
    "were tried, without a proof"
)


class _Best(NamedTuple):
    """The best cut so far."""

    makespan: Fraction
    cut: Counts
    recomputed: ByKind | None
    uniform: int | None
    orders: Orders


@dataclass
class _Search:
    """The search for one order: the problems to solve in turn, and the best cut so far."""

    order: FixedOrder
    recompute: Recompute
    empty: bool
    deadline: float
    seed: int
    starts: tuple[tuple[Counts, ByKind | None], ...]
    on_solution: OnSolution | None
    on_bound: OnBound | None
    stop: Callable[[], bool] | None

    def __post_init__(self) -> None:
        self.best: _Best | None = None
        self.bound = Fraction(0)
        self.complete = False
        self.nodes = self.paths = 0
        self.notes: list[str] = []

    def run(self) -> None:
        """Solve all problems, starting from the quick cut."""
        self._raise(work_bound(self._layers, self.order.pipeline))
        self.starts = (*self.starts, *self._quick())
        if not self.order.is_fixed:
            self.notes.append(_NO_PROOF.format(self.order.label))
            self._alternate()
        elif self.recompute == "uniform-k" and self._layers.recomputable:
            self._each_uniform()
        else:
            answer = self._solve(self._write(None), None, self.deadline, self._raise)
            self.complete = answer.complete

    def _quick(self) -> list[tuple[Counts, ByKind | None]]:
        """Without known starts, cut as `ppopt evaluate` does; also without limits: recomputation may make that fit."""
        if self.starts:
            return []
        orders, compiled = [self.order], jit.compiled(loops)
        if self.recompute != "none" and any(limit is not None for limit in self.order.pipeline.limits):
            orders.insert(0, self.order.without_limit())
        cuts = [
            quick_cut(each.pipeline, None, empty=self.empty, order=each, stop=self.stop, compiled=compiled)
            for each in orders
        ]
        return [(cut, None) for cut in dict.fromkeys(cuts) if self.empty or 0 not in cut]

    @property
    def _layers(self) -> Layers:
        assert self.order.pipeline.layers is not None
        return self.order.pipeline.layers

    def _is_over(self) -> bool:
        return is_over(self.deadline) or (self.stop is not None and self.stop())

    def _write(self, uniform: int | None) -> Written:
        order = self.order
        return write_partition(
            order.pipeline,
            order.placement,
            order.orders,
            ordered=order.ordered,
            recompute=self.recompute,
            uniform=uniform,
            empty=self.empty,
        )

    def _raise(self, bound: Fraction) -> None:
        if bound > self.bound:
            self.bound = bound
            if self.on_bound is not None:
                self.on_bound(bound)

    def _solve(self, written: Written, uniform: int | None, deadline: float, on_bound: OnBound | None = None) -> Answer:
        """Solve one problem; only answers better than the best so far count."""
        problem = written.problem
        cutoff = None
        if self.best is not None and written.is_exact:
            cutoff = int(self.best.makespan * written.ticks_per_unit)
        starts = [written.split_of(*start) for start in self.starts]
        try:
            answer = best_split(
                problem,
                deadline=deadline,
                seed=self.seed,
                starts=starts,
                cutoff=cutoff,
                on_solution=lambda length, split: self._take(written, length, split, uniform),
                on_bound=None if on_bound is None else lambda bound: on_bound(written.in_units(bound)),
                stop=self.stop,
            )
        except InfeasibleSplitError:
            return Answer(None, None, 0, complete=True)
        self.nodes += answer.nodes
        self.paths += answer.paths
        if not written.is_exact and answer.length is not None:  # the bound holds, but a shorter split may exist
            short = self.best is None or written.in_units(answer.bound) < self.best.makespan
            if short and answer.complete and self._is_shortest(written.in_units(answer.bound)):
                self._raise_to_best(on_bound)
                short = False
            answer = replace(answer, complete=answer.complete and not short)
        return answer

    def _is_shortest(self, bound: Fraction) -> bool:
        """Return whether no sum of the layers' costs and of lags lies between a bound and the best cut."""
        pipeline = self.order.pipeline
        overlaps = pipeline.overlap or pipeline.has_parts
        if self.best is None or overlaps or pipeline.slowdown or pipeline.waits:
            return False
        best = self.best.makespan
        costs = {value for costs in all_costs(self._layers) for value in costs[:4] if value}
        counts = {value: int(best / value) for value in costs}
        ordered = self.order.ordered
        counts |= {lag: len(ordered.actions) for waits in ordered.waits for _, lag in waits if lag}
        if pipeline.after:
            counts[pipeline.after] = 1
        counts |= {overhead: len(ordered.actions) for overhead in pipeline.overheads.values() if overhead}
        return none_between(counts, bound, best)

    def _raise_to_best(self, on_bound: OnBound | None) -> None:
        if on_bound is not None and self.best is not None:
            on_bound(self.best.makespan)

    def _take(self, written: Written, length: int, split: Split, uniform: int | None) -> None:
        """Keep a cut if it is better than all before."""
        cut, again = written.cut(split)
        makespan = written.in_units(length)
        if not written.is_exact:
            exact = self._exactly(cut, again, self.order.orders)
            if exact is None:
                return
            makespan = exact
        self._keep(_Best(makespan, cut, again, uniform, self.order.orders))

    def _keep(self, found: _Best) -> None:
        if self.best is None or found.makespan < self.best.makespan:
            self.best = found
            if self.on_solution is not None:
                self.on_solution(found.makespan, found.cut)

    def _exactly(self, cut: Counts, again: ByKind | None, orders: Orders) -> Fraction | None:
        """Replay a cut in exact arithmetic; None if it exceeds the memory."""
        return length_within_memory(self.order.pipeline.with_cut(cut, again), self.order.placement, orders)

    def _each_uniform(self) -> None:
        """Try each number of layers recomputed on all stages, then return to the numbers left open.

        A greater number makes no operation shorter. So a lower bound for one number that ignores memory also holds for
        all greater numbers; once it reaches the best makespan so far, none of them can improve on it.
        """
        most = sum(kind.count for kind in self._layers.kinds if kind.recompute is not None)
        self._quick_uniform(most)
        left_open: dict[int, Fraction] = {}
        floor = Fraction(0)
        for count in range(most + 1):
            seconds = min(FIRST_TURN, (self.deadline - perf_counter()) / 2 / (most + 1 - count))
            written = self._write(count)
            floor = max(floor, self._without_limits(written, seconds))
            if self._is_shut(floor):
                break
            left_open[count] = floor
            if self._is_over():
                break
            self._try_uniform(count, written, seconds, left_open)
        seconds = FIRST_TURN
        while not self._is_over() and (waiting := [key for key in left_open if not self._is_shut(left_open[key])]):
            seconds *= GROWTH
            for count in waiting:
                left = self.deadline - perf_counter()
                self._try_uniform(count, self._write(count), left if len(waiting) == 1 else seconds, left_open)
        bounds = [bound for bound in left_open.values() if not self._is_shut(bound)]
        self.complete = not bounds
        if bounds or self.best is not None:
            self._raise(min(bounds) if bounds else self.best.makespan)  # type: ignore[union-attr]

    def _try_uniform(self, count: int, written: Written, seconds: float, left_open: dict[int, Fraction]) -> None:
        """Look for the best cut with one number for a while; if that stays open, record its bound."""
        if self._is_over() or self._is_shut(left_open[count]):
            return
        answer = self._solve(written, count, min(self.deadline, perf_counter() + seconds))
        if answer.complete:
            del left_open[count]
        else:
            left_open[count] = max(left_open[count], written.in_units(answer.bound))

    def _is_shut(self, bound: Fraction) -> bool:
        return self.best is not None and bound >= self.best.makespan

    def _quick_uniform(self, most: int) -> None:
        """Find a cut quickly: that of `ppopt evaluate`, or one with about the fewest recomputed layers that fit."""
        self._solve(self._write(0), 0, perf_counter())
        low, high = 1, most + 1
        while not (self.best is not None and self.best.uniform == 0) and low < high and not self._is_over():
            middle = (low + high) // 2
            written = self._write(middle)
            with suppress(InfeasibleSplitError, OverflowError):
                found = quick_split(written.problem, compiled=jit.compiled(loops), over=self._is_over)
                if found.excess == 0:
                    self._take(written, found.length, written.problem.split_of(found.amounts), middle)
                    high = middle
                    continue
            low = middle + 1

    def _without_limits(self, written: Written, seconds: float) -> Fraction:
        """Bound the makespan of all cuts, including those that exceed the memory."""
        cutoff = None
        if self.best is not None and written.is_exact:
            cutoff = int(self.best.makespan * written.ticks_per_unit)
        try:
            answer = best_split(
                replace(written.problem, limits=()),
                deadline=perf_counter() + seconds,
                most_nodes=FLOOR_NODES,
                seed=self.seed,
                cutoff=cutoff,
                stop=self.stop,
            )
        except InfeasibleSplitError:
            return Fraction(0)
        return written.in_units(answer.bound)

    def _alternate(self) -> None:
        """Make the order of a cut, re-cut the model for that order, and repeat; each cut is judged by its own order."""
        order, strategy = self.order, self.order.strategy
        assert strategy is not None
        cuts = [cut for cut, _ in self.starts if len(cut) == order.stages]
        seen: set[Counts] = set()
        for seed in range(self.seed, self.seed + RESTARTS):
            cut = cuts.pop() if cuts else order.pipeline.layers_per_stage
            while cut is not None and not (seen and self._is_over()):
                cut = self._next_cut(order.pipeline.with_cut(cut), strategy, seed, seen)

    def _next_cut(self, pipeline: Pipeline, strategy: Strategy, seed: int, seen: set[Counts]) -> Counts | None:
        """Judge a cut, and find a good cut for its order; None if that cut was seen before."""
        try:
            placement, orders = make_orders(strategy, pipeline, self.order.options)
        except InputError:  # the rule does not run on this cut
            return None
        written = write_partition(pipeline, placement, orders, empty=self.empty)
        problem, cut = written.problem, pipeline.layers_per_stage
        assert cut is not None
        amounts = problem.amounts_of(written.split_of(cut))
        if cut not in seen and problem.keeps_limits(amounts):
            length = Replay(problem, None).longest(amounts).length if written.is_exact else None
            makespan = self._exactly(cut, None, orders) if length is None else written.in_units(length)
            if makespan is not None:
                self._keep(_Best(makespan, cut, None, None, orders))
        seen.add(cut)
        found = written.cut(problem.split_of(quick_split(problem, seed=seed, over=self._is_over).amounts))[0]
        return None if found in seen else found

    def plan(self) -> FixedPlan:
        """Return the result."""
        order, best = self.order, self.best
        status: PlanStatus = "feasible" if best is not None else "unknown"
        if self.complete:
            status = "optimal" if best is not None else "infeasible"
        return FixedPlan(
            strategy=order.label,
            stages=order.stages,
            layers_per_stage=None if best is None else best.cut,
            recomputed_per_stage=None if best is None else best.recomputed,
            makespan=None if best is None else best.makespan,
            bound=self.bound,
            status=status,
            seconds=0.0,
            uniform_k=None if best is None else best.uniform,
            is_fixed=order.is_fixed,
            nodes=self.nodes,
            paths=self.paths,
            notes=tuple(self.notes),
            cut=None if best is None else order.pipeline.with_cut(best.cut, best.recomputed),
            placement=order.placement,
            orders=order.orders if best is None else best.orders,
        )
