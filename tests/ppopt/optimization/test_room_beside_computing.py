"""A search with sharding leaves room for gathered parameters and gradients."""

from __future__ import annotations

from typing import Any

import pytest

from ppopt import Pipeline, evaluate, optimize
from ppopt.optimization.copied_order import CopiedOrder
from ppopt.schedules.replaying import replay_orders

SHARDED: dict[str, Any] = {
    "devices": 4,
    "microbatches": 8,
    "times": {"forward": 1, "backward": 2},
    "sharding": {"all_gather": 0.2, "weights": 1, "gradients": 1},
}


@pytest.mark.parametrize("limit", [5, 4])
def test_an_order_is_searched_within_what_is_left(limit: int) -> None:
    """Parameters and gradients take 2 of the limit on each device."""
    pipeline = Pipeline.from_mapping({**SHARDED, "memory": {"limit": limit}})
    found = optimize(pipeline, placement="linear", time_limit=3)
    assert found.fits
    assert max(found.peak_memory) == limit
    within = Pipeline.from_mapping({**SHARDED, "memory": {"limit": limit - 2}, "sharding": None})
    alone = optimize(within, placement="linear", time_limit=3)
    assert alone.makespan <= found.makespan <= alone.makespan + 0.4
    assert not evaluate(pipeline, "1f1b").fits


OFFLOADED = {key: value for key, value in SHARDED.items() if key != "sharding"} | {"offload": {"time": 0.5}}


@pytest.mark.parametrize(
    ("mapping", "offload"),
    [
        (SHARDED, False),
        (SHARDED | {"memory": {"limit": 12}}, False),
        (OFFLOADED | {"memory": {"limit": 3}}, False),
        (OFFLOADED | {"memory": {"limit": 3}}, True),
    ],
)
def test_where_the_time_is_up_one_replay_is_enough(
    mapping: dict[str, Any], offload: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best start was replayed for a draft, for its turn, and twice more to see what room there is."""
    replays = []

    def replay(label: str, *arguments: Any, **options: Any) -> Any:
        replays.append(label)
        return replay_orders(label, *arguments, **options)

    monkeypatch.setattr("ppopt.optimization.finishing.replay_orders", replay)
    monkeypatch.setattr("ppopt.optimization.beside_computing.replay_orders", replay)
    monkeypatch.setattr(CopiedOrder, "tried", lambda *_: pytest.fail("no choice of copies was due"))
    found = optimize(Pipeline.from_mapping(mapping), placement="linear", time_limit=0, offload=offload, workers=1)
    assert found.fits
    assert len(replays) == 1


def test_resident_auto_takes_the_first_number_that_fits_where_the_time_is_up() -> None:
    sharding = {"all_gather": 1.5, "weights": 1, "gradients": 1, "resident": "auto"}
    pipeline = Pipeline.from_mapping({**SHARDED, "stages": 8, "sharding": sharding})
    late = optimize(pipeline, placement="interleaved", time_limit=0, workers=1)
    assert late.pipeline.sharding is not None
    assert late.pipeline.sharding.resident == 1
    assert any("and the time was up for other numbers (sharding.resident: auto)" in note for note in late.notes)
    found = optimize(pipeline, placement="interleaved", time_limit=3, workers=1)
    assert found.makespan < late.makespan
    assert not any("for other numbers" in note for note in found.notes)
