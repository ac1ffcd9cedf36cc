"""Instances of planning with their best known results, from tests/data/planned_models.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import ppopt

LETTERS = {"E": "E", "MTP": "m", "H": "L"}
"""Megatron's letters for the instances' kinds of layers; all other kinds are decoder layers."""

DATA = Path(__file__).parent / "data" / "planned_models.json"


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
    layer |= {"name": row["kind"], "count": row["count"], "letter": LETTERS.get(row["kind"], "t")}
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


def nvidias_model(entry: Mapping[str, Any]) -> ppopt.Pipeline:
    """Make the model of one of NVIDIA's layouts, with the costs of its family in the instances."""
    family, devices, microbatches = _named(entry["instance"])
    like = next(each for name, each in instances().items() if name.startswith(family[0]))
    kinds = dict(like["kinds"])
    if family[1] is not None:
        kinds["H"] = {key: value * family[1] for key, value in kinds["T"].items()}
    rows = [
        {"kind": row["kind"], "count": _count(row, entry, like)}
        | ({"last_stage_allowed": 0} if row["kind"] == "E" else {})
        | ({"first_stage_allowed": -1} if row["kind"] in ("MTP", "H") else {})
        for row in like["layers"]
    ]
    if "mtp-any" in entry["instance"]:
        rows[-2]["first_stage_allowed"] = -devices
    return pipeline([_layer(kinds[row["kind"]], row, recompute=False) for row in rows], devices, microbatches)


def _named(instance: str) -> tuple[tuple[str, float | None], int, int]:
    """Parse a name into the family with the head's weight in layers, the devices, and the microbatches."""
    found = re.match(r"([a-z0-9]+?)(?:-h([0-9.]+))?-.*?p(\d+)(?:v\d+)?m(\d+)", instance)
    assert found is not None
    family, head, devices, microbatches = found.groups()
    return (family, None if head is None else float(head)), int(devices), int(microbatches)


def _count(row: Mapping[str, Any], entry: Mapping[str, Any], like: Mapping[str, Any]) -> int:
    """Return the layout's number of layers for the most common kind, and the family's number for the others."""
    most = max(like["layers"], key=lambda each: each["count"])
    if row is not most:
        return int(row["count"])
    others = sum(each["count"] for each in like["layers"] if each is not most and each["kind"] not in LETTERS)
    return int(entry["layers"]) - others


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
