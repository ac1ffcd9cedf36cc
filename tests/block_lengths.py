"""How long an overlapped block of layers with parts lasts, by its graph: shares no code with what is tested.

A part is a node. It follows the part before it in its chain, and the one before it on its stream. Streams take the
parts of a pair of layers place by place; where both layers would begin on the same stream, the backward is one place
later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

Row = Mapping[str, Any]
"""A row of layers as in a configuration."""

Key = tuple[int, int, int]
"""A node: the pair, the place, and 0, 1 or 2 for a part of the forward, of the backward, or for the weights."""


def exact(value: Any) -> Fraction:
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def is_communication(part: Any) -> bool:
    return isinstance(part, Mapping)


def time_of(part: Any) -> Fraction:
    return exact(part["comm"] if is_communication(part) else part)


def places(forward: Row, backward: Row) -> dict[tuple[int, int], tuple[bool, Fraction]]:
    """Return for each (place, 0 forward, 1 backward, 2 weights) whether it is communication, and its time."""
    here, there = forward["parts"]["forward"], backward["parts"]["backward"]
    later = int(is_communication(here[0]) == is_communication(there[0]))
    found = {(place, 0): (is_communication(part), time_of(part)) for place, part in enumerate(here)}
    found |= {(place + later, 1): (is_communication(part), time_of(part)) for place, part in enumerate(there)}
    weights = backward["parts"].get("weight", {})
    found |= {(place + later, 2): (False, exact(time)) for place, time in weights.items()}
    return found


def paired(forwards: Sequence[Row], backwards: Sequence[Row]) -> Fraction:
    """Return how long layers take side by side: the i-th forward beside the i-th backward."""
    pairs = list(zip(forwards, backwards, strict=True))
    if not pairs:
        return Fraction(0)
    if pairs[0][0]["parts"].get("order") == "lockstep":
        return sum((in_lockstep(places(*pair)) for pair in pairs), Fraction(0))
    nodes: dict[Key, tuple[bool, Fraction]] = {
        (number, *key): value for number, pair in enumerate(pairs) for key, value in places(*pair).items()
    }
    before: dict[Key, list[Key]] = {key: [] for key in nodes}
    rows = [[key for key in sorted(nodes) if key[2] == way] for way in (0, 1)]
    rows += [[key for key in sorted(nodes) if nodes[key][0] == stream] for stream in (False, True)]
    for row in rows:
        for one, other in pairwise(row):
            before[other].append(one)

    @cache
    def end(key: Key) -> Fraction:
        return nodes[key][1] + max(map(end, before[key]), default=Fraction(0))

    for key in sorted(nodes):  # shallow recursion
        end(key)
    return max(map(end, nodes))


def in_lockstep(parts: Mapping[tuple[int, int], tuple[bool, Fraction]]) -> Fraction:
    last = max(place for place, _ in parts)
    sums = [[Fraction(0), Fraction(0)] for _ in range(last + 1)]
    for (place, way), (stream, time) in parts.items():
        sums[min(place + (way == 2), last)][stream] += time
    return sum(map(max, sums), Fraction(0))


def block(forwards: Sequence[Row], backwards: Sequence[Row], forward: Fraction, backward: Fraction) -> Fraction:
    """Return how long a block lasts.

    Parameters
    ----------
    forwards, backwards : sequence of Row
        The layers of both stages one by one, in the order of the model.
    forward, backward : Fraction
        F and B of these stages.
    """
    here = [row for row in forwards if "parts" in row]
    there = [row for row in reversed(backwards) if "parts" in row]
    number = min(len(here), len(there))
    here, there = here[:number], there[:number]
    alone = forward - sum(exact(row["forward"]) for row in here) + backward - sum(map(whole_backward, there))
    return paired(here, there) + alone


def whole_backward(row: Row) -> Fraction:
    halves = ("backward_input", "backward_weight")
    return exact(row["backward"]) if "backward" in row else sum((exact(row[key]) for key in halves), Fraction(0))
