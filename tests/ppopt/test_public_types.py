"""A user's script is type-checked against the public names, strictly and without our plugins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = '''
from collections.abc import Iterator
from typing import Any, assert_type

import altair as alt
import pandas as pd

import ppopt
from ppopt import B, F, Pipeline, Step, Strategy, strategy

pipeline = Pipeline.from_mapping({"devices": 4, "microbatches": 8})
assert_type(pipeline, Pipeline)
assert_type(Pipeline.from_file("costs.yaml"), Pipeline)


@strategy("mine", placement="linear")
def mine(pipeline: Pipeline, device: int, *, depth: int = 1) -> Iterator[Step]:
    """Forwards, then backwards."""
    yield from F * pipeline.microbatches + B * pipeline.microbatches


assert_type(mine, Strategy)

schedule = ppopt.evaluate(pipeline, "interleaved", group_size=4)
assert_type(schedule, ppopt.Schedule)
assert_type(schedule.makespan, float)
assert_type(schedule.peak_memory, tuple[float, ...])
assert_type(schedule.bound, float | None)
assert_type(schedule.figures, ppopt.Figures)
assert_type(schedule.timeline, pd.DataFrame)
assert_type(schedule.to_dict(), dict[str, Any])
assert_type(schedule.problem, ppopt.Problem)
assert_type(ppopt.violations(schedule.problem, schedule.rows), list[ppopt.Violation])
assert_type(ppopt.evaluate_all(pipeline, ["1f1b", "zb-h1"]), list[ppopt.Schedule])

best = ppopt.optimize(pipeline, placement="v", time_limit=1, starts=[schedule])
assert_type(best, ppopt.Schedule)
assert_type(ppopt.frontier(pipeline, limits=[2, 4.5], time_limit=0), ppopt.Frontier)
comparison = ppopt.compare(pipeline, ["1f1b"], baseline="1f1b", optimize=False)
assert_type(comparison, ppopt.Comparison)
assert_type(comparison.winner, ppopt.Schedule | None)
assert_type(ppopt.timeline_chart(schedule), alt.LayerChart | alt.Chart)
assert_type(ppopt.strategies(), list[dict[str, Any]])
assert_type(ppopt.profile(["traces"]), ppopt.Profile)

ppopt.evaluate(pipeline, 1)  # refused
ppopt.evaluate("1f1b")  # refused
schedule.makespann  # refused
ppopt.bubble_chart(3)  # refused
'''


@pytest.mark.slow
def test_a_users_script_is_type_checked(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    unseen = "networkx.*,ortools.*,numba.*,torch.*,dask.*,distributed.*,joblib.*,jinja2.*,click.*,ijson.*,highspy.*"
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\nfollow_imports = silent\n[mypy-pandas.*]\nignore_missing_imports = true\n"
        f"[mypy-{unseen}]\nfollow_imports = skip\n"  # no public name has a type from them
    )
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache" / "script"), "script.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
    )
    wrong = [line for line in run.stdout.splitlines() if line.startswith("script.py:")]
    refused = [at for at, line in enumerate(SCRIPT.splitlines(), 1) if line.endswith("# refused")]
    assert sorted({int(line.split(":")[1]) for line in wrong}) == refused, run.stdout + run.stderr
