"""ZB-V, the fixed schedule (Qi et al. 2023, arXiv 2401.10241; PyTorch's ``ScheduleZBVZeroBubble``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import F, I, Step, Steps, W
from strategies.model.pipeline import Pipeline


@strategy(
    "zb-v",
    placement="v",
    aliases=("ScheduleZBVZeroBubble", "ZBVZeroBubble"),
    splits_backward=True,
)
def zb_v(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """ZB-V (Qi et al. 2023): one V of stages, no bubble within p activations if F, I and W are equal."""
    seen: Counter[Step] = Counter()
    for step in _programme(pipeline.devices, device, max(pipeline.microbatches, 2 * pipeline.devices - 1)):
        seen[step] += 1
        if seen[step] <= pipeline.microbatches:
            yield step


def _programme(devices: int, device: int, microbatches: int) -> Iterator[Step]:
    """Yield the steps of a device for at least 2p − 1 microbatches."""
    inner = devices - device  # devices from this one to the turning point, both included
    far, near = F(1) + I(1) + W(1), I(0) + W(0)
    warmup = 2 * inner - 1 + device
    steady = microbatches - devices
    yield from F(0) * (2 * inner - 1) + (F(1) + F(0)) * device + far * inner
    for done in range(steady):
        yield from (F(0) if warmup + done < microbatches else Steps()) + near + far
    yield from (I(0) + I(1)) * device
    yield from near * inner
    yield from W(1) * device + W(0) * device
