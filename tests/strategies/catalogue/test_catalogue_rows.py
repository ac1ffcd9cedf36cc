"""Golden values of published schedules: makespan, span, peaks and order hash of each row; whole orders of some."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import accumulate
from typing import Any

import pytest

from ppopt import Pipeline, Schedule
from tests.conftest import DATA
from tests.evaluated import UNIT, evaluated

ROWS = json.loads((DATA / "catalogue_rows.json").read_text())["rows"]
ORDERS = json.loads((DATA / "catalogue_orders.json").read_text())["orders"]
NAMES = {"zbv": "zb-v", "zb-v": "zb-v-auto"}
"""The files' names for the fixed V schedule and for the one built from times."""

OPTIONS = {"group": "group_size", "depth": "depth", "waves": "waves"}
SCHEDULES = sorted({row["schedule"] for row in ROWS})


def _stages_of(row: dict[str, Any]) -> int:
    on_a_v = row["schedule"].startswith(("zbv", "zb-v", "v-", "1f1b-v"))
    return row["p"] * (2 if on_a_v else 2 * row["options"].get("waves", 0) or row["options"].get("v", 1))


def costs_of(row: dict[str, Any]) -> Pipeline:
    steps = row.get("memory_steps") or {"F": 1, "W": -1}
    memory = {"activation": steps["F"], "held_for_weight": -steps["W"]}
    if row.get("cap") is not None:
        memory["limit"] = row["cap"] * steps["F"]
    kinds = {"F": "forward", "B": "backward", "I": "backward_input", "W": "backward_weight"}
    return Pipeline.from_mapping(
        {
            "devices": row["p"],
            "stages": row.get("stages", _stages_of(row)),
            "microbatches": _microbatches(row),
            "tokens": 1,
            "times": {key: row[kind] for kind, key in kinds.items() if kind in row} or UNIT,
            "p2p_latency": row.get("latency", 0),
            "memory": memory,
        }
    )


def _microbatches(row: dict[str, Any]) -> Any:
    """Return the number, or the sequences cut into slices of one token, for which the times are given."""
    splits = row["options"].get("splits", 1)
    return [{"count": row["m"], "documents": [splits], "slices": [1] * splits}] if splits > 1 else row["m"]


def named(row: dict[str, Any]) -> str:
    given = [f"{OPTIONS[key]}={value}" for key, value in row["options"].items() if key in OPTIONS]
    one_per_device = [f"stages={row['p']}"] if row["options"].get("v") == 1 else []  # else it would run two
    options = ",".join(given + one_per_device)
    return f"{NAMES.get(row['schedule'], row['schedule'])}{':' if options else ''}{options}"


def as_csv(made: Schedule) -> str:
    return "".join(",".join(order) + "\n" for order in made.orders)


def peaks(made: Schedule) -> list[int]:
    """Return each device's peak of activations, taken by F and returned by W or B, from its order alone."""
    held = [[{"F": 1, "I": 0}.get(op.kind, -1) for op in order] for order in made.actions]
    return [max(accumulate(changes)) for changes in held]


def test_every_row_and_order_is_there() -> None:
    assert len(ROWS) == 426
    assert len(ORDERS) == 41
    assert Counter(row["kind"] for row in ROWS) == {"peer": 340, "own": 86}


def made_of(row: dict[str, Any]) -> Schedule:
    return evaluated(named(row), costs_of(row))


@pytest.mark.exhaustive(9)
@pytest.mark.no_cover
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_row_is_reproduced(name: str) -> None:
    for row in ROWS:
        if row["schedule"] == name:
            made = made_of(row)
            order = hashlib.sha256(as_csv(made).encode()).hexdigest()[:16]
            found = {"makespan": made.makespan, "span": made.span, "peak": peaks(made), "order": order}
            assert found == {key: row[key] for key in found}, row
            if name == "zb-auto" and "published" in row:
                assert row["cap"] / row["p"] in (1, 2)  # the paper's ZB-1p and ZB-2p
                assert round(made.span_bubble_ratio, 4) == row["published"]["value"], row


@pytest.mark.parametrize("name", sorted({row["schedule"] for row in ORDERS}))
def test_whole_orders_are_reproduced(name: str) -> None:
    for row in ORDERS:
        if row["schedule"] == name:
            assert as_csv(made_of(row)) == row["csv"], {key: row[key] for key in ("options", "p", "m", "source")}
