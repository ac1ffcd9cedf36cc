"""Runs the strings of a problem whose chains are joined at equal places: whatever their length, whatever repeats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from itertools import chain as flattened
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from solver import jit
from solver.problem import Action, Block, Key, Merged
from solver.search import lattice
from solver.search.compiled import CompiledProblem, Tokens
from solver.search.lattice import DEADLOCK, Lattice, Strings

Row: TypeAlias = NDArray[np.int64]
"""The tokens of one device."""

FEW_COPIES, MANY_COPIES = 4, 12
"""The numbers of copies between which the length added by one copy is measured."""

STRETCHES = 5
"""A schedule counts as steady if it is so over this many times the copies that a token waits across."""

CYCLES = (1, 2, 3, 4)
"""Numbers of copies after which, in a steady schedule, everything starts later by the same time."""


@dataclass(frozen=True)
class Periodic:
    """Strings with a repeating part.

    Attributes
    ----------
    before, period, after : list of list of int
        For each device, the tokens before the repeating part, the repeating part, and the tokens after it.
    tasks : int
        The number of tasks of each chain in a period.
    """

    before: Tokens
    period: Tokens
    after: Tokens
    tasks: int

    @property
    def parts(self) -> tuple[Tokens, Tokens, Tokens]:
        """The tokens before the repeating part, the repeating part, and the tokens after it."""
        return self.before, self.period, self.after

    def unrolled(self, copies: int) -> Tokens:
        """Write out the strings with a given number of periods."""
        parts = zip(*self.parts, strict=True)
        return [[*before, *(period * copies), *after] for before, period, after in parts]


@dataclass(frozen=True)
class Whole:
    """The results of running strings of any length, for each device.

    Attributes
    ----------
    first, last : list of int
        The first start and the last end.
    busy, peaks : list of int
        The total duration of its tokens, and its peak memory.
    run : int
        The number of copies of the repeating part that were run.
    """

    first: list[int]
    last: list[int]
    busy: list[int]
    peaks: list[int]
    run: int

    @property
    def makespan(self) -> int:
        """The end of the last token; the first starts at 0."""
        return max(self.last)


@dataclass(frozen=True)
class Timed:
    """Strings with the starts of their tokens."""

    tokens: Tokens
    starts: list[list[int]]
    makespan: int


def _as_rows(periodic: Periodic) -> list[tuple[Row, Row, Row]]:
    """Write the three parts of each device's string as arrays."""
    to_row = partial(np.array, dtype=np.int64)
    parts = zip(periodic.before, periodic.period, periodic.after, strict=True)
    return [(to_row(before), to_row(period), to_row(after)) for before, period, after in parts]


def _step(strings: Any, parts: Sequence[tuple[Row, Row, Row]], copies: int, cycle: int, reach: int) -> int | None:
    """Return the delay of all starts after ``cycle`` copies, if constant over a long enough stretch; else None."""
    starts = np.asarray(strings.start)
    columns = []
    for device, (before, period, _) in enumerate(parts):
        begin = int(strings.row[device]) + len(before)
        columns.append(starts[begin : begin + copies * len(period)].reshape(copies, len(period)))
    by_copy = np.concatenate(columns, axis=1)
    if not by_copy.shape[1]:
        return None
    later = by_copy[cycle:] - by_copy[:-cycle]
    inner = later[reach : copies - cycle - reach]
    width = STRETCHES * reach
    if len(inner) < width:
        return None
    stretch = inner[-width:]
    step = int(stretch[0, 0])
    return step if bool((stretch == step).all()) else None


def _repeated(parts: Sequence[tuple[Row, Row, Row]], copies: int) -> list[Row]:
    return [np.concatenate([before, np.tile(period, copies), after]) for before, period, after in parts]


class Runner:
    """Runs strings of a problem whose chains are joined at equal places, whatever their length.

    Parameters
    ----------
    compiled : CompiledProblem
        The problem, with any number of tasks of each chain.
    may_compile : bool
        Whether numba may take time to compile.
    fits : bool
        Whether times fit 64 bits; if not, the loops are not compiled, but still exact.

    Raises
    ------
    ValueError
        If precedences join other places.
    """

    def __init__(self, compiled: CompiledProblem, *, may_compile: bool = True, fits: bool = True) -> None:
        self.compiled = compiled
        lists = _lattice(compiled)
        self.functions = jit.interpreted(lattice)
        self.is_jitted = False
        functions = jit.jitted(lattice, may_compile=may_compile) if fits else None
        self._times = np.int64 if fits else object
        if functions is not None:
            self.functions, self.is_jitted = functions, True
        self.lattice: Any = Lattice(*map(self._packed, lists))
        parts = [(mode, chain) for mode, each in enumerate(compiled.modes) for chain in each.chains]
        self._part_mode = np.array([mode for mode, _ in parts], dtype=np.int64)
        self._part_chain = np.array([chain for _, chain in parts], dtype=np.int64)
        self._durations = np.array([mode.duration for mode in compiled.modes], dtype=self._times)

    def _packed(self, numbers: Sequence[int]) -> Any:
        return np.array(numbers, dtype=np.int64) if self.is_jitted else list(numbers)

    def _zeros(self, size: int) -> Any:
        return np.zeros(size, dtype=np.int64) if self.is_jitted else [0] * size

    def strings(self, tokens: Tokens) -> Any:
        """Lay out strings for running."""
        return self._laid_out([np.array(string, dtype=np.int64) for string in tokens])

    def _laid_out(self, rows: Sequence[Row]) -> Any:
        row = [0, *accumulate(map(len, rows))]
        tokens = np.concatenate(rows)
        sizes = self._sizes(tokens)
        modes: Any = tokens if self.is_jitted else tokens.tolist()
        devices, chains = len(rows), len(sizes)
        return Strings(
            row=self._packed(row),
            mode=modes,
            start=self._zeros(row[-1]),
            base=self._packed([0, *accumulate(sizes)]),
            end=self._zeros(sum(sizes)),
            counts=self._zeros(chains),
            place=self._zeros(devices),
            clock=self._zeros(devices),
            asleep=self._zeros(devices),
            stack=self._zeros(devices),
        )

    def lengths(self, periodic: Periodic, copies: Sequence[int]) -> list[int] | None:
        """Run strings with each of these numbers of periods; None if they wait for each other."""
        parts = _as_rows(periodic)
        found: list[int] = []
        for number in copies:
            length = int(self.functions["run"](self.lattice, self._laid_out(_repeated(parts, number))))
            if length == DEADLOCK:
                return None
            found.append(length)
        return found

    def period(self, periodic: Periodic) -> float | None:
        """Return the time that one more task of each chain adds; None if strings wait for each other."""
        found = self.lengths(periodic, (FEW_COPIES, MANY_COPIES))
        return None if found is None else (found[1] - found[0]) / (MANY_COPIES - FEW_COPIES) / periodic.tasks

    def whole(self, periodic: Periodic, copies: int) -> Whole | None:
        """Run strings with a repeating part; None if they wait for each other.

        If some copies show the exact result of many, only these are run. Let token x of copy k of the repeating part
        start at S(k, x), and let it wait for nothing in a copy before k − D or after k + D. In a run of K copies, let
        S(k + q, x) = S(k, x) + c for all x and all k from u to v, with u ≥ D, v + q + D < K and v − u ≥ 2 D + q, and
        let m be a copy from u + D + q to v − D. Then, in a run of K + q copies, each token up to copy m starts at the
        same time as in the run of K, and each token after copy m starts c later than the corresponding token q copies
        before it in the run of K. The stretch from u to v + q is steady in that run, too. So every q further copies
        delay the end by c.

        *Proof.* The start of every token is the maximum of the end of the token before it on its device and the
        arrivals of the results that it waits for. If nothing waits in a circle, these equations have exactly one
        solution, and the stated times are a solution: a token up to copy m has the same equation as in the run of K;
        some of the tokens that it waits for may be in the D copies after m, for which both statements give the same
        time, since they lie in the steady stretch. A token after m has the equation of the token q copies before it,
        with all times c later; some of the tokens that it waits for may be in the D copies up to m, and again both
        statements give the same time. Nothing waits in a circle: every token lasts at least a tick, so the times would
        have to grow around the circle.

        If a token takes no time, or no such stretch is found, every token of all copies is run.
        """
        parts = _as_rows(periodic)
        found = self._steady_run(periodic, parts, copies) if self._durations.min(initial=1) > 0 else None
        if found is None:
            strings = self._run(_repeated(parts, copies))
            found = None if strings is None else (strings, copies, 0)
        return None if found is None else self._seen(periodic, parts, copies, *found)

    def _seen(
        self, periodic: Periodic, parts: Sequence[tuple[Row, Row, Row]], copies: int, strings: Any, run: int, later: int
    ) -> Whole:
        """Derive the result of all copies, whose ends are later, from a run of some copies."""
        first, last, busy = [0] * len(parts), [0] * len(parts), [0] * len(parts)
        for device, (before, period, after) in enumerate(parts):
            begin, end = int(strings.row[device]), int(strings.row[device + 1])
            if begin == end:
                continue
            ends_late, begins_late = len(period) + len(after) > 0, len(before) + len(period) == 0
            first[device] = int(strings.start[begin]) + later * begins_late
            last[device] = int(strings.start[end - 1] + self._durations[strings.mode[end - 1]]) + later * ends_late
            busy[device] = sum(
                number * int(self._durations[part].sum())
                for number, part in ((1, before), (copies, period), (1, after))
            )
        peaks = [self.peak(string) for string in periodic.unrolled(min(copies, 2))]
        return Whole(first, last, busy, peaks, run)

    def _run(self, rows: Sequence[Row]) -> Any | None:
        strings = self._laid_out(rows)
        return None if int(self.functions["run"](self.lattice, strings)) == DEADLOCK else strings

    def _steady_run(
        self, periodic: Periodic, parts: Sequence[tuple[Row, Row, Row]], copies: int
    ) -> tuple[Any, int, int] | None:
        """Run enough copies to represent all; return the strings, the number of copies, and the delay of the ends."""
        reach = self._reach(periodic)
        for run in (2 * STRETCHES * reach, 8 * STRETCHES * reach):
            for cycle in CYCLES:
                fewer = run + (copies - run) % cycle
                if 2 * fewer > copies:
                    return None
                strings = self._run(_repeated(parts, fewer))
                if strings is None:
                    return None
                step = _step(strings, parts, fewer, cycle, reach)
                if step is not None:
                    return strings, fewer, (copies - fewer) // cycle * step
        return None

    def _reach(self, periodic: Periodic) -> int:
        """Return the greatest distance, in copies, between a token and one that it waits for."""
        ahead, waits = self.sizes(periodic.before), self.lattice
        apart = [
            abs(ahead[chain] - ahead[int(waits.wait_chain[place])])
            for chain in range(len(ahead))
            for place in range(int(waits.wait_start[chain]), int(waits.wait_start[chain + 1]))
        ]
        return 2 + max(apart, default=0) // periodic.tasks

    def sizes(self, tokens: Tokens) -> list[int]:
        """Count the tasks of each chain in strings."""
        return self._sizes(np.fromiter(flattened.from_iterable(tokens), dtype=np.int64))

    def _sizes(self, modes: Row) -> list[int]:
        counts = np.bincount(modes, minlength=len(self.compiled.modes))
        sizes = np.zeros(len(self.compiled.chains), dtype=np.int64)
        np.add.at(sizes, self._part_chain, counts[self._part_mode])
        made: list[int] = sizes.tolist()
        return made

    def makespan(self, tokens: Tokens) -> int | None:
        """Run strings; None if they wait for each other."""
        last = int(self.functions["run"](self.lattice, self.strings(tokens)))
        return None if last == DEADLOCK else last

    def timed(self, tokens: Tokens) -> Timed | None:
        """Run strings and record the start of each token; None if they wait for each other."""
        strings = self.strings(tokens)
        last = int(self.functions["run"](self.lattice, strings))
        if last == DEADLOCK:
            return None
        starts = list(map(int, strings.start))
        rows = [int(row) for row in strings.row]
        return Timed(tokens, [starts[rows[d] : rows[d + 1]] for d in range(len(tokens))], last)

    def peak(self, string: Sequence[int]) -> int:
        """Compute the peak memory of a device's string."""
        level = peak = 0
        for mode in string:
            level += self.compiled.modes[mode].take
            peak = max(peak, level)
            level -= self.compiled.modes[mode].give
        return peak


def is_a_lattice(compiled: CompiledProblem) -> bool:
    """Return whether the precedences of a problem join equal places of its chains."""
    try:
        _lattice(compiled)
    except ValueError:
        return False
    return True


def _lattice(compiled: CompiledProblem) -> Lattice:
    waits: list[list[tuple[int, int]]] = [
        sorted(_waits_of(compiled, chain, 0)) for chain in range(len(compiled.chains))
    ]
    for chain, tasks in enumerate(compiled.chains):
        if any(sorted(_waits_of(compiled, chain, place)) != waits[chain] for place in range(len(tasks))):
            raise ValueError("precedences differ from place to place")
    devices = [compiled.device[tasks[0]] for tasks in compiled.chains]
    then: list[set[int]] = [set() for _ in waits]
    for chain, before in enumerate(waits):
        for other, _ in before:
            if devices[other] != devices[chain]:
                then[other].add(devices[chain])
    triples = [(*mode.chains, -1, -1)[:3] for mode in compiled.modes]
    return Lattice(
        first=[triple[0] for triple in triples],
        second=[triple[1] for triple in triples],
        third=[triple[2] for triple in triples],
        duration=[mode.duration for mode in compiled.modes],
        wait_start=[0, *accumulate(map(len, waits))],
        wait_chain=[other for before in waits for other, _ in before],
        wait_lag=[lag for before in waits for _, lag in before],
        then_start=[0, *accumulate(map(len, then))],
        then_device=[device for behind in then for device in sorted(behind)],
    )


def _waits_of(compiled: CompiledProblem, chain: int, place: int) -> Iterator[tuple[int, int]]:
    for other, lag in compiled.predecessors[compiled.chains[chain][place]]:
        if compiled.position[other] != place or compiled.chain[other] == chain:
            raise ValueError("a precedence joins different places")
        yield compiled.chain[other], lag


def orders_of(chains: Sequence[Sequence[Key]], compiled: CompiledProblem, tokens: Tokens) -> list[list[Action]]:
    """Return the actions of strings, with the tasks of longer chains, as many chains as the problem has."""
    count = [0] * len(chains)
    return [[_action(chains, compiled, mode, count) for mode in string] for string in tokens]


def _action(chains: Sequence[Sequence[Key]], compiled: CompiledProblem, number: int, count: list[int]) -> Action:
    mode = compiled.modes[number]
    if len(mode.chains) == 1:
        chain = mode.chains[0]
        count[chain] += 1
        return chains[chain][count[chain] - 1]
    names = [chains[chain][count[chain]] for chain in mode.chains]
    for chain in mode.chains:
        count[chain] += 1
    if mode.fused:
        return Block(names[0], Merged(names[1], names[2]) if mode.merged else names[1])
    return Merged(names[0], names[1])
