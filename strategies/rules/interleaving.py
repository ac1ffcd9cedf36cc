"""The walk through chunks and groups of microbatches, shared by the interleaved schedules."""

from __future__ import annotations

from collections.abc import Iterator

from solver.counted import counted
from solver.errors import InputError
from strategies.language.registry import plain
from strategies.model.pipeline import Pipeline

_PYTORCHS_NAMES = ("ScheduleInterleaved1F1B", "Interleaved1F1B")


def pytorchs_groups(name: str, devices: int, microbatches: int) -> str | None:
    """Say how PyTorch's class would group the microbatches, if not in groups of p.

    Parameters
    ----------
    name : str
        The user's name for the schedule.
    devices, microbatches : int
        The pipeline's sizes.

    Returns
    -------
    str or None
        The sentence; None if the name is not PyTorch's or the groups are the same.
    """
    if plain(name) not in map(plain, _PYTORCHS_NAMES) or microbatches % devices == 0:
        return None
    groups = max(1, microbatches // devices)
    if microbatches % groups:
        return (
            f"PyTorch's class does not take {counted(microbatches, 'microbatch')} here: {groups} equal groups are not "
            "possible"
        )
    size = microbatches // groups
    return f"PyTorch's class takes groups of {size} here: interleaved:group_size={size}"


def group_sizes(pipeline: Pipeline) -> Iterator[int]:
    """Propose group sizes for a pipeline on which groups of p deadlock: no group, the last included, is below p.

    Sizes that make all groups equal come first, then sizes with a shorter last group, then one group of all
    microbatches. Within each, smaller sizes come first, since they need less memory. With fewer microbatches than
    devices no group reaches p, and only the group of all microbatches is proposed.
    """
    devices, microbatches = pipeline.devices, pipeline.microbatches
    sizes = range(devices, microbatches)
    yield from (size for size in sizes if microbatches % size == 0)
    yield from (size for size in sizes if microbatches % size >= devices)
    yield microbatches


def short_group(pipeline: Pipeline, *, group_size: int | None = None) -> str:
    """Say which group is too short; empty if none is shorter than p."""
    devices, microbatches = pipeline.devices, pipeline.microbatches
    size = devices if group_size is None else group_size
    if microbatches % size:
        return f"{microbatches} is not a multiple of {size}"
    return f"groups of {size} are smaller than the {devices} devices" if size < devices else ""


def warmup_of_groups(devices: int, device: int, chunks: int, group: int) -> int:
    """Count the forwards that a device runs before its first backward, if it has that many: Megatron-LM's rule."""
    return 2 * (devices - 1 - device) + (chunks - 1) * group


def walk_of_groups(microbatches: int, chunks: int, group: int) -> Iterator[tuple[int, int]]:
    """Yield the microbatch and the chunk of each forward; the last group may be shorter."""
    for first in range(0, microbatches, group):
        members = range(first, min(first + group, microbatches))
        yield from ((microbatch, chunk) for chunk in range(chunks) for microbatch in members)


def interleave(pipeline: Pipeline, device: int, group_size: int | None) -> tuple[list[int], list[int], int]:
    """Walk through the groups of microbatches, in each group through all chunks, and in each chunk through the group.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline.
    device : int
        The device.
    group_size : int or None
        The number of microbatches in a group; None for the number of devices. The last group may be shorter.

    Returns
    -------
    forwards, backwards : list of int
        The chunk of each forward, and of each backward (the same with the chunks reversed).
    warmup : int
        The number of forwards before the first backward.
    """
    devices, microbatches, chunks = pipeline.devices, pipeline.microbatches, pipeline.stages_per_device
    group = devices if group_size is None else group_size
    if group < 1:
        raise InputError(f"group_size: {group} is too small; it must be at least 1")
    forwards = [chunk for _, chunk in walk_of_groups(microbatches, chunks, group)]
    backwards = [chunks - 1 - chunk for chunk in forwards]
    warmup = warmup_of_groups(devices, device, chunks, group)
    return forwards, backwards, min(len(forwards), max(1, warmup) if devices == 1 else warmup)
