"""Seeds have one range in all commands, in Python and in a grid, and every seed in it works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import ppopt
from ppopt import InputError, Pipeline
from ppopt.commands.cli import cli

SMALL = {"devices": 2, "microbatches": 4, "memory": {"limit": 2}}
LAYERS = {
    "devices": 2,
    "microbatches": 4,
    "layers": [{"name": "block", "count": 5, "forward": 1, "backward": 2}],
}
LARGEST = 2**31 - 1

COMMANDS = {
    "evaluate": ["evaluate", "1f1b", "--noise", "0.1", "--samples", "4"],
    "compare": ["compare", "--strategies", "1f1b,zb1p", "--noise", "0.1", "--samples", "4", "--time-limit", "0.5"],
    "optimize": ["optimize", "--placement", "v", "--time-limit", "0.3"],
    "frontier": ["frontier", "--placement", "linear", "--points", "2", "--time-limit", "2", "--workers", "1"],
    "plan": ["plan", "--free", "--time-limit", "1"],
}

PYTHON: dict[str, Callable[[Pipeline, int], object]] = {
    "noise": lambda _, seed: ppopt.Noise(operation=0.1, seed=seed),
    "compare": lambda model, seed: ppopt.compare(model, ["1f1b"], time_limit=0.2, seed=seed),
    "optimize": lambda model, seed: ppopt.optimize(model, time_limit=0.2, seed=seed),
    "frontier": lambda model, seed: ppopt.frontier(model, time_limit=0.2, seed=seed),
    "plan": lambda _, seed: ppopt.plan(Pipeline.from_mapping(LAYERS), ["1f1b"], time_limit=0.2, seed=seed),
    "sweep": lambda _, seed: ppopt.sweep({"base": SMALL, "axes": {"p2p_latency": [0]}, "run": "1f1b", "seed": seed}),
}


@pytest.mark.parametrize("seed", [-1, 2**31, 10**400])
@pytest.mark.parametrize("name", PYTHON)
def test_other_seeds_are_refused_in_one_line(name: str, seed: int) -> None:
    with pytest.raises(InputError, match=r"^seed: must be a whole number from 0 to 2147483647; found .{1,60}$"):
        PYTHON[name](Pipeline.from_mapping(SMALL), seed)


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_take_every_seed_in_the_range_and_no_other(name: str, tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(yaml.safe_dump(LAYERS if name == "plan" else SMALL))
    command = [*COMMANDS[name], "-c", str(file), "--format", "json", "--seed"]
    for seed in (-1, 2**31):
        refused = CliRunner().invoke(cli, [*command, str(seed)], catch_exceptions=False)
        assert refused.exit_code == 2
        assert f"Invalid value for '--seed': {seed} is not in the range 0<=x<=2147483647." in refused.stderr
    taken = CliRunner().invoke(cli, [*command, str(LARGEST)], catch_exceptions=False)
    assert taken.exit_code == 0, taken.stderr
    assert json.loads(taken.stdout)
