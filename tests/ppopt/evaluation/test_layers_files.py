"""Commands on configurations with layers and some empty stages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ppopt
from tests.running import call_ppopt

LAYERS = """
devices: 4
microbatches: 8
p2p_latency: 0.1
layers:
  - {name: embedding, forward: 0, backward: 0, static: 3, latest_stage: 0}
  - {name: decoder, count: 6, forward: 2, backward_input: 2, backward_weight: 1, static: 1}
  - {name: head, forward: 1, backward_input: 1, backward_weight: 0, earliest_stage: -1}
memory: {limit: 20}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "model.yaml"
    path.write_text(LAYERS + "layers_per_stage: [1, 4, 0, 3]\n")
    return path


def test_everything_is_drawn_and_written_of_stages_that_take_no_time(config: Path, tmp_path: Path) -> None:
    files = {"--report": "page.html", "--trace": "trace.json", "--save": "timeline.csv"}
    options = [part for option, name in files.items() for part in (option, str(tmp_path / name))]
    made = call_ppopt("evaluate", "1f1b", "zb-h1", "dualpipe", "-c", str(config), "--draw", *options)
    assert made.returncode == 0, made.stderr
    assert "device 2 " + "·" * 71 in made.stdout
    rows = (tmp_path / "timeline.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 4 * 8 + 3 * 4 * 8 + len(ppopt.evaluate(pipeline(config), "dualpipe").rows)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert any(event.get("dur") == 0 for event in events)
    page = (tmp_path / "page.html").read_text()
    assert "1 embedding, 6 decoder, 1 head" in page


def pipeline(config: Path) -> ppopt.Pipeline:
    return ppopt.Pipeline.from_file(config)


def test_an_order_with_empty_stages_is_exported_and_read_again(config: Path, tmp_path: Path) -> None:
    order = tmp_path / "order.csv"
    made = ppopt.optimize(pipeline(config), time_limit=2)
    made.export(order)
    assert ppopt.evaluate(pipeline(config), str(order)).makespan == made.makespan
    checked = call_ppopt("check", str(order), "-c", str(config))
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(("cut", "said"), [("even", "its layers spread evenly"), ("plan", "a quick cut of its own")])
def test_an_open_cut_fits_every_number_of_stages(cut: str, said: str, tmp_path: Path) -> None:
    config = tmp_path / "open.yaml"
    config.write_text(LAYERS)
    made = call_ppopt("evaluate", "1f1b", "dualpipe-v", "-c", str(config), "--cut", cut, "--format", "json")
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    assert [each["stages"] for each in found["schedules"]] == [4, 8]
    assert "layers_per_stage" not in found["pipeline"]
    assert said in made.stderr


@pytest.mark.parametrize("stages", [4, 8])
def test_an_open_cut_is_even_where_the_number_of_stages_is_given(stages: int, tmp_path: Path) -> None:
    config = tmp_path / "open.yaml"
    config.write_text(LAYERS + f"stages: {stages}\n")
    named = f"interleaved:stages={stages}"  # one stage per device would run as two
    made = call_ppopt("evaluate", "1f1b", named, "-c", str(config), "--format", "json")
    assert made.returncode == 0, made.stderr
    assert [each["stages"] for each in json.loads(made.stdout)["schedules"]] == [4, stages]


def test_times_of_stages_are_refused_beside_layers(config: Path) -> None:
    made = call_ppopt("evaluate", "1f1b", "-c", str(config), "--time", "forward=2")
    assert made.returncode == 2
    assert made.stderr == "error: times: cannot be given beside layers, which have their own\n"
