"""Problems that repeat: their chains are uniform, so the first tasks of each show what the rest looks like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from solver.problem import Fusing, Key, Problem

Place: TypeAlias = tuple[int, int]
"""A chain and a position in it."""

LONG = 4
"""A chain is long if it has at least this many tasks per device; shorter problems are treated whole."""


@dataclass(frozen=True)
class Repetition:
    """A problem with only the first tasks of each chain written out.

    Attributes
    ----------
    problem : Problem
        The part that is written out. It is regular, see `is_regular`, or nothing is left out.
    more : tuple of int
        For each chain of the problem, the number of further tasks that are left out and continue it regularly.
    """

    problem: Problem
    more: tuple[int, ...]

    @property
    def is_shortened(self) -> bool:
        """Whether anything is left out."""
        return any(self.more)

    @property
    def tasks(self) -> int:
        """The number of tasks, including those left out."""
        return len(self.problem.tasks) + sum(self.more)

    def copies(self) -> dict[Key, int]:
        """Return how many tasks each one represents: the last of a chain also represents those after it."""
        last = {chain[-1]: 1 + more for chain, more in zip(self.problem.chains, self.more, strict=True)}
        return {key: last.get(key, 1) for key in self.problem.tasks}


def as_repetition(problem: Problem | Repetition) -> Repetition:
    """Take a problem for one that repeats and of which nothing is left out."""
    return problem if isinstance(problem, Repetition) else Repetition(problem, (0,) * len(problem.chains))


def is_regular(problem: Problem) -> bool:
    """Return whether all tasks are in chains whose precedences and holds are the same at every position.

    A precedence leads from each task of a chain to the next of the same chain, or to the task at the same position of
    another chain, with the same lag all along. A hold is taken and returned at one position, and likewise the same all
    along. Tasks of a chain are equal in everything else. If no precedences order a chain, its tasks are partners of
    others: those can be numbered by their order in time, whatever else is numbered so (see
    `solver.bounds.thinned.Thinned`).
    """
    if not problem.repeats:
        return False
    places = places_of(problem)
    if len(places) != len(problem.tasks) or any(len(chain) < 2 for chain in problem.chains):
        return False
    between = _links(problem, places)
    holds = _holds(problem, places)
    if between is None or holds is None:
        return False
    sizes = [len(chain) for chain in problem.chains]
    ordered = {first for first, second, _ in between if first == second}
    partners = set(problem.partners.values())
    return (
        all(count == sizes[a] - (a == b) and sizes[a] == sizes[b] for (a, b, _), count in between.items())
        and all({count, *(sizes[chain] for chain in chains)} == {count} for (chains, _), count in holds.items())
        and all(chain in ordered or keys[0] in partners for chain, keys in enumerate(problem.chains))
        and all(len({_kind(problem, places, key) for key in keys}) == 1 for keys in problem.chains)
        and all(places[key][1] == places[other][1] for key, other in problem.partners.items())
    )


def places_of(problem: Problem) -> dict[Key, Place]:
    """Find each task's chain and its position in it."""
    return {key: (chain, place) for chain, keys in enumerate(problem.chains) for place, key in enumerate(keys)}


def _links(problem: Problem, places: Mapping[Key, Place]) -> Counter[tuple[int, int, int]] | None:
    """Count the precedences between chains by their lags; None if one leads elsewhere."""
    links: Counter[tuple[int, int, int]] = Counter()
    for before, after, lag in problem.precedences:
        (first, here), (second, there) = places[before], places[after]
        if there != here + (first == second):
            return None
        links[first, second, lag] += 1
    return links


def _holds(problem: Problem, places: Mapping[Key, Place]) -> Counter[tuple[tuple[int, ...], tuple[int, ...]]] | None:
    """Count the holds by their chains and amounts; None if one is returned at another position."""
    holds: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for hold in problem.holds:
        at = [places[hold.take], *(places[task] for task, _ in hold.returns)]
        if len({place for _, place in at}) > 1:
            return None
        holds[tuple(chain for chain, _ in at), (hold.amount, *(part for _, part in hold.returns))] += 1
    return holds


def _kind(problem: Problem, places: Mapping[Key, Place], key: Key) -> Hashable:
    """Describe a task except for its position."""
    partner = places[problem.partners[key]] if key in problem.partners else None
    return (
        problem.tasks[key],
        problem.fusing.firsts.get(key),
        problem.fusing.seconds.get(key),
        problem.merged_durations.get(key),
        partner and partner[0],
    )


def shortened(whole: Problem | Repetition, size: int) -> Repetition | None:
    """Write out only the first tasks of each chain.

    Parameters
    ----------
    whole : Problem or Repetition
        The whole, or a longer part of it.
    size : int
        The number of tasks to keep of each chain, at least two.

    Returns
    -------
    Repetition or None
        None if the problem is not regular.
    """
    problem = whole.problem if isinstance(whole, Repetition) else whole
    if size < 2 or not is_regular(problem):
        return None
    chains = [chain[:size] for chain in problem.chains]
    kept = {key for chain in chains for key in chain}
    behind = whole.more if isinstance(whole, Repetition) else (0,) * len(chains)
    more = tuple(
        left + len(chain) - len(short) for left, chain, short in zip(behind, problem.chains, chains, strict=True)
    )
    return Repetition(_restricted(problem, chains, kept), more)


def _restricted(problem: Problem, chains: Sequence[Sequence[Key]], kept: set[Key]) -> Problem:
    """Keep only some tasks, and drop everything that involves others."""
    fusing = problem.fusing
    return replace(
        problem,
        tasks={key: task for key, task in problem.tasks.items() if key in kept},
        precedences=[edge for edge in problem.precedences if edge[0] in kept and edge[1] in kept],
        holds=[hold for hold in problem.holds if hold.take in kept],
        fusing=Fusing(_only(fusing.firsts, kept), _only(fusing.seconds, kept), fusing.durations),
        partners={key: other for key, other in problem.partners.items() if key in kept},
        merged_durations=_only(problem.merged_durations, kept),
        chains=chains,
    )


def _only(values: Mapping[Key, int], kept: set[Key]) -> dict[Key, int]:
    return {key: value for key, value in values.items() if key in kept}
