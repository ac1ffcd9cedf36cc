"""Whether any schedule fits the memory: exactly, before anything is searched."""

from __future__ import annotations

from fractions import Fraction

from reports.numbers import with_unit
from solver.counted import joined
from solver.errors import InfeasibleError
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.model.static_memory import static_memory


def least_memory(pipeline: Pipeline, placement: Placement) -> list[tuple[Fraction, list[int]]]:
    """Compute the least memory with which any schedule runs.

    Static memory is always occupied. When a microbatch reaches its last stage on a device, the activations of its
    earlier stages there are still held, because their backwards come later; and likewise those of all its slices. One
    microbatch at a time needs no more. So the largest sum over one direction's stages and one microbatch is both
    necessary and sufficient.

    With ``offload``, of the earlier stages and slices only what is never copied is surely held: then the sum, with the
    whole activation that is just computed, is necessary. Where a device has one stage, it is still sufficient.

    Returns
    -------
    list of (Fraction, list of int)
        For each device, the memory and the stages that take it.
    """
    needed: list[tuple[Fraction, list[int]]] = [(Fraction(0), [])] * pipeline.devices
    static = static_memory(pipeline, placement)
    for microbatches, homes in placement.directions():
        if not microbatches:
            continue
        for device in range(pipeline.devices):
            stages = [stage for stage, home in enumerate(homes) if home == device]
            memory = static[device] + _most_held(pipeline, microbatches, stages)
            needed[device] = max(needed[device], (memory, stages))
    return needed


def _most_held(pipeline: Pipeline, items: range, stages: list[int]) -> Fraction:
    """Return the activations on some stages of the largest of some microbatches, without what can be copied away."""
    shares = [Fraction(0)] * len(pipeline.costs)
    if pipeline.offload is not None:
        shares = [each.share for each in pipeline.side_costs]
    if pipeline.entries is None:
        return _held_of_slices([[pipeline.costs[stage].activation for stage in stages]], [shares[i] for i in stages])
    of_class = [[costs[stage].activation for stage in stages] for costs in pipeline.costs_by_class]
    given = pipeline.items
    slices: dict[int, list[list[Fraction]]] = {}
    for microbatch, each in zip(
        given.microbatch[items.start : items.stop].tolist(), given.of[items.start : items.stop].tolist(), strict=True
    ):
        slices.setdefault(microbatch, []).append(of_class[each])
    return max(_held_of_slices(each, [shares[i] for i in stages]) for each in slices.values())


def _held_of_slices(slices: list[list[Fraction]], shares: list[Fraction]) -> Fraction:
    """Return what must be held when the last slice is computed on one of some stages, the most of them."""
    kept = most = Fraction(0)
    for stage, share in enumerate(shares):
        kept += (1 - share) * sum((activations[stage] for activations in slices), Fraction(0))
        most = max(most, kept + share * slices[-1][stage])
    return most


def missing_for_one(pipeline: Pipeline, placement: Placement) -> Fraction:
    """Return the greatest excess of a device's least memory over its limit; at most 0 if each fits one microbatch.

    Parameters
    ----------
    pipeline : Pipeline
        With its cut.
    placement : Placement
        Which device holds which stage.
    """
    pairs = zip(least_memory(pipeline, placement), pipeline.limits, strict=True)
    return max((least - limit for (least, _), limit in pairs if limit is not None), default=Fraction(0))


def refuse_infeasible(pipeline: Pipeline, placement: Placement) -> None:
    """Refuse limits that no schedule on these stages can keep.

    Raises
    ------
    InfeasibleError
        With the device, the least memory that it needs, and the smallest uniform limit that suffices.
    """
    if missing_for_one(pipeline, placement) > 0:
        raise why_infeasible(pipeline, placement)


def why_infeasible(pipeline: Pipeline, placement: Placement, *, any_cut: bool = False) -> InfeasibleError:
    """Name a device that cannot hold one microbatch, the least memory it needs, and the smallest uniform limit.

    Parameters
    ----------
    pipeline : Pipeline
        With limits that no schedule on these stages can keep.
    placement : Placement
        Which device holds which stage.
    any_cut : bool
        Whether no other cut of the layers has a schedule either, and this cut exceeds the limits least.
    """
    needed = least_memory(pipeline, placement)
    pairs = [(least, limit) for (least, _), limit in zip(needed, pipeline.limits, strict=True)]
    device = next(device for device, (least, limit) in enumerate(pairs) if limit is not None and limit < least)
    (least, stages), limit = needed[device], pipeline.limits[device]
    assert limit is not None
    always = static_memory(pipeline, placement)[device]
    beside = f", {float(always):.10g} of it static" if always else ""
    may_copy = pipeline.offload is not None and any(len(stages) > 1 for _, stages in needed)
    if may_copy:  # then the least limit that suffices is not known
        beside += ", although all that can be offloaded is away"
    allowed = with_unit(f"{float(limit):.10g}", pipeline.memory.unit)
    message = (
        f"infeasible: {_cut_of(pipeline, any_cut=any_cut)}device {device} needs at least {float(least):.10g} for one "
        f"microbatch of {_named(stages)}{beside}; the limit is {allowed}"
    )
    if not may_copy and (
        not any_cut or len(set(pipeline.limits)) == 1
    ):  # under other limits another cut may exceed them least
        smallest = float(max(memory for memory, _ in needed))
        which = "" if any_cut or pipeline.layers is None else " and this cut"
        message += f" (the smallest uniform limit for the {placement.name} placement{which} is {smallest:.10g})"
    return InfeasibleError(message, device, least, limit)


def _cut_of(pipeline: Pipeline, *, any_cut: bool) -> str:
    if pipeline.layers is None:
        return ""
    cut = f"[{', '.join(map(str, pipeline.layers_per_stage or ()))}]"
    return f"no cut of the layers fits; in {cut}, which comes closest, " if any_cut else f"with layers_per_stage {cut} "


def _named(stages: list[int]) -> str:
    return f"stage{'s' if len(stages) > 1 else ''} {joined(list(map(str, stages)))}"
