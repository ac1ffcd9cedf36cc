from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def required_by(requirements: list[str]) -> Iterator[importlib.metadata.Distribution]:
    """Yield the distributions of these requirements and of their own, recursively, each once."""
    pending, seen = [(text, "") for text in requirements], set[tuple[str, str]]()
    while pending:
        text, extra = pending.pop()
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
            continue
        found = importlib.metadata.distribution(needed.name)
        assert needed.specifier.contains(found.version, prereleases=True), text
        for chosen in ("", *needed.extras):
            if (canonicalize_name(needed.name), chosen) not in seen:
                seen.add((canonicalize_name(needed.name), chosen))
                pending += [(each, chosen) for each in found.requires or []]
                yield found


def link_into(site: Path, found: importlib.metadata.Distribution) -> None:
    """Make one distribution that is installed here visible in an environment, and nothing else."""
    for name in {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}:
        here = Path(str(found.locate_file(name)))
        if here.exists() and not (site / name).exists():
            (site / name).symlink_to(here)


@pytest.mark.slow
def test_the_wheel_works_with_what_it_requires_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("ppopt-*.whl")
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        wheel,
    ]
    subprocess.run(install, check=True)
    (site,) = (tmp_path / "empty" / "lib").glob("python3*/site-packages")
    (metadata,) = site.glob("ppopt-*.dist-info")
    for found in required_by(importlib.metadata.Distribution.at(metadata).requires or []):
        link_into(site, found)
    assert not (site / "pytest").exists()

    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for command in ([tmp_path / "empty" / "bin" / "ppopt"], [python, "-m", "ppopt"]):
        run = subprocess.run(
            [*command, "evaluate", "1f1b"], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
        )
        assert "1f1b" in run.stdout
        assert "33" in run.stdout
    listed = subprocess.run(
        [python, "-m", "ppopt", "atlas"], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert "of 640 cells are proven" in listed.stdout
    page = tmp_path / "page.html"
    options = ["--time-limit", "0", "--strategies", "1f1b", "--report", page]
    subprocess.run([python, "-m", "ppopt", "compare", *options], check=True, cwd=tmp_path, env=environment)
    assert "</html>" in page.read_text()
