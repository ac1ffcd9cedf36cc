"""Report pages: the time to build one beyond evaluating, its size, and the time until a browser has drawn it.

The last of these needs playwright and Chromium.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import ppopt
from ppopt.commands.pages import write_report
from ppopt.comparison.ranking import comparison_of

EIGHT = ["1f1b", "gpipe", "zb1p", "zb-h1", "zb-h2", "interleaved", "dualpipe", "dualpipe-v"]
TIMES = {"forward": 18.5, "backward_input": 18.1, "backward_weight": 9.3}


def model(devices: int, microbatches: int) -> ppopt.Pipeline:
    mapping = {"devices": devices, "microbatches": microbatches, "times": TIMES, "p2p_latency": 0.6}
    return ppopt.Pipeline.from_mapping(mapping)


def seconds_until_drawn(page: Path, times: int = 5) -> float | None:
    """Open a page several times; return the median of the seconds from its start until all charts are drawn."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if chromium is None:
        return None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        seen = []
        for _ in range(times):
            context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
            tab = context.new_page()
            tab.goto(page.as_uri())
            tab.wait_for_function("document.documentElement.dataset.drawn", timeout=120_000)
            seen.append(int(tab.evaluate("document.documentElement.dataset.drawn")) / 1000)
            context.close()
        browser.close()
    return statistics.median(seen)


def main() -> None:
    cases = [
        ("8 schedules, p=8 m=32", 8, 32, EIGHT),
        ("all schedules, p=8 m=32", 8, 32, [each["name"] for each in ppopt.strategies()]),
        ("3 timelines of 19,200", 16, 400, ["zb1p", "zb-h1", "zb-h2"]),
        ("1 schedule of 196,608", 64, 1024, ["zb1p"]),
    ]
    print(f"{'page':24} {'ops':>8} {'evaluate s':>10} {'build s':>8} {'MB':>6} {'drawn s':>8}")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        costs = model(2, 2)  # fill the cache and load libraries
        write_report(str(page), [comparison_of(costs, [ppopt.evaluate(costs, "1f1b")])], ["warm"], ["ppopt"])
        for title, devices, microbatches, names in cases:
            started = perf_counter()
            costs = model(devices, microbatches)
            schedules = ppopt.evaluate_all(costs, names, "graph")
            evaluated = perf_counter()
            comparison = comparison_of(costs, schedules)
            write_report(str(page), [comparison], [title], ["ppopt", "compare"])
            built = perf_counter()
            ops = sum(len(each.rows) for each in comparison.schedules)
            drawn = seconds_until_drawn(page)
            size = page.stat().st_size / 1e6
            print(
                f"{title:24} {ops:8,} {evaluated - started:10.2f} {built - evaluated:8.2f} {size:6.2f} "
                f"{'no browser' if drawn is None else format(drawn, '8.2f')}",
                file=sys.stdout,
                flush=True,
            )


if __name__ == "__main__":
    main()
