"""The plain problem behind one with blocks and merged pairs: every duration the least that it can be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from solver.block_lengths import block_durations, shortest_blocks
from solver.numbered import LARGEST_ARRAY, integers
from solver.problem import Hold, Key, Precedence, Problem


@dataclass(frozen=True)
class Thinned:
    """Tasks by number, with two durations each.

    Every schedule of the problem contains one of this plain problem. Within a merged pair (i, w) of duration m, or a
    block (f, i with w) of duration D(f, i), give i, w and f disjoint parts of its time, i before w: all precedences
    still hold, since whatever the action waits for ends before its start and whatever waits for it starts after its
    end; and memory is taken no earlier and returned no later than in truth. What remains is that the parts fit:
    work(i) + work(w) ≤ m and, for every pair, work(f) + work(i) + work(w) ≤ D(f, i). A part that is alone keeps (a part
    of) its own duration.

    ``least_action`` is the least duration of the action that a task can be in. A path may count it in place of
    ``work``, since whatever waits for f waits for the end of its block. For i and w both are the same, so that i → w is
    no exception.

    The w of a chain may be numbered by their order in time, even where the problem's own numbering (each with its i)
    would be another: the k-th of them starts after the k-th of the i's ends, and no part differs.

    Attributes
    ----------
    keys : list of Key
        The tasks.
    device, work, least_action : list of int
        For each task: where it runs, how long it keeps its device from all others, how long at least its action lasts.
    edges : list of (int, int, int)
        Before, after, lag.
    total : int
        All durations and lags together.
    """

    keys: list[Key]
    device: list[int]
    work: list[int]
    least_action: list[int]
    edges: list[tuple[int, int, int]]
    total: int

    @cached_property
    def number(self) -> dict[Key, int]:
        """The number of each task."""
        return {key: place for place, key in enumerate(self.keys)}

    @cached_property
    def members(self) -> dict[int, list[int]]:
        """The tasks of each device."""
        members: dict[int, list[int]] = defaultdict(list)
        for task, device in enumerate(self.device):
            members[device].append(task)
        return members

    def numbered(self, edges: list[Precedence]) -> list[tuple[int, int, int]]:
        """Write precedences with the numbers of tasks."""
        number = self.number
        return [(number[before], number[after], lag) for before, after, lag in edges]

    @property
    def never(self) -> int:
        """A time that is longer than every schedule, also of a problem that repeats this one, in an array like it."""
        return 2**60 if self.total < LARGEST_ARRAY else self.total << 60

    def times(self, values: Iterable[int]) -> NDArray[Any]:
        """Make an array of times, in which sums of a few paths and loads are exact."""
        return integers(values, self.total)


def thin(problem: Problem) -> Thinned:
    """Make the plain problem."""
    blocks = shortest_blocks(problem)
    work = _least_work(problem, blocks)
    least_action = dict(work)
    for first in problem.fusing.firsts:
        least_action[first] = min(problem.tasks[first].duration, blocks.get(first, problem.tasks[first].duration))
    keys = list(problem.tasks)
    thinned = Thinned(
        keys=keys,
        device=[problem.tasks[key].device for key in keys],
        work=[work[key] for key in keys],
        least_action=[least_action[key] for key in keys],
        edges=[],
        total=sum(task.duration for task in problem.tasks.values()) + sum(lag for _, _, lag in problem.precedences),
    )
    merging = {pair for pair in problem.partners.items() if problem.can_merge(pair[0])}
    edges = [(a, b, 0 if (a, b) in merging else lag) for a, b, lag in problem.precedences]
    thinned.edges.extend(thinned.numbered(edges))
    return thinned


def _least_work(problem: Problem, blocks: Mapping[Key, int]) -> dict[Key, int]:
    """Choose parts that fit every action: the second side of a block keeps what it can, the first has the rest.

    What the second side keeps fits the shortest of its blocks, so the rest is never negative.
    """
    work = {key: task.duration for key, task in problem.tasks.items()}
    seconds = problem.fusing.seconds
    for second in seconds:
        work[second] = min(work[second], blocks.get(second, work[second]))
    for task, partner in problem.partners.items():
        limits = [work[task] + work[partner]]
        if task in problem.merged_durations:
            limits.append(problem.merged_durations[task])
        if task in seconds and task in blocks:
            limits.append(blocks[task])
        work[task] = min(work[task], *limits)
        work[partner] = min(limits) - work[task]
    _even_out(problem, work)
    kept: dict[tuple[int, int], int] = defaultdict(int)
    for second, each in seconds.items():
        both = work[second] + (work[problem.partners[second]] if second in problem.partners else 0)
        device = problem.tasks[second].device
        kept[device, each] = max(both, kept[device, each])
    rest: dict[tuple[int, int], int] = {}
    for device, first_class, second_class, duration in block_durations(problem):
        left = duration - kept[device, second_class]
        rest[device, first_class] = min(left, rest.get((device, first_class), left))
    for first, each in problem.fusing.firsts.items():
        work[first] = min(work[first], rest.get((problem.tasks[first].device, each), work[first]))
    return work


def _even_out(problem: Problem, work: dict[Key, int]) -> None:
    """Make the partners of one chain alike, as numbering them anew demands."""
    partners = set(problem.partners.values())
    for chain in problem.chains:
        if chain and chain[0] in partners:
            least = min(work[key] for key in chain)
            work.update(dict.fromkeys(chain, least))


def limited_holds(problem: Problem) -> dict[int, list[Hold]]:
    """List the holds of each device that has a limit."""
    holds: dict[int, list[Hold]] = defaultdict(list)
    for hold in problem.holds:
        device = problem.tasks[hold.take].device
        if device < len(problem.capacities) and problem.capacities[device] is not None:
            holds[device].append(hold)
    return holds
