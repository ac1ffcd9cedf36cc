"""Combines the records of all ranks into one measurement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ppopt.profiling.clocks import Clocks, Pairs, bounds, estimate_by_step, estimate_offsets
from ppopt.profiling.measurement import MeasuredAction, Measurement
from ppopt.profiling.ranks import choose_devices
from ppopt.profiling.recordings import Recording
from ppopt.profiling.steps import Step, choose_steps, first_is_the_first, number_steps, share_clock
from ppopt.profiling.transfers import transfers


def assemble(runs: Sequence[Recording], skip: int | None) -> Measurement:
    """Combine the ranks: identify devices and steps, and use one clock.

    Parameters
    ----------
    runs : sequence of Recording
        The runs of all files.
    skip : int or None
        The number of warm-up steps at the start; None to decide here.

    Raises
    ------
    InputError
        If a rank appears twice, or no rank ran a stage.
    """
    devices, device_notes = choose_devices(runs)
    steps, step_notes = number_steps(devices)
    skipped, choice_notes = choose_steps(steps, skip=skip, may_warm_up=first_is_the_first(devices))
    actions = _actions(steps)
    counted = [action for action in actions if action.step not in skipped]
    blind = {device for device, run in enumerate(devices) if run.may_hold_waits}
    clocks, by_step, found_pairs = _clocks(devices, actions, counted, blind)
    moved = _without_waits(_on_one_clock(actions, clocks.offsets, by_step), blind)
    if blind and found_pairs:
        step_notes.append(
            f"device {min(blind)} has no receives in its trace, so its actions are taken to begin once their inputs "
            "had been produced, and transfers count as work"
        )
    notes = [*device_notes, *(note for run in devices for note in run.notes), *step_notes, *choice_notes, *clocks.notes]
    return Measurement(
        devices=len(devices),
        stages=1 + max(action.stage for action in actions),
        microbatches=1 + max(action.microbatch for action in actions),
        actions=tuple(moved),
        skipped=skipped,
        offsets=clocks.offsets,
        notes=tuple(notes),
        memory=_memory(devices),
    )


def _clocks(
    runs: Sequence[Recording], actions: Sequence[MeasuredAction], counted: Sequence[MeasuredAction], blind: set[int]
) -> tuple[Clocks, dict[int, tuple[float, ...]], bool]:
    """Estimate the clocks' offsets, for each step if clocks restart; also return whether any transfer shows them."""
    parted = {device for device, run in enumerate(runs) if run.parts_blocks}

    def pairs_of(some: Iterable[MeasuredAction]) -> Pairs:
        return bounds(
            transfers(some),
            lambda action: action.device in blind or (action.device in parted and action.block is not None),
        )

    if not any(run.clock_restarts for run in runs):
        pairs = pairs_of(counted)
        return estimate_offsets(len(runs), pairs, shared=share_clock(runs)), {}, bool(pairs)
    by_step: dict[int, list[MeasuredAction]] = defaultdict(list)
    for action in actions:
        by_step[action.step].append(action)
    pairs_by_step = {step: pairs_of(members) for step, members in by_step.items()}
    clocks, offsets = estimate_by_step(len(runs), pairs_by_step, {action.step for action in counted})
    return clocks, offsets, any(pairs_by_step.values())


def _memory(runs: Sequence[Recording]) -> tuple[float, ...]:
    known = [run.memory for run in runs if run.memory is not None]
    return tuple(known) if len(known) == len(runs) else ()


def _actions(steps: Sequence[Mapping[int, Step]]) -> list[MeasuredAction]:
    actions: list[MeasuredAction] = []
    for device, each in enumerate(steps):
        for number, step in each.items():
            for place, (ops, start, end, waited) in enumerate(step):
                block = place if len(ops) > 1 else None
                actions += [
                    MeasuredAction(number, device, op.stage, op.kind, op.microbatch, start, end, waited, block)
                    for op in ops
                ]
    return actions


def _on_one_clock(
    actions: Sequence[MeasuredAction], offsets: Sequence[float], by_step: Mapping[int, Sequence[float]]
) -> list[MeasuredAction]:
    """Add the offsets, those of the action's step if it has its own, and count from the first start."""
    added = [by_step.get(action.step, offsets)[action.device] for action in actions]
    first = min(action.start + offset for action, offset in zip(actions, added, strict=True))
    moved = [
        action._replace(start=action.start + offset - first, end=action.end + offset - first)
        for action, offset in zip(actions, added, strict=True)
    ]
    return sorted(moved, key=lambda action: (action.step, action.device, action.start, action.end))


def _without_waits(actions: Sequence[MeasuredAction], blind: set[int]) -> Sequence[MeasuredAction]:
    """On these devices, move each start to at least the end of the action that it waits for."""
    if not blind:
        return actions
    ready: dict[tuple[int, int, float], float] = {}
    for transfer in transfers(actions):
        key = _moment(transfer.consumer)
        ready[key] = max(transfer.producer.end, ready.get(key, transfer.producer.end))
    return [_started_by(action, ready.get(_moment(action)) if action.device in blind else None) for action in actions]


def _moment(action: MeasuredAction) -> tuple[int, int, float]:
    return action.step, action.device, action.start


def _started_by(action: MeasuredAction, ready: float | None) -> MeasuredAction:
    if ready is None or ready <= action.start:
        return action
    start = min(ready, action.end)
    return action._replace(start=start, waited=start - action.start)
