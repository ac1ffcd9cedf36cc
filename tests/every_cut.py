"""Finds the best cut of a small model for a fixed order by trying every cut and every recomputation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate, pairwise, product
from typing import Any, NamedTuple

from solver.checker import violations
from solver.errors import InputError
from solver.numbered import place
from solver.replay import replay
from strategies.language.orders import make_orders, parse_strategy
from strategies.model.cuts import check_cut, counts_by_kind
from strategies.model.layers import Layers
from strategies.model.pipeline import Pipeline
from strategies.problem.dependencies import build_problem, split_as_in

NAMES = (
    *("1f1b", "gpipe", "zb-h1", "zb1p", "zb-h2", "eager-1f1b", "interleaved", "looped-bfs", "zb-v", "v-half"),
    *("dualpipe-v", "dualpipe", "chimera", "1f1b-overlap", "hanayo", "1f1b-v"),
)


class Instance(NamedTuple):
    """A model, a schedule, and the freedom of the cut."""

    pipeline: Pipeline
    strategy: str
    recompute: str
    empty: bool


def random_instance(seed: int) -> Instance:
    """Draw a model of a few layers with pins, glue, latency, limits and recomputation, and a schedule that fits it."""
    draw = random.Random(seed)
    while True:
        name = draw.choice(NAMES)
        devices = draw.choice([2, 2, 3, 4])
        sizes = {"devices": devices, "microbatches": draw.choice([2, 3, 4, 6, 8])}
        strategy, _ = parse_strategy(name)
        if strategy.requirements.unmet(name, Pipeline.from_mapping(sizes)):
            continue
        stages = strategy.requirements.default_stages(devices)
        layers = [_kind(draw, number) for number in range(draw.randint(1, 3))]
        if draw.random() < 0.5:
            layers.append({**_kind(draw, 9), "count": 1, "glue": 1, "earliest_stage": -1})
        if sum(kind["count"] for kind in layers) > (10 if stages <= 4 else 6) or stages > 6:
            continue
        mapping: dict[str, Any] = {**sizes, "layers": layers, "p2p_latency": draw.choice([0, 0, 1, 2.5])}
        if strategy.overlaps and draw.random() < 0.5:
            mapping["overlap"] = draw.choice([0.25, 0.5, 1])
        if draw.random() < 0.5:
            mapping["memory"] = {"limit": draw.choice([8, 14, 20, 30])}
        recompute = draw.choice(["none", "none", "per-stage" if stages <= 4 else "none", "uniform-k"])
        try:
            return Instance(Pipeline.from_mapping(mapping), name, recompute, draw.random() < 0.7)
        except InputError:
            continue


def glued_instance(seed: int) -> Instance:
    """Draw a model of glued layers that barely fits the memory; single layers of a group may be recomputed."""
    draw = random.Random(seed)
    while True:
        name, devices = draw.choice(["1f1b", "1f1b", "zb-h1", "gpipe", "interleaved", "dualpipe-v"]), 2
        needs, count = parse_strategy(name)[0].requirements, draw.choice([1, 2, 3, 4]) * 2
        stages = needs.default_stages(devices)
        if needs.unmet(name, Pipeline.from_mapping({"devices": devices, "microbatches": count})):
            continue
        layers = [
            {**_kind(draw, number), "activation": draw.choice([2, 4])} for number in range(draw.choice([1, 1, 2]))
        ]
        for kind in layers:
            kind["glue"] = draw.choice([1, 2, 3])
            kind["count"] = kind["glue"] * draw.choice([1, 2])
            kind["held_for_weight"] = draw.choice([0, kind["activation"]])
            kind["recompute"] = {"activation": draw.choice([0, 1])}
            if draw.random() < 0.7:
                kind["recompute"]["time"] = draw.choice([0, 1, 3])
        if draw.random() < 0.3:
            layers[draw.choice([0, -1])]["earliest_stage"] = -1
        if sum(kind["count"] for kind in layers) > (8 if stages == 2 else 4):
            continue
        mapping: dict[str, Any] = {
            "devices": devices,
            "microbatches": count,
            "layers": layers,
            "p2p_latency": draw.choice([0, 0, 1, 2.5]),
            "memory": {"limit": draw.randint(4, 40)},
        }
        recompute = draw.choice(["per-stage", "uniform-k"])
        try:
            return Instance(Pipeline.from_mapping(mapping), name, recompute, draw.random() < 0.7)
        except InputError:
            continue


def _kind(draw: random.Random, number: int) -> dict[str, Any]:
    forward, to_input, to_weight = draw.choice([0, 1, 2, 5]), draw.choice([1, 2, 7]), draw.choice([1, 3])
    activation = draw.choice([0, 1, 2])
    glue = draw.choice([1, 1, 1, 2])
    kind: dict[str, Any] = {
        "name": f"kind {number}",
        "count": glue * draw.randint(1, 3),
        "glue": glue,
        "forward": forward,
        "backward_input": to_input,
        "backward_weight": to_weight,
        "activation": activation,
        "held_for_weight": draw.choice([0, activation]),
        "static": draw.choice([0, 0, 1]),
    }
    if activation and draw.random() < 0.6:
        kind["recompute"] = {"activation": draw.choice([0, 1])}
    return kind


def every_cut(layers: Layers, stages: int, empty: bool) -> Iterator[tuple[int, ...]]:
    """Yield all cuts that the model allows."""
    total = layers.total
    for inner in product(range(total + 1), repeat=stages - 1):
        cuts = [0, *inner, total]
        held = tuple(after - before for before, after in pairwise(cuts))
        if min(held) < 0:
            continue
        try:
            check_cut(layers, held, empty=empty)
        except InputError:
            continue
        yield held


def every_recomputation(layers: Layers, cut: tuple[int, ...], mode: str) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Yield every allowed recomputation: any layers of each stage and kind, or the first k of all stages."""
    by_kind = counts_by_kind(layers, cut)
    if mode == "none":
        yield tuple((0,) * len(layers.kinds) for _ in cut)
        return
    if mode == "uniform-k":
        for first in range(layers.total + 1):
            yield tuple(_first(layers, held, first) for held in by_kind)
        return
    choices = [
        range((count if kind.recompute else 0) + 1)
        for held in by_kind
        for kind, count in zip(layers.kinds, held, strict=True)
    ]
    for chosen in product(*choices):
        yield tuple(tuple(chosen[at : at + len(layers.kinds)]) for at in range(0, len(chosen), len(layers.kinds)))


def _first(layers: Layers, held: tuple[int, ...], first: int) -> tuple[int, ...]:
    able = [count if kind.recompute else 0 for kind, count in zip(layers.kinds, held, strict=True)]
    before = [0, *accumulate(able)]
    return tuple(min(count, max(0, first - start)) for count, start in zip(able, before, strict=False))


def best_of_all(instance: Instance) -> Fraction | None:
    """Return the least makespan of all cuts that fit the memory; None if none fits."""
    pipeline, name = instance.pipeline, instance.strategy
    assert pipeline.layers is not None
    strategy, _ = parse_strategy(name)
    stages = strategy.requirements.default_stages(pipeline.devices)
    best: Fraction | None = None
    orders = None
    for cut in every_cut(pipeline.layers, stages, instance.empty):
        for again in every_recomputation(pipeline.layers, cut, instance.recompute):
            made = pipeline.with_cut(cut, again)
            if orders is None:
                placement, orders = make_orders(strategy, made, {})
            problem = build_problem(made, placement, split_as_in(orders))
            rows = place(problem, orders, replay(problem, orders))
            makespan = Fraction(max(row.end for row in rows), problem.ticks_per_unit)
            if (best is None or makespan < best) and not violations(problem, rows, memory=True):
                best = makespan
    return best
