"""Longest paths between tasks at one place of their chains, from the start of one action to the end of another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from typing import NamedTuple

from solver.bounds.loads import alone_times
from solver.problem import Problem


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

    @cached_property
    def _around(self) -> tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]]:
        """Return which chain follows each one, and which is ahead of it, with the lag between them."""
        following = {before: (after, lag) for before, after, lag in self.links}
        return following, {after: (before, lag) for before, after, lag in self.links}

    def lags(self, half: Set[int], *, back: bool) -> int:
        """Sum the lags behind some of its chains that lead to others, or those ahead that come from others."""
        around = self._around[back]
        found = [around[chain] for chain in half if chain in around]
        return sum(lag for other, lag in found if other not in half)


class _Reached(NamedTuple):
    """How a chain is reached: the length up to its end, the chain ahead (or −1), the lag, what it adds itself."""

    length: int
    before: int
    lag: int
    own: int


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
        waits: dict[int, set[int]] = {number: set() for number in range(len(self.first))}
        for before, after, lag in problem.precedences:
            if before in self.chain and after in self.chain:
                self.succs[self.chain[before]].append((self.chain[after], lag))
                waits[self.chain[after]].add(self.chain[before])
        self.order = list(TopologicalSorter(waits).static_order())
        self._known: dict[int, dict[int, _Reached]] = {}

    def between(self, take: int, end: int) -> Passage | None:
        """Find the longest path from the start of a chain's task to the end of another's; None where there is none.

        A partner counts only behind its own task: in one action with that, it starts no later.
        """
        reached = self._from(take)
        if end not in reached:
            return None
        counted: dict[int, int] = {}
        links: list[tuple[int, int, int]] = []
        at, more = end, 0
        while True:
            _, before, lag, own = reached[at]
            is_counted = self.partner.get(before) != at
            if is_counted:
                counted[at], more = own + more, 0
            else:
                more = own
            if before < 0:
                break
            links.append((before, at, lag))
            at = before
        return Passage(reached[end].length, counted, tuple(reversed(links)))

    def _from(self, take: int) -> dict[int, _Reached]:
        if take not in self._known:
            own = self._own(take)
            found = {take: _Reached(own, -1, 0, own)}
            for chain in self.order:
                if chain in found:
                    for after, lag in self.succs[chain]:
                        further = self._further(found[chain].length, chain, after, lag)
                        if after not in found or further.length > found[after].length:
                            found[after] = further
            self._known[take] = found
        return self._known[take]

    def _own(self, chain: int) -> int:
        return 0 if chain in self.partners else alone_times(self.problem, self.first[chain])[0]

    def _further(self, length: int, chain: int, after: int, lag: int) -> _Reached:
        if self.partner.get(chain) != after:
            own = self._own(after)
            return _Reached(length + lag + own, chain, lag, own)
        lag = 0 if self.problem.can_merge(self.first[chain]) else lag
        own = alone_times(self.problem, self.first[chain])[1]
        return _Reached(length + lag + own, chain, lag, own)
