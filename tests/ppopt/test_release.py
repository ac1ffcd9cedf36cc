"""What is published: the wheel and the source archive, on every Python that they are for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

import ppopt
from tests.test_rooms import ROOMS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]


def python_of(version: str) -> Path | None:
    """Find a Python of this version that can make environments: not a shim of pyenv, nor Debian's without ensurepip."""
    managed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    found = managed[-1] if managed else shutil.which(f"python{version}")
    if found is None or ".pyenv/shims" in str(found):
        return None
    asked = subprocess.run([found, "-c", "import ensurepip"], capture_output=True, check=False)
    return None if asked.returncode else Path(found)


FOUND = {version: path for version in PYTHONS if (path := python_of(version))}
"""The Pythons on this machine for which ppopt is released."""


class Archives(NamedTuple):
    """The archives of a release; ``direct`` is the wheel built from the repository, not from the source archive."""

    wheel: Path
    source: Path
    direct: Path


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    both, direct = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("direct")
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1760000000"}
    for options in (["--outdir", both], ["--wheel", "--outdir", direct]):
        build = [sys.executable, "-m", "build", *options, ROOT]
        subprocess.run(build, check=True, capture_output=True, env=environment)
    (wheel,), (source,), (other,) = both.glob("*.whl"), both.glob("*.tar.gz"), direct.glob("*.whl")
    return Archives(wheel, source, other)


def packaged(folder: Path) -> Iterator[str]:
    """Name the files of a package that are no product of running it."""
    for file in folder.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file.relative_to(ROOT).as_posix()


def test_the_version_is_the_same_everywhere() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    heading = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading is not None
    assert (cited["version"], cited["date-released"]) == (heading[1], heading[2]) == (ppopt.__version__, heading[2])


@pytest.mark.slow
def test_the_index_would_take_both(archives: Archives) -> None:
    pytest.importorskip("twine")
    check = [sys.executable, "-m", "twine", "check", "--strict", archives.wheel, archives.source]
    run = subprocess.run(check, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("PASSED") == 2


@pytest.mark.slow
def test_the_wheel_has_the_rooms_and_nothing_else(archives: Archives) -> None:
    with zipfile.ZipFile(archives.wheel) as file:
        names = {name for name in file.namelist() if not name.startswith(f"ppopt-{ppopt.__version__}.dist-info/")}
    assert names == {name for room in ROOMS for name in packaged(ROOT / room)}
    assert {f"{room}/py.typed" for room in ROOMS} <= names
    assert {Path(name).suffix for name in names} >= {".py", ".j2", ".js", ".css"}
    assert not [name for name in names if "test" in name.split("/")[0]]


def contents(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as file:
        return {each.filename: each.CRC for each in file.infolist()}


@pytest.mark.slow
def test_the_source_archive_makes_the_same_wheel(archives: Archives) -> None:
    assert contents(archives.wheel) == contents(archives.direct)


@pytest.mark.slow
def test_the_source_archive_has_what_its_tests_need(archives: Archives) -> None:
    with tarfile.open(archives.source) as file:
        names = {each.name.partition("/")[2] for each in file.getmembers() if each.isfile()}
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = {name for name in listed if (ROOT / name).exists()}
    assert wanted - names <= {".pre-commit-config.yaml"}
    assert names - wanted == {"PKG-INFO"}


@pytest.mark.slow
@pytest.mark.parametrize("version", FOUND)
def test_the_wheel_runs_in_an_empty_environment(version: str, archives: Archives, tmp_path: Path) -> None:
    subprocess.run([FOUND[version], "-m", "venv", tmp_path / "empty"], check=True)
    python, command = tmp_path / "empty" / "bin" / "python", tmp_path / "empty" / "bin" / "ppopt"
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", archives.wheel]
    subprocess.run(install, check=True, capture_output=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            arguments, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(python, "-c", "import ppopt; print(all(hasattr(ppopt, name) for name in ppopt.__all__))") == "True\n"
    assert run(command, "--version") == f"ppopt, version {ppopt.__version__}\n"
    doctor = run(command, "doctor")
    assert f" {version}." in doctor
    assert "MISSING" not in doctor
    assert "[torch]" in doctor
    demo = ["-c", ROOT / "examples" / "measured-1.5b.yaml", "--time-limit", "3", "--report", "page.html"]
    assert "1f1b" in run(command, "compare", *demo)
    assert "</html>" in (tmp_path / "page.html").read_text()
    shutil.rmtree(tmp_path / "empty")  # half a gigabyte
