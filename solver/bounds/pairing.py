"""What pairs of first and second halves can save at most, and how long they last at least.

What it is worth: row `pairing-by-smaller` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import NamedTuple, TypeAlias

Runs: TypeAlias = list[tuple[int, int]]
"""(value, count): numbers in order, each with how often it is there."""

Blocks: TypeAlias = list[tuple[int, int]]
"""For each block that a half can be in: how long the other half takes alone, and how long the block lasts."""


class Half(NamedTuple):
    """Halves of blocks that are alike.

    Attributes
    ----------
    kind : int
        Their class, as `solver.problem.Fusing` knows it.
    alone : int
        How long each takes outside blocks.
    number : int
        How many there are.
    """

    kind: int
    alone: int
    number: int


def gather(halves: Iterable[tuple[int, int]]) -> list[Half]:
    """Gather halves, given by their class and how long they take alone, that are alike."""
    return [Half(*half, number) for half, number in Counter(halves).items()]


@dataclass(frozen=True)
class Pairing:
    """What x pairs of a device can save, and how long they last, whichever they are.

    Let a block of a first half f and a second half s last D(f, s), and save f + s − D(f, s), where f and s are how long
    they take alone. Each of x pairs has its own f and its own s. Two bounds hold for what they save together.

    - f − min D(f, ·) and s are two numbers that do not know of each other, and each pair saves at most their sum: so x
      pairs save at most the x largest of each. Where D(f, s) depends on f alone, pairs save exactly that.
    - A pair of f saves at most u(f), what f can save with any s; a pair of s at most v(s). Order x pairs by what they
      save. The pairs from the first to the k-th have k different f, and each saves at least as much as the k-th pair:
      so it saves at most the k-th largest u, and likewise at most the k-th largest v. Where all D are f + s − σ·min(f,
      s), the smaller of the two is σ times the smaller of the k-th longest f and the k-th longest s: what pairing them
      in sorted order saves, and so the most that there is. (Exchanging the partners of two pairs such that long meets
      long never lowers the sum of the minima.)

    In the same way, the k-th shortest of x blocks lasts at least as long as the k-th smallest min D(f, ·), and as the
    k-th smallest min D(·, s).

    Parameters
    ----------
    firsts, seconds : sequence of Half
        The halves on the device; those that go with none of the others do not count.
    durations : mapping of (int, int) to int
        How long blocks last, by the classes of their halves.
    """

    firsts: Sequence[Half]
    seconds: Sequence[Half]
    durations: Mapping[tuple[int, int], int]

    def most_saved(self) -> int:
        """Bound what any number of pairs saves."""
        either = (self._by_sums(), self._by_smaller())
        return min(sum(max(0, value) * count for value, count in runs) for runs in either)

    def savings(self) -> list[int]:
        """Bound what 0, 1, 2, … pairs save."""
        return [min(either) for either in zip(_sums(self._by_sums()), _sums(self._by_smaller()), strict=True)]

    def shortest(self) -> list[int]:
        """Bound how long 0, 1, 2, … blocks last together from below."""
        firsts = _each(self.firsts, self._blocks_of_first, lambda _, blocks: min(block for _, block in blocks))
        seconds = _each(self.seconds, self._blocks_of_second, lambda _, blocks: min(block for _, block in blocks))
        return _sums(_combined(sorted(firsts), sorted(seconds), max))

    def _by_sums(self) -> Runs:
        firsts = _each(self.firsts, self._blocks_of_first, lambda alone, blocks: alone - min(b for _, b in blocks))
        seconds = _each(self.seconds, self._blocks_of_second, lambda alone, _: alone)
        return _combined(sorted(firsts, reverse=True), sorted(seconds, reverse=True), lambda one, two: one + two)

    def _by_smaller(self) -> Runs:
        firsts = _each(self.firsts, self._blocks_of_first, _most_saved)
        seconds = _each(self.seconds, self._blocks_of_second, _most_saved)
        return _combined(sorted(firsts, reverse=True), sorted(seconds, reverse=True), min)

    def _blocks_of_first(self, first: Half) -> Blocks:
        pairs = ((second.alone, self.durations.get((first.kind, second.kind))) for second in self.seconds)
        return [(alone, block) for alone, block in pairs if block is not None]

    def _blocks_of_second(self, second: Half) -> Blocks:
        pairs = ((first.alone, self.durations.get((first.kind, second.kind))) for first in self.firsts)
        return [(alone, block) for alone, block in pairs if block is not None]


def _most_saved(alone: int, blocks: Blocks) -> int:
    return max(alone + other - block for other, block in blocks)


def _each(
    halves: Iterable[Half], blocks_of: Callable[[Half], Blocks], value: Callable[[int, Blocks], int]
) -> Iterator[tuple[int, int]]:
    """Value halves by how long they take alone and by the blocks that they can be in, if there are any."""
    for half in halves:
        if blocks := blocks_of(half):
            yield value(half.alone, blocks), half.number


def _combined(firsts: Runs, seconds: Runs, combine: Callable[[int, int], int]) -> Runs:
    """Pair the numbers of two lists from the front, one of each at a time."""
    queue = list(reversed(seconds))
    combined: Runs = []
    for first, count in firsts:
        left = count
        while left and queue:
            second, there = queue.pop()
            pairs = min(left, there)
            combined.append((combine(first, second), pairs))
            left -= pairs
            if there > pairs:
                queue.append((second, there - pairs))
    return combined


def _sums(runs: Runs) -> list[int]:
    """Add up the first 0, 1, 2, … numbers."""
    return [0, *accumulate(value for run in runs for value in repeat(*run))]
