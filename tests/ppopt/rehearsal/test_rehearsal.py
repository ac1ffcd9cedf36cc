"""Rehearsals on real processes. Times are asserted only as far as a busy machine keeps them; gradients are exact."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt.process.cores import usable_cores
from ppopt.profiling.measurement import MeasuredAction
from ppopt.rehearsal.calibration import calibrate, calibrated_pipeline
from ppopt.rehearsal.crew import Crew
from ppopt.rehearsal.prediction import predict, with_first_stage_input_backward
from ppopt.rehearsal.rehearsing import Options, Plan
from ppopt.schedules.replaying import replay_orders
from strategies.model.actions import Op
from strategies.model.placements import make_placement
from tests.running import allow_ctrl_c, call_ppopt, run_ppopt

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: pip install 'ppopt[torch]'"
)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, which only Linux has")

TIMES = {"forward": 8, "backward_input": 10, "backward_weight": 6}
NAMES = ("gpipe", "1f1b", "interleaved", "looped-bfs", "zb1p", "zb-h1", "dualpipe-v")
ON_FOUR = (
    *("eager-1f1b", "zb-auto", "zb-interleaved", "interleaved-group", "zb-v", "zb-v-auto", "v-half", "v-half-primus"),
    *("v-min", "v-min-primus", "1f1b-v", "hanayo:waves=2"),
)
SEARCHED = {"linear under a cap": ("linear", 3), "v": ("v", 8), "interleaved, searched": ("interleaved", 8)}


def pipeline(devices: int, microbatches: int = 8, **more: Any) -> ppopt.Pipeline:
    return ppopt.Pipeline.from_mapping({"devices": devices, "microbatches": microbatches, "times": TIMES, **more})


def searched(devices: int, placement: str, limit: int) -> ppopt.Schedule:
    model = pipeline(devices, memory={"limit": limit})
    return ppopt.optimize(model, placement=placement, time_limit=1, workers=1)


@pytest.fixture(scope="module")
def made() -> dict[tuple[int, str], ppopt.Rehearsal]:
    found: dict[tuple[int, str], ppopt.Rehearsal] = {}
    for devices, names, more in ((2, NAMES, {}), (4, (*NAMES, *ON_FOUR), SEARCHED)):
        schedules = [*names, *(searched(devices, *how) for how in more.values())]
        rehearsed = ppopt.rehearse_all(pipeline(devices), schedules, steps=2)
        found.update({(devices, name): each for name, each in zip((*names, *more), rehearsed, strict=True)})
    return found


CASES = [(devices, name) for devices in (2, 4) for name in NAMES] + [(4, name) for name in (*ON_FOUR, *SEARCHED)]


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize(("devices", "name"), CASES)
def test_a_schedule_runs_as_predicted(made: dict[tuple[int, str], ppopt.Rehearsal], devices: int, name: str) -> None:
    one = made[devices, name]
    assert one.gradient_difference < 1e-6
    assert one.peak_activations["measured"] == one.peak_activations["predicted"]
    assert len(one.measured) == 2
    ops = len(one.predicted_nominal.rows)
    assert len({action[:5] for action in one.measurement.actions}) == len(one.measurement.actions) == 2 * ops
    assert {row.task: row.device for row in one.predicted_nominal.rows} == {
        Op(each.stage, each.kind, each.microbatch): each.device for each in one.measurement.actions
    }
    assert -0.9 < one.errors["nominal"] < 0.01
    assert -0.9 < one.errors["calibrated"] < 1.0


@pytest.mark.parametrize(
    ("cores", "told"), [(1, "1 core for 4 processes: "), (2, "2 cores for 4 processes: "), (4, "")]
)
def test_more_processes_than_cores_are_told(cores: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppopt.rehearsal.rehearsing.usable_cores", lambda: cores)
    notes = [note for note in Plan(pipeline(4), "1f1b", Options(1, "ms", None, None)).notes if "cores" in note]
    assert [note.partition(": ")[0] + ": " for note in notes] == ([told] if told else [])
    assert all("waits will be measured instead of schedules" in note for note in notes)
    assert usable_cores() >= 1


@needs_torch
@pytest.mark.slow
def test_each_kind_takes_its_own_time(made: dict[tuple[int, str], ppopt.Rehearsal]) -> None:
    wanted = {"F": 8, "I": 10, "W": 6}
    actions = made[2, "zb-h1"].measurement.actions
    first_inputs = [each for each in actions if each.stage == 0 and each.kind == "I"]
    assert min(each.end - each.start for each in first_inputs) < 5  # a busy machine may delay some of them
    for each in actions:
        lasted = each.end - each.start
        if each not in first_inputs:
            assert lasted >= (16 if each.stage == 0 and each.kind == "W" else wanted[each.kind])
    assert all(each.end - each.start >= 16 for each in made[2, "1f1b"].measurement.actions if each.kind == "B")


@needs_torch
@pytest.mark.slow
def test_everything_can_be_written_as_json(made: dict[tuple[int, str], ppopt.Rehearsal]) -> None:
    written = json.loads(json.dumps(made[2, "1f1b"].to_dict(), allow_nan=False))
    assert written["format"] == "ppopt-rehearsal-1"
    measurement = written["measurement"]
    assert {"devices", "stages", "microbatches", "actions", "skipped", "offsets", "notes"} == measurement.keys()
    assert [MeasuredAction(*row) for row in measurement["actions"]] == list(made[2, "1f1b"].measurement.actions)


@needs_torch
@pytest.mark.slow
def test_the_command_keeps_torch_out_of_its_own_process(tmp_path: Path) -> None:
    costs = tmp_path / "costs.json"
    costs.write_text(json.dumps({"devices": 2, "microbatches": 4, "times": TIMES, "p2p_latency": 5}))
    saved, traces = tmp_path / "made.json", tmp_path / "traces"
    arguments = [
        "rehearse",
        "zb-h1",
        "-c",
        str(costs),
        "--steps",
        "1",
        "--save",
        str(saved),
        "--trace-dir",
        str(traces),
    ]
    program = (
        "import sys\nfrom ppopt.commands.cli import cli\n"
        f"try: cli.main({arguments!r})\nexcept SystemExit as end: assert not end.code\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "False"
    assert "gradients: differ from a single process by" in result.stdout
    written = json.loads(saved.read_text())
    assert 4 < written["calibrated"]["p2p_latency"] < 100  # at least the requested latency, on any machine
    trace = json.loads((traces / "rank1.json").read_text())
    assert trace["distributedInfo"]["rank"] == 1
    names = [str(event.get("name")) for event in trace["traceEvents"] if event.get("cat") == "user_annotation"]
    assert names.count("PP:1I0") == 1


@needs_torch
@pytest.mark.slow
def test_losses_in_another_order_are_renumbered_and_wrong_gradients_are_seen() -> None:
    model = pipeline(2, 2)
    orders = [[Op(stage, kind, microbatch) for kind in "FIW" for microbatch in (1, 0)] for stage in range(2)]
    schedule = replay_orders("backwards", model.with_stages(2), make_placement("linear", 2, 2, 2), orders, "graph")
    plan = Plan(model, schedule, Options(1, "ms", None, None))
    with Crew(2) as crew:
        right = plan.run(crew, None)
        assert right.gradient_difference < 1e-6
        assert [each.microbatch for each in right.steps[0] if each.stage == 1 and each.kind == "F"] == [1, 0]
        job = plan.job(crew.folder, None)
        text = "\n".join(",".join(map(str, order)) for order in orders) + "\n"
        (crew.folder / "order.csv").write_text(text)
        wrong = crew.run(job, 60)
    assert max(answer["gradient_difference"] for answer in wrong) > 1e-3


@needs_torch
@pytest.mark.slow
def test_a_file_settles_the_sizes(tmp_path: Path) -> None:
    ppopt.evaluate(pipeline(2, 3), "zb-h1").export(tmp_path / "order.csv")
    times = [part for kind, time in TIMES.items() for part in ("--time", f"{kind}={time}")]
    result = run_ppopt("rehearse", str(tmp_path / "order.csv"), *times, "--steps", "1", "--format", "json")
    assert result.returncode == 0, result.stderr
    written = json.loads(result.stdout)
    assert (written["measurement"]["devices"], written["measurement"]["microbatches"]) == (2, 3)
    assert written["gradient_difference"] < 1e-6


@needs_torch
@pytest.mark.slow
def test_ranks_that_hang_say_where() -> None:
    plan = Plan(pipeline(2, 2), "1f1b", Options(1, "ms", None, None))
    with Crew(2) as crew:
        plan.run(crew, None)
        forever = plan.job(crew.folder, None)
        forever["durations"][0]["F"] = 10**15
        with pytest.raises(ppopt.RehearsalError, match="not finished after 1 s") as caught:
            crew.run(forever, 1)
    assert "rank 0 runs 0F0" in str(caught.value)
    assert "rank 1 waits for another rank" in str(caught.value)


@needs_torch
@pytest.mark.slow
def test_a_rank_that_fails_is_quoted() -> None:
    plan = Plan(pipeline(2, 2), "1f1b", Options(1, "ms", None, None))
    with Crew(2) as crew:
        job = plan.job(crew.folder, None) | {"order": str(crew.folder / "nothing.csv")}
        with pytest.raises(ppopt.RehearsalError, match=r"rank [01]: FileNotFoundError.*nothing.csv"):
            crew.run(job, 60)


class Running:
    """``ppopt rehearse`` in its own process, with its workers."""

    def __init__(self, folder: Path, *more: str) -> None:
        options = ["--devices", "2", "--microbatches", "100", "--time", "forward=50", "--time", "backward=50", *more]
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ppopt", "rehearse", "1f1b", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(folder)},
            preexec_fn=allow_ctrl_c,
        )
        eventually(lambda: len(self.children()) == 2)
        self.workers = self.children()

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [pid for pid in map(int, listed.split()) if b"ppopt.rehearsal.worker" in command_of(pid)]

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=300)
        eventually(lambda: not any(command_of(pid) for pid in self.workers))
        eventually(lambda: not list(self.folder.iterdir()))
        return self.process.returncode, errors


def command_of(pid: int) -> bytes:
    """Return the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def eventually(true: Callable[[], bool], seconds: float = 120) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(*more: str) -> Running:
        started.append(Running(tmp_path, *more))
        return started[-1]

    yield begin
    for running in started:
        running.process.kill()


@needs_torch
@on_linux
def test_a_worker_that_is_killed_ends_the_rehearsal(start: Callable[..., Running]) -> None:
    running = start()
    os.kill(running.workers[1], signal.SIGKILL)
    status, errors = running.end()
    assert status == 1
    assert "error: rank 1 was killed by SIGKILL before the rehearsal was over" in errors
    assert "Traceback" not in errors


@needs_torch
@on_linux
def test_ctrl_c_leaves_nothing_behind(start: Callable[..., Running]) -> None:
    running = start()
    time.sleep(0.3)
    running.process.send_signal(signal.SIGINT)
    status, errors = running.end()
    assert status == 1
    assert "Aborted" in errors
    assert "Traceback" not in errors


@needs_torch
@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 6])  # while the workers start, and while they run
def test_a_command_that_is_killed_leaves_nothing_behind(start: Callable[..., Running], seconds: float) -> None:
    running = start()
    time.sleep(seconds)
    running.process.kill()
    status, _ = running.end()
    assert status == -signal.SIGKILL


@needs_torch
@on_linux
@pytest.mark.slow
def test_a_time_out_ends_even_a_worker_that_is_stopped(start: Callable[..., Running]) -> None:
    running = start("--timeout", "1.5")
    os.kill(running.workers[1], signal.SIGSTOP)
    status, errors = running.end()
    assert status == 1
    assert "error: not finished after 1.5 s (see --timeout)\n" in errors
    assert "error: rank 1 does not answer" in errors


def test_without_torch_the_command_says_how_to_get_it() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; from ppopt.commands.cli import main\n"
        "sys.argv[1:] = ['rehearse', '1f1b']; main()"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    expected = "error: PyTorch is not installed, and a rehearsal runs on it: pip install 'ppopt[torch]'"
    assert result.stderr.splitlines() == [expected]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dualpipe"], "dualpipe: is bidirectional, with two copies of each stage; PyTorch's runtime has one device"),
        (["1f1b", "--steps", "0"], "steps: must be a whole number of at least 1; found 0"),
        (["1f1b", "--timeout", "0"], "timeout: must be a number of seconds greater than 0; found 0"),
        (["1f1b", "--devices", "4", "--processes", "2"], "--processes: must be the number of devices, 4; found 2"),
        (["1f1b", "--processes", "65"], "devices: at most 64 processes are started; found 65"),
        (["1f1b", "--save", "/nowhere/x.json"], "--save: "),
    ],
)
def test_what_cannot_be_rehearsed_is_refused(arguments: list[str], message: str) -> None:
    result = call_ppopt("rehearse", *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {message}")
    assert len(result.stderr.splitlines()) == 1


def test_a_schedule_for_another_pipeline_is_refused() -> None:
    schedule = ppopt.evaluate(pipeline(4), "1f1b")
    with pytest.raises(ppopt.InputError, match="1f1b: is for 4 devices; the pipeline has 2"):
        ppopt.rehearse(pipeline(2), schedule)


def test_the_first_stage_is_charged_as_pytorch_runs_it() -> None:
    model = with_first_stage_input_backward(pipeline(2, memory={"held_for_weight": 0.5}).with_stages(2))
    first, second = model.costs
    assert first.backward == first.backward_input + first.backward_weight == 16
    assert 0 < first.backward_input < 1e-4
    assert (second.backward_input, second.backward_weight) == (10, 6)
    assert (first.held_for_weight, float(second.held_for_weight)) == (1, 0.5)
    given = pipeline(2).with_stages(2)
    assert with_first_stage_input_backward(given, "as given") is given


def test_blocks_run_one_after_the_other_and_send_at_their_end() -> None:
    model = pipeline(2, 4, times={"forward": 3, "backward": 5, "overlapped_forward_backward": 6})
    schedule = ppopt.evaluate(model, "1f1b-overlap")
    predicted = predict(schedule, schedule.pipeline)
    ends = {row.task: row for row in predicted.rows}
    blocks = [row for row in schedule.rows if row.block is not None]
    assert blocks
    scale = predicted.problem.ticks_per_unit
    for forward, backward in zip(blocks[::2], blocks[1::2], strict=True):
        first, second = ends[forward.task], ends[backward.task]
        assert first.end <= second.start
        assert (first.end - first.start, second.end - second.start) == (3 * scale, 5 * scale)
        following = ends.get(forward.task._replace(stage=1))  # type: ignore[attr-defined]
        if forward.task.stage == 0 and following is not None:  # type: ignore[attr-defined]
            assert following.start >= second.end


def test_a_calibration_finds_the_costs_of_an_exact_step() -> None:
    costs = {
        "forward": [3, 4, 5, 6],
        "backward_input": [2, 3, 4, 5],
        "backward_weight": [1, 2, 3, 2],
    }
    model = pipeline(4, 8, times=costs, p2p_latency=0.25)
    schedule = ppopt.evaluate(model, "zb-h1")
    scale = schedule.problem.ticks_per_unit
    actions = [
        MeasuredAction(0, row.device, *row.task, row.start / scale, row.end / scale)  # type: ignore[misc]
        for row in schedule.rows
    ]
    found = calibrated_pipeline(schedule.pipeline, calibrate(actions, schedule.problem, 0.0), 1.0)
    assert predict(schedule, found).makespan == pytest.approx(schedule.makespan, rel=1e-6)
    assert float(found.p2p_latency) == pytest.approx(0.25, rel=1e-6)
    assert [float(cost.forward) for cost in found.costs] == pytest.approx([3, 4, 5, 6], rel=1e-6)


def test_noisy_backwards_still_make_a_pipeline() -> None:
    lasted = {"F": 3.0, "B": 2.0, "I": 1.0, "W": 2.5}
    actions = [
        MeasuredAction(0, 0, 0, kind, 0, 10.0 * place, 10.0 * place + time)
        for place, (kind, time) in enumerate(lasted.items())
    ]
    model = pipeline(1, 1).with_stages(1)
    problem = ppopt.evaluate(model, "gpipe").problem
    calibration = calibrate(actions, problem, 0.0)
    calibration.between = dict.fromkeys(calibration.between, 0.0)
    (cost,) = calibrated_pipeline(model, calibration, 1.0).costs
    assert (cost.backward_input, cost.backward_weight) == (1, 2.5)
    assert 3.18 < cost.backward < 3.19
