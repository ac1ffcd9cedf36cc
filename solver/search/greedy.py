"""A portfolio of list schedules: fast, complete, and always within the memory.

Each is made by one `Rule`, in the manner of Giffler and Thompson (Algorithms for solving production-scheduling
problems, Operations Research 8(4), 1960): the device that can start something first runs the action with the least
score. Rules differ in their preferences, in how long they wait for a preferred action, and in how much memory they use.
Rules, the tables that they read and the schedule that they build are one file: none has a meaning without the others.

What it is worth: row `list-schedules` of docs/development/ablation.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count, product
from math import ceil
from time import perf_counter
from typing import NamedTuple

from solver.problem import Action, Problem
from solver.search.compiled import CompiledProblem, Tokens, compile_problem

NEVER = 1 << 62
"""A time that no schedule reaches."""

RULES_TO_VARY = 6
"""The number of best rules that are varied with noise."""


class Rule(NamedTuple):
    """The preferences of a list schedule. Scores are in mean durations; the action with the least score runs.

    Attributes
    ----------
    take : float
        Score of a task that takes memory. A task that takes none scores 0.
    fill : float
        Score of a task that nothing on another device waits for, and that waits only for its own device.
    tail : float
        Reduction of the score of a task with the longest path to the end.
    wait : float
        Increase of an action's score for each mean duration of idle time before it.
    relief : float
        Reduction of the score of an action that returns memory, while a ready task that takes memory does not fit.
    room : float or None
        The memory that a device may use, as a multiple of the need for running without a break; None for all.
    merge : float
        Additional score of a merged pair, beyond that of its first half.
    window : int or None
        The most independent groups of tasks in progress at one time.
    """

    take: float = 0.5
    fill: float = 2.0
    tail: float = 0.0
    wait: float = 1.0
    relief: float = 0.0
    room: float | None = None
    merge: float = -0.5
    window: int | None = None


PROVEN_RULES = (
    Rule(),
    Rule(tail=-2.0, take=-0.5, wait=4.0, room=1.5),
    Rule(take=-0.5, room=1.0),
    Rule(take=-2.0, tail=-2.0, relief=1.5),
    Rule(take=-0.5, fill=0.75, tail=-2.0, wait=4.0),
    Rule(take=0.5, fill=0.75, room=1.5),
    Rule(take=-0.5, tail=-2.0, wait=4.0, relief=1.5, room=1.0),
    Rule(take=0.5, fill=0.75, tail=-2.0, wait=4.0, relief=1.5),
    Rule(take=-0.5, wait=4.0, relief=1.5),
    Rule(take=0.5, fill=0.75, tail=2.0, wait=4.0, relief=1.5, room=1.0),
    Rule(take=0.5, wait=4.0, room=0.7),
    Rule(take=-0.5, tail=-6.0, wait=4.0),
)
"""Each was the best rule for some placement, limit or durations; the first ones suit most."""


@dataclass
class _Tables:
    """Data about a problem that every rule needs."""

    mean: float
    tails: list[int]
    returners: list[int]
    fillers: list[bool]
    needed: list[int]
    group: list[int]
    group_sizes: list[int]
    loads: list[int]
    single: list[list[tuple[int, int, int, int]]]
    joint: list[list[int]]


def greedy_schedules(
    problem: Problem | CompiledProblem,
    *,
    deadline: float,
    seed: int = 0,
    stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, list[list[Action]]]]:
    """Make list schedules, each shorter than all before.

    Parameters
    ----------
    problem : Problem or CompiledProblem
        The problem.
    deadline : float
        When to stop, on the clock of `time.perf_counter`.
    seed : int
        Seed of the noise that is added once every rule has been tried.
    stop : callable, optional
        Called between schedules; if it returns True, no further one is made.

    Yields
    ------
    (makespan, orders)
        Each complete, free of deadlocks, and within the memory.
    """
    compiled = problem if isinstance(problem, CompiledProblem) else compile_problem(problem)
    for makespan, tokens in greedy_tokens(compiled, deadline=deadline, seed=seed, stop=stop):
        yield makespan, compiled.orders(tokens)


def greedy_tokens(
    compiled: CompiledProblem, *, deadline: float, seed: int = 0, stop: Callable[[], bool] | None = None
) -> Iterator[tuple[int, Tokens]]:
    """Do the same as `greedy_schedules`, on strings of tokens."""
    tables = _tables(compiled)
    best = NEVER
    results: list[tuple[int, Rule]] = []
    for rule, noise in _rules(compiled, results, random.Random(seed)):  # noqa: S311
        if perf_counter() > deadline or (stop is not None and stop()):
            return
        found = _ListSchedule(compiled, tables, rule, noise).run(best, deadline)
        if found is None:
            continue
        makespan, tokens = found
        results.append((makespan, rule))
        if makespan < best:
            best = makespan
            yield makespan, tokens


def _rules(
    compiled: CompiledProblem, results: list[tuple[int, Rule]], rng: random.Random
) -> Iterator[tuple[Rule, random.Random | None]]:
    """Yield the rules worth trying, then endless variations of the best ones."""
    for rule in PROVEN_RULES:
        yield rule, None
    for window in (16, 8, 4, 2, 1):
        if not results:  # all got stuck: allow fewer groups in progress at one time
            yield Rule(take=-0.5, window=window), None
    grid = [
        Rule(take, fill, tail, wait, relief, room, merge)
        for take, room, wait, fill, tail, relief, merge in product(
            (0.5, -0.5, -2.0),
            (None, 1.0, 1.5, 0.7),
            (1.0, 4.0, 0.4),
            (2.0, 0.75),
            (0.0, -2.0, 2.0, -1.0, -4.0),
            (0.0, 1.5),
            (-0.5, 1.0) if len(compiled.modes) > len(compiled.chains) else (-0.5,),
        )
    ]
    rng.shuffle(grid)
    for number in count():
        if number % 3 == 0 and grid:
            yield grid.pop(), None
        elif results:
            results.sort(key=lambda result: result[0])
            del results[4 * RULES_TO_VARY :]
            yield _varied(rng.choice(results[:RULES_TO_VARY])[1], rng), (rng if rng.random() < 0.5 else None)
        elif not grid:
            return


def _varied(rule: Rule, rng: random.Random) -> Rule:
    def near(value: float, spread: float) -> float:
        return value + rng.gauss(0, spread) if rng.random() < 0.5 else value

    room = rule.room if rng.random() < 0.7 else rng.choice((None, rng.uniform(0.5, 2.5)))
    return Rule(
        take=near(rule.take, 0.6),
        fill=near(rule.fill, 0.6),
        tail=near(rule.tail, 1.0),
        wait=max(0.1, near(rule.wait, 0.6)),
        relief=max(0.0, near(rule.relief, 0.6)),
        room=room,
        merge=near(rule.merge, 0.6),
        window=rule.window,
    )


def _tables(compiled: CompiledProblem) -> _Tables:
    tasks = range(len(compiled.keys))
    group = _groups(compiled)
    group_sizes = [0] * len(group)
    loads = [0] * compiled.devices
    for task in tasks:
        group_sizes[group[task]] += 1
        loads[compiled.device[task]] += compiled.duration[task]
    single: list[list[tuple[int, int, int, int]]] = [[] for _ in range(compiled.devices)]
    joint: list[list[int]] = [[] for _ in range(compiled.devices)]
    for number, mode in enumerate(compiled.modes):
        if len(mode.chains) == 1:
            single[mode.device].append((number, number, mode.take, mode.give))
        else:
            joint[mode.device].append(number)
    returners = _returners(compiled)
    tails = _tails(compiled)
    return _Tables(
        mean=(sum(loads) or 1) / max(1, len(tasks)),
        tails=tails,
        returners=returners,
        fillers=[_is_filler(compiled, chain[0]) for chain in compiled.chains],
        needed=_needed(compiled, returners, tails, loads),
        group=group,
        group_sizes=group_sizes,
        loads=loads,
        single=single,
        joint=joint,
    )


def _groups(compiled: CompiledProblem) -> list[int]:
    """Find the group of each task: tasks connected by precedences, ignoring the order in chains. Early groups first."""
    leader = list(range(len(compiled.keys)))

    def find(task: int) -> int:
        while leader[task] != task:
            leader[task] = leader[leader[task]]
            task = leader[task]
        return task

    for task, before in enumerate(compiled.predecessors):
        for other, _ in before:
            leader[find(task)] = find(other)
    members = [find(task) for task in range(len(leader))]
    order = sorted(range(len(leader)), key=lambda task: (compiled.position[task], compiled.chain[task]))
    number: dict[int, int] = {}
    for task in order:
        number.setdefault(members[task], len(number))
    return [number[member] for member in members]


def _tails(compiled: CompiledProblem) -> list[int]:
    """Find the longest path from each task's start to the end, ignoring the order inside chains."""
    tails = [0] * len(compiled.keys)
    for task in reversed(compiled.topological):
        behind = max((tails[other] + lag for other, lag in compiled.successors[task]), default=0)
        tails[task] = behind + compiled.duration[task]
    return tails


def _is_filler(compiled: CompiledProblem, task: int) -> bool:
    before = compiled.predecessors[task]
    own = all(compiled.device[other] == compiled.device[task] and not compiled.take[other] for other, _ in before)
    return own and bool(before) and not compiled.successors[task]


def _returners(compiled: CompiledProblem) -> list[int]:
    """For each chain that takes memory, find the last chain among its descendants that return some.

    Only descendants on the same device count, followed through tasks of the same group; -1 if there is none.
    """
    returners = [-1] * len(compiled.chains)
    for chain, tasks in enumerate(compiled.chains):
        if not compiled.take[tasks[0]]:
            continue
        device = compiled.device[tasks[0]]
        seen = {tasks[0]}
        frontier = [other for other, _ in compiled.successors[tasks[0]] if compiled.device[other] == device]
        for task in frontier:
            if task in seen or compiled.take[task]:
                continue
            seen.add(task)
            if compiled.give[task]:
                returners[chain] = compiled.chain[task]
            frontier += [other for other, _ in compiled.successors[task] if compiled.device[other] == device]
    return returners


def _needed(compiled: CompiledProblem, returners: list[int], tails: list[int], loads: list[int]) -> list[int]:
    """Estimate the memory that each device needs to run without a break.

    By Little's law, the number of holds in progress is the time from take to return divided by the time between takes.
    """
    needed = [0] * compiled.devices
    for chain, returner in enumerate(returners):
        if returner < 0:
            continue
        first = compiled.chains[chain][0]
        last = compiled.chains[returner][0]
        device = compiled.device[first]
        trip = tails[first] - tails[last] + compiled.duration[last]
        needed[device] += ceil(compiled.take[first] * trip * len(compiled.chains[chain]) / loads[device])
    return needed


class _ListSchedule:
    """One run of one rule."""

    def __init__(
        self, compiled: CompiledProblem, tables: _Tables, rule: Rule, noise: random.Random | None = None
    ) -> None:
        self.compiled, self.tables, self.rule, self.noise = compiled, tables, rule, noise
        self.missing = [len(before) for before in compiled.predecessors]
        self.arrival = [0] * len(compiled.keys)
        self.head = [0] * len(compiled.chains)
        self.ready = [NEVER] * len(compiled.chains)
        self.free = [0] * compiled.devices
        self.level = [0] * compiled.devices
        self.left = list(tables.loads)
        self.tokens: Tokens = [[] for _ in range(compiled.devices)]
        self.events: list[tuple[int, int]] = []
        self.group_left = list(tables.group_sizes)
        self.open_groups = NEVER if rule.window is None else rule.window
        self.scores = self._scores()
        self.limits = self._limits()
        self.takers = [
            [chain for chain in local if compiled.take[compiled.chains[chain][0]]] for local in compiled.local_chains
        ]

    def _scores(self) -> list[float]:
        compiled, tables, rule = self.compiled, self.tables, self.rule
        longest = max(tables.tails, default=1) or 1
        scores: list[float] = []
        for chain, tasks in enumerate(compiled.chains):
            own = rule.take if compiled.take[tasks[0]] else rule.fill if tables.fillers[chain] else 0.0
            scores.append(own - rule.tail * tables.tails[tasks[0]] / longest)
        for mode in compiled.modes[len(scores) :]:
            if mode.fused:
                scores.append(min(scores[chain] for chain in mode.chains[:2]) - 2.0)
            else:
                scores.append(scores[mode.chains[0]] + rule.merge)
        return scores

    def _limits(self) -> list[int]:
        compiled, room = self.compiled, self.rule.room
        if room is None:
            return compiled.capacities
        least = [sum(compiled.modes[chain].take for chain in local) for local in compiled.local_chains]
        own = [max(ceil(room * amount), few) for amount, few in zip(self.tables.needed, least, strict=True)]
        return [min(pair) for pair in zip(own, compiled.capacities, strict=True)]

    def run(self, best: int, deadline: float) -> tuple[int, Tokens] | None:
        """Make the schedule; None if it is not shorter than the best, gets stuck, or runs out of time."""
        for chain in range(len(self.head)):
            self._look_at_head(chain)
        while self.events:
            time, device = heappop(self.events)
            if time < self.free[device]:
                continue
            start, mode = self._choose(device, time)
            if mode < 0:
                continue
            if start > time:
                heappush(self.events, (start, device))
                continue
            self._run_mode(device, mode, time)
            if self.free[device] + self.left[device] >= best:
                return None
            if len(self.tokens[device]) % 256 == 255 and perf_counter() > deadline:
                return None
        if any(count < len(tasks) for count, tasks in zip(self.head, self.compiled.chains, strict=True)):
            return None
        return _earliest_end(self.compiled, self.tokens), self.tokens

    def _look_at_head(self, chain: int) -> None:
        """Find when the next task of a chain can start; if known, wake its device."""
        tasks = self.compiled.chains[chain]
        place = self.head[chain]
        if place == len(tasks) or self.missing[tasks[place]]:
            self.ready[chain] = NEVER
            return
        self.ready[chain] = when = self.arrival[tasks[place]]
        device = self.compiled.device[tasks[place]]
        heappush(self.events, (max(when, self.free[device]), device))

    def _choose(self, device: int, now: int) -> tuple[int, int]:
        """Find the action with the least score, and when it can start; (NEVER, -1) if there is none."""
        ready, scores, noise = self.ready, self.scores, self.noise
        wait = self.rule.wait / self.tables.mean
        blocked = False
        found: list[tuple[float, int, int, int]] = []
        for mode, chain, take, give in self.tables.single[device]:
            start = ready[chain]
            if start >= NEVER:
                continue
            if take and not self._fits(device, chain, take):
                blocked = blocked or start <= now
                continue
            start = max(start, now)
            found.append((scores[mode] + wait * (start - now), start, mode, give))
        found += self._joint_candidates(device, now, wait)
        if not found:
            return NEVER, -1
        if blocked and self.rule.relief:
            found = [(score - self.rule.relief * bool(give), start, mode, give) for score, start, mode, give in found]
        if noise is not None:
            found = [(score + 0.3 * noise.random(), start, mode, give) for score, start, mode, give in found]
        _, start, mode, _ = min(found)
        return start, mode

    def _joint_candidates(self, device: int, now: int, wait: float) -> Iterator[tuple[float, int, int, int]]:
        for number in self.tables.joint[device]:
            mode = self.compiled.modes[number]
            parts = mode.chains[:-1] if mode.merged else mode.chains
            start = max(now, *(self.ready[chain] for chain in parts))
            if start >= NEVER or (mode.merged and not self._can_merge(mode.chains[-2], mode.chains[-1])):
                continue
            if mode.take and not self._fits(device, mode.chains[0], mode.take):
                continue
            yield self.scores[number] + wait * (start - now), start, number, mode.give

    def _can_merge(self, chain: int, partner: int) -> bool:
        """Return whether the partner comes next in its chain and waits for nothing else."""
        place = self.head[chain]
        return self.head[partner] == place and self.missing[self.compiled.chains[partner][place]] == 1

    def _fits(self, device: int, chain: int, take: int) -> bool:
        """Return whether a task may take memory.

        A slot is kept free for each other chain that takes memory and has no task in progress: memory already held may
        depend on that chain.
        """
        compiled = self.compiled
        level = self.level[device] + take
        if level > self.limits[device]:
            return False
        head, returners = self.head, self.tables.returners
        for other in self.takers[device]:
            if other == chain or head[other] == len(compiled.chains[other]):
                continue
            returned = head[returners[other]] if returners[other] >= 0 else 0
            if head[other] <= returned:
                level += compiled.take[compiled.chains[other][head[other]]]
        if level > self.limits[device]:
            return False
        if self.open_groups >= NEVER:
            return True
        return self.tables.group[compiled.chains[chain][head[chain]]] < self.open_groups

    def _run_mode(self, device: int, number: int, now: int) -> None:
        compiled = self.compiled
        mode = compiled.modes[number]
        end = now + mode.duration
        self.tokens[device].append(number)
        self.free[device] = end
        self.level[device] += mode.take - mode.give
        tasks = [compiled.chains[chain][self.head[chain]] for chain in mode.chains]
        for chain, task in zip(mode.chains, tasks, strict=True):
            self.head[chain] += 1
            self.left[device] -= compiled.duration[task]
        for task in tasks:
            self._announce(task, end)
        for chain in mode.chains:
            self._look_at_head(chain)
        heappush(self.events, (end, device))
        if self.open_groups < NEVER:
            self._close_groups(tasks, end)

    def _announce(self, task: int, end: int) -> None:
        """Tell the successors of a task when its result arrives."""
        compiled = self.compiled
        for other, lag in compiled.successors[task]:
            self.missing[other] -= 1
            self.arrival[other] = max(self.arrival[other], end + lag)
            chain = compiled.chain[other]
            if not self.missing[other] and self.head[chain] == compiled.position[other]:
                self._look_at_head(chain)

    def _close_groups(self, tasks: list[int], end: int) -> None:
        for task in tasks:
            self.group_left[self.tables.group[task]] -= 1
            if not self.group_left[self.tables.group[task]]:
                self.open_groups += 1
                for device in range(self.compiled.devices):
                    heappush(self.events, (max(end, self.free[device]), device))


def _earliest_end(compiled: CompiledProblem, tokens: Tokens) -> int:
    """Replay strings; a schedule that waited for something better that never came may now end earlier."""
    ends = [-1] * len(compiled.keys)
    count = [0] * len(compiled.chains)
    clock = [0] * compiled.devices
    place = [0] * compiled.devices
    active = list(range(compiled.devices))
    while active:
        device = active.pop()
        while place[device] < len(tokens[device]):
            mode = compiled.modes[tokens[device][place[device]]]
            tasks = [compiled.chains[chain][count[chain]] for chain in mode.chains]
            before = [pair for task in tasks for pair in compiled.predecessors[task] if pair[0] not in tasks]
            if any(ends[other] < 0 for other, _ in before):
                break
            ready = max((ends[other] + lag for other, lag in before), default=0)
            clock[device] = max(clock[device], ready) + mode.duration
            place[device] += 1
            for chain, task in zip(mode.chains, tasks, strict=True):
                count[chain] += 1
                ends[task] = clock[device]
            active += {compiled.device[other] for task in tasks for other, _ in compiled.successors[task]} - {device}
    return max(clock)
