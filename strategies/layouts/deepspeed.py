"""DeepSpeed's ``parts``: the boundaries between the stages of a ``PipelineModule``, in layers.

``PipelineModule.parts`` has one more number than there are stages: stage s runs the layers from ``parts[s]`` up to but
not including ``parts[s + 1]``. No ``partition_method`` takes such a list; a subclass sets it in ``_partition_layers``.
Every rank has one stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from solver.counted import counted
from solver.errors import InputError
from strategies.model.cuts import Counts
from strategies.model.layers import Layers
from strategies.model.numbers import shown


def write_deepspeed_parts(layers: Layers, layers_per_stage: Sequence[int], devices: int) -> list[int]:
    """Write a cut as DeepSpeed's parts.

    Raises
    ------
    InputError
        If there is more than one stage per device, or the cut does not fit the model.
    """
    if len(layers_per_stage) != devices:
        raise InputError(
            f"layers_per_stage: DeepSpeed has one stage per rank, {devices}; "
            f"found {counted(len(layers_per_stage), 'stage')}"
        )
    parts = [0, *accumulate(layers_per_stage)]
    read_deepspeed_parts(parts, layers, devices)
    return parts


def read_deepspeed_parts(parts: Sequence[object], layers: Layers, devices: int) -> Counts:
    """Read DeepSpeed's parts: how many of the model's layers each stage holds.

    Raises
    ------
    InputError
        If their number is not the devices plus one, they do not increase, or they do not hold each layer once.
    """
    numbers = [part for part in parts if isinstance(part, int) and not isinstance(part, bool)]
    if len(numbers) != len(parts):
        wrong = next(part for part in parts if not isinstance(part, int) or isinstance(part, bool))
        raise InputError(f"layout: must be whole numbers; found {shown(wrong)}")
    if len(numbers) != devices + 1:
        raise InputError(f"layout: must have {devices + 1} numbers, one more than ranks; found {len(numbers)}")
    if numbers[0] != 0:
        raise InputError(f"layout: must begin with 0; found {numbers[0]}")
    for stage, (start, stop) in enumerate(pairwise(numbers)):
        if stop < start:
            raise InputError(f"layout: stage {stage}: must not end before it begins at {start}; found {stop}")
    if numbers[-1] != layers.total:
        raise InputError(f"layout: must end with {layers.total}, the layers of the model; found {numbers[-1]}")
    return tuple(stop - start for start, stop in pairwise(numbers))


def is_uniform(parts: Sequence[int]) -> bool:
    """Return whether ``partition_method="uniform"`` makes these parts: equal ones, the first stages with one more."""
    sizes = [stop - start for start, stop in pairwise(parts)]
    least, more = divmod(parts[-1], len(sizes))
    return sizes == [least + (stage < more) for stage in range(len(sizes))]
