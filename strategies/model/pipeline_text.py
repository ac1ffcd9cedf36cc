"""A pipeline in two lines: its sizes and its costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

from solver.counted import counted
from strategies.model.numbers import PerStage
from strategies.model.stage_costs import BESIDE_LAYERS

Costs: TypeAlias = Mapping[str, PerStage | None]

MOST_SLOW_DEVICES = 6
"""Of more slow devices, only the number and the largest factor are named."""

_LETTERS = {
    "forward": "F",
    "backward": "B",
    "backward_input": "I",
    "backward_weight": "W",
    "overlapped_forward_backward": "overlapped block",
}


def describe_sizes(devices: int, stages: int | None, microbatches: int, layers: int | None) -> str:
    """Write the numbers of devices, stages, microbatches and, if the model has any, layers."""
    cut = "stages as the schedule needs" if stages is None else counted(stages, "stage")
    given = "" if layers is None else f", {counted(layers, 'layer')}"
    return f"{counted(devices, 'device')}, {cut}, {counted(microbatches, 'microbatch')}{given}"


def describe_costs(
    times: Costs, latency: PerStage, memory: Mapping[str, Any], overlap: Fraction | None, unit: str | None
) -> str:
    """Write times and memory as given; values that differ between stages become a range.

    Parameters
    ----------
    times, memory : mapping of str to number, tuple or None
        By the keys of a configuration; None for an absent value.
    latency : number or tuple
        The latency of every transfer, or of each.
    overlap : Fraction or None
        The fraction of its shorter half that a block saves.
    unit : str or None
        The unit of time.
    """
    named = [f"{letter} {_amount(value)}" for key, letter in _LETTERS.items() if (value := times[key]) is not None]
    named.append(f"latency {_amount(latency)}")
    saved = "" if overlap is None else f"; overlap {_number(overlap)}"
    return f"{', '.join(named)}{f' {unit}' if unit else ''}{saved}; {', '.join(_memory(memory))}"


def describe_step(
    overhead: Sequence[Fraction], slowdown: Sequence[Fraction] | None, after: Fraction, unit: str | None
) -> str:
    """Write what a step costs besides the work of its stages, to stand behind their costs; empty if nothing.

    Parameters
    ----------
    overhead : sequence of Fraction
        That of each kind of operation.
    slowdown : sequence of Fraction or None
        How many times as long each device takes.
    after : Fraction
        The time after the last operation.
    unit : str or None
        The unit of time.
    """
    behind = f" {unit}" if unit else ""
    slow = [f"{device}: {_number(pace)}" for device, pace in enumerate(slowdown or ()) if pace != 1]
    if len(slow) > MOST_SLOW_DEVICES:
        slow = [f"{len(slow)} devices, up to {_number(max(slowdown or ()))}"]
    parts = [
        *([f"overhead {_amount(tuple(overhead))}{behind}"] if any(overhead) else []),
        *([f"slowdown {', '.join(slow)}"] if slow else []),
        *([f"{_number(after)}{behind} after the last operation"] if after else []),
    ]
    return "".join(f"; {part}" for part in parts)


def _memory(memory: Mapping[str, Any]) -> Iterator[str]:
    unit = f" {memory['unit']}" if memory["unit"] else ""
    costs = {key: value for key, value in memory.items() if key not in BESIDE_LAYERS}
    yield from (f"{key.replace('_', ' ')} {_amount(value)}{unit}" for key, value in costs.items() if value is not None)
    limit = memory["limit"]
    yield "no limit" if limit is None else f"limit {_amount(limit)}{unit}"


def _amount(value: PerStage) -> str:
    if not isinstance(value, tuple):
        return _number(value)
    low, high = min(value), max(value)
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"


def _number(value: Fraction) -> str:
    return str(value) if value.denominator == 1 and value < 10**12 else f"{float(value):.6g}"
