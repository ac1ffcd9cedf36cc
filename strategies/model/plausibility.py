"""Warnings about values of a pipeline that are allowed but look like typos."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from strategies.model.pipeline import Pipeline

LONGEST_LATENCY = 10
"""A transfer that takes longer than this many forwards was probably written in another unit."""


def doubts(pipeline: Pipeline) -> Iterator[str]:
    """Ask about each value that looks like a typo, on one line each.

    Parameters
    ----------
    pipeline : Pipeline
        As given, before it is re-partitioned.
    """
    what, forward = _forward_of_a_stage(pipeline)
    key = "p2p_latency" if pipeline.communication is None else "communication: a transfer of"
    if pipeline.longest_lag > LONGEST_LATENCY * forward:
        yield (
            f"{key} {float(pipeline.longest_lag):g} is more than {LONGEST_LATENCY} times the {what} forward, "
            f"{float(forward):g}; are both in the same unit?"
        )


def _forward_of_a_stage(pipeline: Pipeline) -> tuple[str, Fraction]:
    """Return the longest forward with its name, or an average stage's if the layers are not cut yet."""
    if pipeline.layers is not None and pipeline.layers_per_stage is None:
        return "average", pipeline.layers.sum_of_costs.forward / (pipeline.stages or pipeline.devices)
    forwards = pipeline.times.forward
    return "longest", max(forwards) if isinstance(forwards, tuple) else forwards
