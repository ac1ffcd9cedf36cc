"""Local search for every placement: simulated annealing on each device's string of tokens.

A move changes one device's string; a decoder postpones tokens that do not fit the memory or come before their
predecessors, and a replay computes the new times. Moves cross the arcs of a critical path that a machine, not a
precedence, makes tight (van Laarhoven, Aarts and Lenstra, Job shop scheduling by simulated annealing, Operations
Research 40(1), 1992; insertions as in Dell'Amico and Trubian, Annals of Operations Research 41, 1993). If actions may
be joined, moves also fuse, merge and split them.

What it is worth: row `local-search` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import Any

from solver import jit
from solver.jit import interpreted
from solver.problem import Action, Orders, Problem
from solver.random_numbers import draw, state_of
from solver.search import annealing
from solver.search.annealing import AGE, BEST, HIGH, LOW, PATH_AGE, RANDOM, SLOTS, TEXT, WORTH, Fixed, State
from solver.search.compiled import CompiledProblem, Tokens, compile_problem, tokens_from
from solver.search.greedy import greedy_tokens
from solver.search.state import OnSolution
from solver.states import Objective

LARGEST_JITTED = 1 << 55
"""For longer schedules, the cost, which is a multiple of the length, might not fit 64 bits."""

PER_DEVICE = (
    *("length", "load", "pointer", "kept", "clock", "new_idleness", "blocked", "next_waiter", "stack", "until"),
    "best_length",
)
"""The lists of `State` with one entry per device."""

ELITE = 4
"""The number of good schedules kept for restarts."""

JOINT_SHARE = 30
"""Percentage of moves that fuse, merge or split, if possible."""

SMALLEST = 400
"""Fixed cost of a move, in tasks: a move takes as long as if the problem had this many more tasks."""

BATCH_SECONDS = 0.05
"""Approximate seconds between two checks of the clock."""


TOO_LONG = 2.0
"""Batches that take longer than planned by this factor are divided."""

FIRST_PART = 8
"""Without numba, one part in this many of the first batch is used to time a move."""


class NoStartError(ValueError):
    """No schedule was given to start from, and none was found in time."""


@dataclass
class Round:
    """A cooling.

    Attributes
    ----------
    moves, done : int
        The number of moves in all, and so far.
    batch : int
        Moves between two checks of the clock.
    heat : float
        The temperature at its beginning, in mean durations.
    """

    moves: int
    batch: int
    heat: float
    done: int = 0


def improve(
    problem: Problem | CompiledProblem,
    starts: Sequence[Orders],
    *,
    target: int,
    deadline: float,
    stop: Callable[[], bool] | None = None,
    seed: int = 0,
    on_solution: OnSolution | None = None,
    objective: Objective = "makespan",
    compiled: bool | None = None,
) -> tuple[int, list[list[Action]]]:
    """Shorten schedules by simulated annealing until one is as short as the target, or time is up.

    Parameters
    ----------
    problem : Problem or CompiledProblem
        The problem.
    starts : sequence of Orders
        Schedules to start from; those that deadlock or do not fit the memory are dropped. If none is left, greedy
        schedules are made.
    target : int
        A lower bound: a schedule of this length cannot be improved.
    deadline : float
        When to stop, on the clock of `time.perf_counter`.
    stop : callable, optional
        Called every few hundredths of a second; the search stops when it returns True.
    seed : int
        Seed of all random numbers. Two runs with one seed differ only in how far they get in their time, and in the
        last round, which is as long as fits.
    on_solution : callable, optional
        Called with the length and the orders of each better schedule.
    objective : {"makespan", "span"}
        The last end, or the longest time from a device's first start to its last end (each device starts as early as
        it can).
    compiled : bool or None
        Whether numba compiles the inner loops; by default, compiled loops are used if available, and otherwise a
        separate process compiles them for later.

    Returns
    -------
    (int, orders)
        The length of the best schedule and its orders.

    Raises
    ------
    NoStartError
        If no start is valid and greedy finds no schedule before the deadline.
    """
    read = problem if isinstance(problem, CompiledProblem) else compile_problem(problem)
    search = LocalSearch(read, seed, objective == "span", compiled)
    if compiled:
        search.compile_moves()
    search.improve(starts, target=target, deadline=deadline, stop=stop, seed=seed, on_solution=on_solution)
    return search.best, search.orders()


def _greedy_start(
    problem: CompiledProblem, target: int, seed: int, deadline: float, stop: Callable[[], bool] | None
) -> list[Tokens]:
    """Make a greedy schedule: the best one within a tenth of the time, or the first one after that."""
    enough = perf_counter() + min(2.0, 0.1 * (deadline - perf_counter()))
    best: list[Tokens] = []

    def over() -> bool:
        return bool(best and perf_counter() > enough) or (stop is not None and stop())

    for makespan, tokens in greedy_tokens(problem, deadline=deadline, seed=seed, stop=over):
        best = [tokens]
        if makespan <= target:
            break
    return best


class LocalSearch:
    """The search: its arrays, its best schedules, its cooling and its restarts."""

    def __init__(
        self,
        problem: CompiledProblem,
        seed: int,
        span: bool,
        jitted: bool | None = None,
    ) -> None:
        self.problem, self.span = problem, span
        self.functions = interpreted(annealing)
        self.is_jitted = False
        longest = sum(problem.duration) + sum(lag for before in problem.predecessors for _, lag in before)
        self.size = len(problem.keys)
        if jitted is not False and longest * (problem.devices + 1) < LARGEST_JITTED:
            functions = jit.jitted(annealing, may_compile=bool(jitted))
            if functions is not None:
                self.functions, self.is_jitted = functions, True
        self.fixed = self._packed(_fixed(problem), Fixed)
        self.state = self._packed(_state(problem), State)
        self.state.slots[RANDOM] = state_of(seed)
        self.elite: list[tuple[int, Tokens]] = []
        self.rounds = 0
        self.round: Round | None = None  # the one under way
        self.ends = inf  # when no time is left for another turn
        self.other: Tokens | None = None  # a start that is not the best
        self.per_move: float | None = None  # measured seconds per move
        self.mean = max(1, sum(problem.duration) // max(1, self.size))
        self.has_joint = len(problem.modes) > len(problem.chains)

    def _packed(self, lists: Any, kind: Any) -> Any:
        if not self.is_jitted:
            return lists
        import numpy as np

        return kind(*(np.array(numbers, dtype=np.int64) for numbers in lists))

    @property
    def best(self) -> int:
        """The length of the best schedule."""
        return self.elite[0][0]

    def orders(self) -> list[list[Action]]:
        """Return the orders of the best schedule."""
        return self.problem.orders(self.elite[0][1])

    def renewed(self, seed: int) -> LocalSearch:
        """Return a search with compiled loops and the same schedules if such loops have become available."""
        if self.is_jitted or jit.jitted(annealing, may_compile=False) is None:
            return self
        other = LocalSearch(self.problem, seed, self.span)
        if not other.is_jitted:
            return self
        other.elite, other.other = self.elite, self.other
        return other

    def improve(
        self,
        starts: Iterable[Orders],
        *,
        target: int,
        deadline: float,
        stop: Callable[[], bool] | None = None,
        ends: float | None = None,
        seed: int = 0,
        on_solution: OnSolution | None = None,
    ) -> None:
        """Go on with more starts; parameters as for the function `improve`.

        A round that the deadline cuts short goes on in the next call. ``ends`` is when no further call is made: the
        last round is as long as fits, by default before the deadline.
        """
        self.ends = deadline if ends is None else ends

        def over() -> bool:
            return perf_counter() > deadline or (stop is not None and stop())

        def on_better() -> None:
            if on_solution is not None:
                on_solution(self.best, self.orders())

        strings = (tokens_from(self.problem, orders) for orders in starts)
        self.add(tokens for tokens in strings if tokens is not None)
        if not self.elite:
            self.add(_greedy_start(self.problem, target, seed, deadline, stop))
        if not self.elite:
            raise NoStartError("no schedule to start from")
        on_better()
        self.run(target, over, on_better)

    def add(self, starts: Iterable[Tokens]) -> None:
        """Keep the valid starts, best first; a round under way goes on from where it is.

        A round that begins with the best start may not get far from it. So one starts from the last of the others.
        """
        here = None if self.round is None else tokens_in(self.fixed, self.state.mode, self.state.length)
        for tokens in starts:
            length = self.load(tokens)
            if length is not None:
                valid = tokens_in(self.fixed, self.state.mode, self.state.length)
                if self.elite and length > self.best:
                    self.other = valid
                self.keep(length, valid)
        if here is not None:
            self.load(here)

    def keep(self, length: int, tokens: Tokens) -> None:
        """Keep a schedule if it is among the best ones."""
        if all(tokens != other for _, other in self.elite):
            self.elite.append((length, tokens))
            self.elite.sort(key=lambda entry: entry[0])
            del self.elite[ELITE:]

    def load(self, tokens: Tokens) -> int | None:
        """Make strings the current schedule; return its length, or None if they are not valid."""
        fixed, state, functions = self.fixed, self.state, self.functions
        slots = state.slots
        state.counts[:] = self._alike([0] * len(self.problem.chains))
        for device, string in enumerate(tokens):
            if not self._is_complete(device, string):
                return None
            state.length[device] = 0
            state.load[device] = sum(self.problem.modes[mode].duration for mode in string)
            for place, mode in enumerate(string):
                state.text[place] = mode
            slots[TEXT], slots[LOW], slots[HIGH] = len(string), 0, len(string)
            if not functions["decode"](fixed, state, device):
                return None
        slots[LOW] = 0
        if functions["replay"](fixed, state, 0, 0, float("inf"), self.span) < 0:
            return None
        functions["accept"](fixed, state)
        return int(slots[WORTH])

    def _alike(self, numbers: list[int]) -> Any:
        if not self.is_jitted:
            return numbers
        import numpy as np

        return np.array(numbers, dtype=np.int64)

    def _is_complete(self, device: int, string: list[int]) -> bool:
        count = dict.fromkeys(self.problem.local_chains[device], 0)
        for mode in string:
            for chain in self.problem.modes[mode].chains:
                if chain not in count:
                    return False
                count[chain] += 1
        return all(number == len(self.problem.chains[chain]) for chain, number in count.items())

    def compile_moves(self) -> None:
        """Compile everything that makes moves, by a run without moves."""
        if self.is_jitted:
            share = JOINT_SHARE if self.has_joint else 0
            self.functions["anneal"](self.fixed, self.state, 0, 1.0, 1.0, self.mean, 0, share, self.span)

    def run(self, target: int, over: Callable[[], bool], on_better: Callable[[], None]) -> None:
        """Anneal repeatedly, in longer and longer rounds."""
        while self.best > target and not over():
            self.run_round(target, over, on_better)

    def run_round(
        self,
        target: int,
        over: Callable[[], bool],
        on_better: Callable[[], None],
    ) -> None:
        """Go on with a round that was cut short, or else anneal once, for longer than in the rounds before."""
        state, anneal = self.state, self.functions["anneal"]
        if self.round is None:
            self.round = self._next_round()
        current = self.round
        state.slots[BEST] = self.best
        cold, share = min(current.heat, 0.05), JOINT_SHARE if self.has_joint else 0
        while current.done < current.moves:
            if over():
                return
            some = min(self._moves_at_once(current.batch), current.moves - current.done)
            hot_now, cold_now = (
                self.mean * (current.heat + (cold - current.heat) * at / current.moves)
                for at in (current.done, current.done + some)
            )
            began = perf_counter()
            anneal(self.fixed, state, some, hot_now, cold_now, self.mean, target, share, self.span)
            self.per_move = (perf_counter() - began) / some
            current.done += some
            if state.slots[BEST] < self.best:
                self.keep(int(state.slots[BEST]), tokens_in(self.fixed, state.best_mode, state.best_length))
                on_better()
                if self.best <= target:
                    return
        self.round = None
        self.keep(int(state.slots[WORTH]), tokens_in(self.fixed, state.mode, state.length))

    def _next_round(self) -> Round:
        """Choose a schedule to start from, and how long and how hot to anneal it: twice as long each time."""
        slots, number = self.state.slots, self.rounds
        per_second = (2e8 if self.is_jitted else 1.2e7) / (self.size + SMALLEST)
        batch = max(1, int(per_second * BATCH_SECONDS))
        if number and self.other is not None:
            self.load(self.other)
            self.other = None
        else:
            which = 0 if number == 0 or draw(slots, 3) else draw(slots, len(self.elite))
            self.load(self.elite[which][1])
        moves = 20 * 2**number * batch
        if self.per_move:
            moves = int(min(moves, max(batch, (self.ends - perf_counter()) / self.per_move)))
        # a round with more moves per task can start hotter and still settle
        heat = min(8.0, max(0.4, moves / self.size / 40))
        self.rounds += 1
        return Round(moves, batch, heat)

    def _moves_at_once(self, batch: int) -> int:
        """Return the moves until the next check of the clock: less than a batch if batches proved too long."""
        if self.per_move is None:
            return batch if self.is_jitted else max(1, batch // FIRST_PART)
        if self.per_move * batch <= TOO_LONG * BATCH_SECONDS:
            return batch
        return max(1, int(BATCH_SECONDS / self.per_move))


def tokens_in(fixed: Fixed, modes: Sequence[int], lengths: Sequence[int]) -> Tokens:
    """Read the strings of all devices from their rows."""
    return [[int(mode) for mode in modes[row : row + length]] for row, length in zip(fixed.row, lengths, strict=True)]


def _fixed(problem: CompiledProblem) -> Fixed:
    modes = problem.modes
    triples = [(*mode.chains, -1, -1)[:3] for mode in modes]
    chain_start, chain_task = _rows(problem.chains)
    need_start, needs = _rows(problem.needs)
    waits = [
        [(other, lag) for other, lag in before if lag or problem.device[other] != problem.device[task]]
        for task, before in enumerate(problem.predecessors)
    ]
    wait_start, flat_waits = _rows(waits)
    then: list[list[int]] = [[] for _ in waits]
    for task, before in enumerate(waits):
        for other, _ in before:
            then[other].append(task)
    then_start, then_task = _rows(then)
    joints: list[list[int]] = [[] for _ in modes]
    for number, mode in enumerate(modes):
        if len(mode.chains) > 1:
            for chain in mode.chains:
                joints[chain].append(number)
    joint_start, joint_mode = _rows(joints)
    sizes = [sum(len(problem.chains[chain]) for chain in local) for local in problem.local_chains]
    return Fixed(
        first=[triple[0] for triple in triples],
        second=[triple[1] for triple in triples],
        third=[triple[2] for triple in triples],
        merged=[int(mode.merged) for mode in modes],
        duration=[mode.duration for mode in modes],
        take=[mode.take for mode in modes],
        give=[mode.give for mode in modes],
        chain_start=chain_start,
        chain_task=chain_task,
        need_start=need_start,
        need_chain=[chain for chain, _ in needs],
        need_count=[count for _, count in needs],
        wait_start=wait_start,
        wait_task=[task for task, _ in flat_waits],
        wait_lag=[lag for _, lag in flat_waits],
        then_start=then_start,
        then_task=then_task,
        joint_start=joint_start,
        joint_mode=joint_mode,
        task_device=list(problem.device),
        capacity=list(problem.capacities),
        row=[sum(sizes[:device]) for device in range(problem.devices)],
    )


def _rows(lists: Sequence[Sequence[Any]]) -> tuple[list[int], list[Any]]:
    """Concatenate lists; return where each begins and where the last one ends, and the concatenation."""
    starts = [0]
    flat: list[Any] = []
    for numbers in lists:
        flat += numbers
        starts.append(len(flat))
    return starts, flat


def _state(problem: CompiledProblem) -> State:
    size, devices = len(problem.keys), problem.devices
    lengths = dict.fromkeys(State._fields, size) | dict.fromkeys(PER_DEVICE, devices)
    lengths |= {"postponed": annealing.MOST_POSTPONED + 1, "counts": len(problem.chains), "slots": SLOTS}
    lists = {name: [-1 if name == "waiter" else 0] * length for name, length in lengths.items()}
    lists["slots"][AGE] = PATH_AGE
    return State(**lists)
