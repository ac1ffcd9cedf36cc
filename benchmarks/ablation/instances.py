"""Random pipelines of the families that users have; the same ones in every run."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

PER_FAMILY = 12


@dataclass(frozen=True)
class Instance:
    """A configuration, and what is asked of it.

    Attributes
    ----------
    family : str
        A key of `FAMILIES`.
    number : int
        Which one of the family.
    mapping : dict
        The configuration, as `ppopt.Pipeline.from_mapping` takes it.
    options : dict
        Of `ppopt.plan` if the configuration has layers, of `ppopt.optimize` otherwise.
    """

    family: str
    number: int
    mapping: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """Tell it from what another version of this file draws."""
        return hashlib.sha256(json.dumps([self.mapping, self.options]).encode()).hexdigest()[:8]


def times_of(draw: random.Random, stages_per_device: int = 1) -> dict[str, Any]:
    """Draw the costs of equal stages as a profile has them: F, I, W, latency, and what a microbatch holds."""
    forward = draw.uniform(10, 20) / stages_per_device
    activation = round(draw.uniform(20, 80) / stages_per_device, 1)
    held = activation if draw.random() < 0.5 else round(activation * draw.uniform(0.3, 0.7), 1)
    return {
        "times": {
            "forward": round(forward, 2),
            "backward_input": round(forward * draw.uniform(0.9, 1.1), 2),
            "backward_weight": round(forward * draw.uniform(0.5, 1.0), 2),
        },
        "p2p_latency": 0 if draw.random() < 0.25 else round(forward * draw.uniform(0, 0.05), 2),
        "memory": {"activation": activation, "held_for_weight": held},
    }


def pipeline_of(
    draw: random.Random, devices: int, microbatches: int, limit: float, stages_per_device: int = 1
) -> dict[str, Any]:
    """Draw a pipeline of equal stages; the limit is in activations of one stage."""
    mapping = times_of(draw, stages_per_device)
    mapping["memory"]["limit"] = round(mapping["memory"]["activation"] * limit + 0.05, 1)
    sizes = {"devices": devices, "stages": devices * stages_per_device, "microbatches": microbatches}
    return sizes | mapping


def microbatches_for(draw: random.Random, devices: int, most: int = 4) -> int:
    """Draw a number of microbatches from p to 4p, a multiple of p/2 as users choose it."""
    return draw.randint(2, 2 * most) * devices // 2


def linear(draw: random.Random, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    devices = draw.choice([4, 8, 8, 12, 16, 16])
    limit = devices if number % 2 else draw.randint(devices, devices + devices // 2)
    microbatches = draw.randint(4, 8) * devices // 2
    mapping = pipeline_of(draw, devices, microbatches, limit)
    mapping["p2p_latency"] = round(mapping["times"]["forward"] * draw.uniform(0.01, 0.05), 2)
    return mapping, {"placement": "linear"}


def below_p(draw: random.Random, _number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    devices = draw.choice([4, 6, 8, 12, 16])
    limit = draw.randint(max(2, devices // 2), devices - 1)
    return pipeline_of(draw, devices, microbatches_for(draw, devices), limit), {"placement": "linear"}


def interleaved(draw: random.Random, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    devices, chunks = ((4, 2), (4, 2), (4, 3), (4, 2), (8, 2), (16, 2))[number % 6]
    limit = int(devices * chunks * draw.uniform(1.3, 2.2))
    microbatches = devices * draw.randint(1, 4)
    return pipeline_of(draw, devices, microbatches, limit, chunks), {"placement": "interleaved"}


def v_shaped(draw: random.Random, _number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    devices = draw.choice([4, 4, 8, 8, 16])
    limit = int(2 * devices * draw.uniform(0.6, 1.2))
    return pipeline_of(draw, devices, microbatches_for(draw, devices, 3), limit, 2), {"placement": "v"}


def fused(draw: random.Random, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    placement, chunks = (("bidirectional", 1), ("v", 2))[number % 2]
    devices = draw.choice([2, 4, 4, 8])
    microbatches = draw.choice([2, 2, 3, 4, 6]) * devices // 2
    limit = int(devices * chunks * draw.uniform(1.0, 1.5)) + 1
    mapping = pipeline_of(draw, devices, microbatches, limit, chunks)
    mapping["overlap"] = round(draw.uniform(0.3, 1.0), 2)
    return mapping, {"placement": placement, "overlap": True, "split_backward": draw.random() < 0.5}


def fused_below_p(draw: random.Random, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Blocks with memory for fewer microbatches than devices."""
    placement, chunks = (("bidirectional", 1), ("v", 2))[number % 2]
    devices = draw.choice([4, 4, 8])
    limit = int(devices * chunks * draw.uniform(0.5, 0.9)) + 1
    mapping = pipeline_of(draw, devices, draw.choice([2, 4, 8]) * devices, limit, chunks)
    mapping["overlap"] = round(draw.uniform(0.3, 1.0), 2)
    return mapping, {"placement": placement, "overlap": True}


def uneven(draw: random.Random, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Stages that differ by some percent, with an embedding on the first and a head on the last."""
    placement, chunks = (("linear", 1), ("linear", 1), ("v", 2))[number % 3]
    devices = draw.choice([4, 8, 12])
    limit = int(devices * chunks * draw.uniform(0.7, 1.5)) + 1
    mapping = pipeline_of(draw, devices, microbatches_for(draw, devices, 3), limit, chunks)
    stages = devices * chunks
    weights = [draw.uniform(0.95, 1.05) for _ in range(stages)]
    weights[0] *= draw.uniform(1.0, 1.1)
    weights[-1] *= draw.uniform(1.05, 1.4)
    for kind, each in mapping["times"].items():
        mapping["times"][kind] = [round(each * weight, 2) for weight in weights]
    return mapping, {"placement": placement}


def long(draw: random.Random, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    kinds = (("linear", 1, 0.6), ("linear", 1, 1.0), ("v", 2, 0.6), ("interleaved", 2, 1.1))
    placement, chunks, least = kinds[number % len(kinds)]
    devices = draw.choice([4, 6, 8])
    limit = int(devices * chunks * draw.uniform(least, least + 0.6))
    microbatches = draw.randint(16, 32) * devices
    return pipeline_of(draw, devices, microbatches, max(2, limit), chunks), {"placement": placement}


def layers_of(draw: random.Random, devices: int, chunks: int) -> dict[str, Any]:
    """Draw a model: an embedding, 3 to 6 decoder layers a stage and some more, of two kinds in half of them, a head."""
    count = draw.randint(3, 6) * devices * chunks + draw.randint(0, devices)
    dense = draw.randint(1, 4) if draw.random() < 0.5 else 0

    def layer(name: str, count: int, factor: float, **more: Any) -> dict[str, Any]:
        forward = round(base * factor, 2)
        to_input, to_weight = round(forward * draw.uniform(0.95, 1.1), 2), round(forward * draw.uniform(0.6, 0.9), 2)
        activation = round(draw.uniform(8, 12) * factor, 1)
        costs = {"forward": forward, "backward_input": to_input, "backward_weight": to_weight}
        memory = {
            "activation": activation,
            "held_for_weight": round(activation * 0.6, 1),
            "static": round(6 * factor, 1),
        }
        return {"name": name, "count": count} | costs | memory | more

    base = draw.uniform(2, 5)
    decoder = layer("decoder", count - dense, 1.0)
    decoder["recompute"] = {"activation": round(decoder["activation"] / 8, 1)}
    layers = [
        {"name": "embedding", "forward": round(base / 8, 2), "backward": round(base / 4, 2), "latest_stage": 0},
        *([layer("dense", dense, draw.uniform(0.6, 0.8))] if dense else []),
        decoder,
        layer("head", 1, draw.uniform(0.8, 2.5), earliest_stage=-1),
    ]
    return {"devices": devices, "layers": layers}


def plans(draw: random.Random, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cuts for one, two or three published orders; in half of them memory is short and layers may be recomputed."""
    kinds = (
        (["1f1b"], 1),
        (["interleaved"], 2),
        (["zb-h1", "1f1b"], 1),
        (["interleaved"], 3),
        (["zb-v", "zb-v-auto"], 2),
    )
    strategies, chunks = kinds[number % len(kinds)]
    devices = draw.choice([4, 8, 16])
    mapping = layers_of(draw, devices, chunks) | {"microbatches": devices * draw.randint(1, 4)}
    options: dict[str, Any] = {"strategies": strategies, "stages_per_device": chunks, "recompute": "none"}
    if draw.random() < 0.5:
        whole = sum(each["count"] * each["activation"] for each in mapping["layers"] if "activation" in each)
        static = sum(each["count"] * each["static"] for each in mapping["layers"] if "static" in each)
        limit = whole * draw.uniform(0.7, 1.1) + static / devices * 1.2
        mapping["memory"] = {"limit": round(limit, 1)}
        options["recompute"] = draw.choice(["per-stage", "per-stage", "uniform-k"])
    return mapping, options


def free_plans(draw: random.Random, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cut and order together."""
    kinds = (("linear", "1f1b", 1), ("v", "zb-v", 2), ("linear", "1f1b", 1), ("interleaved", "interleaved", 2))
    placement, strategy, chunks = kinds[number % len(kinds)]
    devices = draw.choice([4, 8])
    mapping = layers_of(draw, devices, chunks) | {"microbatches": devices * draw.randint(1, 3)}
    whole = sum(each["count"] * each["activation"] for each in mapping["layers"] if "activation" in each)
    static = sum(each["count"] * each["static"] for each in mapping["layers"] if "static" in each)
    mapping["memory"] = {"limit": round(whole * draw.uniform(1.0, 1.8) + static / devices * 1.2, 1)}
    options = {"strategies": [strategy], "stages_per_device": chunks, "recompute": "none"}
    return mapping, options | {"free": True, "placement": placement}


FAMILIES: dict[str, Callable[[random.Random, int], tuple[dict[str, Any], dict[str, Any]]]] = {
    "linear": linear,
    "below-p": below_p,
    "interleaved": interleaved,
    "v": v_shaped,
    "fused": fused,
    "fused-below-p": fused_below_p,
    "uneven": uneven,
    "long": long,
    "plans": plans,
    "free-plans": free_plans,
}


@cache
def instances(family: str) -> list[Instance]:
    """Draw the instances of a family, each with a seed of its own."""
    make = FAMILIES[family]
    return [
        Instance(family, number, *make(random.Random(f"{family} {number}"), number)) for number in range(PER_FAMILY)
    ]
