"""What is allowed in a pipeline and yet looks like a slip of the pen."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.pipeline import Pipeline

LONGEST_LATENCY = 10
"""In forwards: a transfer that takes longer than so many was probably written in another unit."""


def doubts(pipeline: Pipeline) -> Iterator[str]:
    """Ask about what looks like a slip of the pen, a line each.

    Parameters
    ----------
    pipeline : Pipeline
        As it was given, before it is cut anew.
    """
    forwards = pipeline.times.forward
    longest = max(forwards) if isinstance(forwards, tuple) else forwards
    if pipeline.p2p_latency > LONGEST_LATENCY * longest:
        yield (
            f"p2p_latency {float(pipeline.p2p_latency):g} is more than {LONGEST_LATENCY} times the longest forward, "
            f"{float(longest):g}; are both in the same unit?"
        )
