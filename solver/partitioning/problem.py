"""A row of items to split into consecutive bins, and a graph whose durations are linear in the contents of the bins.

Nothing here knows what the items mean. All numbers are whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.int64]

LARGEST = 1 << 50
"""The greatest length of a path, and the greatest amount: products with weights must fit 64 bits."""


@dataclass(frozen=True)
class Run:
    """Consecutive equal items.

    Attributes
    ----------
    count : int
        The number of items.
    first, last : int
        The first and the last bin in which they may lie.
    modes : tuple of tuple of int
        For each possible mode of a part of an item, its amount in each attribute. All are at least 0.
    parts : int
        The number of equal parts of an item: they lie in one bin, but may be in different modes.
    """

    count: int
    first: int
    last: int
    modes: tuple[tuple[int, ...], ...]
    parts: int = 1

    @property
    def all_parts(self) -> int:
        """The total number of parts of all items."""
        return self.count * self.parts


class Term(NamedTuple):
    """A part of a linear form: a factor times a bin's amount in one attribute."""

    bin: int
    attribute: int
    factor: int


Form: TypeAlias = tuple[Term, ...]
"""A sum of terms with factors of at least 0."""


class Limit(NamedTuple):
    """A form that may not exceed a number; among several with one owner, only the most exceeded one counts."""

    form: Form
    most: int
    owner: int = 0


class Column(NamedTuple):
    """The parts of the items of one run that lie in one bin, in one mode."""

    bin: int
    run: int
    mode: int


@dataclass(frozen=True)
class PartitionProblem:
    """The items to split, and the graph whose longest path the split should make short.

    Attributes
    ----------
    bins : int
        The number of bins; item i lies in no later bin than item i + 1.
    runs : tuple of Run
        The items, in their order.
    lengths : tuple of tuple of Form
        For each class of tasks, its forms; the largest is the duration of a task of this class.
    tasks : sequence of int
        The class of each task. Each task comes after those that it waits for.
    waits : sequence of sequence of (int, int)
        For each task, (other task, lag): it starts at least ``lag`` after the other task has ended.
    limits : tuple of Limit
        The limits that a split must keep.
    groups : tuple of tuple of int
        The bins of one machine each: their total contents matter most.
    empty : bool
        Whether bins may be empty.
    first_in_mode : int or None
        If a number, exactly this many parts of a bin, the first ones that have a second mode, are in it. If None, any
        may be.
    step : int
        All lengths and lags are multiples of this.
    """

    bins: int
    runs: tuple[Run, ...]
    lengths: tuple[tuple[Form, ...], ...]
    tasks: Sequence[int]
    waits: Sequence[Sequence[tuple[int, int]]]
    limits: tuple[Limit, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    empty: bool = True
    first_in_mode: int | None = None
    step: int = 1

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """All columns, by bin, run and mode."""
        return tuple(
            Column(place, number, mode)
            for place in range(self.bins)
            for number, run in enumerate(self.runs)
            if run.first <= place <= run.last
            for mode in range(len(run.modes))
        )

    @cached_property
    def column_of(self) -> dict[Column, int]:
        """The position of each column."""
        return {column: place for place, column in enumerate(self.columns)}

    @cached_property
    def column_runs(self) -> Numbers:
        """The run of each column."""
        return np.array([column.run for column in self.columns], dtype=np.int64)

    @cached_property
    def run_of_item(self) -> tuple[int, ...]:
        """The run of each single item, in their order."""
        return tuple(number for number, run in enumerate(self.runs) for _ in range(run.count))

    @cached_property
    def parts(self) -> Numbers:
        """The number of parts of an item of each run."""
        return np.array([run.parts for run in self.runs], dtype=np.int64)

    @cached_property
    def counts(self) -> Numbers:
        """The number of parts of each run."""
        return np.array([run.all_parts for run in self.runs], dtype=np.int64)

    def in_columns(self, form: Form) -> Numbers:
        """Write a form as factors of the columns."""
        factors = np.zeros(len(self.columns), dtype=np.int64)
        by_bin: dict[int, list[Term]] = {}
        for term in form:
            by_bin.setdefault(term.bin, []).append(term)
        for place, column in enumerate(self.columns):
            for term in by_bin.get(column.bin, ()):
                factors[place] += term.factor * self.runs[column.run].modes[column.mode][term.attribute]
        return factors

    @cached_property
    def form_rows(self) -> Numbers:
        """All forms of all classes as factors of the columns, concatenated."""
        rows = [self.in_columns(form) for forms in self.lengths for form in forms]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self.columns))

    @cached_property
    def form_starts(self) -> Numbers:
        """Where the forms of each class begin in `form_rows`, and where the last ones end."""
        return np.cumsum([0, *(len(forms) for forms in self.lengths)], dtype=np.int64)

    @cached_property
    def sorted_limits(self) -> tuple[Limit, ...]:
        """The limits, by owner."""
        return tuple(sorted(self.limits, key=lambda limit: limit.owner))

    @cached_property
    def limit_rows(self) -> Numbers:
        """The limits as factors of the columns."""
        rows = [self.in_columns(limit.form) for limit in self.sorted_limits]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self.columns))

    @cached_property
    def limit_values(self) -> Numbers:
        """The greatest allowed value of each of `limit_rows`."""
        return np.array([limit.most for limit in self.sorted_limits], dtype=np.int64)

    @cached_property
    def limit_owners(self) -> Numbers:
        """The owners of the limits, in their order, numbered from 0."""
        _, owners = np.unique([limit.owner for limit in self.limits], return_inverse=True)
        return np.sort(owners).astype(np.int64)

    def keeps_limits(self, amounts: Numbers) -> bool:
        """Return whether a split keeps all limits."""
        return bool((self.limit_rows @ amounts <= self.limit_values).all())

    def split_of(self, amounts: Numbers) -> Split:
        """Read a split from the numbers of its columns."""
        held = np.zeros((self.bins, len(self.runs), 2), dtype=np.int64)
        for column, amount in zip(self.columns, amounts.tolist(), strict=True):
            held[column] = amount
        plain, second = held[:, :, 0], held[:, :, 1]
        return Split(tuple(map(tuple, ((plain + second) // self.parts).tolist())), tuple(map(tuple, second.tolist())))

    def amounts_of(self, split: Split) -> Numbers:
        """Count the columns of a split."""
        return np.array(
            [
                split.second[place][run]
                if mode
                else split.held[place][run] * self.runs[run].parts - split.second[place][run]
                for place, run, mode in self.columns
            ],
            dtype=np.int64,
        )


class Split(NamedTuple):
    """The number of items of each run in each bin.

    Attributes
    ----------
    held : tuple of tuple of int
        For each bin and run, the number of items.
    second : tuple of tuple of int
        The number of their parts in the second mode.
    """

    held: tuple[tuple[int, ...], ...]
    second: tuple[tuple[int, ...], ...]
