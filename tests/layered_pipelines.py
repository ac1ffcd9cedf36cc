"""Small random pipelines of layers, with some stages that are empty or have an operation that takes no time."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement, make_placement


class Layered(NamedTuple):
    """A pipeline, its placement, and the freedom of its schedules."""

    pipeline: Pipeline
    placement: Placement
    split: bool
    overlap: bool
    text: str


def random_layered(seed: int, *, most_microbatches: int = 3) -> Layered:
    """Draw a pipeline with few layers per stage, so that some stages are empty."""
    draw = random.Random(seed)
    name = draw.choice(["linear", "linear", "v", "interleaved", "bidirectional"])
    devices = draw.choice([2, 2, 3]) if name == "linear" else 2
    stages = devices * (2 if name in ("v", "interleaved") else 1)
    microbatches = 2 if name == "bidirectional" else draw.randint(1, most_microbatches)
    kinds = [_kind(draw, number) for number in range(draw.randint(1, 3))]
    if all(kind["forward"] == kind["backward_input"] == 0 for kind in kinds):
        kinds[0] |= {"forward": 2}
    cut = [0] * stages
    for _ in range(sum(kind["count"] for kind in kinds)):
        cut[draw.randrange(stages)] += 1
    mapping: dict[str, Any] = {
        "devices": devices,
        "microbatches": microbatches,
        "layers": kinds,
        "layers_per_stage": cut,
        "p2p_latency": draw.choice([0, 0, 1]),
    }
    if draw.random() < 0.6:
        mapping["memory"] = {"limit": _limit(draw, mapping, name)}
    overlap = draw.random() < 0.3
    if overlap:
        mapping["overlap"] = draw.choice([0.5, 1])
    pipeline = Pipeline.from_mapping(mapping)
    split = draw.random() < 0.65
    placement = make_placement(name, devices, stages, microbatches)
    return Layered(
        pipeline, placement, split, overlap, f"seed {seed}: {name} {split=} {overlap=} {pipeline.to_mapping()}"
    )


def _kind(draw: random.Random, number: int) -> dict[str, Any]:
    kind: dict[str, Any] = {
        "name": f"kind {number}",
        "count": draw.randint(1, 2),
        "forward": draw.choice([0, 1, 2, 4]),
        "backward_input": draw.choice([0, 1, 3]),
        "backward_weight": draw.choice([0, 1, 2]),
        "static": draw.choice([0, 0, 2]),
    }
    if not kind["backward_input"]:
        kind["backward_weight"] = 0
    if kind["backward_input"] and draw.random() < 0.5:
        kind["activation"] = draw.choice([0, 1, 2])
        kind["held_for_weight"] = 0 if not kind["backward_weight"] else draw.choice([0, kind["activation"]])
    return kind


def _limit(draw: random.Random, mapping: dict[str, Any], placement: str) -> int:
    """Choose a limit near the least with which one microbatch runs."""
    costs = Pipeline.from_mapping(mapping).costs
    stages, devices = len(costs), mapping["devices"]
    homes = {"v": lambda s: min(s, stages - 1 - s)}.get(placement, lambda s: s % devices)
    least = [sum(c.static + c.activation for s, c in enumerate(costs) if homes(s) == d) for d in range(devices)]
    doubled = sum(c.static for c in costs) if placement == "bidirectional" else 0
    return int(max(1, *least) + doubled + draw.randint(0, 3))
