"""What holds for all tests.

- Where CI sets PPOPT_NO_SKIP, a skipped test fails: everything a test needs must have been installed.
- Coverage is not measured in slow tests.
- Before several processes share the tests, all inner loops are compiled, once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.compiling import compile_beforehand

settings.register_profile("any machine", deadline=None)  # no test asserts a time
settings.load_profile("any machine")

DATA = Path(__file__).parent / "data"


def pytest_sessionstart(session: pytest.Session) -> None:
    if getattr(session.config.option, "numprocesses", None) and not session.config.option.collectonly:
        compile_beforehand()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.no_cover)


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
