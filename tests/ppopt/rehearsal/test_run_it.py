"""The code in docs/how-to/run-it.md runs an exported order on real processes."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ppopt
from tests.evaluated import pipeline

DOCUMENT = Path(__file__).parents[3] / "docs" / "how-to" / "run-it.md"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch: pip install 'ppopt[torch]'"
)


def code() -> str:
    return re.search(r"<!-- a test runs this block -->\n```python\n(.*?)```\n", DOCUMENT.read_text(), re.DOTALL)[1]


@pytest.mark.slow
def test_the_documented_code_trains_by_an_exported_order(tmp_path: Path) -> None:
    (tmp_path / "run_order.py").write_text(code())
    found = ppopt.optimize(pipeline(2, 4, memory={"limit": 2}), time_limit=1)
    found.export(str(tmp_path / "order.csv"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*command, "run_order.py", "order.csv"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    losses = [float(text) for text in re.findall(r"step \d: loss ([\d.]+)", result.stdout)]
    assert len(losses) == 3
    assert losses[0] > losses[1] > losses[2]
