"""Each kind of page as a whole: its first screen, its height, its accessibility, and on paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ppopt.commands.cli import cli
from tests.reports.browser import Opener, Sheet

PAPER = 1_040
"""The width of A4 across without its margins, in pixels."""

COSTS = """
devices: 4
microbatches: 8
unit: us
times: {forward: 1000, backward_input: 1000, backward_weight: 900}
p2p_latency: 50
memory: {activation: 1.5, static: 2, limit: 12, unit: GB}
"""
LAYERS = """
devices: 4
microbatches: 8
unit: ms
layers:
  - {name: embedding, forward: 0.1, backward: 0.2, latest_stage: 0}
  - {name: decoder, count: 18, forward: 1, backward: 2, static: 0.5}
  - {name: head, forward: 1.4, backward: 2.8, static: 0.5, earliest_stage: -1}
memory: {limit: 40, unit: GiB}
"""
GRID = """
base: {devices: 4, microbatches: 8, unit: ms, times: {forward: 10, backward: 20}}
axes: {microbatches: [4, 8], p2p_latency: [0, 1]}
run: [1f1b, zb-h1, zb-v]
"""
COMMANDS = {
    "comparison": "compare -c costs.yaml --no-optimize",
    "several": "compare -c costs.yaml -c other.yaml --no-optimize",
    "one": "evaluate 1f1b -c costs.yaml",
    "frontier": "frontier -c costs.yaml --placement linear --limits 4,8,12 --time-limit 6",
    "plan": "plan 1f1b interleaved zb-h1 -c layers.yaml --time-limit 20",
    "run": "evaluate 1f1b -c costs.yaml --against run.json",
    "sweep": "sweep grid.yaml --jobs 1",
}
OFTEN = ("comparison", "sweep")
"""The kinds of page that `make test` tries; make test-slow tries the others."""


def kinds(*left_out: str, often: Sequence[str] = OFTEN) -> list[Any]:
    """List the kinds of page for a test."""
    shown = [kind for kind in COMMANDS if kind not in left_out]
    return [kind if kind in often else pytest.param(kind, marks=pytest.mark.slow) for kind in shown]


LARGE = ("compare", "--devices", "64", "--microbatches", "64", "--no-optimize")


def run(*arguments: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "costs.yaml").write_text(COSTS)
    (folder / "other.yaml").write_text(COSTS.replace("p2p_latency: 50", "p2p_latency: 300"))
    (folder / "layers.yaml").write_text(LAYERS)
    (folder / "grid.yaml").write_text(GRID)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Callable[[str], Path]:
    """Return a function that makes each page once."""

    def made(kind: str) -> Path:
        path = folder / f"{kind}.html"
        if not path.exists():
            with pytest.MonkeyPatch.context() as patched:
                patched.chdir(folder)
                if kind == "run":
                    run("evaluate", "1f1b", "-c", "other.yaml", "--trace", "run.json")
                run(*COMMANDS[kind].split(), "--report", path.name)
        return path

    return made


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", kinds(often=("one", "sweep")))
def test_a_page_breaks_no_rule_of_accessibility(
    open_page: Opener, page: Callable[[str], Path], kind: str, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs `pip install 'ppopt[test]'`")
    sheet = open_page(page(kind), color_scheme=scheme, bypass_csp=True)
    sheet.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    sheet.wait_until_drawn()
    found = axe.Axe().run(sheet.page).response["violations"]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found] == []


@pytest.mark.parametrize("kind", kinds("sweep", "several"))
def test_the_first_screen_holds_verdict_tiles_and_a_picture(
    open_page: Opener, page: Callable[[str], Path], kind: str
) -> None:
    sheet = open_page(page(kind), height=800)
    for part in (".lead", ".tiles", ".opening figure canvas"):
        box = sheet.page.locator(part).first.bounding_box()
        assert box is not None, part
        assert box["y"] + box["height"] <= 800, part


@pytest.mark.parametrize("kind", kinds("sweep", "several"))
def test_a_page_is_at_most_6000_pixels_high_at_first(open_page: Opener, page: Callable[[str], Path], kind: str) -> None:
    assert open_page(page(kind), is_open=False).ask("document.documentElement.scrollHeight") <= 6_000


@pytest.mark.parametrize("memory", ["{limit: [40, 41, 42, 43]}", "{}"])
def test_a_page_of_layers_warns_of_nothing(open_page: Opener, folder: Path, memory: str) -> None:
    """Without a limit, Vega warned of the infinite extent of its axis; each page that is opened is checked for that."""
    path, config = folder / "unlimited.html", folder / "unlimited.yaml"
    config.write_text(LAYERS.replace("{limit: 40, unit: GiB}", memory))
    run("compare", "-c", str(config), "--strategies", "1f1b", "--no-optimize", "--report", str(path))
    open_page(path).ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")


@pytest.mark.slow
def test_a_large_page_is_no_higher(open_page: Opener, folder: Path) -> None:
    path = folder / "large.html"
    run(*LARGE, "--report", str(path))
    assert open_page(path, is_open=False).ask("document.documentElement.scrollHeight") <= 6_000


def on_paper(sheet: Sheet) -> Sheet:
    sheet.page.set_viewport_size({"width": PAPER, "height": 720})
    sheet.page.emulate_media(media="print")
    sheet.wait_until_drawn()
    return sheet


@pytest.mark.parametrize("kind", kinds())
def test_nothing_is_cut_off_on_paper(open_page: Opener, page: Callable[[str], Path], kind: str) -> None:
    sheet = on_paper(open_page(page(kind)))
    assert sheet.ask("document.documentElement.scrollWidth") <= PAPER
    right = sheet.ask("[...document.querySelectorAll('table, canvas')].map((it) => it.getBoundingClientRect().right)")
    assert max(right) <= PAPER


@pytest.mark.slow
def test_paper_shows_headings_of_tables_and_legends_and_no_controls(
    open_page: Opener, page: Callable[[str], Path]
) -> None:
    sheet = on_paper(open_page(page("comparison")))
    head = sheet.page.locator("#numbers-0 thead button")
    assert head.count() > 8
    assert all(each.is_visible() for each in head.all())
    assert sheet.page.locator(".legend").first.is_visible()
    for control in (".toolbar button", ".switch", ".sliders", "[data-copy]"):
        assert not any(each.is_visible() for each in sheet.page.locator(control).all()), control


@pytest.mark.parametrize("kind", kinds("sweep"))
def test_a_narrow_page_does_not_scroll_sideways(open_page: Opener, page: Callable[[str], Path], kind: str) -> None:
    assert open_page(page(kind), width=420).ask("document.documentElement.scrollWidth") <= 420


@pytest.mark.slow
def test_a_run_beside_its_prediction_has_no_winner(open_page: Opener, page: Callable[[str], Path]) -> None:
    sheet = open_page(page("run"))
    assert sheet.page.title() == "1f1b – a run against its prediction"
    tiles = sheet.page.locator(".tiles dt").all_inner_texts()
    assert tiles[:3] == ["measured step", "predicted step", "measured against predicted"]
    assert "fastest" not in sheet.text


def test_one_switch_shows_all_schedules(open_page: Opener, page: Callable[[str], Path]) -> None:
    sheet = open_page(page("comparison"))
    rows = sheet.page.locator("#numbers-0 tbody tr")
    folded = sum(not each.is_visible() for each in rows.all())
    assert 0 < folded < rows.count()
    sheet.page.locator('[data-do="all-schedules"]').check()
    sheet.settle()
    assert all(each.is_visible() for each in rows.all())
    assert sheet.ask("location.hash") == "#all"
    assert sheet.page.locator(".unfolded").count() == 1
    assert not sheet.page.locator(".unfolded").is_visible()


def test_the_first_sheet_of_paper_holds_the_verdict(
    open_page: Opener, page: Callable[[str], Path], tmp_path: Path
) -> None:
    """No heading of its first screen begins a new sheet."""
    sheet = on_paper(open_page(page("comparison")))
    breaks = "(it) => getComputedStyle(it).breakBefore"
    assert {each.evaluate(breaks) for each in sheet.page.locator(".opening :is(h2, h3)").all()} == {"auto"}
    assert {each.evaluate(breaks) for each in sheet.page.locator("section > h2:visible").all()} == {"page"}
    box = sheet.page.locator(".opening").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 700
