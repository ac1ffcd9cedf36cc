from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("ppopt-*.whl")
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for command in ([tmp_path / "empty" / "bin" / "ppopt"], [python, "-m", "ppopt"]):
        run = subprocess.run(
            [*command, "evaluate", "1f1b"], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
        )
        assert "1f1b" in run.stdout
        assert "33" in run.stdout
    page = tmp_path / "page.html"
    options = ["--no-optimize", "--strategies", "1f1b", "--report", page]
    subprocess.run([python, "-m", "ppopt", "compare", *options], check=True, cwd=tmp_path, env=environment)
    assert "</html>" in page.read_text()
