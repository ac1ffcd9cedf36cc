"""Calibration finds the costs that steps were made with, and accepts no number that chance explains as well."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import ppopt
from ppopt import InputError, Pipeline
from ppopt.calibration.calibrate import explains
from ppopt.calibration.least_squares import Fit
from tests.running import call_ppopt

BASE: dict[str, Any] = {
    "devices": 4,
    "stages": 4,
    "microbatches": 8,
    "times": {"forward": 10, "backward_input": 11, "backward_weight": 9},
    "p2p_latency": 0.3,
}
LAYERS = {
    "devices": 2,
    "microbatches": 4,
    "layers": [
        {"name": "embedding", "forward": 1, "backward": 2},
        {"name": "decoder", "count": 6, "forward": 10, "backward": 21},
    ],
}
ZERO_BUBBLE = {  # the Zero Bubble paper's 1.5B model on A100s: costs and measured steps, in milliseconds
    "devices": 8,
    "stages": 8,
    "microbatches": 24,
    "unit": "ms",
    "times": {"forward": 18.522, "backward_input": 18.086, "backward_weight": 9.337},
    "p2p_latency": 0.601,
    "memory": {"limit": 8},
}
STEPS = {"1f1b": 1525.4, "zb-auto": 1395.3, "interleaved:stages=24": 1374.0}


def made(names: Iterable[str], overhead: float, transfer: float = 0, after: float = 0) -> dict[str, float]:
    """Return the steps of schedules that have these costs."""
    costs = {"latency": 0.3, "transfer": transfer}
    truth = Pipeline.from_mapping({**BASE, "p2p_latency": 0, "communication": costs, "overhead": overhead})
    return {name: ppopt.evaluate(truth, name, engine="graph").makespan + after for name in names}


@pytest.mark.parametrize("name", ["1f1b", "gpipe", "interleaved:stages=8", "zb-h1", "dualpipe-v", "zb-auto"])
@pytest.mark.parametrize("overhead", [0, 0.1234, 3])
def test_one_step_gives_back_the_overhead_that_it_was_made_with(name: str, overhead: float) -> None:
    found = ppopt.calibrate(Pipeline.from_mapping(BASE), made([name], overhead))
    assert found.overhead == pytest.approx(overhead, rel=1e-6, abs=1e-6)
    assert (found.transfer, found.after) == (None, 0)
    assert found.measured[0].predicted == pytest.approx(found.measured[0].measured, rel=1e-7)


@pytest.mark.parametrize(("transfer", "after"), [(0, 0), (0.5, 0), (0, 12)])
def test_three_steps_give_back_two_costs(transfer: float, after: float) -> None:
    found = ppopt.calibrate(Pipeline.from_mapping(BASE), made(["1f1b", "interleaved", "zb-h1"], 0.9, transfer, after))
    assert found.overhead == pytest.approx(0.9, rel=1e-5)
    assert (found.transfer or 0) == pytest.approx(transfer, rel=1e-5)
    assert found.after == pytest.approx(after, rel=1e-5)
    assert found.unexplained < 1e-6
    assert not found.notes


def test_two_steps_that_two_costs_explain_are_said_to_leave_nothing_to_test_them() -> None:
    found = ppopt.calibrate(Pipeline.from_mapping(BASE), made(["1f1b", "interleaved"], 0.9, 0.5))
    assert (found.overhead, found.transfer) == (pytest.approx(0.9), pytest.approx(0.5))
    assert found.notes == (
        "two numbers fit two measurements always: a third would show whether they hold",
        "step.after of 9.375 and an overhead of 0.8375 explain the steps as well",
    )


def test_chance_seldom_passes_for_a_second_cost() -> None:
    rng = np.random.default_rng(0)
    accepted = 0
    for _ in range(400):  # errors of one per cent, whatever the second number would change
        wrong, second = rng.standard_normal((2, 4))
        one, two = (
            Fit((Fraction(1),) * numbers, tuple(wrong - columns @ np.linalg.lstsq(columns, wrong, rcond=None)[0]))
            for numbers, columns in ((1, np.ones((4, 1))), (2, np.column_stack([np.ones(4), second])))
        )
        accepted += explains(one, two)
    assert 8 <= accepted <= 32  # one in twenty


def test_real_steps_of_three_schedules_are_explained_by_an_overhead_alone() -> None:
    found = ppopt.calibrate(Pipeline.from_mapping(ZERO_BUBBLE), STEPS)
    assert 0.8 < found.overhead < 1
    assert (found.transfer, found.after) == (None, 0)
    assert [round(each.before / each.measured - 1, 2) for each in found.measured] == [-0.05, -0.06, -0.1]
    assert found.unexplained < 0.01


@pytest.mark.parametrize(
    "change",
    [
        {"overhead": {"forward": 2, "backward": 3}},
        {"slowdown": {3: 1.08}},
        {"microbatches": 1},
        {"times": {"forward": [9.123456789012345, 10, 11, 12], "backward": [20, 20, 21.3, 22]}},
        {"communication": {"latency": 0.1, "transfer": 0.4}, "p2p_latency": 0, "p2p": "links"},
        {"communication": {"latency": 0.1, "transfer": 0.4}, "p2p_latency": 0, "p2p": "rendezvous"},
        {"communication": {"latency": 0.1, "transfer": 0.4}, "p2p_latency": 0, "p2p": "batched"},
        {"step": {"after": 5}},
        {"devices": 1, "stages": 1},
    ],
)
def test_predictions_are_those_of_evaluate_on_the_pipeline_that_is_returned(change: dict[str, Any]) -> None:
    pipeline = Pipeline.from_mapping({**BASE, **change})
    before = ppopt.evaluate(pipeline.model_copy(update={"step": None, "overhead": None}), "1f1b").makespan
    found = ppopt.calibrate(pipeline, {"1f1b": 1.1 * before + 5})
    without_end = found.pipeline.model_copy(update={"step": None})
    assert found.measured[0].predicted == pytest.approx(ppopt.evaluate(without_end, "1f1b").makespan + found.after)
    assert found.measured[0].predicted == pytest.approx(1.1 * before + 5, rel=1e-7)
    assert found.after == pipeline.after


def test_the_orders_of_zb_auto_are_made_for_each_overhead() -> None:
    pipeline = Pipeline.from_mapping({**ZERO_BUBBLE, "microbatches": 9})
    found = ppopt.calibrate(pipeline, {"zb-auto": 650})
    assert found.measured[0].predicted == ppopt.evaluate(found.pipeline, "zb-auto").makespan
    assert found.measured[0].predicted == pytest.approx(650, rel=1e-3)


@pytest.mark.slow
def test_layers_are_calibrated_in_their_cut_and_without_one() -> None:
    cut = Pipeline.from_mapping({**LAYERS, "layers_per_stage": [4, 3]})
    found = ppopt.calibrate(cut, {"1f1b": 600})
    assert found.pipeline.layers == cut.layers
    assert found.measured[0].predicted == ppopt.evaluate(found.pipeline, "1f1b").makespan == pytest.approx(600)
    assert not found.notes
    open_cut = ppopt.calibrate(Pipeline.from_mapping(LAYERS), {"1f1b": 600, "interleaved": 560})
    assert "the cut of the layers is not given" in open_cut.notes[-1]


def test_a_span_is_measured_where_devices_run_into_the_next_step() -> None:
    pipeline = Pipeline.from_mapping(BASE)
    found = ppopt.calibrate(pipeline, {"zb-h2": 260}, objective="span")
    assert ppopt.evaluate(found.pipeline, "zb-h2").span == pytest.approx(260, rel=1e-7)


WHOLE_STAGES = {"devices": 8, "microbatches": 32, "unit": "ms", "times": {"forward": 29.5, "backward": 34.3}}


@pytest.mark.parametrize(
    ("change", "steps", "said"),
    [
        (
            {"stages": 16},
            {"interleaved": 2881},
            (
                "interleaved: 32 microbatches of 2 × (29.5 + 34.3) are 4083 ms of work for a device; a step of 2881 ms "
                "is impossible: are these times of a whole stage, or is m 16?"
            ),
        ),
        (
            {"stages": 8},
            {"1f1b": 1500},
            (
                "1f1b: 32 microbatches of 29.5 + 34.3 are 2042 ms of work for a device; a step of 1500 ms is "
                "impossible: are the costs those of this run, or is m 16?"
            ),
        ),
        (
            {"stages": 8, "times": {"forward": [1, 2] * 4, "backward": 3}},
            {"1f1b": 159},
            "1f1b: 32 microbatches of 2 + 3 are 160 ms of work for a device; a step of 159 ms is impossible",
        ),
        ({"stages": 16}, {"dualpipe-v": 9}, "dualpipe-v: 32 microbatches"),
        (
            {"stages": 8},
            {"1f1b": 2100},
            "1f1b: even without overhead a step takes 2488.2 ms, 18.49% more than the measured 2100 ms: are the costs",
        ),
        ({"stages": 8, "step": {"after": 99}}, {"1f1b": 2500}, "a step takes 2587.2 ms, 3.49% more than the measured"),
        ({"stages": 8}, {}, "measured: must be a mapping from schedules to times; found {}"),
        ({"stages": 8}, {"1f1bb": 1}, "did you mean 1f1b?"),
        ({"stages": 8}, {"1f1b": "3"}, "measured: '1f1b': must be a number; found '3'"),
        (
            {"stages": 8},
            {"1f1b": 3000, "1F1B": 3000},
            "measured: 1f1b and 1F1B are one schedule; give the median of its steps",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(change: dict[str, Any], steps: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        ppopt.calibrate(Pipeline.from_mapping({**WHOLE_STAGES, **change}), steps)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_step_that_is_too_short_beside_others_is_a_note() -> None:
    found = ppopt.calibrate(Pipeline.from_mapping(ZERO_BUBBLE), {"1f1b": 1440, "zb-auto": 1400})
    assert found.notes == (
        "1f1b: even without overhead a step takes 1456.749 ms, 1.16% more than the measured 1440 ms",
    )


def test_a_time_in_another_unit_is_doubted() -> None:
    found = ppopt.calibrate(Pipeline.from_mapping(BASE), {"1f1b": 330_000})
    assert "is more than an operation takes: is a measured time in another unit" in found.notes[0]


# ---- the command

COSTS = """\
# costs of the 1.5B model
devices: 8
microbatches: 24
unit: ms
times:
  forward: 18.522
  backward_input: 18.086   # I
  backward_weight: 9.337
overhead:
  forward: 0.5
  backward: 0.5

# the network
p2p_latency: 0.601  # a transfer
strategy: 1f1b
"""


def test_the_command_prints_and_writes_what_it_found(tmp_path: Path) -> None:
    costs, output = tmp_path / "costs.yaml", tmp_path / "calibrated.yaml"
    costs.write_text(COSTS)
    ran = call_ppopt("calibrate", "-c", str(costs), "--measured", "1f1b=1.5254s", "-o", str(output))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == (
        "overhead: 1.107 ms before each operation\n"
        "  strategy   measured     before    error  calibrated    error\n"
        "  1f1b         1525.4     1487.7   −2.47%      1525.4    0.00%\n"
        "unexplained: 0.00% on average\n"
        f"costs: {output}\n"
    )
    before, after = COSTS.index("overhead:"), COSTS.index("\n# the network")
    assert output.read_text() == COSTS[:before] + "overhead: 1.107274\n" + COSTS[after:]
    replayed = call_ppopt("evaluate", "-c", str(output), "--format", "json")
    assert json.loads(replayed.stdout)["schedules"][0]["makespan"] == pytest.approx(1525.4, rel=1e-7)


def test_json_has_what_the_documentation_lists(tmp_path: Path) -> None:
    costs = tmp_path / "costs.json"
    costs.write_text(json.dumps({**BASE, "strategy": "1f1b"}))
    steps = made(["1f1b", "interleaved:stages=8", "zb-h1"], 0.9, 0.5)
    measured = [word for name, step in steps.items() for word in ("--measured", f"{name}={step!r}")]
    output = tmp_path / "calibrated.yaml"
    ran = call_ppopt("calibrate", "-c", str(costs), *measured, "-o", str(output), "--format", "json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert list(found) == ["overhead", "transfer", "after", "measured"]
    assert [found["overhead"], found["transfer"], found["after"]] == [pytest.approx(0.9), pytest.approx(0.5), 0]
    assert [list(each) for each in found["measured"]] == [["strategy", "measured", "before", "predicted"]] * 3
    written = yaml.safe_load(output.read_text())
    assert list(written) == ["devices", "stages", "microbatches", "times", "strategy", "overhead", "communication"]
    assert written["communication"] == {"latency": 0.3, "transfer": pytest.approx(0.5)}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("{devices: 4, microbatches: 8, op_times: {forward: 10, backward: 20}}\n", "op_times:\n  forward: 10\n"),
        ("devices: 4\nmicrobatches: 8\ntimes: {forward: 10, backward: 20}", "times: {forward: 10, backward: 20}\n"),
        (
            "num_devices: 4\nnum_batches: 8\nstep: {after: 2}  # Adam\n",
            "num_devices: 4\nnum_batches: 8\nstep: {after: 2",
        ),
    ],
)
def test_the_keys_of_a_configuration_are_kept(text: str, kept: str, tmp_path: Path) -> None:
    costs, output = tmp_path / "costs.yaml", tmp_path / "calibrated.yaml"
    costs.write_text(text)
    ran = call_ppopt("calibrate", "-c", str(costs), "--measured", "1f1b=350", "-o", str(output))
    assert ran.returncode == 0, ran.stderr
    assert kept in output.read_text()
    assert "\noverhead: " in output.read_text()
    assert Pipeline.from_file(output).overhead is not None


def test_options_that_change_the_configuration_are_written_too(tmp_path: Path) -> None:
    costs, output = tmp_path / "costs.yaml", tmp_path / "calibrated.yaml"
    costs.write_text(COSTS)
    ran = call_ppopt("calibrate", "-c", str(costs), "--microbatches", "8", "--measured", "1f1b=800", "-o", str(output))
    assert ran.returncode == 0, ran.stderr
    assert Pipeline.from_file(output).microbatches == 8


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (["1f1b"], "--measured: must be STRATEGY=TIME, such as 1f1b=1525.4; found '1f1b'"),
        (
            ["interleaved:stages=16"],
            "--measured: must be STRATEGY=TIME, such as 1f1b=1525.4; found 'interleaved:stages",
        ),
        (["1f1b=12parsec"], "--measured 1f1b: 'parsec' is not a unit; allowed are s, ms, us"),
        (["1f1b=-3"], "--measured 1f1b: must be greater than 0; found -3"),
        (["1f1b=x"], "--measured 1f1b: 'x' is not a number between 1e-30 and 1e30"),
        (["1f1b=1500", "1f1b=1600"], "--measured: 1f1b is given twice; give the median of its steps"),
        (["1f1bb=1500"], "strategy: '1f1bb' is not known; did you mean 1f1b?"),
        (["1f1b=1000"], "24 microbatches of 18.52 + 27.42 are 1103 ms of work for a device"),
    ],
)
def test_mistakes_on_the_command_line_are_told(measured: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "costs.yaml").write_text(COSTS)
    options = [word for text in measured for word in ("--measured", text)]
    ran = call_ppopt("calibrate", "-c", str(tmp_path / "costs.yaml"), *options)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_file_of_an_order_can_be_measured(tmp_path: Path) -> None:
    pipeline = Pipeline.from_mapping(BASE)
    order = tmp_path / "mine.csv"
    order.write_text("\n".join(",".join(row) for row in ppopt.evaluate(pipeline, "zb-h1").orders) + "\n")
    step = made(["zb-h1"], 0.9)["zb-h1"]
    assert ppopt.calibrate(pipeline, {order: step}).found.overhead == Fraction(9, 10)
    (tmp_path / "costs.json").write_text(json.dumps(BASE))
    ran = call_ppopt(
        "calibrate", "-c", "costs.json", "--measured", f"mine.csv={step}", "--format", "json", cwd=tmp_path
    )
    assert json.loads(ran.stdout)["overhead"] == 0.9


def test_a_unit_of_a_measured_time_is_no_unit_of_the_costs() -> None:
    """Costs in milliseconds, measured 0.4 s: unit: s would be wrong by a factor of a thousand."""
    ran = call_ppopt("calibrate", "--devices", "2", "--microbatches", "4", "--measured", "1f1b=0.4s")
    assert ran.returncode == 2
    assert "the configuration names no unit: add that of its times, such as unit: ms" in ran.stderr
