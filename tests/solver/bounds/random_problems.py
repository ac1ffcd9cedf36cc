"""Small random problems of every kind that a search may get."""

from __future__ import annotations

import random
from collections.abc import Mapping

from solver.problem import Problem
from strategies.model.pipeline import Pipeline
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem


def written_problem(
    seed: int,
    name: str,
    numbers: tuple[int, int, int],
    times: Mapping[str, object],
    memory: Mapping[str, object],
    latency: int,
    rule: Mapping[str, object],
    *,
    split: bool,
    overlap: bool,
) -> tuple[Problem, str]:
    """Write a drawn pipeline as a problem, and as a text for failures; numbers are devices, stages, microbatches."""
    devices, stages, microbatches = numbers
    pipeline = Pipeline.from_mapping(
        {
            "devices": devices,
            "stages": stages,
            "microbatches": microbatches,
            "times": times,
            "p2p_latency": latency,
            "memory": memory,
            **rule,
        }
    )
    placement = make_placement(name, devices, stages, microbatches)
    problem = build_search_problem(pipeline, placement, split_backward=split, overlap=overlap)
    return problem, f"seed {seed}: {name} split={split} overlap={overlap} {pipeline.to_mapping()}"


def random_problem(seed: int) -> tuple[Problem, str]:
    draw = random.Random(seed)
    name = draw.choice(["linear", "v", "interleaved", "bidirectional"])
    devices = 2 if name in ("v", "interleaved") else draw.choice([2, 2, 3])
    devices = 1 if draw.random() < 0.03 else devices
    stages = 2 * devices if name in ("v", "interleaved") else devices
    microbatches = draw.randint(1, 4 if stages == 2 else 3)
    if name == "bidirectional":
        microbatches = draw.choice([2, 4]) if devices == 2 else 2
    uneven = draw.random() < 0.5
    top = draw.choice([1, 4, 12])
    split = draw.random() < 0.65
    overlap = draw.random() < (0.7 if name == "bidirectional" else 0.3)

    def times(least: int = 1) -> list[int]:
        values = [draw.randint(least, least + top - 1) for _ in range(stages)]
        return values if uneven else values[:1] * stages

    costs: dict[str, list[float]] = {"forward": [*times()]}
    costs["backward_input"], costs["backward_weight"] = [*times()], [*times()]
    both = [a + b for a, b in zip(costs["backward_input"], costs["backward_weight"], strict=True)]
    if draw.random() < 0.4:
        part = draw.choice([0.9, 0.95, 1.05, 1.1])
        costs["backward"] = [round(part * value, 2) for value in both]
        if any(
            abs(b - whole) * 10 > b or b <= max(i, w)
            for b, whole, i, w in zip(
                costs["backward"], both, costs["backward_input"], costs["backward_weight"], strict=True
            )
        ):
            del costs["backward"]
    rule: dict[str, float] = {}
    kind = random.Random(f"rule of {seed}").choice(["per stage", "share", "share", "absent"])
    if overlap and kind == "share":
        rule["overlap"] = random.Random(f"share of {seed}").choice([0.25, 0.5, 0.8, 1])
    elif overlap and kind == "per stage":
        most = draw.choice([0.4, 0.7, 0.8, 1.0, 1.2])
        costs["overlapped_forward_backward"] = [
            max(1, round(most * (f + b))) for f, b in zip(costs["forward"], both, strict=True)
        ]
    sizes = [draw.randint(1, 3) for _ in range(stages)]
    sizes = sizes if draw.random() < 0.4 else [1] * stages
    memory: dict[str, object] = {"activation": sizes}
    if draw.random() < 0.4:
        memory["held_for_weight"] = [draw.choice([0, size / 2, size]) for size in sizes]
    if draw.random() < 0.8:
        least = max(sizes) * (stages // devices if name in ("v", "interleaved") else 1)
        memory["limit"] = [least + draw.randint(0, 2 * max(sizes)) for _ in range(devices)]
        if draw.random() < 0.5:
            memory["limit"] = min(memory["limit"])  # type: ignore[call-overload]
    latency, numbers = draw.choice([0, 0, 1, 3]), (devices, stages, microbatches)
    return written_problem(seed, name, numbers, costs, memory, latency, rule, split=split, overlap=overlap)


def random_fused_problem(seed: int, most: int) -> tuple[Problem, str]:
    """Draw a pipeline with little memory and blocks that save much, as uneven as possible in everything else."""
    draw = random.Random(seed)
    name = draw.choice(["v", "bidirectional", "bidirectional", "interleaved", "linear"])
    devices = draw.choice([2, 2, 3]) if name in ("linear", "bidirectional") else 2
    stages = 2 * devices if name in ("v", "interleaved") else devices
    microbatches = draw.randint(3, most)
    if name == "bidirectional":
        microbatches = max(4, microbatches - microbatches % 2)
    uneven, top = draw.random() < 0.5, draw.choice([2, 5, 9])

    def times() -> list[int]:
        values = [draw.randint(1, top) for _ in range(stages)]
        return values if uneven else values[:1] * stages

    split = draw.random() < 0.6
    costs: dict[str, object] = {"forward": times(), "backward_input": times(), "backward_weight": times()}
    rule: dict[str, object] = {}
    if draw.random() < 0.5:
        rule["overlap"] = draw.choice([0.25, 0.5, 0.9, 1])
    else:
        share = draw.choice([0.5, 0.7, 0.85])
        costs["overlapped_forward_backward"] = [
            max(1, round(share * (f + i + w)))
            for f, i, w in zip(*(costs[key] for key in list(costs)), strict=True)  # type: ignore[call-overload]
        ]
    sizes = [draw.randint(1, 2) for _ in range(stages)] if draw.random() < 0.3 else [1] * stages
    memory: dict[str, object] = {"activation": sizes}
    if draw.random() < 0.3:
        memory["held_for_weight"] = [draw.choice([0, size / 2, size]) for size in sizes]
    memory["limit"] = max(sizes) * (stages // devices) + draw.randint(0, 2)
    latency, numbers = draw.choice([0, 1, 3]), (devices, stages, microbatches)
    return written_problem(seed, name, numbers, costs, memory, latency, rule, split=split, overlap=True)
