"""A search with sharding leaves room for gathered parameters and gradients."""

from __future__ import annotations

import pytest

from ppopt import Pipeline, evaluate, optimize

SHARDED = {
    "devices": 4,
    "microbatches": 8,
    "times": {"forward": 1, "backward": 2},
    "sharding": {"all_gather": 0.2, "weights": 1, "gradients": 1},
}


@pytest.mark.parametrize("limit", [5, 4])
def test_an_order_is_searched_within_what_is_left(limit) -> None:
    """Parameters and gradients take 2 of the limit on each device."""
    pipeline = Pipeline.from_mapping({**SHARDED, "memory": {"limit": limit}})
    found = optimize(pipeline, placement="linear", time_limit=3)
    assert found.fits
    assert max(found.peak_memory) == limit
    within = Pipeline.from_mapping({**SHARDED, "memory": {"limit": limit - 2}, "sharding": None})
    alone = optimize(within, placement="linear", time_limit=3)
    assert alone.makespan <= found.makespan <= alone.makespan + 0.4
    assert not evaluate(pipeline, "1f1b").fits
