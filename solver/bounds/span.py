"""How long some device of a row is at work from its first task to its last, at least.

What it is worth: row `span-bound` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections.abc import Sequence


def span_bounds(
    forward: Sequence[int],
    to_input: Sequence[int],
    to_weight: Sequence[int],
    *,
    lag: int,
    live: Sequence[int],
    count: int,
    pending: Sequence[int] | None = None,
) -> list[int]:
    """Bound the longest span S (last end − first start) of devices in a row, by what each of them must wait for.

    Position t runs ``count`` = m times a forward F, a backward I and a weight task W. The k-th forward waits for that
    of position t − 1; the k-th backward for that of position t + 1, at the last for its own forward; ``lag`` l passes
    between neighbours; the k-th W waits for the k-th I. For full backwards give those as I, and zeros as W. Where I
    and W may run merged in less than both, W is what the merged task takes beyond I.

    Let a be the start of position t, R_j = F_j + I_j + 2l, D = Σ R_j over j > t: an I of t starts at least D after the
    end of its F. Let U = max over s < t of Σ R_j over s ≤ j < t, + W_s: position s starts by a − Σ (F_j + l), ends
    within S of that, and before it ends must pass on the last I of t; so t has finished its last I by a + S − U. Let k
    forwards at most be live without their I having ended, and q without their W having ended. The span is the load
    m(F + I + W) and what is idle:

    - head: up to the first I, a time of at least F + D, only forwards run, k at most: idle D − (k − 1)F.
    - tail: after the last I, a time of U at least, only W's run, q at most: idle U − qW.
    - mid: between the last F and its own I, a time of D, only the I's and W's of what else is live: idle
      D − (k − 1)I − (q − 1)W.
    - joint: from the end of the last F to a + S, a time of at least D + I + U, only I's and W's of what is live: idle
      D + U − (k − 1)I − qW.

    The last three lie behind the head if the last F starts after the first I, that is for m > k. The tail always does.
    Where an F waits for the W of k before it (k = q), the chain of every k-th also counts: with n = ⌊(m − 1) ÷ k⌋,
    S ≥ (n + 1)(F + D + I + W) + (m − 1 − nk)W.

    Parameters
    ----------
    forward, to_input, to_weight : sequence of int
        F, I and W by position.
    lag : int
        The time between the end of a task and the start of what waits for it at a neighbour.
    live : sequence of int
        k by position: how many forwards fit the memory at once.
    count : int
        m, at least 1.
    pending : sequence of int or None
        q by position: how many fit whose I has ended; None where I returns nothing (q = k).

    Notes
    -----
    Found for this project. For even positions it is at least the bound of Qi et al. (Zero Bubble, 2023), eq. 2.
    """
    rows = list(zip(forward, to_input, to_weight, strict=True))
    passes = [f + i + 2 * lag for f, i, _ in rows]
    bounds: list[int] = []
    for t, times in enumerate(rows):
        up = max((sum(passes[s:t]) + to_weight[s] for s in range(t)), default=0)
        fits = min(live[t], count)
        waiting = fits if pending is None else max(fits, min(pending[t], count))
        bounds.append(_position_bound(times, sum(passes[t + 1 :]), up, fits, waiting, count))
    return bounds


def _position_bound(times: tuple[int, int, int], down: int, up: int, live: int, pending: int, count: int) -> int:
    """Bound the span by what one position must wait for: D = ``down`` and U = ``up`` of `span_bounds`."""
    forward, to_input, to_weight = times
    head = max(0, down - (live - 1) * forward)
    behind = [0, up - pending * to_weight]
    if count > live:
        behind.append(down - (live - 1) * to_input - (pending - 1) * to_weight)
        behind.append(down + up - (live - 1) * to_input - pending * to_weight)
    idle = count * (forward + to_input + to_weight) + head + max(behind)
    if live != pending:
        return idle
    links, rest = divmod(count - 1, live)
    return max(idle, (links + 1) * (forward + down + to_input + to_weight) + rest * to_weight)
