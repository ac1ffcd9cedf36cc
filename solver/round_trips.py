"""Rows of devices through which jobs go out and back."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True)
class RoundTrip:
    """Chains that go out and back through a row of devices.

    Attributes
    ----------
    out, back : list of int
        For each rank, the chain that runs on the way out, and on the way back.
    late : list of int
        For each rank, the chain that nothing waits for, or −1.
    """

    out: list[int]
    back: list[int]
    late: list[int]


def round_trip_of(devices: Sequence[int], waits: Sequence[AbstractSet[int]]) -> RoundTrip | None:
    """Read chains as those of a row of devices through which jobs go out and back; None if they are not.

    On each device one chain waits for that of the device before, the first one for none; one waits for it and for the
    one on the device behind; and at most one more, that nothing waits for, waits for that. No others are there.

    Parameters
    ----------
    devices : sequence of int
        On which device each chain runs.
    waits : sequence of set of int
        For which other chains each chain waits.
    """
    starts = [chain for chain, before in enumerate(waits) if not before]
    out = starts if len(starts) == 1 else []
    count = len(set(devices))
    while out and len(out) < count:
        following = [c for c, before in enumerate(waits) if before == {out[-1]} and devices[c] != devices[out[-1]]]
        out = [*out, *following] if len(following) == 1 else []
    if len({devices[chain] for chain in out}) != count:
        return None
    return _back(devices, waits, out)


def _back(devices: Sequence[int], waits: Sequence[AbstractSet[int]], out: list[int]) -> RoundTrip | None:
    """Find the chains on the way back, from the last device on, and the late ones."""
    back: list[int] = []
    late: list[int] = []
    for chain in reversed(out):
        others = [other for other, device in enumerate(devices) if device == devices[chain] and other != chain]
        behind = set(back[-1:])
        here = [other for other in others if waits[other] in ({chain} | behind, behind or {chain})]
        rest = [other for other in others if other not in here[:1]]
        if not here or len(rest) > 1 or any(waits[other] != {here[0]} for other in rest):
            return None
        back.append(here[0])
        late.append(rest[0] if rest else -1)
    return RoundTrip(out, back[::-1], late[::-1])
