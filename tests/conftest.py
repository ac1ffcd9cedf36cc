"""Settings for all tests.

- `make test` runs all tests but `slow` ones, with a fifth of the examples of each property and one case, or a given
  number, of each `exhaustive` family; `make test-slow` runs the rest, with all examples.
- If CI sets PPOPT_NO_SKIP, a skipped test fails: everything that a test needs must be installed.
- Coverage is counted over both. It is not measured in `slow` tests, and only in the first few cases of tests with
  many: it would take two or three times as long and find no further line.
- Before several processes share the tests, all inner loops are compiled once.
- What is loaded when the tests begin stays alive, so the garbage collector skips it and runs less often.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import settings

from tests.compiling import compile_beforehand
from tests.examples import examples

settings.register_profile("any machine", deadline=None, max_examples=examples(100))  # no test asserts a time
settings.load_profile("any machine")

MEASURED_CASES = 4
"""Cases of a test with parameters in which coverage is measured."""

DATA = Path(__file__).parent / "data"


def pytest_sessionstart(session: pytest.Session) -> None:
    if getattr(session.config.option, "numprocesses", None) and not session.config.option.collectonly:
        compile_beforehand()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


@pytest.hookimpl(tryfirst=True)  # before cases are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for _, family in groupby(items, key=lambda item: item.nodeid.partition("[")[0]):
        cases = list(family)
        for place, item in enumerate(cases):
            if place >= MEASURED_CASES or item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.no_cover)
        mark = cases[0].get_closest_marker("exhaustive")
        if mark is not None:
            kept = spread(len(cases), *mark.args)
            for place, item in enumerate(cases):
                if place not in kept:
                    item.add_marker(pytest.mark.slow)


def spread(cases: int, number: int = 1) -> set[int]:
    """Choose some cases, from the first to the last."""
    return {place * (cases - 1) // max(1, number - 1) for place in range(number)}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("PPOPT_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where nothing may be: {report.longrepr}"


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA
