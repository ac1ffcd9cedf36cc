"""The time limit of a comparison covers everything that it does; whatever it has no time for is left out by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import ppopt
from ppopt import Pipeline
from ppopt.commands.cli import cli
from ppopt.commands.pages import PagePace, write_report
from ppopt.noise.noise import Noise
from ppopt.noise.under_noise import seconds_needed
from ppopt.optimization import cuts
from tests.reports.unpacked import unpacked

MODEL = Pipeline.from_mapping({"devices": 4, "microbatches": 8, "memory": {"limit": 6}})


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["compare", "--devices", "4", "--microbatches", "8", *arguments])


def test_the_best_are_drawn_as_long_as_there_is_time() -> None:
    short = ppopt.compare(MODEL, ["1f1b", "zb-h1", "gpipe"], optimize=False)
    other = ppopt.compare(MODEL, ["v-half", "zb-v"], optimize=False)
    sizes = [[len(each.rows) for each in comparison.schedules] for comparison in (short, other)]
    pace = PagePace(alone=1.0, shown=0.0, drawn=1.0)
    assert pace.drawn_within(0.0, [short, other]) == [1, 1]
    assert pace.drawn_within(1e9, [short, other]) == [3, 2]
    enough_for_three = 1.25 * (1.0 + sizes[0][0] + sizes[1][0] + sizes[0][1]) + 0.01
    assert pace.drawn_within(enough_for_three, [short, other]) == [2, 1]
    assert pace.seconds(10) == pytest.approx(1.25 * 11)


def test_what_is_not_drawn_is_on_the_page_with_its_figures_and_a_sentence(tmp_path: Path) -> None:
    made = ppopt.compare(MODEL, ["1f1b", "zb-h1", "gpipe"], optimize=False)
    write_report(str(tmp_path / "page.html"), [made], ["x"], ["ppopt"], [1])
    text = (tmp_path / "page.html").read_text()
    assert text.count("Its timeline is not drawn: the time limit was used up") == 2
    assert len(re.findall(r'data-chart="timeline-0-', text)) == 1
    data = unpacked(text, "data")
    assert list(data["timelines"]) == ["timeline-0-0"]
    assert [each["key"] for each in data["whatIf"][0]["schedules"]] == ["timeline-0-0"]
    assert all(re.search(rf"<h3>[^<]*{each.strategy}", text) for each in made.schedules)


def test_a_report_for_which_there_is_little_time_names_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PagePace, "of", lambda *_: PagePace(alone=1e3, shown=0.0, drawn=1.0))
    result = run(
        "--strategies", "1f1b,zb-h1", "--placement", "v", "--time-limit", "1", "--report", str(tmp_path / "a.html")
    )
    assert result.exit_code == 0, result.output
    (told,) = (line for line in result.stderr.splitlines() if "the report has no timelines of" in line)
    assert told.endswith("1f1b: the time limit of 1 s was used up")
    assert (tmp_path / "a.html").exists()
    whole = run(
        "--strategies", "1f1b,zb-h1", "--no-optimize", "--time-limit", "1", "--report", str(tmp_path / "b.html")
    )
    assert "no timelines" not in whole.stderr


def test_a_search_for_which_there_is_no_time_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppopt.comparison.compare.SHORTEST_SEARCH_OF_MANY", 1e9)
    made = ppopt.compare(MODEL, ["1f1b", "zb-h1", "gpipe"], placement="linear", time_limit=1)
    assert {each.strategy for each in made.schedules} <= {"1f1b", "zb-h1", "gpipe"}
    assert dict(made.left_out)["optimized-linear"].startswith("not searched: that takes at least ")
    assert dict(made.left_out)["optimized-linear"].endswith("less of the time limit of 1 s was left")
    assert made.searched == ()


def test_one_evaluation_of_many_operations_shows_that_there_is_no_time_to_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ppopt.comparison.compare.ENOUGH_OPS", 50)
    monkeypatch.setattr("ppopt.comparison.compare.SHORTEST_SEARCH_OF_MANY", 1e9)
    made = ppopt.compare(MODEL, ["1f1b"], placement="linear", time_limit=0)
    assert [name for name, _ in made.left_out] == ["optimized-linear"]
    assert made.searched == ()


def test_a_model_is_cut_once_for_the_bound_and_the_search_of_a_placement() -> None:
    layers = [
        {"name": "block", "count": 13, "forward": 1, "backward": 2},
        {"name": "head", "forward": 3, "backward": 5},
    ]
    model = Pipeline.from_mapping({"devices": 3, "microbatches": 6, "layers": layers})
    cuts._planned_once.cache_clear()
    made = ppopt.compare(model, ["1f1b"], time_limit=2)
    assert cuts._planned_once.cache_info().misses == len(made.searched) == 4


def test_the_time_of_noise_is_foreseen_in_proportion_to_its_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preparation counts once for each schedule, not once for each batch of draws."""
    made = [ppopt.evaluate(MODEL, name) for name in ("1f1b", "zb-h1")]
    clock = [0.0]

    def drawn(schedules: list[object], noise: Noise) -> None:
        clock[0] += 5.0 * len(schedules) + 0.01 * noise.samples

    monkeypatch.setattr("ppopt.noise.under_noise.perf_counter", lambda: clock[0])
    monkeypatch.setattr("ppopt.noise.under_noise.sampled_makespans", drawn)
    monkeypatch.setattr("ppopt.noise.under_noise.NUMBERS_AT_ONCE", 100 * max(len(each.problem.tasks) for each in made))
    sizes = [len(each.problem.tasks) for each in made]
    foreseen = seconds_needed(made, Noise(operation=0.1, samples=1000))
    assert foreseen == pytest.approx((5.0 + 0.01 * 1000) * sum(sizes) / max(sizes), rel=0.02)
