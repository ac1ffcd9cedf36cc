"""Whether any schedule fits the memory: exactly, before anything is searched."""

from __future__ import annotations

from fractions import Fraction

from solver.errors import InfeasibleError
from strategies.pipeline import Pipeline
from strategies.placements import Placement
from strategies.static_memory import static_memory


def least_memory(pipeline: Pipeline, placement: Placement) -> list[tuple[Fraction, list[int]]]:
    """Compute the least memory with which any schedule runs.

    Static memory is there at all times. A microbatch reaches its last stage on a device with the activations of its
    earlier stages there still held, for their backwards come after it. One microbatch at a time needs no more. So the
    largest sum over one direction's stages is both needed and enough.

    Returns
    -------
    list of (Fraction, list of int)
        For each device the memory, and the stages that take it.
    """
    needed: list[tuple[Fraction, list[int]]] = [(Fraction(0), [])] * pipeline.devices
    static = static_memory(pipeline, placement)
    for microbatches, homes in placement.directions():
        if not microbatches:
            continue
        for device in range(pipeline.devices):
            stages = [stage for stage, home in enumerate(homes) if home == device]
            memory = sum((pipeline.costs[stage].activation for stage in stages), static[device])
            needed[device] = max(needed[device], (memory, stages))
    return needed


def refuse_infeasible(pipeline: Pipeline, placement: Placement) -> None:
    """Refuse limits under which no schedule exists.

    Raises
    ------
    InfeasibleError
        With the device, what it needs at least, and the smallest uniform limit that would do.
    """
    needed = least_memory(pipeline, placement)
    for device, ((least, stages), limit) in enumerate(zip(needed, pipeline.limits, strict=True)):
        if limit is not None and limit < least:
            smallest = float(max(memory for memory, _ in needed))
            always = static_memory(pipeline, placement)[device]
            beside = f", {float(always):.10g} of it static" if always else ""
            message = (
                f"infeasible: device {device} needs at least {float(least):.10g} for one microbatch of "
                f"{_listed(stages)}{beside}; the limit is {float(limit):.10g} (the smallest uniform limit for the "
                f"{placement.name} placement is {smallest:.10g})"
            )
            raise InfeasibleError(message, device, least, limit)


def _listed(stages: list[int]) -> str:
    names = [str(stage) for stage in stages]
    if len(names) == 1:
        return f"stage {names[0]}"
    return f"stages {', '.join(names[:-1])} and {names[-1]}"
