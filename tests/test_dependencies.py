"""Every dependency has its line in docs/development/dependencies.md: what for, how large, what instead."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

from tests.test_rooms import ROOT

PAGE = next((ROOT / "docs").rglob("dependencies.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> list[str]:
    return [re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in requirements]


def rows(heading: str) -> Iterator[list[str]]:
    """Read the cells of the table below a heading."""
    section = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(heading))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_each_dependency_has_its_line() -> None:
    listed = list(rows("Core"))
    assert sorted(cells[0].strip("`") for cells in listed) == sorted(names(PROJECT["dependencies"]))
    for _, purpose, own, leaves, instead in listed:
        assert purpose
        assert instead
        assert float(own) > 0
        assert float(leaves) >= 0


def test_each_package_of_an_extra_has_its_line() -> None:
    listed = [
        (extra.strip("`"), name, more)
        for extra, members, *more in rows("Extras")
        for name in re.findall(r"`([^`]+)`", members)
    ]
    wanted = [(extra, name) for extra, members in PROJECT["optional-dependencies"].items() for name in names(members)]
    assert sorted((extra, name) for extra, name, _ in listed) == sorted(wanted)
    assert all(purpose and float(adds) > 0 for _, _, (purpose, adds, _) in listed)


def test_the_largest_come_first() -> None:
    sizes = [max(float(cells[2]), float(cells[3])) for cells in rows("Core")]
    assert sizes == sorted(sizes, reverse=True)
