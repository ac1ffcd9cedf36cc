from __future__ import annotations

import re
from dataclasses import replace

import pytest

from benchmarks.ablation.instances import FAMILIES, Instance, instances
from benchmarks.ablation.methods import BASIC, METHODS
from benchmarks.ablation.runs import BASELINE, Results, Row, key_of, run
from benchmarks.ablation.switches import ROOT, Method, found
from benchmarks.ablation.table import effects, verdict, written
from ppopt import Pipeline

TINY = Instance(
    "below-p",
    0,
    {"devices": 3, "stages": 3, "microbatches": 5, "memory": {"limit": 2}},
    {"placement": "linear"},
)

LIMIT = 20.0  # it is proven in a moment, on a busy machine, too


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_switch_and_file_names_something_that_is_there(method: Method) -> None:
    assert method.switches
    for switch in method.switches:
        for target in {switch.target, switch.seen_at or switch.target}:
            found(target)
    assert bool(method.files) == (method.lines > 0)
    assert set(method.families) <= set(FAMILIES)


def test_a_family_is_the_same_in_every_run_and_can_be_read() -> None:
    for family in FAMILIES:
        drawn = instances(family)
        instances.cache_clear()
        assert drawn == instances(family)
        for each in drawn:
            Pipeline.from_mapping(each.mapping)


def test_a_run_sees_which_methods_are_at_work_and_which_are_off() -> None:
    with_all = run(BASELINE, TINY, LIMIT, 0)
    assert with_all.error == ""
    assert with_all.found is not None
    assert set(with_all.used) == {method.name for method in BASIC}
    assert with_all.used["memory-edges"] > 0
    assert with_all.used["blocks"] == with_all.used["probing"] == 0

    off = run("idle-curves", TINY, LIMIT, 0, with_all)
    assert off.error == ""
    assert set(off.asked) == {switch.target for switch in METHODS["idle-curves"].switches}
    assert run(BASELINE, TINY, LIMIT, 0).first_bound == with_all.first_bound  # nothing stays switched off

    copied = run("alike", TINY, LIMIT, 0, with_all)
    assert copied.copied == "same bound"
    assert (copied.found, copied.bound) == (with_all.found, with_all.bound)


def rows(method: str, **changed: object) -> list[Row]:
    keys = [key_of(method, instance, 1.0, 0) for instance in instances("v")]
    plain = [Row(*key, found=100.0, bound=99.0) for key in keys]
    return [replace(row, **(changed if row.number < 8 else {})) for row in plain]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "name", "begins"),
    [
        ({}, "jackson", "goes"),
        ({"bound": 98.4}, "jackson", "stays (v: gap 1.00 % → 1.60 %"),
        ({"bound": 98.4}, "list-schedules", "goes"),  # it has more than 300 lines
        ({"bound": 97.9}, "list-schedules", "stays"),
        ({"closed": None}, "jackson", "stays (v: 12 → 4 proven"),
        ({"closed": 0.9}, "jackson", "goes"),
        ({"closed": 1.1}, "jackson", "stays (v: proof after"),
        ({"copied": "not reached"}, "jackson", "goes"),
    ],
)
def test_a_method_stays_if_a_family_loses_enough_without_it(changed: dict[str, object], name: str, begins: str) -> None:
    results = Results(None)
    closed = {"closed": 0.5} if "closed" in changed else {}
    for row in rows(BASELINE):
        results.add(replace(row, **closed))  # type: ignore[arg-type]
    for row in rows(name, **changed):
        results.add(replace(row, **closed) if row.number >= 8 else row)  # type: ignore[arg-type]
    seen = effects(METHODS[name], results, 1.0, 0)
    assert verdict(METHODS[name], seen).startswith(begins)
    assert f"| `{name}` |" in written([METHODS[name]], results, 1.0, 0)


def test_what_can_be_switched_off_says_where_its_worth_is_told() -> None:
    """Of each method one file points to its row, or to that of the method that it is a part of."""
    named = set()
    for file in (each for method in METHODS.values() for each in method.files):
        text = (ROOT / f"{file.partition(':')[0]}.py").read_text(encoding="utf-8")
        named |= set(re.findall(r"row `([\w-]+)` of docs/development/ablation.md", text))
    assert named <= METHODS.keys()
    for method in METHODS.values():
        files = {file.partition(":")[0] for file in method.files}
        assert not files or any("docs/development/ablation.md" in (ROOT / f"{each}.py").read_text() for each in files)
