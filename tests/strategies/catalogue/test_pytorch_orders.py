"""Our orders equal those that PyTorch's schedule classes dump, action for action."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ppopt import evaluate, parse_action
from tests.conftest import DATA
from tests.evaluated import pipeline

FILES = sorted((DATA / "pytorch_orders").glob("*.csv"))
NAME = re.compile(r"(\w+)_p(\d+)_v(\d+)_m(\d+)")


def compute_actions(path: Path) -> list[list[str]]:
    """Return the computations of each rank."""
    rows = [line.split(",") for line in path.read_text().strip().splitlines()]
    return [
        [cell for cell in row if cell and not re.search(r"[A-Z]{3}$", cell.replace("OVERLAP_F_B", ""))] for row in rows
    ]


def test_there_are_files_of_every_class() -> None:
    assert {NAME.match(file.name)[1] for file in FILES} == {
        "1F1B",
        "GPipe",
        "Interleaved1F1B",
        "LoopedBFS",
        "DualPipeV",
        "InterleavedZeroBubble",
        "ZBVZeroBubble",
    }
    assert len(FILES) == 60


@pytest.mark.no_cover
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_orders_equal_pytorchs(file: Path) -> None:
    name, p, v, m = NAME.match(file.name).groups()
    strategy = f"Schedule{name}"
    if name == "Interleaved1F1B":  # PyTorch spreads a remainder over its groups
        strategy += f":group_size={int(m) // max(1, int(m) // int(p))}"
    stages = int(p) * int(v)
    if name in ("Interleaved1F1B", "LoopedBFS", "InterleavedZeroBubble"):  # one stage per device would run as two
        strategy += f"{',' if ':' in strategy else ':'}stages={stages}"
    theirs = compute_actions(file)
    made = evaluate(pipeline(int(p), int(m), stages=stages), strategy)
    assert made.orders == theirs
    assert [[str(parse_action(text)) for text in order] for order in theirs] == theirs
