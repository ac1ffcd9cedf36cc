"""Costs from a measurement: the times of each stage's operations, and of a transfer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ppopt.profiling.measurement import MeasuredAction
from reports.numbers import milliseconds
from solver.counted import counted
from solver.errors import InputError
from strategies.model.backward_halves import SPLIT_TOLERANCE

SHORTEST = 1e-6
"""Milliseconds: an operation that does nothing gets a nanosecond, since durations must be greater than 0."""

KEYS = {
    "F": "forward",
    "B": "backward",
    "I": "backward_input",
    "W": "backward_weight",
    "block": "overlapped_forward_backward",
}


class Spread(NamedTuple):
    """How a duration varies, in milliseconds."""

    p10: float
    median: float
    p90: float
    times: int

    def __str__(self) -> str:
        return f"p10 {milliseconds(self.p10)}, p90 {milliseconds(self.p90)}, {counted(self.times, 'time')}"


Spreads = dict[str, dict[int, Spread]]
"""By the configuration's key and by stage."""


def spread(values: Sequence[float]) -> Spread:
    """Summarise durations."""
    low, middle, high = np.percentile(np.asarray(values), [10, 50, 90])
    return Spread(float(low), float(middle), float(high), len(values))


def measure_spreads(actions: Sequence[MeasuredAction]) -> Spreads:
    """Collect the durations of each kind of operation on each stage; blocks count under the stage of their forward."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for action in actions:
        if action.block is None:
            values[KEYS[action.kind]][action.stage].append(action.end - action.start)
        elif action.kind == "F":
            values[KEYS["block"]][action.stage].append(action.end - action.start)
    return {
        key: {stage: spread(values[key][stage]) for stage in sorted(values[key])}
        for key in KEYS.values()
        if key in values
    }


class Times(NamedTuple):
    """The mapping ``times`` of a configuration, with notes on it."""

    columns: dict[str, list[float]]
    notes: list[str]


def make_times(spreads: Spreads, stages: int) -> Times:
    """Fill in the times of all stages from the measured ones.

    Raises
    ------
    InputError
        If a stage has no forward, or no backward.
    """
    notes: list[str] = []
    medians = {
        key: {stage: max(SHORTEST, each.median) for stage, each in by_stage.items()}
        for key, by_stage in spreads.items()
    }
    blocks = medians.get(KEYS["block"], {})
    for key in ("forward", "backward", "backward_input", "backward_weight"):
        medians.setdefault(key, {})
    _from_blocks(medians, blocks, stages, notes)
    _refuse_missing(medians, stages)
    _complete_backwards(medians, stages, notes)
    _settle(medians, spreads, notes)
    if blocks:
        medians[KEYS["block"]] = _complete_blocks(medians, blocks, stages, notes)
    columns = {
        key: [_rounded(medians[key][stage]) for stage in range(stages)] for key in KEYS.values() if medians.get(key)
    }
    return Times(columns, notes)


def _rounded(value: float) -> float:
    return max(SHORTEST, float(f"{value:.6g}"))


def _refuse_missing(medians: Mapping[str, Mapping[int, float]], stages: int) -> None:
    for stage in range(stages):
        if stage not in medians["forward"]:
            raise InputError(f"trace: stage {stage} has no forward on its own; record whole steps")
        halves = stage in medians["backward_input"] and stage in medians["backward_weight"]
        if stage not in medians["backward"] and not halves:
            raise InputError(f"trace: stage {stage} has no whole backward (B, or I and W); record whole training steps")


def _from_blocks(
    medians: dict[str, dict[int, float]], blocks: Mapping[int, float], stages: int, notes: list[str]
) -> None:
    """If a stage ran forwards or backwards only in blocks, use a third of a block for F and two thirds for B."""
    if not blocks:
        return
    usual = float(np.mean(list(blocks.values())))
    for key, others, share in (("forward", "forward", 1 / 3), ("backward", "backward_input", 2 / 3)):
        lacking = [stage for stage in range(stages) if stage not in medians[key] and stage not in medians[others]]
        medians[key].update({stage: blocks.get(stage, usual) * share for stage in lacking})
        if lacking:
            listed = ", ".join(map(str, lacking))
            notes.append(
                f"stage {listed} ran {key}s only in overlapped blocks, so a {key} was taken to last {share:.0%} of "
                "a block"
            )


def _complete_backwards(medians: dict[str, dict[int, float]], stages: int, notes: list[str]) -> None:
    """If some stages ran B and others I and W, give both to all stages."""
    whole, to_input, to_weight = (medians[key] for key in ("backward", "backward_input", "backward_weight"))
    if not to_input or not to_weight:
        to_input.clear()
        to_weight.clear()
        return
    # in PyTorch, I of stage 0 does nothing, and W is the whole backward
    shared = [stage for stage in to_input if stage in to_weight and stage]
    share = sum(to_input[s] for s in shared) / sum(to_input[s] + to_weight[s] for s in shared) if shared else 0.5
    for stage in range(stages):
        if stage in to_input and stage in to_weight:
            continue
        to_input[stage], to_weight[stage] = whole[stage] * share, whole[stage] * (1 - share)
        notes.append(f"stage {stage} ran no I and W; its B was split as on the other stages ({share:.0%} to I)")
    lacking = [stage for stage in range(stages) if stage not in whole]
    if len(lacking) == stages:
        return
    for stage in lacking:
        whole[stage] = to_input[stage] + to_weight[stage]
    if lacking:
        notes.append(f"no B was measured on stage {', '.join(map(str, lacking))}; I + W was used instead")


def _settle(medians: dict[str, dict[int, float]], spreads: Spreads, notes: list[str]) -> None:
    """Make B and its halves agree as far as a configuration requires: the one measured less often is changed."""
    whole, to_input, to_weight = (medians[key] for key in ("backward", "backward_input", "backward_weight"))
    if not to_input:
        return
    for stage in sorted(whole):
        if _agree(whole[stage], to_input[stage], to_weight[stage]):
            continue
        found, halves = whole[stage], to_input[stage] + to_weight[stage]
        shown, of_halves = milliseconds(found), milliseconds(halves)
        counts = [spreads.get(key, {}).get(stage) for key in ("backward", "backward_input")]
        often = [each.times if each else 0 for each in counts]
        if often[0] > often[1]:
            to_input[stage], to_weight[stage] = (each * found / halves for each in (to_input[stage], to_weight[stage]))
            notes.append(f"stage {stage}: I + W took {of_halves} ms and B {shown} ms; I and W were scaled to match B")
        else:
            whole[stage] = halves
            notes.append(f"stage {stage}: B took {shown} ms and I + W {of_halves} ms; I + W was used for B")


def _agree(whole: float, to_input: float, to_weight: float) -> bool:
    tolerance = float(SPLIT_TOLERANCE) * (1 - 1e-5)  # leaves room for later rounding
    halves_are_less = max(to_input, to_weight) < whole * (1 - 1e-5)
    return halves_are_less and abs(to_input + to_weight - whole) <= tolerance * whole


def _complete_blocks(
    medians: Mapping[str, Mapping[int, float]], blocks: Mapping[int, float], stages: int, notes: list[str]
) -> dict[int, float]:
    lacking = [stage for stage in range(stages) if stage not in blocks]
    if lacking:
        notes.append(
            f"no overlapped block was measured on stage {', '.join(map(str, lacking))}; F + B was used instead"
        )
    return {
        stage: blocks[stage] if stage in blocks else _forward_and_backward(medians, stage) for stage in range(stages)
    }


def _forward_and_backward(medians: Mapping[str, Mapping[int, float]], stage: int) -> float:
    backward = medians["backward"].get(stage)
    if backward is None:
        backward = medians["backward_input"][stage] + medians["backward_weight"][stage]
    return medians["forward"][stage] + backward


def spread_rows(spreads: Spreads, latency: Spread | None) -> Iterator[dict[str, object]]:
    """Yield the spreads, one row per operation of each stage."""
    for key, by_stage in spreads.items():
        for stage, each in by_stage.items():
            yield {"key": key, "stage": stage, **each._asdict()}
    if latency is not None:
        yield {"key": "p2p_latency", "stage": None, **latency._asdict()}
