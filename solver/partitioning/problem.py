"""A row of items that is split into consecutive bins, and a graph whose durations are linear in what the bins hold.

Nothing here knows what the items are. All numbers are whole.
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
"""Lengths of paths and amounts beyond this are not handled: products with weights would not fit 64 bits."""


@dataclass(frozen=True)
class Run:
    """Equal items in a row.

    Attributes
    ----------
    count : int
        How many there are.
    first, last : int
        The bins in which they may lie.
    modes : tuple of tuple of int
        For each mode that a part of an item may be in, what it amounts to in each attribute. All are at least 0.
    parts : int
        Of how many equal parts an item consists: they lie in one bin, but each may be in another mode.
    """

    count: int
    first: int
    last: int
    modes: tuple[tuple[int, ...], ...]
    parts: int = 1

    @property
    def all_parts(self) -> int:
        """How many parts all items have together."""
        return self.count * self.parts


class Term(NamedTuple):
    """A part of a linear form: a factor times what a bin amounts to in one attribute."""

    bin: int
    attribute: int
    factor: int


Form: TypeAlias = tuple[Term, ...]
"""A sum of terms, whose factors are at least 0."""


class Limit(NamedTuple):
    """A form that may not exceed a number; of several with one owner only the one that is exceeded most counts."""

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
    """What is to be split, and what the split is to make short.

    Attributes
    ----------
    bins : int
        How many bins there are; item i lies in no later bin than item i + 1.
    runs : tuple of Run
        The items, in their order.
    lengths : tuple of tuple of Form
        For each class of tasks, the forms of which the largest says how long a task of this class lasts.
    tasks : sequence of int
        The class of each task. No task comes before one that it waits for.
    waits : sequence of sequence of (int, int)
        For each task, (other task, lag): it starts no earlier than so long after the other has ended.
    limits : tuple of Limit
        What a split must keep.
    groups : tuple of tuple of int
        Bins that are worked on by one machine: what they hold together matters most.
    empty : bool
        Whether bins may be empty.
    first_in_mode : int or None
        If a number, exactly the first so many parts of a bin that have a second mode are in it. If None, any may be.
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
        """All that can be counted, by bin, run and mode."""
        return tuple(
            Column(place, number, mode)
            for place in range(self.bins)
            for number, run in enumerate(self.runs)
            if run.first <= place <= run.last
            for mode in range(len(run.modes))
        )

    @cached_property
    def column_of(self) -> dict[Column, int]:
        """The place of each column."""
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
        """Of how many parts an item of each run consists."""
        return np.array([run.parts for run in self.runs], dtype=np.int64)

    @cached_property
    def counts(self) -> Numbers:
        """How many parts each run has."""
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
        """All forms of all classes as factors of the columns, one behind another."""
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
        """What each of `limit_rows` may amount to at most."""
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
        """Read a split off the numbers of its columns."""
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
    """How many items of each run lie in each bin.

    Attributes
    ----------
    held : tuple of tuple of int
        For each bin and run, how many.
    second : tuple of tuple of int
        How many of their parts are in the second mode.
    """

    held: tuple[tuple[int, ...], ...]
    second: tuple[tuple[int, ...], ...]
