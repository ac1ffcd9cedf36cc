"""Kinds of schedules that a model allows: all, or only a kind in which good ones are found quickly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from solver.deadline import until
from solver.problem import Fusing, Hold, Key, Precedence, Problem
from solver.search.cpsat_model import Pair, Variables
from solver.search.cpsat_steps import Windows, topological_ranks
from solver.states import Objective


@dataclass(frozen=True)
class Variant:
    """A kind of schedules.

    Attributes
    ----------
    name : str
        A name for people.
    pairs : tuple of (Key, Key)
        The pairs that may share a block.
    twins : mapping of Key to Key
        The tasks that mirror others.
    period : int or None
        The time between consecutive tasks of a chain, away from the chain's ends.
    margin : int
        The number of tasks at either end of a chain that need not keep the period.
    early : bool
        For spans: whether every device starts as early as it can.
    lossless : bool
        Whether all schedules are allowed, so that anything impossible here is impossible in general.
    """

    name: str
    pairs: tuple[Pair, ...] = ()
    twins: Mapping[Key, Key] = field(default_factory=dict)
    period: int | None = None
    margin: int = 0
    early: bool = False
    lossless: bool = False

    def windows(self, windows: Windows, limit: int, horizon: int) -> dict[Key, tuple[int, int]] | None:
        """Return the earliest and the latest start of each task if every device's span keeps a limit."""
        problem, heads = windows.problem, windows.heads
        if not self.early:
            return {key: (head, max(head, horizon - windows.least[key])) for key, head in heads.items()}
        firsts = _first_tasks(problem, heads)
        found = {
            key: (head, heads[firsts[problem.tasks[key].device]] + limit - windows.least[key])
            for key, head in heads.items()
        }
        found |= {key: (heads[key], heads[key]) for key in firsts.values()}
        return found if all(first <= last for first, last in found.values()) else None


def _first_tasks(problem: Problem, heads: Mapping[Key, int]) -> dict[int, Key]:
    """Find the task of each device that may start first."""
    firsts: dict[int, Key] = {}
    for key, task in problem.tasks.items():
        if task.device not in firsts or heads[key] < heads[firsts[task.device]]:
            firsts[task.device] = key
    return firsts


def variants(
    problem: Problem,
    edges: list[Precedence],
    windows: Windows,
    objective: Objective,
    over: Callable[[], bool] = lambda: False,
) -> list[Variant]:
    """List the kinds of schedules worth trying, the most promising first.

    Raises
    ------
    OutOfTimeError
        If the time is up first.
    """
    pairs = all_pairs(problem, edges, over)
    if objective == "span":
        return _for_span(problem, pairs)
    whole = Variant("all", pairs, lossless=True)
    if pairs:
        return [*_for_fusing(problem, pairs, windows), whole]
    return [whole, *_steady(problem, pairs)]


def _for_span(problem: Problem, pairs: tuple[Pair, ...]) -> list[Variant]:
    early = Variant("early", pairs, early=True)
    return [early, *_steady(problem, pairs, early=True), Variant("all", pairs, lossless=True)]


def _for_fusing(problem: Problem, pairs: tuple[Pair, ...], windows: Windows) -> list[Variant]:
    half = problem.devices // 2
    twins = mirror(problem, windows.heads, windows.tails)
    some = {name: shifted_pairs(problem, pairs, [shift]) for name, shift in (("half", half), ("more", half + 1))}
    mirrored = [Variant(f"{name}, mirrored", kept, twins) for name, kept in some.items() if kept and twins]
    free = [Variant(name, kept) for name, kept in some.items() if kept]
    return [*mirrored, free[0]] if mirrored else free


def _steady(problem: Problem, pairs: tuple[Pair, ...], early: bool = False) -> list[Variant]:
    length = min((len(chain) for chain in problem.chains), default=0)
    margin = min(problem.devices, length // 3)
    if length - 2 * margin < 4:
        return []
    return [Variant("steady", pairs, period=steady_period(problem), margin=margin, early=early)]


def all_pairs(
    problem: Problem, edges: Iterable[Precedence], over: Callable[[], bool] = lambda: False
) -> tuple[Pair, ...]:
    """List all pairs that may share a block: those in which neither half waits for the other."""
    if not problem.fusing.seconds:
        return ()
    followers = _followers(problem, edges)
    number = {key: place for place, key in enumerate(problem.tasks)}
    seconds = _by_device(problem, (key for key in problem.tasks if key in problem.fusing.seconds))
    firsts = (key for key in problem.tasks if key in problem.fusing.firsts)
    pairs = ((first, second) for first in firsts for second in seconds[problem.tasks[first].device])
    return tuple(
        (first, second)
        for first, second in until(over, pairs)
        if problem.fusing.duration(first, second) is not None
        and not (followers[first] >> number[second] | followers[second] >> number[first]) & 1
    )


def _followers(problem: Problem, edges: Iterable[Precedence]) -> dict[Key, int]:
    """Find all tasks that wait for each task, as the bits of a number."""
    edges = list(edges)
    ranks = topological_ranks(problem, edges)
    assert ranks is not None
    after: defaultdict[Key, list[Key]] = defaultdict(list)
    for source, target, _ in (*problem.precedences, *edges):
        after[source].append(target)
    bits = {key: 1 << place for place, key in enumerate(problem.tasks)}
    followers: dict[Key, int] = {}
    for key in reversed(ranks):
        reached = 0
        for target in after[key]:
            reached |= bits[target] | followers[target]
        followers[key] = reached
    return followers


def _by_device(problem: Problem, keys: Iterable[Key]) -> defaultdict[int, list[Key]]:
    lists: defaultdict[int, list[Key]] = defaultdict(list)
    for key in keys:
        lists[problem.tasks[key].device].append(key)
    return lists


def shifted_pairs(problem: Problem, allowed: Iterable[Pair], shifts: Iterable[int]) -> tuple[Pair, ...]:
    """Keep the pairs whose second half is earlier in its chain than the first half, by one of the given shifts."""
    place = {
        key: (number, position) for number, chain in enumerate(problem.chains) for position, key in enumerate(chain)
    }
    wanted = set(shifts)
    return tuple(
        (first, second)
        for first, second in allowed
        if {first, second} <= place.keys() and place[first][1] - place[second][1] in wanted
    )


def mirror(problem: Problem, heads: Mapping[Key, int], tails: Mapping[Key, int]) -> dict[Key, Key]:
    """Find for each task of the upper half of the devices its mirror image in the lower half.

    Returns
    -------
    dict of Key to Key
        Empty if the problem is not a mirror image of itself.
    """
    image = _image(problem, heads, tails)
    if image is None or problem.devices % 2 or not _is_symmetric(problem, image):
        return {}
    return {key: other for key, other in image.items() if problem.tasks[key].device >= problem.devices // 2}


def _image(problem: Problem, heads: Mapping[Key, int], tails: Mapping[Key, int]) -> dict[Key, Key] | None:
    """Match each chain with the equal one on the opposite device."""
    looks: defaultdict[object, list[Sequence[Key]]] = defaultdict(list)
    for chain in problem.chains:
        looks[_look(problem, heads, tails, chain, problem.tasks[chain[0]].device)].append(chain)
    image: dict[Key, Key] = {}
    for chain in problem.chains:
        opposite = problem.devices - 1 - problem.tasks[chain[0]].device
        matches = looks[_look(problem, heads, tails, chain, opposite)]
        if len(matches) != 1:
            return None
        image.update(zip(chain, matches[0], strict=True))
    return image if image.keys() == problem.tasks.keys() else None


def _look(
    problem: Problem, heads: Mapping[Key, int], tails: Mapping[Key, int], chain: Sequence[Key], device: int
) -> tuple[object, ...]:
    first, last = chain[0], chain[-1]
    roles = (first in problem.fusing.firsts, first in problem.fusing.seconds, first in problem.partners)
    return (device, len(chain), problem.tasks[first].duration, heads[first], tails[last], *roles)


def _is_symmetric(problem: Problem, image: Mapping[Key, Key]) -> bool:
    """Return whether an image maps every part of a problem to another part of it."""
    precedences = set(problem.precedences)
    capacities = list(problem.capacities)
    return (
        capacities == capacities[::-1]
        and all(problem.tasks[key].duration == problem.tasks[image[key]].duration for key in image)
        and all((image[before], image[after], lag) in precedences for before, after, lag in precedences)
        and _fuses_alike(problem.fusing, image)
        and all(problem.merged_durations.get(image[key]) == each for key, each in problem.merged_durations.items())
        and all(problem.partners.get(image[key]) == image[other] for key, other in problem.partners.items())
        and {_written(hold, image) for hold in problem.holds} == {_written(hold) for hold in problem.holds}
    )


def _fuses_alike(fusing: Fusing, image: Mapping[Key, Key]) -> bool:
    """Return whether the images of any two halves share a block of the same duration."""
    if any({image[key] for key in halves} != halves.keys() for halves in (fusing.firsts, fusing.seconds)):
        return False
    firsts = {(each, fusing.firsts[image[key]]) for key, each in fusing.firsts.items()}
    seconds = {(each, fusing.seconds[image[key]]) for key, each in fusing.seconds.items()}
    return all(
        fusing.durations.get((first, second)) == fusing.durations.get((mirrored, other))
        for first, mirrored in firsts
        for second, other in seconds
    )


def _written(hold: Hold, image: Mapping[Key, Key] | None = None) -> tuple[object, ...]:
    names = image or {}
    returns = frozenset((names.get(task, task), part) for task, part in hold.returns)
    return names.get(hold.take, hold.take), hold.amount, returns


def steady_period(problem: Problem) -> int:
    """Return the time that the busiest device needs for one task of each of its chains."""
    loads: defaultdict[int, int] = defaultdict(int)
    for chain in problem.chains:
        task = problem.tasks[chain[0]]
        loads[task.device] += task.duration
    return max(loads.values(), default=0)


def add_steady_period(variables: Variables, period: int, margin: int) -> None:
    """Make the tasks of each chain follow each other regularly, except for some at its ends."""
    for chain in variables.problem.chains:
        middle = [key for key in chain[margin : len(chain) - margin] if not variables.is_twin(key)]
        for one, two in pairwise(middle):
            variables.model.add(variables.start(two) == variables.start(one) + period)
