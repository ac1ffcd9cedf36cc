"""One of several parallel solves: it tries kinds of schedules and limits in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter

from solver.block_lengths import longest_blocks
from solver.cpsat_run import Result, Values, run
from solver.deadline import OutOfTimeError
from solver.problem import Key, Precedence
from solver.search.cpsat_model import Variables, build_model, cut_by_load, minimise_makespan, minimise_span, tie_to_span
from solver.search.cpsat_solution import add_hint, read_orders
from solver.search.cpsat_state import State
from solver.search.cpsat_steps import Steps, Windows, in_chain_order
from solver.search.cpsat_variants import Variant
from solver.search.sweep import Sweeper
from solver.states import Answer

QUESTIONS_A_KIND, MOST_FIRST_SECONDS = 2, 10.0
"""Time of a question in the first round: each kind's share of the time is divided by this number, and limited to these
seconds. The time doubles with each round."""

PARAMETERS: Mapping[str, object] = {"cp_model_probing_level": 0, "linearization_level": 0, "cp_model_presolve": False}
"""The fastest parameters found: these models are already tight, and presolve only costs time (up to ten times)."""

OTHER_PARAMETERS: Mapping[str, object] = {"cp_model_probing_level": 0, "linearization_level": 0}
"""For every second round: presolve helps some models, for instance those with memory shared by several chains."""


@dataclass(frozen=True)
class Shared:
    """The data shared by all lanes.

    Attributes
    ----------
    state : State
        The best schedule and bound.
    steps : Steps
        The problem in steps.
    edges : list of Precedence
        Precedences besides the problem's own, in steps.
    windows : Windows
        Heads and tails, in steps.
    ranks : mapping of Key to int
        A topological order.
    floors : dict of str to int
        For each kind of schedules, by name, the least limit (in steps) not yet excluded.
    """

    state: State
    steps: Steps
    edges: list[Precedence]
    windows: Windows
    ranks: Mapping[Key, int]
    floors: dict[str, int] = field(default_factory=dict)

    @cached_property
    def longest(self) -> int:
        """A limit, in steps, that no schedule without needless waiting exceeds."""
        problem = self.steps.problem
        work = sum(task.duration for task in problem.tasks.values())
        spare = sum(longest_blocks(problem).values()) + sum(problem.merged_durations.values())
        return work + spare + sum(lag for _, _, lag in problem.precedences)


@dataclass
class Lane:
    """A solve in one thread.

    Attributes
    ----------
    shared : Shared
        The data shared by all lanes.
    kinds : list of Variant
        The kinds to try, in this order.
    seed : int
        CP-SAT's seed.
    failure : BaseException or None
        An error, for the waiting thread.
    """

    shared: Shared
    kinds: list[Variant]
    seed: int
    failure: BaseException | None = None
    parameters: Mapping[str, object] = field(default_factory=lambda: PARAMETERS)

    def search(self) -> None:
        """Search in rounds, each twice as long as the one before."""
        try:
            questions = QUESTIONS_A_KIND * max(1, len(self.kinds))
            seconds = min(MOST_FIRST_SECONDS, (self.shared.state.deadline - perf_counter()) / questions)
            while not self.shared.state.over():
                self._go_round(seconds)
                seconds *= 2
                self.seed += 100
                self.parameters = OTHER_PARAMETERS if self.parameters is PARAMETERS else PARAMETERS
        except OutOfTimeError:  # while building a model
            return
        except BaseException as error:  # passed to the waiting thread
            self.failure = error
            self.shared.state.cancelled.set()

    def _go_round(self, seconds: float) -> None:
        for variant in self.kinds:
            self._climb(variant, seconds)
        for variant in self.kinds:
            self._minimise(variant, seconds)
        if all(self._exhausted(variant) for variant in self.kinds):
            self.shared.state.cancelled.set()

    def _climb(self, variant: Variant, seconds: float) -> None:
        """Ask for limits from the lowest upwards as long as answers come, then for some higher ones."""
        jump = 1
        until = perf_counter() + 4 * seconds
        while not self._over(variant) and perf_counter() < until:
            limit = min(self._floor(variant) + jump - 1, self._largest())
            answer = self._ask(variant, limit, seconds)
            if answer == "unknown" and jump == 1:
                break
            jump = 2 * jump if answer == "infeasible" else 1
        self._bisect(variant, seconds / 2)

    def _bisect(self, variant: Variant, seconds: float) -> None:
        """Bisect towards the best schedule, treating unanswered limits as impossible."""
        low = self._floor(variant)
        while not self._over(variant):
            top = self._top()
            further = low + max(1, low // 16) if top is None else (low + top + 1) // 2
            limit = min(further, self._largest())
            if limit <= low:
                return
            if self._ask(variant, limit, seconds) != "feasible":
                low = limit

    def _floor(self, variant: Variant) -> int:
        """Return the least limit that a kind of schedules may meet, in steps."""
        return max(self.shared.floors.get(variant.name, 0), self.shared.steps.bound(self.shared.state.bound))

    def _top(self) -> int | None:
        """Return the largest limit that would be an improvement, in steps."""
        best = self.shared.state.best
        return None if best is None else self.shared.steps.limit(best - 1)

    def _largest(self) -> int:
        """Return the largest limit worth asking for, in steps."""
        top = self._top()
        return self.shared.longest if top is None else min(top, self.shared.longest)

    def _exhausted(self, variant: Variant) -> bool:
        return self._floor(variant) > self._largest()

    def _over(self, variant: Variant) -> bool:
        return self.shared.state.over() or self._exhausted(variant)

    def _ask(self, variant: Variant, limit: int, seconds: float) -> Answer:
        """Ask for a schedule within a limit; take at least as long as building the model took."""
        shared, began = self.shared, perf_counter()
        variables = self._model(variant, limit)
        patience = max(seconds, perf_counter() - began)
        result = Result("infeasible", None, None) if variables is None else self._run(variables, patience)
        if result.status == "infeasible":
            self._exclude(variant, limit)
        if result.values is None:
            return result.status
        kept = shared.state.best is not None and shared.steps.limit(shared.state.best) <= limit
        return "feasible" if kept else "unknown"  # rounded durations can mislead

    def _exclude(self, variant: Variant, limit: int) -> None:
        """Record that a kind of schedules does not exist within a limit."""
        shared = self.shared
        shared.floors[variant.name] = max(limit + 1, self._floor(variant))
        if not variant.lossless:
            return
        shared.state.raise_bound(shared.steps.ticks(limit + 1, shared.state.objective))
        if shared.state.best is None and limit >= self.shared.longest:
            shared.state.infeasible = True

    def _model(self, variant: Variant, limit: int) -> Variables | None:
        """Build the model of all schedules of a kind within a limit; None if there obviously are none."""
        shared = self.shared
        span = shared.state.objective == "span"
        windows = variant.windows(shared.windows, limit, self.shared.longest) if span else shared.windows.starts(limit)
        if windows is None:
            return None
        variables = Variables(shared.steps.problem, windows, variant.pairs, shared.state.over)
        edges = shared.edges if variant.lossless else [*shared.edges, *in_chain_order(shared.steps.problem)]
        build_model(variables, edges, self.shared.longest if span else limit)
        if span:
            tie_to_span(variables, limit)
        else:
            cut_by_load(variables, shared.windows.heads, shared.windows.tails, limit)
        return variables

    def _minimise(self, variant: Variant, seconds: float) -> None:
        """Ask for the best schedule, with the best known one as a hint."""
        if self._over(variant):
            return
        shared, best = self.shared, self.shared.state.best
        limit = self.shared.longest if best is None else shared.steps.limit(best)
        variables = self._model(variant, limit)
        if variables is None:
            self._exclude(variant, limit)
            return
        if shared.state.objective == "span":
            minimise_span(variables, self._floor(variant), limit)
        else:
            minimise_makespan(variables, shared.edges, self._floor(variant), limit)
        self._hint(variables)
        result = self._run(variables, seconds, lambda bound: self._exclude(variant, bound - 1))
        if result.status == "infeasible":
            self._exclude(variant, limit)
        elif result.bound is not None:
            self._exclude(variant, result.bound - 1)

    def _hint(self, variables: Variables) -> None:
        orders = self.shared.state.orders
        starts = None if orders is None else Sweeper(self.shared.steps.problem).starts(orders)
        if starts is not None:
            add_hint(variables, starts)

    def _run(self, variables: Variables, seconds: float, on_bound: Callable[[int], None] | None = None) -> Result:
        state = self.shared.state
        return run(
            variables.model,
            variables.watched(),
            deadline=min(state.deadline, perf_counter() + seconds),
            stop=state.over,
            seed=self.seed,
            on_solution=lambda values: self._take(variables, values),
            on_bound=on_bound,
            parameters=self.parameters,
        )

    def _take(self, variables: Variables, values: Values) -> None:
        self.shared.state.consider(read_orders(variables, values, self.shared.ranks))
