"""Instances of planning with the best that is known of them, from tests/data/plan_instances.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import ppopt

DATA = Path(__file__).parent / "data" / "plan_instances.json"


@cache
def everything() -> dict[str, list[dict[str, Any]]]:
    return json.loads(DATA.read_text())  # type: ignore[no-any-return]


@cache
def instances() -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in everything()["instances"]}


def pipeline_of(instance: Mapping[str, Any]) -> ppopt.Pipeline:
    """Write an instance as a pipeline whose cut is open."""
    rows = [(instance["kinds"][row["kind"]], row) for row in instance["layers"]]
    return pipeline(
        [_layer(kind, row, recompute=bool(instance.get("recompute_allowed"))) for kind, row in rows],
        instance["devices"],
        instance["microbatches"],
        latency=instance["p2p_latency"],
        limit=instance["memory_limit"],
    )


def pipeline(
    layers: Sequence[Mapping[str, Any]], devices: int, microbatches: int, latency: float = 0, limit: float | None = None
) -> ppopt.Pipeline:
    mapping: dict[str, Any] = {
        "devices": devices,
        "microbatches": microbatches,
        "p2p_latency": latency,
        "layers": list(layers),
    }
    if limit is not None:
        mapping["memory"] = {"limit": limit}
    return ppopt.Pipeline.from_mapping(mapping)


def _layer(kind: Mapping[str, Any], row: Mapping[str, Any], *, recompute: bool) -> dict[str, Any]:
    layer = {key: value for key, value in kind.items() if key != "recomputed"}
    layer |= {"name": row["kind"], "count": row["count"]}
    if recompute and "recomputed" in kind:
        changed = kind["recomputed"]
        layer["recompute"] = {
            "time": changed["backward_and_input_grow_by"],
            "activation": changed["activation"],
            "held_for_weight": changed["held_for_weight"],
        }
    for ours, theirs in (("latest_stage", "last_stage_allowed"), ("earliest_stage", "first_stage_allowed")):
        if theirs in row:
            layer[ours] = row[theirs]
    return layer


def uneven(layers: int = 12, *, limit: float | None = None, devices: int = 4, microbatches: int = 8) -> ppopt.Pipeline:
    """Make a small model with an embedding, decoder layers that may be recomputed, and a heavy head."""
    decoder = {
        "name": "decoder",
        "count": layers,
        "forward": 10,
        "backward_input": 11,
        "backward_weight": 9,
        "activation": 10,
        "held_for_weight": 6,
        "static": 5,
        "recompute": {"activation": 1},
    }
    embedding = {"name": "embedding", "forward": 1, "backward": 2, "static": 4, "latest_stage": 0}
    head = {"name": "head", "forward": 20, "backward": 40, "activation": 3, "static": 6, "earliest_stage": -1}
    return pipeline([embedding, decoder, head], devices, microbatches, limit=limit)
