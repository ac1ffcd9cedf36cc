"""Microbatches that differ, and slices, together with every other feature: valid schedules, or a refusal by name."""

from __future__ import annotations

from typing import Any

import pytest

import ppopt
from ppopt import InputError, Pipeline

ITEMS: dict[str, list[dict[str, Any]]] = {
    "sizes": [{"size": 2, "attention": 4}, {}, {"size": 0.1234567890123456}, {"documents": [300, 777]}],
    "slices": [{"count": 3, "documents": [1000], "slices": 3}, {"documents": [500], "slices": [100, 150, 250]}],
    "one": [{"size": 3}],
    "one in slices": [{"documents": [700], "slices": 2}],
}
ROWS = [
    {"name": "embedding", "forward": 0.5, "backward": 0.5},
    {"name": "block", "count": 4, "forward": 1, "backward": 2, "attention": 0.4, "recompute": {"activation": 0.2}},
    {"name": "head", "forward": 1, "backward": 2},
]
MODELS: dict[str, dict[str, Any]] = {
    "stages": {"times": {"forward": [1.2345678901234567, 2], "backward": 3.3333333333333335, "attention": 0.3}},
    "layers": {"layers": ROWS},
    "recomputed": {"layers": ROWS, "layers_per_stage": [3, 3], "recomputed_per_stage": [1, 0]},
    "an empty stage": {"layers": ROWS, "layers_per_stage": [6, 0]},
}
BESIDE: dict[str, dict[str, Any]] = {
    "links": {"communication": {"transfer": 0.3, "latency": 0.1}, "p2p": "links"},
    "rendezvous": {"communication": {"transfer": 0.3, "latency": 0.1}, "p2p": "rendezvous"},
    "batched": {"communication": {"bytes": 3, "bandwidth": 10}, "p2p": "batched"},
    "megatron": {"communication": {"transfer": 0.3}, "framework": "megatron"},
    "overhead": {"overhead": 0.1, "slowdown": {1: 1.3}, "step": {"after": 2}, "overlap": 0.4, "memory": {"limit": 5}},
    "best feed": {"feed": "best"},
    "pyramid": {"feed": "pyramid"},
}
NAMES = ("1f1b", "zb-h1", "interleaved", "1f1b-overlap", "seq1f1b", "zb-v-auto")


@pytest.mark.exhaustive(9)
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("items", ITEMS)
def test_a_schedule_is_valid_or_refused(items: str, beside: str) -> None:
    ran, refused = 0, []
    for place, model in enumerate(MODELS):
        mapping = {"devices": 2, "tokens": 1000, "microbatches": ITEMS[items]} | MODELS[model] | BESIDE[beside]
        pipeline = Pipeline.from_mapping(mapping)
        assert Pipeline.from_mapping(pipeline.to_mapping()).items.feed == pipeline.items.feed
        for name in (NAMES[place], NAMES[place - 1], "seq1f1b"):
            try:
                made = ppopt.evaluate(pipeline, name)
            except InputError as error:
                refused.append(str(error))
                continue
            assert ppopt.violations(made.problem_as_run, made.rows, memory=False) == []
            assert made.presented().values["makespan"] == made.makespan
            ran += 1
    assert ran >= 6
    assert all("Megatron-Core" in reason for reason in refused)
