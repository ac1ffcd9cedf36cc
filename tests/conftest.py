"""Settings for all tests.

- `make test` runs all tests but `slow` ones, with a fifth of the examples of each property and the first case of each
  `exhaustive` family; `make test-slow` runs the rest, with all examples.
- If CI sets PPOPT_NO_SKIP, a skipped test fails: everything that a test needs must be installed.
- Coverage is counted over both. It is not measured in `slow` tests, and only in the first few cases of tests with
  many: it would take two or three times as long and find no further line.
- Before several processes share the tests, all inner loops are compiled once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
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


@pytest.hookimpl(tryfirst=True)  # before cases are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    cases = Counter[str]()
    for item in items:
        test = item.nodeid.partition("[")[0]
        cases[test] += 1
        if cases[test] > MEASURED_CASES or item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.no_cover)
        if cases[test] > 1 and item.get_closest_marker("exhaustive"):
            item.add_marker(pytest.mark.slow)


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
