"""Workflows and templates of the code host: they parse, call what exists, and may do no more than they need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.test_rooms import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TARGETS = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read(name: str) -> dict[str, Any]:
    found = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
    assert isinstance(found, dict)
    return found


def steps_of(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def targets_in(command: str) -> set[str]:
    words = [part.split()[1:] for part in re.split(r"\n|&&|;", command) if part.split()[:1] == ["make"]]
    return {word for line in words for word in line if "=" not in word and not word.startswith("-")}


NAMES = [path.stem for path in WORKFLOWS]


def test_all_are_there() -> None:
    assert NAMES == ["docs", "release", "tests"]
    called = {name: set().union(*(targets_in(step.get("run", "")) for step in steps_of(read(name)))) for name in NAMES}
    assert called == {"docs": {"docs"}, "release": {"dist"}, "tests": {"test", "test-slow"}}
    assert "bash .ci/run" in [step.get("run") for step in steps_of(read("tests"))]


def test_what_they_call_exists() -> None:
    scripts = "\n".join(step.get("run", "") for name in NAMES for step in steps_of(read(name)))
    assert targets_in(scripts) <= TARGETS
    assert all((ROOT / name).exists() for name in re.findall(r"bash (\S+)", scripts))
    assert all((ROOT / name).exists() for name in re.findall(r"PYTEST_ARGS=(\S+)", scripts))


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_and_permissions_are_least(name: str) -> None:
    workflow = read(name)
    assert workflow["permissions"] == {"contents": "read"}
    for job, content in workflow["jobs"].items():
        assert content["timeout-minutes"] <= 120
        is_publisher = (name, job) == ("release", "publish")
        assert content.get("permissions") == ({"id-token": "write"} if is_publisher else None)
    used = [step["uses"] for step in steps_of(workflow) if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+|[0-9a-f]{40})", each) for each in used), used


def test_the_matrix_is_every_python_that_is_promised() -> None:
    promised = re.findall(r":: Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert read("tests")["jobs"]["test"]["strategy"]["matrix"]["python"] == promised
    (several,) = (step for step in read("tests")["jobs"]["release"]["steps"] if "setup-python" in step.get("uses", ""))
    assert several["with"]["python-version"].split() == promised


def test_only_a_tag_publishes() -> None:
    workflow = read("release")
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads the key `on` as a truth value
    assert workflow["jobs"]["publish"]["needs"] == "build"


@pytest.mark.parametrize("path", [*WORKFLOWS, *TEMPLATES], ids=lambda path: path.stem)
def test_no_host_is_named(path: Any) -> None:
    assert not re.search(r"https?://|\.(?:org|com|io)\b", path.read_text())


def test_templates_of_faults_ask_for_the_doctor() -> None:
    forms = {path.stem: yaml.safe_load(path.read_text()) for path in TEMPLATES if path.stem != "config"}
    assert set(forms) == {"bug", "new_schedule", "wrong_figure"}
    for name, form in forms.items():
        labels = [part["attributes"]["label"] for part in form["body"] if "label" in part["attributes"]]
        required = [part for part in form["body"] if part.get("validations", {}).get("required")]
        assert required
        assert ("Output of `ppopt doctor`" in labels) == (name != "new_schedule")
