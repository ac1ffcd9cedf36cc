"""Gaps between the operations of a device: overhead, where the data needed was there, and latency, where it was not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

from ppopt.profiling.costs import KEYS, Spread, spread
from ppopt.profiling.measurement import MeasuredAction
from ppopt.profiling.transfers import Transfer, transfers
from reports.numbers import milliseconds

OVERHEAD_KEYS = tuple(KEYS[kind] for kind in "FBIW")
"""The keys of a configuration's ``overhead``; a block has that of its forward."""

BEFORE = {
    KEYS["F"]: "forwards",
    KEYS["B"]: "backwards",
    KEYS["I"]: "backwards for the input",
    KEYS["W"]: "backwards for the weights",
}
WORTH = 1e-3
"""An overhead counts from this share of the shortest operation: less is lost in the digits of measured times."""


class Gap(NamedTuple):
    """The time before an action, or a block, in which its device did nothing.

    Attributes
    ----------
    device : int
        The device.
    key : str
        The configuration's key of the action after the gap; of its forward for a block.
    length : float
        From the end of the device's previous action to the start of this one, without a wait that the trace shows.
    spare : float
        How long before the end of the previous action the last input from another device had been produced; infinite
        if nothing comes from another device, negative if the device had to wait.
    slack : float or None
        If the device waited, the time from the production of the input to the start of the action.
    is_block : bool
        Whether the action is an overlapped block.
    """

    device: int
    key: str
    length: float
    spare: float
    slack: float | None
    is_block: bool


class Gaps(NamedTuple):
    """What the gaps of a measurement show.

    Attributes
    ----------
    overhead : dict of str to Spread
        The overhead, by the configuration's key of the operation after the gap; only what could be measured.
    taken : dict of str to float
        The overhead for each key, in milliseconds: the mean of the middle half of the gaps, or that of a similar
        operation if none was measured. Empty if there is none worth a key.
    latency : Spread or None
        The time from the end of an action to the arrival of its result on another device; None if nothing waited.
    notes : list of str
        Notes for the reader, e.g. where overhead and latency cannot be told apart.
    """

    overhead: dict[str, Spread]
    taken: dict[str, float]
    latency: Spread | None
    notes: list[str]


def measure_gaps(actions: Sequence[MeasuredAction]) -> Gaps:
    """Measure overhead and latency.

    An operation starts when its device is free and its data is there, and then the overhead passes. So a gap after
    which the data had been there shows the overhead; a device that waited shows latency and overhead together.
    """
    gaps = list(_gaps(actions))
    waits = _waits(gaps)
    together = median(gap.slack for gap in waits if gap.slack is not None) if waits else 0.0
    clear = [gap for gap in gaps if gap.spare > together]  # less may still have been under way
    lengths: dict[str, list[float]] = defaultdict(list)
    for gap in clear:
        lengths[gap.key].append(gap.length)
    overhead = {key: spread(lengths[key]) for key in OVERHEAD_KEYS if lengths[key]}
    means = {key: middle_mean(lengths[key]) for key in overhead}
    shortest = min(median(each) for each in _durations(actions).values())
    if not means or max(means.values()) < WORTH * shortest:
        notes = [] if means or not waits else [_cannot_tell(together)]
        return Gaps(
            overhead, {}, spread([gap.slack for gap in waits if gap.slack is not None]) if waits else None, notes
        )
    taken = _for_all_keys(means)
    notes = list(_doubts(gaps, clear, taken))
    if not waits:
        return Gaps(overhead, taken, None, notes)
    beyond = [gap.slack - taken[gap.key] for gap in waits if gap.slack is not None]
    if median(beyond) < -WORTH * shortest:
        notes.append(
            f"results that were waited for were used {milliseconds(together)} ms after they had been produced, less "
            "than the overhead, which therefore passes while they travel: the latency was taken as 0"
        )
    return Gaps(overhead, taken, spread([max(0.0, each) for each in beyond]), notes)


def _waits(gaps: Sequence[Gap]) -> list[Gap]:
    """List the gaps of devices that waited; blocks only if nothing else did: their halves may wait in between."""
    waits = [gap for gap in gaps if gap.slack is not None]
    return [gap for gap in waits if not gap.is_block] or waits


def middle_mean(values: Sequence[float]) -> float:
    """Average the middle half of the values.

    A path adds up gaps, so a mean says more than a median where some are short and some long; but a device also stands
    still for reasons of its own, and a few such gaps must not count.
    """
    left_out = len(values) // 4
    return fmean(sorted(values)[left_out : len(values) - left_out])


def _durations(actions: Iterable[MeasuredAction]) -> dict[tuple[str, int], list[float]]:
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for action in actions:
        found[action.kind, action.stage].append(action.end - action.start)
    return found


def _cannot_tell(together: float) -> str:
    return (
        "each operation waited for data of another device, so overhead and latency cannot be told apart: their sum, "
        f"{milliseconds(together)} ms, was taken as latency"
    )


def _for_all_keys(means: Mapping[str, float]) -> dict[str, float]:
    """Give kinds without a measured overhead that of the most similar kind: backwards first, then anything.

    A configuration lets neither half have more than a whole backward, so that has at least the larger one.
    """
    anything = fmean(means.values())
    backward = next((means[key] for key in OVERHEAD_KEYS[1:] if key in means), anything)
    made = {key: means.get(key, anything if key == OVERHEAD_KEYS[0] else backward) for key in OVERHEAD_KEYS}
    return made | {"backward": max(made[key] for key in OVERHEAD_KEYS[1:])}


def _doubts(gaps: Sequence[Gap], clear: Sequence[Gap], taken: Mapping[str, float]) -> Iterator[str]:
    """Say where overhead and latency cannot be told apart, since each operation of a kind waited on a device."""
    told = {(gap.key, gap.device) for gap in clear}
    for key in OVERHEAD_KEYS:
        hidden = sorted({gap.device for gap in gaps if gap.key == key and (key, gap.device) not in told})
        if not hidden:
            continue
        elsewhere = sorted({device for other, device in told if other == key})
        source = f"that on {_listed(elsewhere)}" if elsewhere else "that of other operations"
        yield (
            f"on {_listed(hidden)} all {BEFORE[key]} waited for their input, so overhead and latency cannot be "
            f"told apart there; {source}, {milliseconds(taken[key])} ms, was taken"
        )


def _listed(devices: Sequence[int]) -> str:
    """Write a list of devices, three or more in a row as a range."""
    runs: list[list[int]] = []
    for device in devices:
        if runs and runs[-1][-1] == device - 1:
            runs[-1].append(device)
        else:
            runs.append([device])
    listed = ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    return f"device{'s' if len(devices) > 1 else ''} {listed}"


def _gaps(actions: Sequence[MeasuredAction]) -> Iterator[Gap]:
    """Yield the gap before each action and block, except the first of a device in a step."""
    inputs: dict[tuple[int, int, float], list[Transfer]] = defaultdict(list)
    for transfer in transfers(actions):
        inputs[_moment(transfer.consumer)].append(transfer)
    by_device: dict[tuple[int, int], list[MeasuredAction]] = defaultdict(list)
    for action in sorted(actions, key=lambda action: (action.start, action.kind != "F")):
        by_device[action.step, action.device].append(action)
    for ran in by_device.values():
        end: float | None = None
        block: int | None = None
        for action in ran:
            if end is not None and (action.block is None or action.block != block):
                yield _gap(action, end, inputs.get(_moment(action), []))
            end, block = max(action.end, end or action.end), action.block


def _moment(action: MeasuredAction) -> tuple[int, int, float]:
    return action.step, action.device, action.start


def _gap(action: MeasuredAction, free: float, found: Sequence[Transfer]) -> Gap:
    length = max(0.0, action.start - (action.waited or 0.0) - free)
    if not found:
        return Gap(action.device, KEYS[action.kind], length, float("inf"), None, action.block is not None)
    last = max(found, key=lambda transfer: transfer.producer.end)
    slack = max(0.0, last.slack) if last.was_waited_for else None
    return Gap(action.device, KEYS[action.kind], length, free - last.producer.end, slack, action.block is not None)
