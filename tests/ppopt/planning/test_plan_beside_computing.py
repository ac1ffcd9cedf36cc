"""Plans with parameters that are gathered: what is printed as fitting fits, with all that is held beside computing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import ppopt
from ppopt import Pipeline
from tests.running import call_ppopt

LAYERS = [
    {"name": "embedding", "forward": 0.1, "backward": 0.2, "static": 2},
    {"name": "decoder", "count": 16, "forward": 1, "backward": 2, "static": 1},
]
EACH = {"embedding": 1, "decoder": 1}


def model(limit: float, **more: Any) -> Pipeline:
    sharding = {"all_gather": {"embedding": 0.3, "decoder": 0.8}, "weights": EACH, "gradients": EACH}
    mapping = {"devices": 4, "microbatches": 8, "layers": LAYERS, "memory": {"limit": limit}}
    return Pipeline.from_mapping(mapping | {"sharding": sharding} | more)


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("resident", [1, 3, "auto"])
@pytest.mark.parametrize("limit", [32, 40])
def test_every_plan_fits_with_what_is_gathered(limit: float, resident: int | str) -> None:
    given = model(limit)
    assert given.sharding is not None
    names = ["1f1b", "v-half", "zb-v", "gpipe", "interleaved"]
    made = ppopt.plan(given.with_resident(resident), names, stages_per_device=(1, 2), time_limit=3)
    assert made.plans
    assert made.internal_errors == ()
    for each in made.plans:
        assert each.schedule.fits
        assert max(each.schedule.peak_memory) <= limit
        again = ppopt.evaluate(each.pipeline, each.name, engine="graph")
        assert (again.makespan, again.peak_memory) == (each.makespan, each.schedule.peak_memory)
        assert each.bound <= each.exact_makespan
    best = made.plans[0]
    if best.schedule.sides is not None and best.schedule.unhindered_makespan < best.exact_makespan:
        assert any(reason.startswith("Sharding costs ") for reason in best.reasons)
    for each in made.unplanned:
        assert "\n" not in each.reason


def test_a_cut_may_leave_room_by_recomputing_more() -> None:
    decoder = {
        "name": "decoder",
        "count": 4,
        "forward": 1,
        "backward": 2,
        "activation": 2,
        "recompute": {"activation": 0.5},
    }
    sharding = {"all_gather": {"decoder": 0.3}, "weights": {"decoder": 1}}
    for limit in (7, 8, 9, 10):
        mapping = {
            "devices": 2,
            "microbatches": 4,
            "layers": [decoder],
            "memory": {"limit": limit},
            "sharding": sharding,
        }
        made = ppopt.plan(Pipeline.from_mapping(mapping), ["1f1b"], time_limit=3)
        assert [each.schedule.fits for each in made.plans] == [True]
        assert made.plans[0].makespan == pytest.approx(31.2 if limit == 10 else 34.2)


def test_what_is_said_of_a_limit_names_the_limit_of_the_user() -> None:
    decoder = {"name": "decoder", "count": 8, "forward": 1, "backward": 2, "activation": 0.25, "static": 0.1}
    each = {"decoder": 1}
    sharding = {"all_gather": each, "weights": each, "gradients": each}
    mapping = {"devices": 2, "microbatches": 4, "layers": [decoder], "memory": {"limit": 8}, "sharding": sharding}
    made = ppopt.plan(Pipeline.from_mapping(mapping), ["1f1b"], time_limit=3)
    (reason,) = [each.reason for each in made.unplanned]
    assert reason.startswith("with what sharding takes, its shortest cut holds 2.4 more than the limit on device 0, ")


def test_a_plan_refuses_to_prove_a_limit_with_offload() -> None:
    with pytest.raises(ppopt.InputError, match=r"^offload: plan counts whole activations"):
        ppopt.plan(model(30, offload={"time": {"embedding": 0.1, "decoder": 0.1}}), ["1f1b"], time_limit=2)


def test_the_table_of_plans_tells_how_many_stages_each_keeps_gathered(tmp_path: Path) -> None:
    """With two stages on a device, zb-v keeps both; 1f1b has only one."""
    decoder = {"name": "decoder", "count": 4, "forward": 1, "backward": 2}
    sharding = {"all_gather": {"decoder": 0.8}, "resident": "auto"}
    given = {"devices": 2, "microbatches": 4, "layers": [decoder], "sharding": sharding}
    file = tmp_path / "sharded.yaml"
    file.write_text(yaml.safe_dump(given))
    run = ["plan", "1f1b", "zb-v", "-c", str(file), "--time-limit", "5"]
    text = call_ppopt(*run).stdout
    titles, *lines = text.splitlines()
    assert titles.split()[6:8] == ["memory", "resident"]
    rows = {words[0]: words for line in lines if (words := line.replace("*", " ").split())[:1] in (["1f1b"], ["zb-v"])}
    plans = {each["strategy"]: each for each in json.loads(call_ppopt(*run, "--format", "json").stdout)["plans"]}
    assert {plan["resident"] for plan in plans.values()} == {1, 2}
    assert {name: words[7] for name, words in rows.items()} == {
        name: str(plan["resident"]) for name, plan in plans.items()
    }
