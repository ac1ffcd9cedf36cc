"""The unit of a configuration appears wherever a time is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import ppopt
from ppopt import InputError, Pipeline
from ppopt.commands.cli import cli
from ppopt.profiling.against import hold_against
from ppopt.profiling.measurement import unit_of_times
from reports.charts.timeline_layout import bar_rows
from reports.page.columns import columns
from reports.page.section_view import ChartData, SectionView
from tests.evaluated import evaluated, pipeline
from tests.ppopt.profiling.test_against import measured


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "costs.yaml"
    file.write_text(
        "devices: 2\nmicrobatches: 4\nunit: ms\ntimes: {forward: 1, backward: 2}\np2p_latency: 0.5\n"
        "memory: {limit: 3}\n"
    )
    return str(file)


@pytest.mark.parametrize("unit", ["ms", "µs", "s", "GPU ticks", "流"])
def test_a_unit_is_kept_whatever_is_done_with_the_pipeline(unit: str) -> None:
    costs = pipeline(2, 4, unit=unit)
    assert costs.to_mapping()["unit"] == unit
    assert Pipeline.from_mapping(costs.to_mapping()).unit == unit
    changed = [costs.with_stages(2), costs.with_stages(2).recut(6), costs.model_copy(update={"microbatches": 7})]
    assert [each.unit for each in changed] == [unit] * 3
    assert evaluated("interleaved", costs).pipeline.unit == unit


@pytest.mark.parametrize("unit", ["", " ", " ms", "ms ", "m\ns", 5, "5", True, ["ms"], "x" * 13, "\x1b[31mms"])
def test_what_is_no_unit_is_refused(unit: Any) -> None:
    with pytest.raises(InputError, match=r"^unit: must be the short name of a unit, such as ms, [^\n]*; found [^\n]*$"):
        pipeline(2, 4, unit=unit)


def test_without_a_unit_nothing_is_said_of_one() -> None:
    assert "unit" not in pipeline(2, 4).to_mapping()
    assert "makespan " in run("evaluate", "1f1b").stdout.splitlines()[0]


def under(output: str, title: str) -> str:
    """Return the text below a title of a table, right-aligned like the figures."""
    lines = output.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("  strategy"))
    end = lines[place].index(f" {title}") + 1 + len(title)
    return lines[place + 1][:end].rpartition("  ")[2] if len(lines[place + 1]) >= end else ""


def test_terminal_tables_name_it_above_every_time(config: str) -> None:
    assert under(run("evaluate", "1f1b", "-c", config).stdout, "makespan") == "ms"
    found = run("optimize", "-c", config, "--explain", "--draw", "--time-limit", "5").stdout
    assert under(found, "makespan") == under(found, "bound") == "ms"
    assert under(found, "gap") == under(found, "memory") == ""
    assert re.search(r"time 0 to [\d.]+ ms\n", found)
    said = " ".join(found.split())
    assert re.search(r"has a makespan below [\d.]+ ms: the one found", said)
    assert re.search(r"Without latency, the quick bound falls from [\d.]+ to [\d.]+ ms\.", said)
    compared = run("compare", "-c", config, "--no-optimize").stdout
    assert under(compared, "makespan") == under(compared, "bound") == "ms"


def test_data_have_it_in_the_configuration(config: str) -> None:
    for command in ("evaluate 1f1b", "compare --no-optimize --strategies 1f1b"):
        whole = json.loads(run(*command.split(), "-c", config, "--format", "json").stdout)
        assert whole["pipeline"]["unit"] == "ms"


def titles(part: Any) -> list[str]:
    """List all titles of axes and tooltips of a chart, and the options of its menus."""
    if isinstance(part, list):
        return [title for each in part for title in titles(each)]
    if not isinstance(part, dict):
        return []
    own = [part["title"]] if isinstance(part.get("title"), str) else []
    return own + [title for each in part.values() for title in titles(each)] + list(part.get("labels") or ())


TIMES = {"time", "makespan", "from", "to", "ideal", "start", "end"}


def test_every_axis_tooltip_and_table_of_the_page_names_it() -> None:
    costs = pipeline(2, 4, unit="ms", p2p_latency=0.5)
    shown = ppopt.compare(costs, ["1f1b", "zb-h1"], optimize=False).section("t")
    view, data = SectionView(shown, 0), ChartData()
    view.gather(data)
    for name, chart in data.charts.items():
        found = {title for title in titles(chart) if title.partition(",")[0] in TIMES}
        assert found or "idle" in name or "devices" in name, name
        assert {title for title in found if not title.endswith(", ms")} == set(), name
    assert {columns(each)["unit"] for each in shown.schedules} == {"ms"}
    assert view.drawn[0].makespan == "15 ms"
    assert {tile.value for tile in view.tiles if tile.title == "one step"} == {"15 ms"}
    assert [value for name, value in view.costs if name in ("forward", "latency")] == ["1 ms", "0.5 ms"]
    assert "makespan, ms" in view.columns
    assert "makespan, ms" in view.panels["ladder"].table.header
    assert "Makespan 15 ms" in view.drawn[0].sentence
    assert re.search(r"lower bound [\d.]+ ms", json.dumps(data.charts["memory-0"]))


def test_notebook_charts_and_their_bars_name_it() -> None:
    made = evaluated("1f1b", pipeline(2, 4, unit="ms"))
    assert "start, ms" in titles(ppopt.timeline_chart(made).to_dict())
    waits = {row["waited"] for row in bar_rows(made.presented())}
    assert any(re.search(r"\(data \d+ ms\)", wait) for wait in waits)
    assert "makespan 15 ms, " in made._repr_html_()
    assert "makespan 15 ms, " in repr(made)


def test_a_name_of_a_unit_cannot_break_out_of_an_expression() -> None:
    chart = ppopt.bubble_chart(evaluated("1f1b", pipeline(2, 4, unit="a' + b\"</"))).to_dict()
    (expression,) = {
        each["calculate"] for layer in chart["layer"] for each in layer.get("transform", ()) if each.get("as") == "text"
    }
    assert json.loads(expression.split(" ? ", 1)[1].rsplit(" : ", 1)[0]) == " a' + b\"</"


@pytest.mark.parametrize(("unit", "factor"), [("s", 1e6), ("ms", 1e3), ("µs", 1), ("ns", 1e-3), ("ticks", 1)])
def test_a_trace_is_to_scale_where_the_unit_is_known(unit: str, factor: float, tmp_path: Path) -> None:
    file, trace = tmp_path / "costs.json", tmp_path / "trace.json"
    file.write_text(json.dumps({"devices": 2, "microbatches": 2, "unit": unit}))
    assert run("evaluate", "1f1b", "-c", str(file), "--trace", str(trace)).exit_code == 0
    whole = json.loads(trace.read_text())
    assert whole["otherData"]["unit"] == f"1 {unit} = {factor:g} us"
    ends = [event["ts"] + event["dur"] for event in whole["traceEvents"] if event["ph"] == "X"]
    assert max(ends) == pytest.approx(9 * factor)


@pytest.mark.parametrize(
    ("own", "given", "taken"),
    [
        (None, None, "ms"),
        ("us", None, "us"),
        ("µs", None, "us"),
        ("ticks", "s", "s"),
        ("s", "s", "s"),
        (None, "us", "us"),
    ],
)
def test_a_unit_that_is_known_is_that_of_measurements_too(own: str | None, given: str | None, taken: str) -> None:
    assert unit_of_times(pipeline(2, 4, unit=own), given) == taken


def test_two_units_contradict_each_other() -> None:
    with pytest.raises(InputError, match="unit: ms contradicts the configuration, whose unit is µs"):
        unit_of_times(pipeline(2, 4, unit="µs"), "ms")
    with pytest.raises(InputError, match="unit: ms contradicts"):
        ppopt.rehearse(pipeline(2, 4, unit="s"), "1f1b", unit="ms")


def test_differences_from_a_measurement_name_it() -> None:
    made = evaluated("1f1b", pipeline(2, 4, unit="ms"))
    (first, *_) = hold_against(made, measured(made, stretch=2.0)).differences
    assert first.startswith("The step takes 30 instead of 15 ms (+100.00%)")
