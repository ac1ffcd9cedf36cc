"""Places `OFFLOAD` and `RELOAD` in an order: activations that wait for long lie in the host's memory meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from strategies.model.actions import Op
from strategies.order_files.schedule_file import Aside, Token, ops_of

LEAD = 2
"""Computations between a reload and the backward that needs it."""

LEAST_IN_FLIGHT = 3
"""Microbatches in flight below which a device offloads nothing."""


NOWHERE: Mapping[Op, int] = MappingProxyType({})


def with_offload(
    order: Sequence[Token],
    is_offloaded: Callable[[Op], bool],
    lead: int = LEAD,
    least_in_flight: int = LEAST_IN_FLIGHT,
    released: Mapping[Op, int] = NOWHERE,
) -> list[Token]:
    """Put `OFFLOAD` right behind each forward, and `RELOAD` a few computations ahead of its B or I.

    Parameters
    ----------
    order : sequence of token
        The computations of a device, perhaps with other work beside them, which does not count.
    is_offloaded : callable
        Returns whether the activation of a forward is offloaded.
    lead : int
        The number of computations between a reload and its B or I; fewer where the forward ran only just before.
    least_in_flight : int
        The number of microbatches in flight, at the device's fullest, below which it offloads nothing.
    released : mapping of Op to int
        The number of computations after which a device waits until a forward's activation is offloaded, if it does.
    """
    if most_in_flight(order) < least_in_flight:
        return list(order)
    computing = [token for token in order if not isinstance(token, Aside)]
    gaps: list[list[Token]] = [[] for _ in range(len(computing) + 1)]  # gap i lies before computation i
    ran: dict[Op, int] = {}
    reloads = []
    for place, token in enumerate(computing):
        for op in ops_of(token):
            forward = op._replace(kind="F")
            if not is_offloaded(forward):
                continue
            if op.kind == "F":
                ran[forward] = place
                gaps[place + 1].append(Aside(op.stage, "OFFLOAD", op.microbatch))
            elif op.kind in "BI":
                reloads.append((max(place - lead, ran[forward] + 1), op))
    for forward, place in released.items():
        gaps[place].append(Aside(forward.stage, "RELEASE", forward.microbatch))
    for place, op in reloads:
        gaps[place].append(Aside(op.stage, "RELOAD", op.microbatch))
    return list(_merged(order, gaps))


def most_in_flight(order: Sequence[Token]) -> int:
    """Return the largest number of forwards of a device whose B or I has not ended."""
    now = most = 0
    for token in order:
        kinds = [op.kind for op in ops_of(token)]
        now += kinds.count("F")
        most = max(most, now)
        now -= sum(kind in "BI" for kind in kinds)
    return most


def _merged(order: Sequence[Token], gaps: Sequence[Sequence[Token]]) -> Iterator[Token]:
    """Yield the actions of an order with what stands in the gap before each computation, and in the one at the end."""
    coming = iter(gaps)
    for token in order:
        if not isinstance(token, Aside):
            yield from next(coming)
        yield token
    yield from next(coming)
