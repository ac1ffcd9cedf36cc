from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner, Result

from ppopt.commands.cli import cli
from ppopt.commands.sweep_progress import describe
from ppopt.sweeps.sweeping import SweepStanding
from reports.sweeps.content import AxisShown, SweepShown
from reports.sweeps.sentences import verdict
from tests.reports.browser import Opener, Windows, launched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

AXES = {"microbatches": [8, 16], "memory.limit": [3, 6], "p2p_latency": [0, 0.5]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(
        yaml.safe_dump(
            {"base": {"devices": 4, "microbatches": 8}, "axes": AXES, "run": ["1f1b", "zb-h1", "v-half"]},
            sort_keys=False,
        )
    )
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["sweep", *map(str, arguments)], catch_exceptions=False)


def test_json_csv_and_table_show_every_job(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    found = json.loads(run(file, "-o", folder, "--jobs", 1, "--format", "json").stdout)
    assert found["jobs"] == len(found["rows"]) == 24
    assert list(found["rows"][0])[:4] == ["microbatches", "memory.limit", "p2p_latency", "strategy"]
    rows = list(csv.DictReader(io.StringIO(run(file, "-o", folder, "--jobs", 1, "--format", "csv").stdout)))
    assert [float(row["makespan"]) for row in rows] == [row["makespan"] for row in found["rows"]]
    table = run(file, "-o", folder, "--jobs", 1).stdout.splitlines()
    assert len(table) == 26
    assert sum(line.startswith("*") for line in table[1:-1]) == 8
    assert table[-1] == "* the shortest at its point that fits the memory limit"


def test_failures_are_rows_and_tell_by_the_exit_status(file: Path) -> None:
    text = file.read_text().replace("v-half", "hanayo:stages=7")
    file.write_text(text)
    result = run(file, "--jobs", 1)
    assert result.exit_code == 1
    assert "error: 8 of 24 jobs failed; the first: hanayo:stages: 7 do not fit 4 devices" in result.stderr
    assert result.stdout.count("failed: hanayo") == 8


def test_a_dry_run_runs_nothing(file: Path, tmp_path: Path) -> None:
    result = run(file, "--dry-run", "--jobs", 2, "-o", tmp_path / "results")
    assert result.stdout.startswith(
        "24 jobs (2 microbatches x 2 memory.limit x 2 p2p_latency, 3 to run at each), about "
    )
    assert result.stdout.endswith("on 2 processes\n")
    assert not (tmp_path / "results").exists()


def test_ten_thousand_jobs_are_refused_where_nobody_can_confirm(file: Path) -> None:
    file.write_text(file.read_text().replace("- 0\n", "- 0\n" + "".join(f"  - {place}.5\n" for place in range(1, 900))))
    result = run(file)
    assert result.exit_code == 2
    assert "error: grid: 10,812 jobs (" in result.stderr
    assert "--yes runs more than 5,000" in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: {devices: 4, microbatches: 8}\nrun: 1f1b\n", "axes: must name at least one key that varies"),
        ("", "is empty"),
        ("[1, 2]", "a grid must be a mapping of base, axes, run, time_limit, seed; found [1, 2]"),
        ("a: {b: 1", "expected ',' or '}'"),
    ],
)
def test_wrong_files_are_refused_in_one_line(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    result = run(file)
    assert result.exit_code == 2
    assert message in result.stderr
    assert str(file) in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("error")]) >= 1


def test_a_folder_of_something_else_is_refused(file: Path, tmp_path: Path) -> None:
    result = run(file, "-o", tmp_path)
    assert result.exit_code == 2
    assert "is not the folder of a sweep (ppopt-sweep.json is missing) and not empty; name another" in result.stderr


def test_progress_in_words() -> None:
    assert (
        describe(SweepStanding(10_000, 2_000, 2, 7_230.0))
        == "2,000 of 10,000 done, 2 running, 7,998 left, about 2.0 h to go"
    )
    assert describe(SweepStanding(3, 0, 2, None)) == "0 of 3 done, 2 running, 1 left"
    assert describe(SweepStanding(3, 1, 2, 42)).endswith("about 42 s to go")


# ---- the page


def shown(axes: dict[str, list[float]], winner: dict[tuple[float, ...], str]) -> SweepShown:
    figures = {
        "bound": 1.0,
        "gap": 0.1,
        "bubble_ratio": 0.1,
        "peak_memory": 1,
        "fits": True,
        "status": "replayed",
        "reason": "",
        "notes": "",
    }
    rows = [
        dict(zip(axes, place, strict=True)) | figures | {"strategy": name, "makespan": 2.0 if name == best else 2.5}
        for place, best in winner.items()
        for name in ("a", "b")
    ]
    return SweepShown("t", [AxisShown(*each) for each in axes.items()], ["a", "b"], rows, len(rows))


def test_a_sentence_says_where_the_winner_changes() -> None:
    along = shown({"m": [1, 2, 3, 4]}, {(1,): "a", (2,): "a", (3,): "b", (4,): "a"})
    assert verdict(along) == "Along m, the winner changes: a at 1 to 2, b at 3, a at 4."
    over = shown({"m": [1, 2], "n": [10, 20]}, {(1, 10): "a", (1, 20): "b", (2, 10): "a", (2, 20): "b"})
    assert verdict(over) == (
        "a wins at 2 of 4 points, b at 2, by 25.00%. Along m it never changes; along n the winner changes "
        "between 10 and 20."
    )
    assert verdict(shown({"m": [1, 2]}, {(1,): "a", (2,): "a"})) == "a wins everywhere, by 25.00%."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from launched()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    yield from Windows(browser).opener()


@pytest.mark.slow
def test_cells_lead_to_their_tables_and_menus_hold_the_other_axes(
    file: Path, tmp_path: Path, open_page: Opener
) -> None:
    page = tmp_path / "page.html"
    run(file, "--jobs", 1, "--report", page)
    sheet = open_page(page)
    assert sheet.page.locator("[data-chart]").count() == 2
    assert sheet.page.locator("#verdict").inner_text().startswith("v-half wins at 6 of 8 points")
    box = sheet.page.locator('[data-chart="map"] canvas').bounding_box()
    assert box is not None
    sheet.page.locator('[data-chart="map"] canvas').click(position={"x": box["width"] * 0.75, "y": box["height"] * 0.6})
    sheet.page.wait_for_function("location.hash.startsWith('#point-')")
    title = sheet.page.locator("#point-title").inner_text()
    assert title.startswith("microbatches 16, memory.limit ")
    assert title.endswith("p2p_latency 0")
    rows = sheet.page.locator("#point-table tbody tr")
    assert rows.count() == 3
    sheet.page.select_option("select[data-axis='2']", "1")
    sheet.page.goto(sheet.page.url.split("#")[0] + "#point-1")
    sheet.page.wait_for_function("document.getElementById('point-title').textContent.includes('0.5')")
    assert sheet.page.locator("#point-table th[scope=row]").all_inner_texts()[0].strip("! ") in (
        "1f1b",
        "zb-h1",
        "v-half",
    )
