"""Longest paths between tasks at one place of their chains, from the start of one action to the end of another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property

from solver.problem import Key, Problem


@dataclass(frozen=True)
class Passage:
    """The longest path from the start of a chain's task to the end of another's, outside blocks.

    Attributes
    ----------
    length : int
        How long it takes where no task on it is in a block.
    counted : mapping of int to int
        For each chain on it, how much of that is the task's own; its partner's too where the two follow one another.
    links : tuple of (int, int, int)
        The precedences along it: the chains and the lag between them.
    """

    length: int
    counted: Mapping[int, int]
    links: tuple[tuple[int, int, int], ...] = ()

    @cached_property
    def chains(self) -> frozenset[int]:
        """All chains on it."""
        return frozenset({*self.counted, *(after for _, after, _ in self.links)})

    def lags(self, half: Set[int], *, back: bool) -> int:
        """Sum the lags behind some of its chains that lead to others, or those ahead that come from others."""
        return sum(
            lag
            for before, after, lag in self.links
            if (after if back else before) in half and (before if back else after) not in half
        )


def alone_times(problem: Problem, key: Key) -> tuple[int, int]:
    """Return how long a task takes at least outside blocks, and how much longer the end of its partner is away."""
    duration = problem.tasks[key].duration
    if key not in problem.partners:
        return duration, 0
    both = duration + problem.tasks[problem.partners[key]].duration
    both = min(both, problem.merged_durations.get(key, both))
    return min(duration, both), both - min(duration, both)


class Passages:
    """Longest paths between the first tasks of chains; those at other places are like them."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.first = [chain[0] for chain in problem.chains]
        self.chain = {key: number for number, key in enumerate(self.first)}
        self.partner = {
            self.chain[key]: self.chain[other] for key, other in problem.partners.items() if key in self.chain
        }
        self.partners = set(self.partner.values())
        self.succs: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for before, after, lag in problem.precedences:
            if before in self.chain and after in self.chain:
                self.succs[self.chain[before]].append((self.chain[after], lag))
        self.order = self._sorted()
        self._known: dict[int, dict[int, Passage]] = {}

    def _sorted(self) -> list[int]:
        missing = [0] * len(self.first)
        for after in (after for succs in self.succs.values() for after, _ in succs):
            missing[after] += 1
        order = [chain for chain, count in enumerate(missing) if not count]
        for chain in order:
            for after, _ in self.succs[chain]:
                missing[after] -= 1
                if not missing[after]:
                    order.append(after)
        return order

    def of(self, take: int) -> dict[int, Passage]:
        """Find the longest paths from the start of a chain's task to the ends of those behind it.

        A partner counts only behind its own task: in one action with that, it starts no later.
        """
        if take not in self._known:
            own = self._own(take)
            found = {take: Passage(own, {take: own})}
            for chain in self.order:
                if chain in found:
                    for after, lag in self.succs[chain]:
                        further = self._further(found[chain], chain, after, lag)
                        if after not in found or further.length > found[after].length:
                            found[after] = further
            self._known[take] = found
        return self._known[take]

    def _own(self, chain: int) -> int:
        return 0 if chain in self.partners else alone_times(self.problem, self.first[chain])[0]

    def _further(self, passage: Passage, chain: int, after: int, lag: int) -> Passage:
        counted = dict(passage.counted)
        if self.partner.get(chain) == after:
            lag = 0 if self.problem.can_merge(self.first[chain]) else lag
            more = alone_times(self.problem, self.first[chain])[1]
            counted[chain] += more
            return Passage(passage.length + lag + more, counted, (*passage.links, (chain, after, lag)))
        own = self._own(after)
        counted[after] = own
        return Passage(passage.length + lag + own, counted, (*passage.links, (chain, after, lag)))
