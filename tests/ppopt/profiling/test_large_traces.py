"""Traces are streamed, so memory does not grow with their size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ppopt.profiling.made_traces import span

MEGABYTES = 20

PROGRAM = """
import resource, sys
from ppopt.profiling.read import read_measurement
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(read_measurement(sys.argv[1]).actions) == 4
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def write_large_trace(path: Path, megabytes: int) -> None:
    kernel = json.dumps(span("void at::native::vectorized_elementwise_kernel<4>", 1, 2, "kernel", 7), indent=2)
    ranges = [
        json.dumps(span(f"PP:0{kind}{mb}", 10 * place, 10 * place + 5))
        for mb in (0, 1)
        for place, kind in ((2 * mb, "F"), (2 * mb + 1, "B"))
    ]
    block = ",\n".join([kernel] * 1000)
    with path.open("w") as file:
        file.write('{"schemaVersion": 1, "traceEvents": [\n')
        for part in ranges:
            for _ in range(megabytes * 1_000_000 // 4 // len(block)):
                file.write(block + ",\n")
            file.write(part + ("]}" if part == ranges[-1] else ",\n"))


@pytest.mark.slow
def test_memory_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "rank0.json"
    write_large_trace(path, MEGABYTES)
    assert path.stat().st_size > 0.9e6 * MEGABYTES
    result = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 10  # megabytes beyond the imports
