"""The best schedule of a search where devices also copy, gather or reduce: what that costs is seen in its replay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import cached_property, partial
from itertools import islice
from time import perf_counter

from ppopt.optimization.copied_order import USUAL, Choice, CopiedOrder, better_copies, better_pace
from ppopt.optimization.finishing import exact_value, replayed
from ppopt.optimization.options import SearchOptions
from ppopt.optimization.starts import as_searched
from ppopt.schedules.replaying import replay_orders
from ppopt.schedules.schedule import Schedule
from reports.numbers import with_unit
from solver.counted import counted, listed
from solver.errors import InputError, TimeTooShortError
from solver.problem import Orders, Problem
from solver.search.sweep import Sweeper
from strategies.language.orders import make_orders
from strategies.language.registry import Strategy
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.model.streams import STREAMS
from strategies.order_files.schedule_file import Token
from strategies.problem.search_problem import build_search_problem, pipeline_actions

MOST_IMPROVED = 4
"""Orders in which better copies are looked for."""

SHARES = tuple((Fraction(first, 4), Fraction(last, 4)) for first, last in ((0, 0), (4, 0), (2, 2), (1, 1), (3, 3)))
"""Where limits are tried between the given ones and what the shortest order holds: on the first half of the devices,
which hold most where all are alike, and on the others."""

MOST_NAMED = 4
"""Stages of which only some activations are copied, and which a sentence names one by one."""


class BesideComputing:
    """Replays orders that a search has met with all that runs beside computing, and keeps the best that fits.

    Parameters
    ----------
    pipeline, placement, options
        What is searched.
    on_better : callable
        Called when a shorter schedule fits.

    Attributes
    ----------
    best : Schedule or None
        The best that fits.
    cut_short : bool
        Whether there was no time to try all orders that might be better.
    longest : float
        How many seconds it has taken to try one.
    """

    def __init__(
        self, pipeline: Pipeline, placement: Placement, options: SearchOptions, on_better: Callable[[], object]
    ) -> None:
        self.pipeline, self.placement, self.options, self.on_better = pipeline, placement, options, on_better
        self.label = f"optimized-{placement.name}"
        self.best: Schedule | None = None
        self.cut_short = False
        self._promising: list[tuple[Choice, CopiedOrder]] = []
        self._closest: tuple[Fraction, Schedule] | None = None
        self._made: dict[int, tuple[Orders, CopiedOrder]] = {}
        self._seen: set[tuple[object, ...]] = set()
        self.longest = 0.0
        self._until = math.inf

    @property
    def value(self) -> Fraction | None:
        """The objective of the best schedule, as a search counts it."""
        return None if self.best is None else exact_value(self.best, self.options.objective)

    def try_all(self, met: Sequence[tuple[Fraction, Orders]], deadline: float) -> None:
        """Try orders, each with its value if nothing runs beside it, until none can be better or the time is up.

        Something is tried in any case, and first the shortest that fits without copies. Where copies are chosen, those
        of the rule are tried afterwards, because they wait for nothing but backwards.

        Parameters
        ----------
        met : sequence of (Fraction, Orders)
            The shortest first.
        deadline : float
            On the clock of `time.perf_counter`.
        """
        if self.best is None and self.pipeline.offload is not None:  # without copies, all that a search meets fits
            met = [*islice((each for each in met if self._fits_without(each[1])), 1), *met]
        if not self.options.offload:
            self.cut_short = not self._try_each(met, self._try_by_rule, deadline)
            return
        self._try_each(met[:1], self.try_one, deadline)
        ranked = self._most_promising_first(met, (deadline + perf_counter()) / 2)
        in_time = self._try_each(ranked, self.try_one, deadline)
        self.cut_short = not (in_time and self._try_each(met, self._try_by_rule, deadline))

    def _most_promising_first(
        self, met: Sequence[tuple[Fraction, Orders]], deadline: float
    ) -> list[tuple[Fraction, Orders]]:
        """Sort the orders that can fit with copies by how long they, or their copies alone, take at least."""
        ranked: list[tuple[Fraction, int]] = []
        for place, (value, orders) in enumerate(met):
            if perf_counter() > deadline or self._is_useless(value):
                break
            order = self._copied_order(orders)
            if order.can_fit:
                ranked.append((max(value, order.copying(USUAL)), place))
        return [met[place] for _, place in sorted(ranked)]

    def _copied_order(self, orders: Orders) -> CopiedOrder:
        if id(orders) not in self._made:
            order = CopiedOrder(self.pipeline, self.placement, pipeline_actions(orders), self.options.objective)
            self._made[id(orders)] = orders, order
        return self._made[id(orders)][1]

    def _try_each(
        self, met: Iterable[tuple[Fraction, Orders]], try_one: Callable[[Orders], object], deadline: float
    ) -> bool:
        """Try each order in some way; return whether the time was enough."""
        self._until = deadline
        for value, orders in met:
            if self._is_useless(value):
                continue
            if self._is_over(deadline) and self._seen:
                return False
            seen = try_one.__name__, *map(tuple, orders)
            if seen not in self._seen:
                self._seen.add(seen)
                began = perf_counter()
                try_one(orders)
                self.longest = max(self.longest, perf_counter() - began)
        return True

    def _fits_without(self, orders: Orders) -> bool:
        """Return whether an order fits the memory if nothing is copied."""
        return self._sweeper.fits_memory(orders)

    @cached_property
    def _sweeper(self) -> Sweeper:
        return Sweeper(build_search_problem(self._plain, self.placement, **self.options.allowed._asdict()))

    @property
    def _plain(self) -> Pipeline:
        """The pipeline without copies."""
        return self.pipeline.model_copy(update={"offload": None})

    def _is_useless(self, value: Fraction) -> bool:
        """Return whether no order of this makespan can be better: what runs beside computing makes none shorter."""
        if self.value is None or self.options.objective == "span":
            return False
        return value > self.value or (value == self.value and not self._copies)

    @property
    def _shown(self) -> float:
        """The objective of the best schedule as a float, without what follows the last operation."""
        return math.inf if self.value is None else float(self.value)

    @property
    def _copies(self) -> int:
        return 0 if self.best is None else sum(self.best.offloaded)

    def _is_over(self, deadline: float) -> bool:
        """Return whether another replay would end too late."""
        return perf_counter() + self.longest > deadline

    def try_one(self, orders: Orders) -> None:
        """Replay an order with the best copies of a first few, or with those of the rule; keep it if it is best."""
        if not self.options.offload:
            self._try_by_rule(orders)
            return
        order = self._copied_order(orders)
        if self._fits_without(orders):
            self.consider(self._replayed(order, order.actions))
        elif self._is_over(self._until):
            self.consider(self._replayed(order, order.rows((USUAL,) * len(order.actions), frozenset())[0]))
        elif self._closest is None or order.can_fit:
            self._keep(order, order.at_pace(USUAL))

    def _try_by_rule(self, orders: Orders) -> None:
        self.consider(replayed(self.pipeline, self.placement, orders, self._until))

    def _keep(self, order: CopiedOrder, choice: Choice) -> None:
        """Remember a choice, and replay it in full if it is the best or the closest so far."""
        others = (pair for pair in self._promising if pair[1] is not order)
        self._promising = sorted([(choice, order), *others], key=lambda pair: pair[0].key)[:MOST_IMPROVED]
        is_new = choice.length <= self._shown
        if choice.excess:
            is_new = self._closest is None or choice.excess < self._closest[0]
        if not is_new:
            return
        self.consider(self._replayed(order, order.rows(choice.paces, choice.kept)[0]))

    def _replayed(self, order: CopiedOrder, rows: Sequence[Sequence[Token]]) -> Schedule:
        """Replay an order in full with the copies in its rows."""
        where = self.pipeline, self.placement
        return replay_orders(self.label, *where, order.actions, "graph", searched=True, copied=rows)

    def consider(self, schedule: Schedule) -> bool:
        """Keep a schedule if it is the best that fits; return whether it is."""
        if not schedule.fits:
            excess = sum(schedule.figures.excesses(self.pipeline.limits).values(), Fraction(0))
            if self._closest is None or excess < self._closest[0]:
                self._closest = excess, schedule
            return False
        if self.best is not None and self._key(schedule) >= self._key(self.best):
            return False
        before, self.best = self.value, schedule
        if self.value != before:
            self.on_better()
        return True

    def _key(self, schedule: Schedule) -> tuple[object, ...]:
        return exact_value(schedule, self.options.objective), sum(schedule.offloaded), schedule.memory_taken

    def copy_better(self, deadline: float) -> None:
        """Look for better copies in the most promising orders, the best first, until the time is up."""
        for improve in (better_pace, better_copies):
            for place, (choice, order) in enumerate(tuple(self._promising)):
                share = (deadline - perf_counter()) / (len(self._promising) - place)
                until = min(deadline, perf_counter() + share)
                if self._is_over(until):
                    return
                self._keep(order, improve(order, choice, partial(self._is_over, until)))

    def without_copies(self, orders: Orders) -> Iterator[Pipeline]:
        """Yield the pipeline without copies: within its limits, and within some between them and what orders hold.

        An order that fits there needs no copies here, or few.

        Parameters
        ----------
        orders : Orders
            The shortest that were found, whatever they hold.
        """
        plain = self._plain
        peaks = replayed(plain.with_limit(None), self.placement, orders).figures.peaks
        pairs = list(zip(peaks, self.pipeline.limits, strict=True))
        if all(limit is None or peak <= limit for peak, limit in pairs):
            return
        for share, later in SHARES:
            shares = [share if device < len(pairs) // 2 else later for device in range(len(pairs))]
            limits = [
                None if limit is None else limit + each * max(Fraction(0), peak - limit)
                for each, (peak, limit) in zip(shares, pairs, strict=True)
            ]
            yield plain.with_limit(limits)

    def within_room(self, orders: Orders) -> Iterator[Pipeline]:
        """Yield the pipeline with nothing beside computing, within limits that leave room for what is held there.

        Parameters
        ----------
        orders : Orders
            The shortest that were found, whatever they hold.
        """
        whole = self.pipeline
        if whole.sharding is not None and whole.sharding.resident == "auto":
            whole = whole.model_copy(update={"sharding": whole.sharding.model_copy(update={"resident": 1})})
        alone = whole.model_copy(update=dict.fromkeys(STREAMS))
        peaks, least = (
            replayed(each.with_limit(None), self.placement, orders).figures.peaks for each in (whole, alone)
        )
        limits = list(zip(whole.limits, peaks, least, strict=True))
        if any(limit is not None and peak > limit for limit, peak, _ in limits):
            with suppress(InputError):  # no room at all, say
                yield alone.with_limit([limit and limit - (peak - less) for limit, peak, less in limits])

    def consider_given(self, problem: Problem, starts: Sequence[Schedule]) -> None:
        """Keep the best of given schedules that fit with their own copies, and do only what the search may do."""
        if self.pipeline.semantics not in ("async", "links"):  # frameworks place their transfers otherwise
            return
        for each in starts:
            if each.layout.homes == self.placement.homes and each.pipeline == self.pipeline and each.fits:
                orders = as_searched(problem, each.actions)
                if orders is not None and pipeline_actions(orders) == [list(order) for order in each.actions]:
                    self.consider(replace(each, strategy=self.label, notes=(), layout=self.placement))

    def published(self, strategies: Sequence[Strategy]) -> Iterator[Schedule]:
        """Yield published schedules that come with copies of their own."""
        for strategy in strategies:
            if strategy.name == "pipeoffload" and self.pipeline.offload is not None:
                with suppress(InputError):  # no time to reload, say
                    orders = make_orders(strategy, self.pipeline)[1]
                    yield replay_orders(strategy.name, self.pipeline, self.placement, orders, "graph")

    def chosen(self) -> Schedule:
        """Return the best that fits.

        Raises
        ------
        TimeTooShortError
            If none was found.
        """
        if self.best is not None:
            notes = self.best.notes
            return replace(self.best, notes=(*notes, what_is_copied(self.best))) if self.best.offloaded else self.best
        assert self._closest is not None
        closest, pipeline = self._closest[1], self.pipeline
        device = closest.over_limit[0]
        held, limit = closest.figures.peaks[device], pipeline.limits[device]
        assert limit is not None
        copies = pipeline.offload is not None
        hint = "; --offload chooses what is copied" if copies and not self.options.offload else ""
        raise TimeTooShortError(
            f"no schedule found on the {self.placement.name} placement that fits the memory limit with "
            f"{'its copies' if copies else 'all that runs beside computing'}: the closest holds "
            f"{with_unit(f'{float(held):.10g}', pipeline.memory.unit)} on device {device}, and the limit is "
            f"{float(limit):.10g}{hint}"
        )


def what_is_copied(schedule: Schedule) -> str:
    """Say in a sentence how many activations a schedule copies to the host, and of which stages.

    Parameters
    ----------
    schedule : Schedule
        With ``offload``.
    """
    items, offloaded = len(schedule.pipeline.items.of), schedule.offloaded
    if not any(offloaded):
        return f"{schedule.strategy} copies no activations to the host"
    whole = [str(stage) for stage, number in enumerate(offloaded) if number == items]
    parts = [f"all of stage{'s' if len(whole) > 1 else ''} {listed(whole)}"] if whole else []
    some = [f"{number} of stage {stage}" for stage, number in enumerate(offloaded) if 0 < number < items]
    parts += some if len(some) <= MOST_NAMED else [f"some of {len(some)} stages"]
    total = f"{sum(offloaded)} of {counted(items * len(offloaded), 'activation')}"
    return f"{schedule.strategy} copies {total} to the host and back: {listed(parts)}"
