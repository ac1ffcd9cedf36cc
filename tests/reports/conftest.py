"""One browser for each module, a fresh window for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.reports.browser import Opener, launched, opener

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from launched()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    yield from opener(browser)
