"""Interleaving in groups smaller than p (Wan et al. 2025, PipeOffload, arXiv 2503.01328; Zero Bubble's repository)."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, gcd

from solver.errors import InputError
from strategies.language.registry import strategy
from strategies.language.steps import F, I, Step, W
from strategies.model.pipeline import Pipeline
from strategies.rules.slots import by_slot


@strategy("interleaved-group", placement="interleaved", splits_backward=True)
def interleaved_group(pipeline: Pipeline, device: int, *, group_size: int | None = None) -> Iterator[Step]:
    """Interleaving in groups of fewer than p microbatches (Wan et al. 2025), half of p by default: less memory."""
    p, chunks = pipeline.devices, pipeline.stages_per_device
    group = (p + 1) // 2 if group_size is None else group_size
    if group > p:
        raise InputError(f"group_size: must be at most the number of devices, {p}; found {group}")
    rounds = ceil(_least_in_flight(pipeline) / group)
    lap = chunks // gcd(chunks, rounds)
    shifts = [3 * rounds * group * chunk + 3 * group * (chunk // lap) for chunk in range(chunks)]
    turn = shifts[-1] + device + 3 * (p - 1 - device) + 1
    slotted = []
    for microbatch in range(pipeline.microbatches):
        entered = 3 * group * chunks * (microbatch // group) + 3 * (microbatch % group)
        for chunk, shift in enumerate(shifts):
            slotted += [(entered + shift + device, F(chunk)), (entered + shift + turn, (I + W)(chunks - 1 - chunk))]
    yield from by_slot(slotted)


def _least_in_flight(pipeline: Pipeline) -> int:
    """Return how many microbatches keep a device busy until the first comes back, at least half the devices."""
    forward = sum(cost.forward for cost in pipeline.costs)
    to_input = sum(cost.backward_input for cost in pipeline.costs)
    whole = forward + to_input + sum(cost.backward_weight for cost in pipeline.costs)
    return max(ceil(pipeline.devices / 2), ceil(pipeline.devices * max(forward, to_input) / whole))
