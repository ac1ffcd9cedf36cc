"""Times ``ppopt --help`` and a usage error against importing click alone."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.timing import compare, median_seconds


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)


click_alone = median_seconds(lambda: run("-c", "import click"), runs=15)
for arguments in (("--help",), ("evaluate", "--nope"), ("evaluate", "--help")):
    ours = median_seconds(lambda arguments=arguments: run("-m", "ppopt", *arguments), runs=15)
    compare(f"ppopt {' '.join(arguments)}", ours, click_alone, "import click")
