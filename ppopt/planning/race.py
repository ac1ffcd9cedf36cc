"""Plans many orders in one time limit: a quick cut and a short turn for each, then longer turns for promising ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from time import perf_counter

from ppopt.cutting.best_cut import FixedPlan, plan_fixed_order
from ppopt.cutting.fixed_order import FixedOrder
from ppopt.cutting.order_as_partition import Recompute
from ppopt.planning.candidates import label_of
from ppopt.planning.dependent_order import bound_of_all_orders, cuts_to_begin_with
from ppopt.process.internal_error import as_reason
from solver.errors import DeadlockError, InputError
from solver.search.state import Progress, Standing
from strategies.model.cuts import ByKind, Counts

FIRST_TURN, GROWTH = 0.5, 4.0
"""Seconds of an order's first turn, and the growth factor of later ones: each turn starts from scratch."""

LEAST_TURN = 0.2
"""Least seconds of a turn."""

OVERRUN = 1.2
"""If a turn exceeds its time by this factor, the order needs at least that time for a turn."""

WEIGHT_OF_LENGTH, WEIGHT_OF_LOSERS = 40.0, 3.0
"""Weights for choosing the next turn: an order 2.5 % longer than the best waits as if its turn were twice as long, an
order proven to be longer as if it were three times as long."""

MOST_STARTS = 3
"""How many other orders' cuts an order that depends on its cut starts from."""

SHARE_OF_BOUND = 0.5
"""Share of a first turn for the bound for every order on a placement."""

OnPhase = Callable[[str], None]
"""Called with a short text about the current phase."""


@dataclass
class Entry:
    """One order in the race.

    Attributes
    ----------
    order : FixedOrder
        The order.
    starts : tuple of tuple of int
        Known cuts: the answer is never longer than one of them that fits.
    answer : FixedPlan or None
        The result of its turns; None before the first turn.
    bound : Fraction
        The best bound of all its turns.
    turns : int
        How many turns it has had; the first was only for a quick cut.
    seconds : float
        The time of its turns.
    needs : float
        The least seconds of a turn, however short it is meant to be.
    fault : str
        A deadlock, or an internal error in one of its turns; it then gets no other turn.
    """

    order: FixedOrder
    starts: tuple[Counts, ...] = ()
    answer: FixedPlan | None = None
    bound: Fraction = Fraction(0)
    turns: int = 0
    seconds: float = 0.0
    needs: float = 0.0
    fault: str = ""

    @property
    def makespan(self) -> Fraction | None:
        """The makespan of the best cut found."""
        return None if self.answer is None else self.answer.makespan

    @property
    def is_infeasible(self) -> bool:
        """Whether it is proven that no cut fits the memory."""
        return self.answer is not None and self.answer.status == "infeasible"

    @property
    def is_done(self) -> bool:
        """Whether no further turn can change anything."""
        if self.answer is None or self.fault:
            return bool(self.fault)
        if self.makespan is not None and self.makespan <= self.bound:
            return True
        return self.answer.status in ("optimal", "infeasible") or (not self.order.is_fixed and self.turns > 2)


@dataclass
class Race:
    """The race.

    Parameters
    ----------
    entries : list of Entry
        The orders.
    recompute : {"none", "per-stage", "uniform-k"}
        What may be recomputed.
    empty : bool
        Whether stages may be empty.
    seed : int
        Seed of everything random.
    progress, on_phase : callable, optional
        Called with the progress, and with the current phase.
    finishing : callable, optional
        ``finishing(orders)`` predicts the seconds spent on plans for these orders after the race.

    Attributes
    ----------
    interrupted : bool
        Whether Ctrl-C ended the race; set from outside.
    """

    entries: Sequence[Entry]
    recompute: Recompute
    empty: bool = True
    seed: int = 0
    progress: Progress | None = None
    on_phase: OnPhase | None = None
    finishing: Callable[[Sequence[FixedOrder]], float] = lambda _orders: 0.0
    interrupted: bool = False
    _began: float = field(default_factory=perf_counter)
    _bounds: dict[tuple[object, ...], Fraction] = field(default_factory=dict)

    def run(self, deadline: float) -> None:
        """Cut quickly for every order, then give turns, until everything is proven or the deadline has passed.

        The first order gets its quick cut even after the deadline.
        """
        for place, entry in enumerate(self.entries):
            if self.interrupted or (place and self._left(deadline, entry) <= entry.needs):
                break
            self._turn(entry, 0.0)
        self._first_turns(deadline)
        while not self.interrupted and (waiting := self._next()) is not None:
            left = self._left(deadline, waiting)
            if left < max(LEAST_TURN, waiting.needs):
                return
            is_last = sum(not entry.is_done for entry in self.entries) == 1
            self._turn(waiting, left if is_last else min(left, FIRST_TURN * GROWTH ** (waiting.turns - 1)))

    def _first_turns(self, deadline: float) -> None:
        """Give every order a short turn, shortest order first."""
        waiting = sorted(
            (entry for entry in self.entries if not entry.is_done),
            key=lambda entry: (entry.makespan is None, entry.makespan or 0),
        )
        for place, entry in enumerate(waiting):
            left = self._left(deadline, entry)
            if self.interrupted or left < max(LEAST_TURN, entry.needs):
                return
            self._turn(entry, min(FIRST_TURN, max(LEAST_TURN, left / 2 / (len(waiting) - place))))

    def _left(self, deadline: float, entry: Entry) -> float:
        """Return the seconds left for turns if an entry gets one, without the time to finish all orders with a cut."""
        finished = [each.order for each in self.entries if each.makespan is not None or each is entry]
        return deadline - perf_counter() - self.finishing(finished)

    def _next(self) -> Entry | None:
        """Choose the next entry, by the length of its turn and how much longer its order is than the best."""
        waiting = [entry for entry in self.entries if entry.turns and not entry.is_done]
        best = min((each for entry in self.entries if (each := entry.makespan) is not None), default=None)

        def rank(entry: Entry) -> float:
            if best is None or entry.makespan is None:
                return GROWTH**entry.turns
            longer = float(entry.makespan / best - 1)
            loses = entry.bound >= best and entry.makespan > best
            return GROWTH**entry.turns * (1 + WEIGHT_OF_LENGTH * longer) * (WEIGHT_OF_LOSERS if loses else 1)

        return min(waiting, key=rank, default=None)

    def _turn(self, entry: Entry, seconds: float) -> None:
        if self.on_phase:
            self.on_phase(label_of(entry.order))
        known, first = entry.answer, perf_counter()
        began = first
        try:
            entry.order.prepare()
            began = perf_counter()
            found = self._planned(entry, seconds)
        except DeadlockError as error:
            if len(self.entries) == 1:
                error.args = (f"{label_of(entry.order)}: {error}",)
                raise
            entry.fault = str(error)
            return
        except InputError:
            raise
        except Exception as error:
            entry.fault = as_reason(label_of(entry.order), error)
            return
        if known is None or known.makespan is None or (found.makespan is not None and found.makespan <= known.makespan):
            entry.answer = found
        entry.bound = max(entry.bound, found.bound)
        entry.turns += 1
        took = perf_counter() - began
        entry.seconds += perf_counter() - first
        entry.needs = took if took > OVERRUN * seconds else 0.0

    def _planned(self, entry: Entry, seconds: float) -> FixedPlan:
        known, order = entry.answer, entry.order
        cuts = [] if known is None else [(known.layers_per_stage, known.recomputed_per_stage)]
        starts: list[tuple[Counts, ByKind | None]] = [(cut, again) for cut, again in cuts if cut is not None]
        if entry.turns <= 1:
            starts += [(cut, None) for cut in entry.starts if self.empty or all(cut)]
        if entry.turns == 1:
            entry.bound = max(entry.bound, self._bound_of_all_orders(order, SHARE_OF_BOUND * seconds))
        if entry.turns == 1 and not order.is_fixed:
            starts += [(cut, None) for cut in self._cuts_to_begin_with(order, SHARE_OF_BOUND * seconds)]
        return plan_fixed_order(
            order.pipeline,
            order.label,
            recompute=self.recompute,
            empty=self.empty,
            time_limit=seconds,
            seed=self.seed + entry.turns,
            starts=tuple(starts),
            on_solution=lambda makespan, _cut: self._tell(entry, makespan, entry.bound),
            on_bound=lambda bound: self._tell(entry, entry.makespan, max(bound, entry.bound)),
            stop=lambda: self.interrupted,
            order=order,
        )

    def _cuts_to_begin_with(self, order: FixedOrder, seconds: float) -> list[Counts]:
        """List cuts for an order that depends on its cut: those of other orders on its placement, if any."""
        others = [entry for entry in self.entries if entry.order.placement.homes == order.placement.homes]
        known = [(entry.makespan, entry.answer.layers_per_stage) for entry in others if entry.answer is not None]
        cuts = sorted((makespan, cut) for makespan, cut in known if makespan is not None and cut is not None)
        return [cut for _, cut in cuts[:MOST_STARTS]] or list(cuts_to_begin_with(order, seconds))

    def _bound_of_all_orders(self, order: FixedOrder, seconds: float) -> Fraction:
        """Bound every order on a placement; computed once per placement."""
        splits = order.strategy is None or order.strategy.splits_backward
        overlaps = order.strategy is None or order.strategy.overlaps
        key = order.placement.homes, splits, overlaps
        if key not in self._bounds:
            until = perf_counter() + seconds
            self._bounds[key] = bound_of_all_orders(order, until, empty=self.empty, recompute=self.recompute != "none")
        return self._bounds[key]

    def _tell(self, entry: Entry, makespan: Fraction | None, bound: Fraction) -> None:
        if self.progress:
            known = [each for each in (makespan, entry.makespan) if each is not None]
            best = float(min(known)) if known else None
            self.progress(Standing(perf_counter() - self._began, best, float(bound)))
