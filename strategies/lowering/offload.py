"""Places `OFFLOAD` and `RELOAD` in the order of a device, which copy an activation to the host and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from strategies.order_files.schedule_file import Aside, Token, ops_of


def with_offload(order: Sequence[Token], offloads: Callable[[int, int], bool], *, lead: int, least: int) -> list[Token]:
    """Put `OFFLOAD` right after a forward, and `RELOAD` some computations before its backward.

    Parameters
    ----------
    order : sequence of token
        The order of a device.
    offloads : callable
        Returns whether an activation is copied, by its stage and microbatch.
    lead : int
        The number of computations from a reload to its backward, that one included; a reload is never placed before the
        computation that follows its forward.
    least : int
        A device that never has this many activations in flight copies none.
    """
    places = [place for place, token in enumerate(order) if not isinstance(token, Aside)]
    computed = [order[place] for place in places]
    if _most_in_flight(computed) < least:
        return list(order)
    forward = {
        (op.stage, op.microbatch): turn for turn, token in enumerate(computed) for op in ops_of(token) if op.kind == "F"
    }
    behind: dict[int, list[Token]] = defaultdict(list)
    ahead: dict[int, list[Token]] = defaultdict(list)
    for turn, token in enumerate(computed):
        for op in ops_of(token):
            begun = forward.get((op.stage, op.microbatch), turn)
            if op.kind not in "BI" or begun == turn or not offloads(op.stage, op.microbatch):
                continue
            behind[begun].append(Aside(op.stage, "OFFLOAD", op.microbatch))
            ahead[max(begun + 1, turn - lead + 1)].append(Aside(op.stage, "RELOAD", op.microbatch))
    turns = {place: turn for turn, place in enumerate(places)}
    placed: list[Token] = []
    for place, token in enumerate(order):
        turn = turns.get(place, -1)
        placed += [*ahead[turn], token, *behind[turn]] if turn >= 0 else [token]
    return placed


def _most_in_flight(order: Sequence[Token]) -> int:
    """Return the most activations that a device keeps at once, in the order alone."""
    kept = most = 0
    for token in order:
        kinds = [op.kind for op in ops_of(token)]
        kept += kinds.count("F")
        most = max(most, kept)
        kept -= sum(kind in "BI" for kind in kinds)
    return most
