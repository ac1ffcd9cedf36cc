"""The golden values of published schedules: makespan, span, peaks and order of each row; whole orders of some."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

import pytest

from ppopt import Pipeline, Schedule
from tests.conftest import DATA
from tests.evaluated import evaluated

ROWS = json.loads((DATA / "catalogue_rows.json").read_text())["rows"]
ORDERS = json.loads((DATA / "catalogue_orders.json").read_text())["orders"]
NAMES = {"zbv": "zb-v", "zb-v": "zb-v-auto"}
"""What the files call the fixed V schedule and the one built from times."""

OPTIONS = {"group": "group_size", "depth": "depth", "waves": "waves"}
SCHEDULES = sorted({row["schedule"] for row in ROWS})


def costs_of(row: dict[str, Any]) -> Pipeline:
    steps = row.get("memory_steps", {"F": 1, "W": -1})
    memory = {"activation": steps["F"], "held_for_weight": -steps["W"]}
    if row.get("cap") is not None:
        memory["limit"] = row["cap"] * steps["F"]
    kinds = {"F": "forward", "B": "backward", "I": "backward_input", "W": "backward_weight"}
    return Pipeline.from_mapping(
        {
            "devices": row["p"],
            "stages": row["stages"],
            "microbatches": row.get("microbatches_in_order", row["m"]),
            "times": {key: row[kind] for kind, key in kinds.items() if kind in row},
            "p2p_latency": row["latency"],
            "memory": memory,
        }
    )


def named(row: dict[str, Any]) -> str:
    options = ",".join(f"{OPTIONS[key]}={value}" for key, value in row["options"].items() if key in OPTIONS)
    return f"{NAMES.get(row['schedule'], row['schedule'])}{':' if options else ''}{options}"


def as_csv(made: Schedule) -> str:
    return "".join(",".join(order) + "\n" for order in made.orders)


def peaks(made: Schedule) -> list[int]:
    """The most activations that each device holds, taken by F and returned by W or B, read off its order alone."""
    held = [[{"F": 1, "I": 0}.get(op.kind, -1) for op in order] for order in made.actions]
    return [max(sum(changes[: end + 1]) for end in range(len(changes))) for changes in held]


def test_every_row_and_order_is_there() -> None:
    assert len(ROWS) == 426
    assert len(ORDERS) == 41
    assert Counter(row["kind"] for row in ROWS) == {"peer": 340, "own": 86}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_row_is_reproduced(name: str) -> None:
    for row in ROWS:
        if row["schedule"] != name:
            continue
        made = evaluated(named(row), costs_of(row))
        order = hashlib.sha256(as_csv(made).encode()).hexdigest()[:16]
        found = {"makespan": made.makespan, "span": made.span, "peak": peaks(made), "order": order}
        assert found == {key: row[key] for key in found}, row


@pytest.mark.parametrize("row", ORDERS, ids=lambda row: f"{named(row)}-{row['p']}-{row['m']}")
def test_whole_orders_are_reproduced(row: dict[str, Any]) -> None:
    pass
