"""Jackson's preemptive bound of one device.

What it is worth: row `jackson` of docs/development/ablation.md.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def jackson_bound(heads: Sequence[int], work: Sequence[int], tails: Sequence[int]) -> int:
    """Find the length of the best schedule of one device that may interrupt its tasks.

    Each task may start at its head and needs its tail after its end. With interruptions, always running the available
    task of the longest tail is optimal (Jackson 1955; Carlier 1982), so no schedule without interruptions is shorter.

    Parameters
    ----------
    heads, work, tails : sequence of int
        For each task of the device.
    """
    by_head = sorted(range(len(heads)), key=heads.__getitem__)
    ready: list[tuple[int, int]] = []  # (−tail, work left)
    longest = now = place = 0
    while ready or place < len(by_head):
        if not ready:
            now = max(now, heads[by_head[place]])
        while place < len(by_head) and heads[by_head[place]] <= now:
            task = by_head[place]
            heapq.heappush(ready, (-tails[task], work[task]))
            place += 1
        tail, left = heapq.heappop(ready)
        until = heads[by_head[place]] if place < len(by_head) else now + left
        ran = min(left, until - now)
        now += ran
        if ran < left:
            heapq.heappush(ready, (tail, left - ran))
        else:
            longest = max(longest, now - tail)
    return longest
