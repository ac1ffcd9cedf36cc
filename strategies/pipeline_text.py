"""A pipeline in two lines: its sizes and its costs."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strategies.numbers import PerStage
    from strategies.pipeline import Pipeline

_LETTERS = {
    "forward": "F",
    "backward": "B",
    "backward_input": "I",
    "backward_weight": "W",
    "overlapped_forward_backward": "overlapped block",
}


def describe_sizes(pipeline: Pipeline) -> str:
    """Write the numbers of devices, stages and microbatches."""
    stages = "stages as the schedule needs" if pipeline.stages is None else _counted(pipeline.stages, "stage")
    return f"{_counted(pipeline.devices, 'device')}, {stages}, {_counted(pipeline.microbatches, 'microbatch')}"


def describe_costs(pipeline: Pipeline) -> str:
    """Write times and memory as they are given, those of different stages as a range."""
    unit = f" {pipeline.unit}" if pipeline.unit else ""
    return f"{', '.join(_times(pipeline))}{unit}; {', '.join(_memory(pipeline))}"


def _times(pipeline: Pipeline) -> Iterator[str]:
    for key, letter in _LETTERS.items():
        value = getattr(pipeline.times, key)
        if value is not None:
            yield f"{letter} {_amount(value)}"
    yield f"latency {_amount(pipeline.p2p_latency)}"


def _memory(pipeline: Pipeline) -> Iterator[str]:
    memory = pipeline.memory
    yield f"activation {_amount(memory.activation)}"
    if memory.held_for_weight is not None:
        yield f"held for weight {_amount(memory.held_for_weight)}"
    yield "no limit" if memory.limit is None else f"limit {_amount(memory.limit)}"


def _counted(count: int, what: str) -> str:
    plural = "es" if what.endswith("ch") else "s"
    return f"{count} {what}{'' if count == 1 else plural}"


def _amount(value: PerStage) -> str:
    if not isinstance(value, tuple):
        return _number(value)
    low, high = min(value), max(value)
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"


def _number(value: Fraction) -> str:
    return str(value) if value.denominator == 1 and value < 10**12 else f"{float(value):.6g}"
