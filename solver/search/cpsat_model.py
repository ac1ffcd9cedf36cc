"""The CP-SAT model: its variables, and one small function for each family of constraints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

from ortools.sat.python import cp_model

from solver.deadline import until
from solver.problem import Hold, Key, Precedence, Problem

Pair = tuple[Key, Key]
"""A first and a second half that may share a block."""


class Variables:
    """The starts of tasks, and which tasks are fused or merged.

    Parameters
    ----------
    problem : Problem
        The problem, in steps.
    windows : mapping of Key to (int, int)
        The earliest and the latest start of each task.
    pairs : iterable of (Key, Key)
        The pairs that may share a block.
    over : callable
        Called regularly while the model is built; if it returns True, `OutOfTimeError` is raised.
    """

    def __init__(
        self,
        problem: Problem,
        windows: Mapping[Key, tuple[int, int]],
        pairs: Iterable[Pair] = (),
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        self.over = over
        self.problem = problem
        self.windows = windows
        self.model = cp_model.CpModel()
        keys = until(over, problem.tasks)
        self.starts = {key: self.model.new_int_var(*windows[key], "") for key in keys}
        self.pairs = {pair: self.model.new_bool_var("") for pair in until(over, pairs)}
        self.merged = {key: self.model.new_bool_var("") for key in self.starts if key in problem.merged_durations}
        self.horizon = max((last for _, last in windows.values()), default=0) + max(
            (task.duration for task in problem.tasks.values()), default=0
        )
        self._ends: dict[Key, cp_model.IntVar] = {}
        self._any: dict[tuple[int, ...], cp_model.IntVar] = {}

    def start(self, key: Key) -> cp_model.IntVar:
        """Return the start of a task."""
        return self.starts[key]

    def end(self, key: Key) -> cp_model.LinearExprT:
        """Return the end of a task, whatever it is fused or merged with."""
        duration = self.problem.tasks[key].duration
        changes = [(length - duration) * literal for literal, length in self.changes[key]]
        return (
            cp_model.LinearExpr.sum([self.starts[key] + duration, *changes]) if changes else self.start(key) + duration
        )

    def end_variable(self, key: Key) -> cp_model.LinearExprT:
        """Return the end of a task in a form that intervals accept."""
        if not self.changes[key]:
            return self.start(key) + self.problem.tasks[key].duration
        if key not in self._ends:
            first, last = self.windows[key]
            longest = max(length for _, length in self.changes[key])
            longest = max(longest, self.problem.tasks[key].duration)
            self._ends[key] = self.model.new_int_var(first, last + longest, "")
            self.model.add(self._ends[key] == self.end(key))
        return self._ends[key]

    @cached_property
    def changes(self) -> defaultdict[Key, list[tuple[cp_model.IntVar, int]]]:
        """For each task, the literals that change its duration, with the resulting durations."""
        changes: defaultdict[Key, list[tuple[cp_model.IntVar, int]]] = defaultdict(list)
        for (first, second), literal in until(self.over, self.pairs.items()):
            length = self.block_duration(first, second)
            for task in self.parts(first, second):
                changes[task].append((literal, length))
        for task, literal in self.merged.items():
            for part in self.parts(task):
                changes[part].append((literal, self.problem.merged_durations[task]))
        return changes

    def block_duration(self, first: Key, second: Key) -> int:
        """Return the duration of an allowed block."""
        fusing = self.problem.fusing
        return fusing.durations[fusing.firsts[first], fusing.seconds[second]]

    def parts(self, *tasks: Key) -> list[Key]:
        """List tasks with the partners that they bring along."""
        partners = [self.problem.partners[task] for task in tasks if task in self.problem.partners]
        return [*tasks, *partners]

    @cached_property
    def blocks(self) -> defaultdict[Key, defaultdict[int, list[cp_model.IntVar]]]:
        """For each first half, the literals of its blocks, by duration."""
        blocks: defaultdict[Key, defaultdict[int, list[cp_model.IntVar]]] = defaultdict(lambda: defaultdict(list))
        for (first, second), literal in self.pairs.items():
            blocks[first][self.block_duration(first, second)].append(literal)
        return blocks

    def together(self, task: Key) -> cp_model.IntVar | None:
        """Return the literal that a task is merged with its partner; None if it never is."""
        literals = [literal for literal, _ in self.changes[task]]
        return self.any_of(literals) if task in self.problem.partners and literals else None

    def any_of(self, literals: Sequence[cp_model.IntVar]) -> cp_model.IntVar:
        """Return a literal that one of several mutually exclusive literals is true."""
        name = tuple(literal.index for literal in literals)
        if len(name) == 1:
            return literals[0]
        if name not in self._any:
            self._any[name] = self.model.new_bool_var("")
            self.model.add(cp_model.LinearExpr.sum(list(literals)) == self._any[name])
        return self._any[name]

    def watched(self) -> list[cp_model.IntVar]:
        """List the variables that define a solution."""
        return [*self.starts.values(), *self.pairs.values(), *self.merged.values()]


def build_model(variables: Variables, edges: Sequence[Precedence], limit: int) -> None:
    """Add every rule of a schedule: the table of contents of this file.

    Parameters
    ----------
    variables : Variables
        The variables of the model.
    edges : sequence of Precedence
        Precedences besides the problem's own that every schedule keeps.
    limit : int
        The latest end of all tasks.
    """
    add_precedences(variables, edges)
    add_one_at_a_time(variables)
    add_blocks(variables)
    add_merging(variables)
    add_memory(variables)
    add_limit(variables, limit)


def add_precedences(variables: Variables, edges: Iterable[Precedence]) -> None:
    """Make every task wait for its predecessors, except for one that it is merged with."""
    problem = variables.problem
    lags: dict[Pair, int] = {}
    for before, after, lag in (*problem.precedences, *edges):
        lags[before, after] = max(lag, lags.get((before, after), 0))
    for (before, after), lag in until(variables.over, lags.items()):
        waits = variables.model.add(variables.start(after) >= variables.end(before) + lag)
        together = variables.together(before) if problem.partners.get(before) == after else None
        if together is not None:
            waits.only_enforce_if(~together)


def add_one_at_a_time(variables: Variables) -> None:
    """Make every device run one action at a time."""
    lanes: defaultdict[int, list[cp_model.IntervalVar]] = defaultdict(list)
    for key in until(variables.over, variables.starts):
        lanes[variables.problem.tasks[key].device] += _pieces(variables, key)
    for lane in lanes.values():
        variables.model.add_no_overlap(lane)


def _pieces(variables: Variables, key: Key) -> Iterator[cp_model.IntervalVar]:
    """Yield the intervals that may occupy the device for a task; a block is listed with its first half."""
    model, start, problem = variables.model, variables.start(key), variables.problem
    duration = problem.tasks[key].duration
    away = [literal for literal, _ in variables.changes[key]]
    if not away:
        yield model.new_fixed_size_interval_var(start, duration, "")
        return
    yield model.new_optional_fixed_size_interval_var(start, duration, ~variables.any_of(away), "")
    if key in variables.merged:
        yield model.new_optional_fixed_size_interval_var(
            start, problem.merged_durations[key], variables.merged[key], ""
        )
    for length, blocks in variables.blocks[key].items() if key in variables.blocks else ():
        yield model.new_optional_fixed_size_interval_var(start, length, variables.any_of(blocks), "")


def add_blocks(variables: Variables) -> None:
    """Start the halves of a block together, and fuse each task at most once."""
    for (first, second), literal in until(variables.over, variables.pairs.items()):
        variables.model.add(variables.start(first) == variables.start(second)).only_enforce_if(literal)
    for key in variables.starts:
        literals = [literal for literal, _ in variables.changes[key]]
        if len(literals) > 1:
            variables.model.add_at_most_one(literals)


def add_merging(variables: Variables) -> None:
    """Start a task together with the one it is merged into."""
    for task, partner in variables.problem.partners.items():
        together = variables.together(task)
        if together is not None:
            variables.model.add(variables.start(task) == variables.start(partner)).only_enforce_if(together)


def add_memory(variables: Variables) -> None:
    """Keep every device within its capacity."""
    by_device: defaultdict[int, list[Hold]] = defaultdict(list)
    for hold in variables.problem.holds:
        if hold.amount:
            by_device[variables.problem.tasks[hold.take].device].append(hold)
    for device, capacity in enumerate(variables.problem.capacities):
        if capacity is not None and sum(hold.amount for hold in by_device[device]) > capacity:
            _add_memory_of_device(variables, by_device[device], capacity)


def _add_memory_of_device(variables: Variables, holds: Sequence[Hold], capacity: int) -> None:
    """Model memory by precedences if that is exact, else as a cumulative resource."""
    queue = first_in_first_out(variables.problem, holds)
    if queue is None:
        _add_cumulative(variables, holds, capacity)
        return
    room = capacity // holds[0].amount
    if room == 0:
        variables.model.add_bool_or([])
    for (_, back), (take, _) in zip(queue, queue[room:], strict=False):
        variables.model.add(variables.start(take) >= variables.end(back))


def first_in_first_out(problem: Problem, holds: Sequence[Hold]) -> list[Pair] | None:
    """List take and return of holds if they are equal and their order is known; None otherwise.

    The order of tasks that others may be merged with is unknown: a merged pair may overtake.
    """
    overtaken = {partner for key, partner in problem.partners.items() if problem.can_merge(key)}
    place = {
        key: (number, position) for number, chain in enumerate(problem.chains) for position, key in enumerate(chain)
    }
    queue: list[Pair] = []
    for hold in holds:
        backs = [task for task, part in hold.returns if part]
        if len(backs) != 1 or backs[0] in overtaken or hold.amount != holds[0].amount:
            return None
        if not {hold.take, backs[0]} <= place.keys():
            return None
        queue.append((hold.take, backs[0]))
    queue.sort(key=lambda pair: place[pair[0]])
    chains = {tuple(place[half][0] for half in pair) for pair in queue}
    in_order = all(place[one[1]] < place[two[1]] for one, two in pairwise(queue))
    return queue if len(chains) == 1 and in_order else None


def _add_cumulative(variables: Variables, holds: Iterable[Hold], capacity: int) -> None:
    model = variables.model
    pieces: list[cp_model.IntervalVar] = []
    amounts: list[int] = []
    for hold in until(variables.over, holds):
        start = variables.start(hold.take)
        for task, part in hold.returns:
            if part:
                end = variables.end_variable(task)
                pieces.append(model.new_interval_var(start, model.new_int_var(0, variables.horizon, ""), end, ""))
                amounts.append(part)
    model.add_cumulative(pieces, amounts, capacity)


def add_limit(variables: Variables, limit: int) -> None:
    """End all tasks by a limit; if nothing can be fused or merged, the windows of the starts already ensure this."""
    if variables.problem.fusing.seconds or variables.problem.merged_durations:
        for key in variables.starts:
            variables.model.add(variables.end(key) <= limit)


def minimise_makespan(variables: Variables, edges: Iterable[Precedence], bound: int, limit: int) -> cp_model.IntVar:
    """Make the last end the objective."""
    makespan = variables.model.new_int_var(bound, limit, "")
    followed = {before for before, _, _ in (*variables.problem.precedences, *edges)}
    for key in variables.starts:
        if key not in followed or variables.changes[key]:
            variables.model.add(makespan >= variables.end(key))
    variables.model.minimize(makespan)
    return makespan


def tie_to_span(variables: Variables, span: cp_model.IntVar | int) -> None:
    """Make every device finish within a span from its first start."""
    firsts: dict[int, cp_model.IntVar] = {}
    for key in until(variables.over, variables.starts):
        device = variables.problem.tasks[key].device
        if device not in firsts:
            firsts[device] = variables.model.new_int_var(0, variables.horizon, "")
        variables.model.add(firsts[device] <= variables.start(key))
        variables.model.add(variables.end(key) <= firsts[device] + span)


def minimise_span(variables: Variables, bound: int, limit: int) -> cp_model.IntVar:
    """Make the longest span of a device the objective."""
    span = variables.model.new_int_var(bound, limit, "")
    tie_to_span(variables, span)
    variables.model.minimize(span)
    return span


def cut_by_load(variables: Variables, heads: Mapping[Key, int], tails: Mapping[Key, int], limit: int) -> None:
    """Require enough fusing and merging that every device's work fits between its first head and its last tail."""
    problem = variables.problem
    lanes: defaultdict[int, list[Key]] = defaultdict(list)
    for key in variables.starts:
        lanes[problem.tasks[key].device].append(key)
    savings: defaultdict[int, list[cp_model.LinearExprT]] = defaultdict(list)
    for (first, second), literal in variables.pairs.items():
        alone = sum(problem.tasks[key].duration for key in variables.parts(first, second))
        saved = alone - variables.block_duration(first, second)
        savings[problem.tasks[first].device].append(saved * literal)
    for task, literal in variables.merged.items():
        alone = sum(problem.tasks[key].duration for key in variables.parts(task))
        savings[problem.tasks[task].device].append((alone - problem.merged_durations[task]) * literal)
    for device, terms in savings.items():
        load = sum(problem.tasks[key].duration for key in lanes[device])
        around = min(heads[key] for key in lanes[device]) + min(tails[key] for key in lanes[device])
        variables.model.add(cp_model.LinearExpr.sum(terms) >= load + around - limit)
