from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import ppopt
from ppopt.commands.cli import cli, main

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def test_a_strategy_alone_works_on_defaults_and_fits_80_columns() -> None:
    result = run("evaluate", "1f1b")
    assert result.exit_code == 0
    header, row = result.stdout.splitlines()
    assert header.split() == ["strategy", "dev", "stages", "mbatch", "makespan", "bubble", "over", "ideal", "memory"]
    assert row.split() == ["1f1b", "4", "4", "8", "33", "27.27%", "37.50%", "4"]


def test_several_strategies_make_one_table_with_the_best_marked() -> None:
    result = run("evaluate", "1f1b", "gpipe", "interleaved-overlap", "dualpipe-v")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:5] if line.startswith("*")] == ["*"]
    assert (
        "interleaved-overlap, dualpipe-v: runs 8 stages: the same model, re-partitioned from 4 stages" in result.stderr
    )


DEADLOCKED = ["--devices", "16", "--stages", "32", "--microbatches", "120", "--engine", "graph"]


def test_a_deadlock_says_the_cure_then_the_cycle_and_takes_no_other_schedule_with_it(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    named = ["1f1b", "interleaved-overlap:group_size=16", "zb-h1"]
    result = run("evaluate", *named, *DEADLOCKED, "--report", str(page))
    assert result.exit_code == 2
    assert [line.split()[-8] for line in result.stdout.splitlines()[1:3]] == ["1f1b", "zb-h1"]
    assert page.exists()
    (told,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert told.startswith(
        "error: interleaved-overlap:group_size=16: the order deadlocks: 120 is not a multiple of 16; "
        "group_size 20, 24, 30, 40, 60 run; the cycle is ("
    )
    assert told.endswith("(each waits for the one before it)")
    cured = run("evaluate", "interleaved-overlap:group_size=20", *DEADLOCKED)
    assert cured.exit_code == 0


def test_where_no_schedule_runs_there_are_only_mistakes() -> None:
    result = run("evaluate", "interleaved", "dualpipe", "--devices", "5", "--stages", "10", "--microbatches", "12")
    assert result.exit_code == 2
    assert result.stdout == ""
    told = result.stderr.splitlines()
    assert [line.split()[1] for line in told] == ["interleaved:", "dualpipe"]


def test_data_of_those_that_run_go_to_standard_output() -> None:
    result = run("evaluate", "1f1b", "dualpipe", "--devices", "3", "--format", "json")
    assert result.exit_code == 2
    assert [each["strategy"] for each in json.loads(result.stdout)["schedules"]] == ["1f1b"]
    assert "error: dualpipe needs an even number of devices" in result.stderr


def test_over_the_memory_limit_is_marked_and_not_an_error() -> None:
    result = run("evaluate", "gpipe", "1f1b", "--memory-limit", "[4,4,4,2.5]")
    assert result.exit_code == 0
    assert "! gpipe is over the memory limit: device 3 (and 3 more) holds 8, its limit is 2.5" in result.stdout
    assert "* 1f1b" in result.stdout
    assert run("evaluate", "1f1b", "--memory-limit", "4").stdout.count("!") == 0


def test_json_is_one_object_with_the_figures_by_name() -> None:
    result = run("evaluate", "1f1b", "gpipe", "--format", "json", "--p2p-latency", "0.5")
    whole = json.loads(result.stdout)
    assert set(whole) == {"pipeline", "schedules"}
    assert whole["pipeline"]["p2p_latency"] == 0.5
    named = {
        "strategy", "devices", "stages", "microbatches", "makespan", "span", "ideal", "bubble_ratio",
        "bubble_over_ideal", "span_bubble_ratio", "peak_memory", "bound", "gap", "status", "engine", "seconds",
    }  # fmt: skip
    for schedule in whole["schedules"]:
        assert named <= set(schedule)
        assert schedule["bound"] is None
        assert len(schedule["peak_memory"]) == 4


def test_csv_has_a_row_a_schedule() -> None:
    rows = list(csv.DictReader(io.StringIO(run("evaluate", "1f1b", "zb-h1", "--format", "csv").stdout)))
    assert [row["strategy"] for row in rows] == ["1f1b", "zb-h1"]
    assert float(rows[0]["makespan"]) == 33
    assert rows[0]["peak_memory"] == "4.0 3.0 2.0 1.0"


def test_the_timeline_is_saved_as_a_row_an_operation(tmp_path: Path) -> None:
    file = tmp_path / "timeline.csv"
    assert run("evaluate", "dualpipe", "--save", str(file)).exit_code == 0
    made = ppopt.evaluate(ppopt.Pipeline.from_mapping({"devices": 4, "microbatches": 8}), "dualpipe")
    saved = pd.read_csv(file, dtype={"block": "Int64"})
    pd.testing.assert_frame_equal(saved, made.timeline, check_dtype=False)
    assert list(saved.columns) == ["device", "stage", "microbatch", "op", "start", "end", "block"]
    halves = saved.dropna(subset="block").groupby("block")
    assert (halves.size() == 2).all()
    assert (halves[["start", "end", "device"]].nunique() == 1).all().all()

    assert run("evaluate", "1f1b", "gpipe", "--save", str(file)).exit_code == 0
    assert list(pd.read_csv(file)["strategy"].unique()) == ["1f1b", "gpipe"]
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("time", "forwards"),
    [
        ("forward=1.5", [1.5] * 4),
        ("forward=[1,1,2,1]", [1, 1, 2, 1]),
        ("forward.3=2.0", [1, 1, 1, 2.0]),
    ],
)
def test_times_are_overridden(time: str, forwards: list[float]) -> None:
    whole = json.loads(run("evaluate", "1f1b", "--format", "json", "--time", time).stdout)
    found = whole["pipeline"]["times"]["forward"]
    assert (found if isinstance(found, list) else [found] * 4) == forwards


def test_one_stage_of_a_configuration_is_overridden(tmp_path: Path) -> None:
    file = tmp_path / "costs.yaml"
    file.write_text("devices: 2\nmicrobatches: 4\ntimes: {forward: {0: 1.0, 1: 2.0}, backward: 3}\n")
    arguments = ["evaluate", "1f1b", "-c", str(file), "--format", "json", "--microbatches", "6"]
    whole = json.loads(run(*arguments, "--time", "forward.1=5", "--time", "backward.0=4").stdout)
    assert whole["pipeline"]["times"] == {"forward": [1, 5], "backward": [4, 3]}
    assert whole["pipeline"]["microbatches"] == 6


def test_one_stage_is_changed_of_as_many_as_the_strategy_takes() -> None:
    def sizes(*arguments: str) -> list[int]:
        whole = json.loads(run("evaluate", *arguments, "--time", "forward.1=2", "--format", "json").stdout)
        return [whole["pipeline"]["stages"], *(schedule["stages"] for schedule in whole["schedules"])]

    assert sizes("interleaved") == [8, 8]
    assert sizes("interleaved:stages=12") == [12, 12]
    assert sizes("1f1b", "interleaved") == sizes("1f1b", "interleaved", "--time", "backward_input=1") == [4, 4, 8]
    assert sizes("interleaved", "--stages", "4") == [4, 8]
    assert sizes("interleaved:stages=4", "--stages", "4") == [4, 4]


def test_the_smallest_times_can_be_cut_anew() -> None:
    assert run("evaluate", "1f1b", "interleaved", "--time", "forward=1e-30").exit_code == 0


@pytest.mark.parametrize("named", [[], ["Interleaved"], ["INTERLEAVED:stages=8"]])
def test_pp_emulations_group_size_is_for_interleaved_strategies(tmp_path: Path, named: list[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "defaults: [_self_]\nnum_devices: 4\nnum_batches: 12\nstrategy: 1F1B_Interleave\n"
        "microbatch_group_size_per_vp_stage: 6\nop_times: {forward: 1.0, backward: 2.0}\n"
    )
    assert "interleaved:group_size=6" in run("evaluate", *named, "-c", str(file)).stdout
    assert "group_size=4" in run("evaluate", "interleaved:group_size=4", "-c", str(file)).stdout
    assert "group_size" not in run("evaluate", "1f1b", "-c", str(file)).stdout


def test_pytorchs_groups_are_noted_under_its_name() -> None:
    def told(name: str, microbatches: int) -> str:
        return run("evaluate", name, "--microbatches", str(microbatches)).stderr

    assert "PyTorch's class takes groups of 6 here: interleaved:group_size=6" in told("ScheduleInterleaved1F1B", 6)
    assert "PyTorch's class takes groups of 6 here" in told("Interleaved1F1B", 6)
    assert "PyTorch's class does not take 11 microbatches here" in told("scheduleinterleaved1f1b", 11)
    assert told("interleaved", 6) == told("ScheduleInterleaved1F1B", 8) == ""
    assert told("ScheduleInterleaved1F1B:group_size=6", 6) == ""


@pytest.mark.parametrize(("variable", "value", "coloured"), [
    ("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False), ("TERM", "xterm", True),
])  # fmt: skip
def test_colours_can_be_switched_off(variable: str, value: str, coloured: bool) -> None:
    environment = {"NO_COLOR": "", "TERM": "xterm"} | {variable: value}
    result = CliRunner(env=environment).invoke(cli, ["evaluate", "1f1b", "--draw"], color=True)
    assert ("\x1b[" in result.stdout) == coloured


def test_a_saved_file_keeps_its_link_and_mode(tmp_path: Path) -> None:
    target, link = tmp_path / "kept" / "timeline.csv", tmp_path / "link.csv"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    assert run("evaluate", "1f1b", "--save", str(link)).exit_code == 0
    assert link.is_symlink()
    assert target.read_text().startswith("device,")
    assert target.stat().st_mode & 0o777 == 0o640
    target.unlink()
    assert run("evaluate", "1f1b", "--save", str(link)).exit_code == 0
    assert link.is_symlink()
    assert target.exists()


def test_only_printing_is_called_standard_output(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "no such luck", "some.file")

    monkeypatch.setattr("ppopt.evaluation.evaluate.evaluate", fail)
    monkeypatch.setattr(sys, "argv", ["ppopt", "evaluate", "1f1b"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: [Errno 5] no such luck: 'some.file'\n"


def test_a_strategy_named_by_the_configuration_is_run(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "num_devices: 4\nnum_stages: 8\nnum_batches: 8\nstrategy: interleave\n"
        "op_times: {forward: 1.0, backward: 2.0, backward_D: 1.0, backward_W: 1.0}\n"
    )
    result = run("evaluate", "-c", str(file))
    assert "interleaved    4       8       8        57" in result.stdout


def test_the_timeline_is_drawn() -> None:
    result = run("evaluate", "1f1b", "--devices", "2", "--microbatches", "2", "--draw")
    assert result.stdout.splitlines()[2:] == [
        "",
        "1f1b, time 0 to 9",
        "device 0 F0───╴F1───╴············B0─────────╴······B1─────────╴",
        "device 1 ······F0───╴B0─────────╴F1───╴B1─────────╴············",
    ]


def test_a_drawn_timeline_ends_with_the_operations_and_names_what_follows(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("devices: 2\nmicrobatches: 2\nunit: ms\nstep: {after: 3}\n")
    lines = run("evaluate", "1f1b", "-c", str(file), "--draw").stdout.splitlines()
    assert lines[2].split()[4] == "12"
    assert "1f1b, time 0 to 9 ms, then 3 ms after the last operation" in lines


def test_strategies_are_listed_with_what_they_ask() -> None:
    listed = json.loads(run("strategies", "--format", "json").stdout)
    dualpipe = next(each for each in listed if each["name"] == "dualpipe")
    assert (dualpipe["devices"], dualpipe["microbatches"]) == ("p even", "m even, m ≥ 2p − 2")
    assert max(map(len, run("strategies").stdout.splitlines())) <= 80


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_run(example: Path) -> None:
    strategies = ["dualpipe"] if "dualpipe" in example.stem else ["1f1b", "zb-h1", "interleaved"]
    result = run("evaluate", *strategies, "-c", str(example))
    assert result.exit_code == 0, result.output
    assert all(strategy in result.stdout for strategy in strategies)


def test_there_are_nine_examples() -> None:
    assert len(list((ROOT / "examples").glob("*.yaml"))) == 9


def test_a_pipe_that_closes_early_is_silent() -> None:
    ppopt_command = f"{sys.executable} -m ppopt"
    command = f"{ppopt_command} strategies --format json | head -1; {ppopt_command} evaluate 1f1b --draw | head -1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert "strategy" in result.stdout


def test_a_full_disk_is_told_in_a_line() -> None:
    for target in (
        "> /dev/full",
        "--format json --devices 512 --microbatches 2 > /dev/full",
        "--save /dev/full",
        "--trace /dev/full",
    ):
        command = f"{sys.executable} -m ppopt evaluate 1f1b {target}"
        result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert result.returncode in (1, 2)
        assert "No space left on device" in result.stderr
        assert "Traceback" not in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert Path("/dev/full").is_char_device()


def test_open_stages_read_in_more_than_one_way_are_told_in_a_line() -> None:
    said = (
        "stages is not given, so times are read as those of 8 stages; beside a schedule of 4 stages they are read as "
        "those of 4"
    )
    sizes = {"devices": 4, "microbatches": 8, "times": {"forward": 1, "backward": 2}}
    pipeline = ppopt.Pipeline.from_mapping(sizes)
    assert ppopt.evaluate(pipeline, "zb-v").notes.count(said) == 1
    alike = ppopt.evaluate_all(pipeline, ["zb-v", "interleaved"])
    assert all(said in made.notes for made in alike)
    for settled in (
        [ppopt.evaluate(pipeline, "1f1b")],
        ppopt.evaluate_all(pipeline, ["zb-v", "1f1b"]),  # there a note says that the model was re-partitioned
        [ppopt.evaluate(ppopt.Pipeline.from_mapping({**sizes, "stages": 8}), "zb-v")],
        [ppopt.evaluate(pipeline, "interleaved", stages=8)],
        [ppopt.evaluate(ppopt.Pipeline.from_mapping({"devices": 4, "microbatches": 8}), "zb-v")],  # no times to misread
        [ppopt.evaluate(ppopt.Pipeline.from_mapping({**sizes, "times": {"forward": [1] * 8, "backward": 2}}), "zb-v")],
    ):
        assert not [note for made in settled for note in made.notes if "stages is not given" in note]
