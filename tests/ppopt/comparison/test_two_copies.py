"""A placement with two copies of the weights wins only where the memory counts both."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

import ppopt
from ppopt.commands.cli import cli
from ppopt.comparison.comparison import Comparison
from reports.page.tables import number_titles, numbers
from reports.sweeps.winners import winners
from reports.table import ranking
from tests.evaluated import pipeline

NAMES = ["1f1b", "dualpipe", "zb-h1"]


def compared(*names: str, **memory: Any) -> Comparison:
    """Compare on four devices, where dualpipe is the shortest of the three: 50 against 51 and 57."""
    return ppopt.compare(pipeline(4, 16, memory={"activation": 1, **memory}), names or NAMES, optimize=False)


def row_of(made: Comparison, name: str) -> str:
    text = ranking([each.table_row() for each in made.schedules], made.bound, made.baseline_row)
    return next(line for line in text.splitlines() if f" {name} " in line)


def test_without_static_memory_the_verdict_is_about_the_others() -> None:
    made = compared()
    assert made.winner is not None
    assert made.winner.strategy == "zb-h1"
    assert made.schedules[-1].strategy == "dualpipe"
    assert row_of(made, "dualpipe").startswith("?")
    assert row_of(made, "zb-h1").startswith("*")
    assert made.verdict.startswith(
        "zb-h1 is the fastest of those with one copy of the weights, 10.5% shorter than 1f1b"
    )
    assert (
        "dualpipe would be 2.0% shorter, with two copies of the weights: give memory.static to compare" in made.verdict
    )
    presented = made.section().winner
    assert presented is not None
    assert presented.summary.name == "zb-h1"


def test_what_is_proven_is_about_one_copy() -> None:
    """The bound of the verdict is that of the placements with one copy: a bidirectional order may be shorter."""
    made = compared()
    alone = compared("1f1b", "zb-h1")
    assert made.bound == alone.bound == 51
    assert "it is proven that none with one copy of the weights is shorter" in made.verdict
    assert "it is proven that none is shorter on these placements" in alone.verdict
    assert min(each.makespan for each in made.schedules) < made.bound


def test_with_static_memory_it_wins_as_any_other() -> None:
    made = compared(static=2)
    assert made.winner is not None
    assert made.winner.strategy == "dualpipe"
    assert row_of(made, "dualpipe").startswith("*")
    assert "copies" not in made.verdict
    limited = compared(static=2, limit=8)
    assert limited.winner is not None
    assert limited.winner.strategy == "zb-h1"
    assert limited.schedules[-1].over_limit


def test_among_themselves_they_are_compared() -> None:
    made = compared("dualpipe", "chimera")
    assert made.winner is not None
    assert made.winner.strategy == "dualpipe"
    assert row_of(made, "dualpipe").startswith("*")
    assert "It keeps two copies of the weights, of which its memory counts none: give memory.static." in made.verdict


def test_where_only_they_fit_the_verdict_says_so() -> None:
    costs = pipeline(4, 16, memory={"activation": 1, "limit": 5})
    made = ppopt.compare(costs, ["dualpipe", "gpipe"], optimize=False)
    assert made.verdict == (
        "No schedule with one copy of the weights fits the memory limit. gpipe is the fastest of those with one copy "
        "of the weights, but needs 16 of 5 on device 0. dualpipe would fit, with two copies of the weights: give "
        "memory.static to compare."
    )


def test_over_the_limit_it_is_marked_as_any_other() -> None:
    made = compared(limit=4)
    assert row_of(made, "dualpipe").startswith("!")
    assert "would be" not in made.verdict


def test_json_says_it() -> None:
    flags = {each["strategy"]: each["lacks_second_copy"] for each in compared().to_dict()["schedules"]}
    assert flags == {"1f1b": False, "zb-h1": False, "dualpipe": True}
    assert not any(each["lacks_second_copy"] for each in compared(static=1).to_dict()["schedules"])


def test_noise_counts_the_draws_of_the_others() -> None:
    noise = ppopt.Noise(operation=0.01, samples=20)
    made = ppopt.compare(pipeline(4, 16), NAMES, optimize=False, noise=noise)
    best = {each.strategy: each.noise.best for each in made.schedules if each.noise}
    assert best["dualpipe"] is None or best["dualpipe"] == 0
    assert best["zb-h1"] == 1


def test_a_search_of_all_placements_returns_one_copy() -> None:
    costs = pipeline(2, 2, p2p_latency=2)
    found = ppopt.optimize(costs, placement="all", time_limit=2)
    assert found.placement != "bidirectional"
    twofold = ppopt.optimize(costs, placement="bidirectional", time_limit=1)
    told = [note for note in found.notes if "two copies of the weights: give memory.static" in note]
    assert bool(told) == (twofold.makespan < found.makespan)


def test_a_sweep_names_another_winner() -> None:
    frame = ppopt.sweep(
        {"base": {"devices": 4, "times": {"forward": 1, "backward": 2}}, "axes": {"microbatches": [16]}, "run": NAMES}
    )
    rows = frame.to_dict("records")
    assert {row["strategy"]: row["lacks_second_copy"] for row in rows}["dualpipe"]
    (first,) = winners(["microbatches"], rows).values()
    assert first["strategy"] == "zb-h1"
    (alone,) = winners(["microbatches"], [row for row in rows if row["strategy"] == "dualpipe"]).values()
    assert alone["strategy"] == "dualpipe"


@pytest.mark.parametrize("form", ["table", "json"])
def test_the_command(form: str) -> None:
    arguments = ["compare", "--no-optimize", "--strategies", ",".join(NAMES), "--microbatches", "16", "--format", form]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0
    if form == "json":
        assert json.loads(result.stdout)["schedules"][0]["strategy"] == "zb-h1"
    else:
        assert "? lacks the second copy of the weights: give memory.static to compare" in result.stdout


def test_a_row_without_limits_is_not_said_to_fit() -> None:
    made = compared()
    unlimited = [replace(each.table_row(), lacks_second_copy=False) for each in made.schedules]
    assert "fits" not in ranking(unlimited, None)


def test_the_page_marks_its_memory() -> None:
    section = compared().section()
    place = number_titles(section).index("peak memory")
    marked = [row[0].value for row in numbers(section) if row[place].text.endswith(" ?")]
    assert marked == ["dualpipe"]


def test_no_bound_is_above_two_copies_that_alone_fit() -> None:
    mapping = {"devices": 4, "stages": 4, "microbatches": 4, "memory": {"activation": [3, 1, 1, 1], "limit": 7}}
    made = ppopt.compare(ppopt.Pipeline.from_mapping(mapping), ["1f1b", "chimera"], optimize=False)
    assert made.winner is not None
    assert made.winner.strategy == "chimera"
    assert made.bound is not None
    assert made.bound <= made.winner.makespan
    assert made.verdict.startswith("No schedule with one copy of the weights fits the memory limit.")
