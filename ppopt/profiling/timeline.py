"""One step of a measurement that represents all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ppopt.profiling.measurement import MeasuredAction, Measurement
from solver.errors import InputError
from solver.problem import Block
from strategies.model.actions import Op, PipelineAction


def actions_that_count(measurement: Measurement) -> list[MeasuredAction]:
    """List the actions of the steps that count.

    Raises
    ------
    InputError
        If no step counts.
    """
    actions = [action for action in measurement.actions if action.step not in measurement.skipped]
    if not actions:
        raise InputError("trace: no step is left to measure; skip fewer steps, or record more")
    return actions


def representative_step(measurement: Measurement) -> list[MeasuredAction]:
    """Return the actions of the step of median duration, in order of time; an incomplete step only as a last resort.

    Raises
    ------
    InputError
        If no step counts.
    """
    steps: dict[int, list[MeasuredAction]] = defaultdict(list)
    for action in actions_that_count(measurement):
        steps[action.step].append(action)
    most = max(len(actions) for actions in steps.values())
    whole = [actions for actions in steps.values() if len(actions) == most]
    by_length = sorted(whole, key=_length)
    return sorted(by_length[(len(by_length) - 1) // 2], key=_in_time)


def _in_time(action: MeasuredAction) -> tuple[float, float, bool]:
    return action.start, action.end, action.kind != "F"


def _length(actions: Sequence[MeasuredAction]) -> float:
    return max(action.end for action in actions) - min(action.start for action in actions)


def orders_of(actions: Sequence[MeasuredAction], devices: int) -> list[list[PipelineAction]]:
    """List the actions of each device in a step, in order of time.

    Parameters
    ----------
    actions : sequence of MeasuredAction
        The actions of one step.
    devices : int
        The number of devices.
    """
    in_time = sorted(actions, key=_in_time)
    halves: dict[tuple[int, int], list[Op]] = defaultdict(list)
    for action in in_time:
        if action.block is not None:
            halves[action.device, action.block].append(_op(action))
    orders: list[list[PipelineAction]] = [[] for _ in range(devices)]
    for action in in_time:
        pair = halves.get((action.device, action.block), []) if action.block is not None else []
        if len(pair) != 2:
            orders[action.device].append(_op(action))
        elif _op(action) == pair[0]:
            orders[action.device].append(Block(*pair))
    return orders


def _op(action: MeasuredAction) -> Op:
    return Op(action.stage, action.kind, action.microbatch)
