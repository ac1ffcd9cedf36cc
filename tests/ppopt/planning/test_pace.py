"""Orders that cannot be written, cut and replayed in time are not begun."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import pytest

import ppopt
from ppopt import Pipeline
from ppopt.cutting.fixed_order import FixedOrder, read_order
from ppopt.planning import planning
from ppopt.planning.candidates import gather, label_of
from ppopt.planning.pace import Pace, measured_pace
from ppopt.planning.race import Entry, Race
from strategies.language import orders
from tests.running import call_ppopt

LAYERS = [
    {"name": "decoder", "forward": 1, "backward": 2, "count": 12, "activation": 1},
    {"name": "head", "forward": 2, "backward": 4, "activation": 1},
]


def model(microbatches: int) -> Pipeline:
    return Pipeline.from_mapping({"devices": 4, "microbatches": microbatches, "layers": LAYERS})


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the number of microbatches of each order that is written."""
    sizes: list[int] = []
    plain = orders._order_of

    def noted(strategy: object, pipeline: Pipeline, *rest: object) -> object:
        sizes.append(pipeline.microbatches)
        return plain(strategy, pipeline, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(orders, "_order_of", noted)
    return sizes


def test_of_what_takes_too_long_nothing_is_written(written: list[int]) -> None:
    made = ppopt.plan(model(50_000), ["1f1b", "interleaved"], time_limit=1)
    assert made.plans == ()
    assert made.infeasible is None
    assert max(written, default=0) < 50_000
    assert [each.name for each in made.unplanned] == [
        "1f1b, v = 1", "interleaved, v = 2", "interleaved, v = 3", "interleaved, v = 4",
    ]  # fmt: skip
    assert all("no time for it" in each.reason and "the time limit is 1 s" in each.reason for each in made.unplanned)


def test_short_orders_come_before_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 1 ms per operation and 10 s, orders of 2,016 and 4,032 operations are planned, one of 6,048 is not."""
    monkeypatch.setattr(planning, "MANY_ACTIONS", 1000)
    monkeypatch.setattr(planning, "measured_pace", lambda *_, empty: Pace(1e-4, 6e-4, 3e-4))
    made = ppopt.plan(model(252), ["interleaved", "1f1b"], stages_per_device=[1, 2, 3], time_limit=10)
    assert {plan.label for plan in made.plans} == {"1f1b, v = 1", "interleaved, v = 2"}
    assert [each.name for each in made.unplanned] == ["interleaved, v = 3"]


def test_time_is_kept_for_the_plans_that_are_found_and_no_others() -> None:
    names = ["1f1b", "gpipe", "zb-h1", "eager-1f1b"]
    entries = [Entry(read_order(model(8), name)) for name in names]

    def finishing(shown: Sequence[FixedOrder]) -> float:
        return 0.0 if len(shown) < 3 else 1e9

    Race(entries, "none", finishing=finishing).run(perf_counter() + 20)
    assert [entry.turns > 0 for entry in entries] == [True, True, False, False]
    assert all(entry.is_done for entry in entries[:2])


def test_no_order_is_written_when_the_time_for_it_is_over() -> None:
    names = ["interleaved", "1f1b", "zb-h1"]
    found = gather(model(8), names, [1, 2, 3], all_of_them=False, until=0.0)
    assert [label_of(order) for order in found.fitting] == ["1f1b, v = 1"]
    assert {name for name, _ in found.too_long} == {"interleaved, v = 2", "interleaved, v = 3", "zb-h1, v = 1"}
    assert {why for _, why in found.too_long} == {"no time to write its order"}
    assert len(gather(model(8), names, [1, 2, 3], all_of_them=False).fitting) == 4


def test_the_pace_is_that_of_this_machine() -> None:
    pace = measured_pace(model(250), "none", empty=True)
    assert 0 < pace.writing < pace.answering
    assert pace.planning > 0
    assert pace.replaying > 0


def test_the_command_says_so(tmp_path: Path) -> None:
    config = tmp_path / "model.yaml"
    lines = [f"  - {each}".replace("'", "") for each in LAYERS]
    config.write_text("\n".join(["devices: 4", "microbatches: 50000", "layers:", *lines]))
    result = call_ppopt("plan", "1f1b", "-c", str(config), "--time-limit", "1")
    assert result.returncode == 4
    assert "no time for it" in result.stderr + result.stdout
