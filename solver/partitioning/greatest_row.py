"""Splits a row of items such that the greatest of a few linear rows is least, with CP-SAT; also the next best splits.

This suits few rows. For the many paths of a fixed order, see `solver.partitioning.problem`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from ortools.sat.python import cp_model

from solver.cpsat_run import run
from solver.deadline import check_time
from solver.partitioning.problem import Column, Form, Limit, PartitionProblem, Run, Split
from solver.states import Answer

MOST = 1 << 55
"""The greatest value of a row, in units."""

MOST_DIGITS = 44
"""Rows and limits that may exceed 2 to this power are rounded down to a coarser unit: CP-SAT has 64 bits."""


def _unit(most: int) -> int:
    return 1 << max(0, most.bit_length() - MOST_DIGITS)


class Row(NamedTuple):
    """A quantity to minimise: a form plus a constant of at least 0."""

    form: Form
    constant: int


class RowAnswer(NamedTuple):
    """An answer.

    Attributes
    ----------
    status : str
        ``optimal``: no better split exists among those that are not forbidden; ``infeasible``: none exists at all.
    bound : int
        A lower bound of the greatest row of every split that is not forbidden.
    split : Split or None
        The best split found.
    """

    status: Answer
    bound: int
    split: Split | None


class GreatestRow:
    """Finds the split of a row of items whose greatest row is least.

    Cut s is the number of items before bin s + 1. It consists of a number of items of each run; only when it has all
    items of a run can it have any of the next. The items of a bin are the difference of two cuts.

    Parameters
    ----------
    bins : int
        The number of bins.
    runs : sequence of Run
        The items, in their order.
    rows : sequence of Row
        The quantities to minimise.
    limits : sequence of Limit
        The limits that a split must keep.
    empty : bool
        Whether bins may be empty.
    deadline : float or None
        When to give up building the model, on the clock of `time.perf_counter`.

    Raises
    ------
    OutOfTimeError
        If the deadline passes first.
    """

    def __init__(
        self,
        bins: int,
        runs: Sequence[Run],
        rows: Sequence[Row],
        limits: Sequence[Limit] = (),
        *,
        empty: bool = True,
        deadline: float | None = None,
    ) -> None:
        self.layout = PartitionProblem(bins, tuple(runs), (), (), (), empty=empty)
        self.model = cp_model.CpModel()
        self._cuts: list[cp_model.IntVar] = []
        self._literals: dict[tuple[int, int], tuple[cp_model.IntVar, cp_model.IntVar]] = {}
        self._columns: dict[Column, cp_model.IntVar] = {}
        self._watched: list[cp_model.IntVar] = []
        self._add_cuts()
        self._add_modes()
        self._columns_in: list[list[Column]] = [[] for _ in range(bins)]
        for column in self._columns:
            self._columns_in[column.bin].append(column)
        check_time(deadline)
        most = max((self._most(row.form) + row.constant for row in rows), default=1)
        self.unit = _unit(most)
        self.greatest = self.model.new_int_var(0, MOST, "greatest")
        for row in rows:
            check_time(deadline)
            self.model.add(self._written(row.form, self.unit) + row.constant // self.unit <= self.greatest)
        for limit in limits:
            amount = self._most(limit.form)
            if amount > limit.most:
                unit = _unit(amount)
                self.model.add(self._written(limit.form, unit) <= limit.most // unit)
        self.model.minimize(self.greatest)

    def _add_cuts(self) -> None:
        model, layout = self.model, self.layout
        before = [model.new_constant(0) for _ in layout.runs]
        for place in range(layout.bins):
            after: list[cp_model.IntVar] = []
            for each in layout.runs:
                least = each.count if place >= each.last else 0
                most = each.count if place >= each.first else 0
                after.append(model.new_int_var(min(least, most), most, f"before {place + 1}"))
            for here, there, each in zip(after, after[1:], layout.runs, strict=False):
                complete = model.new_bool_var("complete")
                model.add(here == each.count).only_enforce_if(complete)
                model.add(there == 0).only_enforce_if(~complete)
            for number, each in enumerate(layout.runs):
                held = model.new_int_var(0, each.count, "held")
                model.add(held == after[number] - before[number])
                if each.first <= place <= each.last:
                    self._columns[Column(place, number, 0)] = held
            cut = model.new_int_var(0, len(layout.run_of_item), f"cut {place}")
            model.add(cut == cp_model.LinearExpr.sum(after))
            if not layout.empty:
                model.add(cut >= (self._cuts[-1] if self._cuts else 0) + 1)
            self._cuts.append(cut)
            before = after

    def _add_modes(self) -> None:
        for column, held in list(self._columns.items()):
            self._watched.append(held)
            each = self.layout.runs[column.run]
            if len(each.modes) > 1 or each.parts > 1:
                counted = [self.model.new_int_var(0, each.all_parts, "in a mode") for _ in each.modes]
                self.model.add(cp_model.LinearExpr.sum(counted) == each.parts * held)
                self._watched += counted[1:]
                self._columns |= {column._replace(mode=mode): count for mode, count in enumerate(counted)}

    def _amounts(self, form: Form) -> list[tuple[Column, int]]:
        factors: dict[Column, int] = {}
        for term in form:
            for column in self._columns_in[term.bin]:
                each = self.layout.runs[column.run].modes[column.mode][term.attribute]
                factors[column] = factors.get(column, 0) + term.factor * each
        return [(column, factor) for column, factor in factors.items() if factor]

    def _most(self, form: Form) -> int:
        by_run: dict[int, int] = {}
        for column, factor in self._amounts(form):
            by_run[column.run] = max(by_run.get(column.run, 0), factor * self.layout.runs[column.run].all_parts)
        return sum(by_run.values())

    def _written(self, form: Form, unit: int = 1) -> cp_model.LinearExprT:
        """Write a form; in a coarser unit its factors are rounded down, so that it never exceeds its true value."""
        parts = self._amounts(form)
        variables = [self._columns[column] for column, _ in parts]
        return cp_model.LinearExpr.weighted_sum(variables, [factor // unit for _, factor in parts])

    def forbid(self, split: Split) -> None:
        """Exclude all splits with the same cuts, whichever items are in their second mode."""
        places = list(accumulate(map(sum, split.held)))[:-1]
        self.model.add_bool_or([each for cut, place in enumerate(places) for each in self._elsewhere(cut, place)])

    def _elsewhere(self, cut: int, place: int) -> tuple[cp_model.IntVar, cp_model.IntVar]:
        """Make literals for a cut being before, or after, a place."""
        if (cut, place) not in self._literals:
            less, more = self.model.new_bool_var("less"), self.model.new_bool_var("more")
            self.model.add(self._cuts[cut] <= place - 1).only_enforce_if(less)
            self.model.add(self._cuts[cut] >= place + 1).only_enforce_if(more)
            self._literals[cut, place] = less, more
        return self._literals[cut, place]

    def solve(self, deadline: float, *, below: int | None = None, workers: int = 1, seed: int = 0) -> RowAnswer:
        """Find the best split that is not forbidden.

        Parameters
        ----------
        deadline : float
            On the clock of `time.perf_counter`.
        below : int, optional
            Only splits below this are of interest: ``infeasible`` then means that none is below it.
        workers, seed : int
            CP-SAT's number of workers and its seed.
        """
        model = self.model
        if below is not None:
            model = model.clone()
            greatest = model.get_int_var_from_proto_index(self.greatest.index)
            model.add(greatest <= (below - 1) // self.unit)
        result = run(model, self._watched, deadline=deadline, workers=workers, seed=seed)
        bound = 0 if result.bound is None else result.bound * self.unit
        split = None if result.values is None else self._split_of(result.values)
        return RowAnswer(result.status, bound, split)

    def _split_of(self, values: Sequence[int]) -> Split:
        layout, found = self.layout, iter(values)
        held = [[0] * len(layout.runs) for _ in range(layout.bins)]
        second = [[0] * len(layout.runs) for _ in range(layout.bins)]
        for place in range(layout.bins):
            for number, each in enumerate(layout.runs):
                if each.first <= place <= each.last:
                    held[place][number] = next(found)
                    if len(each.modes) > 1:
                        second[place][number] = next(found)
        return Split(tuple(map(tuple, held)), tuple(map(tuple, second)))
