from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import ppopt
from ppopt import InputError, Pipeline
from ppopt.commands.cli import cli
from ppopt.commands.compare import split_strategies
from ppopt.commands.progress_line import ProgressLine
from ppopt.comparison.ranking import comparison_of
from ppopt.optimization import one_search
from reports.ladder import STEPS
from reports.page import sentences
from strategies.language.registry import all_strategies
from tests.running import interrupted

WHOLE = {name for name, each in all_strategies().items() if not each.requirements.takes_slices}
"""Those that run whole microbatches."""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["compare", *arguments], catch_exceptions=False)


def pipeline(p: int = 4, m: int = 8, overlapped: float | None = None, **more: Any) -> Pipeline:
    times = {"forward": 1, "backward_input": 1, "backward_weight": 1}
    times |= {} if overlapped is None else {"overlapped_forward_backward": overlapped}
    return Pipeline.from_mapping({"devices": p, "microbatches": m, "times": times, **more})


def table_of(output: str) -> list[str]:
    """Return the lines from the header of a table on."""
    lines = output.splitlines()
    return lines[next(place for place, line in enumerate(lines) if line.startswith("  strategy")) :]


def on_terminal(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setattr("ppopt.commands.printing._is_read_on_a_terminal", lambda: True)
    return run(*arguments)


def strategies_of(output: str) -> list[str]:
    """Return the marks and names of a table, without the second lines of long names."""
    table = "\n".join(table_of(output))
    rows = table[: table.index("  lower bound")].splitlines()[1:]
    return [f"{line[:2].strip()} {line[2:].partition('  ')[0]}".strip() for line in rows if line[:3].strip()]


def test_everything_is_compared_on_one_model() -> None:
    made = ppopt.compare(pipeline(memory={"static": 1}), time_limit=8)
    names = {schedule.strategy for schedule in made.schedules}
    assert names == {*WHOLE, *(f"optimized-{placement}" for placement in made.searched)}
    assert len({schedule.pipeline.ideal for schedule in made.schedules}) == 1
    assert made.pipeline.stages == 4
    assert {schedule.pipeline.stages for schedule in made.schedules if schedule.strategy == "interleaved"} == {8}
    assert made.searched == ("linear", "interleaved", "v", "bidirectional")
    assert made.left_out == made.infeasible == ()
    assert made.winner is made.schedules[0]
    assert made.winner.status == "optimal"
    assert made.bound == made.winner.makespan == 25
    for schedule, ladder in zip(made.schedules, made.ladders, strict=True):
        assert ladder.makespan == schedule.makespan
        assert ladder.bound == schedule.bound
        assert made.bound <= schedule.makespan


def test_what_bounds_a_placement_is_not_found_again_by_its_search(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = pipeline(3, 6, memory={"limit": 3})
    alone = ppopt.optimize(limited, time_limit=5)
    again: list[object] = []

    def quick_bound(*each: object, **_: object) -> float:
        again.append(each)
        return 0.0

    monkeypatch.setattr(one_search, "quick_bound", quick_bound)
    made = ppopt.compare(limited, placement="linear", time_limit=5)
    (searched,) = (schedule for schedule in made.schedules if schedule.is_searched)
    assert again == []
    assert (searched.bound, searched.status) == (alone.bound, alone.status)
    ppopt.optimize(limited, time_limit=1)
    assert len(again) == 1


def test_the_table_is_ranked_and_ends_with_the_bound_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    result = on_terminal(monkeypatch, "--time-limit", "4", "--placement", "linear", "--memory-limit", "4")
    assert result.exit_code == 0
    lines = table_of(result.stdout)
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert lines[0].split() == ["strategy", "makespan", "vs", "1f1b", "bubble", "memory", "bound", "gap", "runs", "in"]
    names = strategies_of(result.stdout)
    assert names[0].startswith("* ")
    assert "optimized-linear" in names
    over = [name.startswith("!") for name in names]
    assert over == sorted(over)
    assert any(over)
    last = next(line for line in lines if "lower bound" in line)
    assert len(last.split()) == 4
    assert lines[lines.index(last) + 1] == "* the shortest that fits the memory limit"
    assert any(line.startswith("! gpipe is over the memory limit: device 0") for line in lines)


def test_without_a_search_the_bounds_are_there_all_the_same() -> None:
    result = run("--no-optimize", "--strategies", "1f1b,zb-h1")
    assert strategies_of(result.stdout) == ["* zb-h1", "1f1b"]
    assert "18.18%" in result.stdout


def test_json_has_the_ladder_and_the_causes_of_idle_time() -> None:
    arguments = ["--strategies", "1f1b,zb-h1", "--placement", "linear", "--p2p-latency", "0.5", "--format", "json"]
    whole = json.loads(run(*arguments, "--time-limit", "3").stdout)
    assert set(whole) == {
        "pipeline",
        "schedules",
        "left_out",
        "infeasible",
        "bound",
        "baseline",
        "margins",
        "bounds_cut_short",
        "search",
    }
    assert whole["pipeline"]["stages"] == 4
    assert whole["bounds_cut_short"] is False
    assert whole["search"] == {"placements": ["linear"], "interrupted": False}
    assert [row["searched"] for row in whole["schedules"]] == [True, False, False]
    for row in whole["schedules"]:
        assert row["placement"] == "linear"
        ladder = row["ladder"]
        assert set(ladder) == {"ideal", "saved", "limited", *STEPS}
        assert ladder["ideal"] - ladder["saved"] + sum(ladder[step] for step in STEPS) == pytest.approx(row["makespan"])
        assert row["bound"] == pytest.approx(row["makespan"] - ladder["order"])
        idle = sum(sum(causes.values()) for causes in row["idle"])
        assert idle == pytest.approx(row["bubble_ratio"] * 4 * row["makespan"])
    assert json.loads(run(*arguments, "--no-optimize").stdout)["search"] is None


# ---- the baseline, and exclusions


def test_all_are_compared_with_1f1b_where_it_is_there() -> None:
    made = ppopt.compare(pipeline(), ["zb-h1", "1f1b", "gpipe"], optimize=False)
    assert made.baseline is not None
    assert made.baseline is made.schedules[-1] or made.baseline.strategy == "1f1b"
    figures = {each["strategy"]: each["vs_baseline"] for each in made.figures()}
    assert figures == {"zb-h1": 27 / 33 - 1, "1f1b": 0, "gpipe": 0}
    assert made.to_dict()["baseline"] == "1f1b"
    without = ppopt.compare(pipeline(), ["zb-h1", "gpipe"], optimize=False)
    assert without.baseline is None
    assert {each["vs_baseline"] for each in without.figures()} == {None}
    assert ppopt.compare(pipeline(), ["1f1b"], optimize=False, baseline="none").baseline is None


def test_the_headline_and_the_table_compare_with_the_baseline() -> None:
    lines = run("--no-optimize", "--strategies", "1f1b-overlap,zb-h1", "--baseline", "gpipe").stdout.splitlines()
    assert lines[0].startswith("zb-h1 is the fastest, 18.2% shorter than gpipe, ")
    assert lines[1] == ""
    assert lines[2].split()[:4] == ["strategy", "makespan", "vs", "gpipe"]
    rows = {line[2:].split()[0]: line[2:].split()[1:3] for line in lines[3:6]}
    assert rows == {"zb-h1": ["27", "−18.2%"], "1f1b-overlap": ["33", "0.0%"], "gpipe": ["33", "0.0%"]}
    bound = next(line for line in lines if line.startswith("  lower bound"))
    value, share = bound.split()[2:]
    assert share == f"−{100 * (1 - float(value) / 33):.1f}%"


def test_a_file_can_be_the_baseline(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    ppopt.evaluate(pipeline(), "gpipe").export(file)
    made = ppopt.compare(pipeline(), ["1f1b", "zb-h1"], optimize=False, baseline=file)
    assert made.baseline is not None
    assert made.baseline.strategy == str(file)
    result = run("--no-optimize", "--strategies", "zb-h1", "--baseline", str(file))
    assert f"zb-h1 is the fastest, 18.2% shorter than {file}" in result.stdout
    assert f"vs base: against {file}" in result.stdout.splitlines()
    assert run("--no-optimize", "--baseline", str(tmp_path / "absent.csv")).stderr.startswith("error: baseline: ")


def test_a_baseline_is_found_among_the_others_whatever_it_is_called(tmp_path: Path) -> None:
    costs = pipeline(stages=4)
    made = ppopt.compare(costs, optimize=False, baseline="Interleaved1F1B")
    assert made.baseline is not None
    assert made.baseline.strategy == "interleaved:stages=8"
    assert len(made.schedules) == len(WHOLE)
    file = tmp_path / "costs.yaml"
    file.write_text(
        "{devices: 4, stages: 4, microbatches: 12, times: {forward: 1, backward: 2}, "
        "microbatch_group_size_per_vp_stage: 6}"
    )
    whole = json.loads(run("-c", str(file), "--no-optimize", "--baseline", "interleaved", "--format", "json").stdout)
    assert whole["baseline"] == "interleaved:group_size=6,stages=8"
    names = [each["strategy"] for each in whole["schedules"]]
    assert [name for name in names if name.partition(":")[0] == "interleaved"] == [whole["baseline"]]


@pytest.mark.parametrize(
    ("baseline", "told"),
    [
        ("zb-h7", "error: baseline: 'zb-h7' is not known; did you mean zb-h"),
        ("interleaved:groupsize=2", "error: baseline: interleaved:groupsize: is not an option"),
        ("", "error: baseline: '' is not known"),
    ],
)
def test_a_baseline_that_is_not_known_is_refused_before_any_work(baseline: str, told: str) -> None:
    result = run("--baseline", baseline)
    assert result.exit_code == 2
    assert result.stderr.startswith(told)
    with pytest.raises(InputError, match=r"^baseline: "):
        ppopt.compare(pipeline(), baseline=baseline)


def test_a_baseline_that_does_not_fit_is_told_and_the_rest_is_shown() -> None:
    result = run("--no-optimize", "--devices", "3", "--strategies", "1f1b,zb-h1", "--baseline", "dualpipe")
    assert result.exit_code == 0
    assert "note: the baseline dualpipe was left out, so nothing is compared with it" in result.stderr
    assert "left out: dualpipe needs an even number of devices" in result.stdout
    assert " vs " not in result.stdout
    assert strategies_of(result.stdout) == ["* zb-h1", "1f1b"]


@pytest.mark.parametrize(
    ("excluded", "left"),
    [
        (["1f1b"], ["interleaved:stages=8", "interleaved:stages=12"]),
        (["interleave"], ["1f1b"]),
        (["Interleaved:stages=12", "gpipe"], ["1f1b", "interleaved:stages=8"]),
        (["zb1p", "other.csv"], ["1f1b", "interleaved:stages=8", "interleaved:stages=12"]),
    ],
)
def test_schedules_can_be_excluded(excluded: list[str], left: list[str]) -> None:
    names = ["1f1b", "interleaved:stages=8", "interleaved:stages=12"]
    made = ppopt.compare(pipeline(stages=4), names, optimize=False, exclude=iter(excluded))
    assert sorted(each.strategy for each in made.schedules) == sorted(left)
    options = ["--no-optimize", "--stages", "4", "--strategies", ",".join(names), "--exclude", ",".join(excluded)]
    assert sorted(name.strip("* ") for name in strategies_of(run(*options).stdout)) == sorted(left)


def test_all_but_those_excluded_are_compared() -> None:
    made = ppopt.compare(pipeline(stages=4), optimize=False, exclude=["dualpipe", "interleaved"])
    names = {each.strategy.partition(":")[0] for each in made.schedules}
    assert names == WHOLE - {"dualpipe", "interleaved"}


def test_names_that_are_excluded_must_be_known() -> None:
    result = run("--exclude", "zb-h7,1f1b,gpip")
    assert result.exit_code == 2
    assert [line.split(";")[0] for line in result.stderr.splitlines()] == [
        "error: exclude: 'zb-h7' is not known",
        "error: exclude: 'gpip' is not known",
    ]
    assert "did you mean gpipe?" in result.stderr
    with pytest.raises(InputError, match="exclude: must be a list of names; found '1f1b'"):
        ppopt.compare(pipeline(), exclude="1f1b")
    with pytest.raises(InputError, match="baseline: 1f1b is excluded"):
        ppopt.compare(pipeline(), exclude=["Schedule1F1B"], baseline="1f1b")


def test_with_all_columns_no_line_is_longer_than_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting transfers and frameworks have columns, and long times a width."""
    arguments = ["--strategies", "1f1b,zb-v,interleaved-overlap", "--no-optimize", "--framework", "pytorch"]
    result = on_terminal(monkeypatch, "-c", "examples/measured-1.5b.yaml", *arguments)
    assert "comm" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_proof_is_about_the_cuts_that_are_shown() -> None:
    """On the even cut zb-h2 is proven to be the shortest; the planned cut is shorter by a fifth."""
    block = {"name": "block", "count": 14, "forward": 2, "backward_input": 2, "backward_weight": 2}
    head = {"name": "head", "forward": 6, "backward_input": 6, "backward_weight": 6, "earliest_stage": -1}
    layered = Pipeline.from_mapping({"devices": 4, "microbatches": 16, "layers": [block, head]})
    even, planned = (ppopt.compare(layered, ["1f1b", "zb-h2"], optimize=False, cut=cut) for cut in ("even", "plan"))
    assert even.bound is not None
    assert planned.schedules[0].makespan < even.bound
    assert "it is proven that none is shorter with these placements and cuts." in even.verdict
    assert sentences.verdict(even.section()) in even.verdict
    alone = ppopt.compare(layered, ["1f1b", "gpipe"], optimize=False, cut="even")
    assert "above the proven bound for these cuts." in alone.verdict


def test_in_a_pipe_no_name_is_broken_and_on_a_terminal_no_line_is_longer_than_80_columns() -> None:
    name = "interleaved-overlap:group_size=12,stages=12"
    command = [sys.executable, "-m", "ppopt", "compare", "--no-optimize", "--strategies", f"{name},1f1b,dualpipe"]
    command += ["--devices", "3", "--stages", "3", "--microbatches", "12", "--memory-limit", "6"]
    piped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (row,) = (line for line in piped.splitlines() if line.startswith(f"! {name}  "))
    assert len(row.split()) == 9
    assert "left out: dualpipe needs an even number of devices; 2 and 4 fit, 3 does not" in piped.splitlines()
    assert max(map(len, piped.splitlines())) > 80

    read, write = os.openpty()
    subprocess.run(command, stdout=write, stderr=subprocess.DEVNULL, check=True)
    os.close(write)
    shown = os.read(read, 100_000).decode().splitlines()
    os.close(read)
    assert f"! {name}" in shown
    assert max(map(len, shown)) <= 80


def test_a_comparison_makes_a_table_for_pandas() -> None:
    made = ppopt.compare(pipeline(), ["zb-h1", "1f1b", "gpipe"], optimize=False)
    frame = made.frame()
    assert list(frame["strategy"]) == [each.strategy for each in made.schedules]
    assert list(frame["makespan"]) == [each.makespan for each in made.schedules]
    assert list(frame["ladder_order"]) == [float(ladder.order) for ladder in made.ladders]
    assert frame.set_index("strategy").loc["1f1b", "vs_baseline"] == 0
    head = run("--no-optimize", "--format", "csv").stdout.splitlines()[0]
    assert list(frame.columns) == head.split(",")


def test_csv_is_flat() -> None:
    rows = list(csv.DictReader(io.StringIO(run("--no-optimize", "--format", "csv").stdout)))
    assert len(rows) == len(WHOLE)
    assert {f"ladder_{step}" for step in STEPS} < set(rows[0])
    assert "idle" not in rows[0]
    assert float(rows[0]["bound"]) == float(rows[0]["makespan"]) - float(rows[0]["ladder_order"])


def test_several_configurations_are_compared_one_after_the_other(tmp_path: Path) -> None:
    files = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    for file, devices in zip(files, (2, 3), strict=True):
        file.write_text(f"devices: {devices}\nmicrobatches: 4\ntimes: {{forward: 1, backward: 2}}\n")
    arguments = [part for file in files for part in ("-c", str(file))]
    arguments += ["--no-optimize", "--strategies", "1f1b", "--microbatches", "6"]
    table = run(*arguments).stdout
    assert [line for line in table.splitlines() if line.endswith(":")] == [f"{file}:" for file in files]
    several = json.loads(run(*arguments, "--format", "json").stdout)["comparisons"]
    sizes = [(each["pipeline"]["devices"], each["pipeline"]["microbatches"]) for each in several]
    assert sizes == [(2, 6), (3, 6)]
    rows = csv.DictReader(io.StringIO(run(*arguments, "--format", "csv").stdout))
    assert [row["configuration"] for row in rows] == [str(file) for file in files]


def test_what_does_not_fit_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    result = on_terminal(monkeypatch, "--devices", "3", "--microbatches", "3", "--no-optimize")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "left out: dualpipe needs an even number of devices; 2 and 4 fit, 3 does not" in lines
    assert any(line.startswith("left out: dualpipe-v needs") for line in lines)
    assert "dualpipe" not in strategies_of(result.stdout)
    left_out = json.loads(run("--devices", "3", "--no-optimize", "--format", "json").stdout)["left_out"]
    assert [each["strategy"] for each in left_out] == ["chimera", "dualpipe"]


def test_where_nothing_remains_the_reasons_are_the_error() -> None:
    result = run("--devices", "3", "--microbatches", "3", "--no-optimize", "--strategies", "dualpipe,dualpipe-v")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert [line.split()[:3] for line in result.stderr.splitlines()] == [
        ["error:", "dualpipe", "needs"],
        ["error:", "dualpipe-v", "needs"],
    ]


def test_unknown_strategies_are_refused_before_any_work() -> None:
    result = run("--strategies", "1f1b,zb-h3")
    assert result.exit_code == 2
    assert "'zb-h3' is not known; did you mean zb-h" in result.stderr
    with pytest.raises(InputError, match="not known"):
        ppopt.compare(pipeline(), ["gpip"])
    assert "Did you mean 'compare'?" in CliRunner().invoke(cli, ["compar"]).stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--strategies", ","], "error: --strategies: must name at least one; found ','"),
        (["--open"], "error: --open: opens the page of --report FILE.html; give that as well"),
        (["--report", "/nowhere/page.html"], "error: --report: /nowhere/page.html: the folder /nowhere does not exist"),
    ],
)
def test_wrong_options_are_told_in_a_line(arguments: list[str], told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [told]


@pytest.mark.parametrize("options", [{"engine": "x"}, {"placement": "x"}, {"time_limit": -1}, {"strategies": "1f1b"}])
def test_wrong_arguments_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ppopt.compare(pipeline(), **options)
    with pytest.raises(InputError, match="name at least one"):
        ppopt.compare(pipeline(), [], optimize=False)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1f1b, zb1p", ["1f1b", "zb1p"]),
        ("interleaved:stages=16,group_size=8,zb1p", ["interleaved:stages=16,group_size=8", "zb1p"]),
        ("interleaved:stages=8,interleaved:stages=16", ["interleaved:stages=8", "interleaved:stages=16"]),
        ("1f1b,stages=8", ["1f1b", "stages=8"]),
        (",,1f1b,", ["1f1b"]),
        ("", []),
    ],
)
def test_a_list_of_strategies_is_split(text: str, names: list[str]) -> None:
    assert list(split_strategies(text)) == names


def test_strategies_with_options_can_be_listed_twice() -> None:
    named = ["--strategies", "interleaved:stages=8,group_size=8,1f1b", "--strategies", "zb-h1,1f1b"]
    result = run("--no-optimize", *named)
    assert strategies_of(result.stdout) == ["* zb-h1", "interleaved:group_size=8,stages=8", "1f1b"]


def test_where_nothing_fits_the_memory_it_is_infeasible() -> None:
    result = run("--memory-limit", "0.5", "--strategies", "1f1b")
    assert result.exit_code == 3
    told = [line for line in result.stderr.splitlines() if line.startswith("infeasible: device 0 needs at least 1")]
    assert len(told) == 4
    assert "! 1f1b  " in result.stdout
    assert "lower bound" not in result.stdout
    made = ppopt.compare(pipeline(memory={"limit": 0.5}), ["1f1b"])
    assert (made.winner, made.bound, len(made.infeasible)) == (None, None, 4)
    assert made.fastest is made.schedules[0]


def test_an_infeasible_placement_is_told_beside_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "costs.yaml"
    file.write_text(
        "devices: 2\nstages: 4\nmicrobatches: 2\ntimes: {forward: 1, backward: 2}\n"
        "memory: {activation: [1, 1, 3, 3], limit: 5}\n"
    )
    result = on_terminal(monkeypatch, "-c", str(file), "--strategies", "1f1b", "--time-limit", "2")
    assert result.exit_code == 0
    below = result.stdout[result.stdout.index("lower bound") :]
    assert below.count("infeasible: device") == 2  # linear and bidirectional
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_default_overlap_is_where_blocks_save_time() -> None:
    for overlapped, wanted in ((None, False), (3, False), (2.5, True)):
        made = ppopt.compare(pipeline(2, 4, overlapped=overlapped), [], placement="linear", time_limit=60)
        assert (made.ladders[0].saved > 0) == wanted
    made = ppopt.compare(pipeline(2, 4, overlapped=2.5), [], placement="linear", overlap=False, time_limit=60)
    assert made.ladders[0].saved == 0


@pytest.mark.parametrize(("p", "m"), [(1, 1), (1, 3), (2, 1), (3, 1)])
def test_the_smallest_pipelines(p: int, m: int) -> None:
    made = ppopt.compare(pipeline(p, m), time_limit=60)
    assert made.winner is not None
    assert made.winner.status == "optimal"
    if p == 1:
        assert made.winner.makespan == made.winner.ideal


def test_without_time_the_first_schedules_are_shown() -> None:
    started = time.process_time()
    made = ppopt.compare(pipeline(), ["1f1b"], time_limit=0)
    assert time.process_time() - started < 20  # a search would take its minute
    assert sorted(made.searched) == ["bidirectional", "interleaved", "linear", "v"]
    assert len(made.schedules) == 5


def test_too_large_for_a_search_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppopt.optimization.sizes.MOST_SEARCHED_OPS", 100)
    made = ppopt.compare(pipeline(), ["1f1b"], time_limit=1)
    assert [schedule.strategy for schedule in made.schedules] == ["optimized-linear", "1f1b", "optimized-bidirectional"]
    assert made.searched == ("linear", "bidirectional")
    assert [name for name, _ in made.left_out] == ["optimized-interleaved", "optimized-v"]
    assert "192 operations; at most 100" in made.left_out[0][1]


def test_what_is_done_is_told() -> None:
    told: list[str] = []
    standings: list[ppopt.Standing] = []
    ppopt.compare(pipeline(2, 4), ["1f1b", "zb-h1"], time_limit=2, on_phase=told.append, progress=standings.append)
    evaluated = ["evaluating 1f1b, 1 of 2", "evaluating zb-h1, 2 of 2"]
    before = ["trying communicators", "foreseeing how long margins take", "computing lower bounds"]
    assert told[:6] == [*evaluated, *before, "linear, 1 of 4"]
    assert standings


@pytest.mark.parametrize(("terminal", "shown"), [(True, "\r\x1b[Klinear, 1 of 4\r\x1b[K"), (False, "")])
def test_the_line_of_progress_is_for_terminals(
    terminal: bool, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with ProgressLine() as line:
        line.say("linear, 1 of 4")
        line.show(ppopt.Standing(0.1, None, 1))
    assert capsys.readouterr().err == shown


@pytest.mark.parametrize("arguments", [["--help"], ["--open"], ["--time-limit", "nan"], ["--strategies", ","]])
def test_help_and_usage_errors_load_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom ppopt.commands.cli import cli\n"
        f"try: cli.main({['compare', *arguments]!r})\nexcept SystemExit: pass\n"
        "heavy = {'ortools', 'pandas', 'altair', 'networkx', 'numpy', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stderr.splitlines()[-1] == "[]"


def test_a_schedule_without_its_option_is_answered_with_the_option() -> None:
    told = run("1f1b", "mine.csv", "--no-optimize").stderr
    assert told == "error: compare: takes schedules with --strategies; write --strategies 1f1b,mine.csv\n"


def test_it_is_silent_in_a_pipe() -> None:
    command = [sys.executable, "-m", "ppopt", "compare", "--strategies", "1f1b", "--placement", "linear"]
    result = subprocess.run([*command, "--time-limit", "1"], capture_output=True, text=True, check=True)
    assert result.stderr == ""


def test_ctrl_c_ends_the_search_with_what_there_is() -> None:
    arguments = ["--devices", "8", "--microbatches", "32", "--memory-limit", "4.5", "--placement", "v"]
    result = interrupted("compare", *arguments, "--strategies", "dualpipe-v,1f1b", "--format", "json")
    assert result.returncode == 0, result.stderr
    assert "note: the search was interrupted" in result.stderr
    whole = json.loads(result.stdout)
    assert whole["bounds_cut_short"] is False
    assert whole["search"] == {"placements": ["v"], "interrupted": True}
    assert {row["strategy"] for row in whole["schedules"]} == {"optimized-v", "dualpipe-v", "1f1b"}


def test_an_interruption_ends_all_placements(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ppopt.comparison.compare.optimize_each", interrupted)
    made = ppopt.compare(pipeline(), ["1f1b"])
    assert made.interrupted
    assert made.searched == ("linear",)
    assert [schedule.strategy for schedule in made.schedules] == ["1f1b"]
    assert "interrupted before it found anything" in run("--strategies", "1f1b").stderr


def test_schedules_made_before_can_be_compared() -> None:
    costs = pipeline(memory={"limit": 5})
    made = ppopt.optimize(costs, time_limit=10)
    both = comparison_of(costs, [*ppopt.evaluate_all(costs, ["gpipe", "dualpipe-v", "zb-h1"]), made])
    names = [schedule.strategy for schedule in both.schedules]
    assert names == ["optimized-linear", "zb-h1", "dualpipe-v", "gpipe"]
    assert both.searched == ("linear",)
    assert both.pipeline.stages == 4
    assert both.schedules[names.index("optimized-linear")].status == "optimal"


def test_the_span_and_whole_backwards_bring_no_bound_that_does_not_hold() -> None:
    costs = pipeline()
    span = ppopt.optimize(costs, objective="span", time_limit=60)
    shown = comparison_of(costs, [span]).schedules[0]
    assert (shown.objective, shown.bound) == ("makespan", 27)
    whole = ppopt.optimize(costs, split_backward=False, time_limit=60)
    halves = ppopt.evaluate(costs, "zb-h1")
    shown_whole, shown_halves = sorted(comparison_of(costs, [whole, halves]).schedules, key=lambda each: each.strategy)
    assert shown_whole.bound == whole.bound == 33
    assert shown_halves.bound == 27


def test_names_of_one_schedule_are_one_row() -> None:
    names = ["1f1b", "1F1B", "Schedule1F1B", "interleaved:stages=8", "Interleaved:stages=8"]
    made = ppopt.compare(pipeline(), names, optimize=False)
    assert sorted(schedule.strategy for schedule in made.schedules) == ["1f1b", "interleaved:stages=8"]


def test_all_unknown_strategies_are_told() -> None:
    result = run("--strategies", "1f1bb,gpip,zb1p")
    assert result.exit_code == 2
    assert "1f1bb" in result.stderr
    assert "gpip" in result.stderr


def test_mistakes_in_several_configurations_name_their_files(tmp_path: Path) -> None:
    good, bad, odd = (tmp_path / f"{name}.yaml" for name in ("good", "bad", "odd"))
    good.write_text("{devices: 2, microbatches: 4}")
    bad.write_text("{devices: 2}")
    odd.write_text("{devices: 3, microbatches: 4}")
    result = run("-c", str(good), "-c", str(bad), "-c", str(tmp_path / "missing.yaml"))
    assert result.exit_code == 2
    assert f"{bad}: microbatches: is missing" in result.stderr
    assert "missing.yaml" in result.stderr
    result = run("-c", str(good), "-c", str(odd), "--no-optimize", "--strategies", "dualpipe")
    assert f"{odd}: dualpipe needs an even number of devices" in result.stderr


def test_a_result_is_never_worse_than_a_published_schedule_even_without_time() -> None:
    made = ppopt.compare(pipeline(2, 4), ["1f1b", "zb-h1"], placement="linear", time_limit=0)
    found = next(schedule for schedule in made.schedules if schedule.is_searched)
    assert found.makespan <= min(schedule.makespan for schedule in made.schedules)


@pytest.mark.parametrize("options", [{"overlap": "no"}, {"seed": "x"}, {"strategies": b"1f1b"}])
def test_wrong_types_are_told_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))}: must be"):
        ppopt.compare(pipeline(2, 2), **options)


def test_it_works_with_standard_error_closed() -> None:
    command = f"{sys.executable} -m ppopt compare --no-optimize --devices 2 --microbatches 4 --strategies 1f1b 2>&-"
    result = subprocess.run(["/bin/sh", "-c", command], stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert result.returncode == 0
    assert "lower bound" in result.stdout


def test_a_chart_of_nothing_leaves_the_page_and_the_status(tmp_path: Path) -> None:
    page, chart = tmp_path / "page.html", tmp_path / "bubbles.svg"
    options = ["--strategies", "dualpipe", "--devices", "3", "--memory-limit", "0", "--time-limit", "1"]
    result = run(*options, "--report", str(page), "--chart", str(chart))
    assert result.exit_code == 3
    assert page.exists()
    assert not chart.exists()
    assert "no chart was written" in result.stderr


@pytest.mark.slow
def test_pictures_of_several_configurations_say_nothing_of_how_they_are_made(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("{devices: 2, microbatches: 4, unit: ms}")
    other.write_text("{devices: 4, microbatches: 4, unit: us}")
    charts = [tmp_path / f"{name}.svg" for name in ("timeline", "devices-both", "bubbles", "ladder", "memory")]
    options = [text for chart in charts for text in ("--chart", str(chart))]
    result = run("-c", str(one), "-c", str(other), "--no-optimize", "--strategies", "1f1b,gpipe", *options)
    assert result.exit_code == 0
    assert "warning" not in result.stderr
    assert all(chart.read_text().startswith("<svg") for chart in charts)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["cpsat", "graph"])
def test_ctrl_c_before_the_search_ends_it_without_a_traceback(engine: str, tmp_path: Path) -> None:
    options = ["--devices", "8", "--microbatches", "800", "--engine", engine, "--report", str(tmp_path / "page.html")]
    asked = ["compare", "--no-optimize", "--strategies", "1f1b,zb1p,gpipe"]
    result = interrupted(*asked, *options, told="evaluating zb1p", after=0.05)
    assert result.returncode == 1
    assert result.stderr.endswith("Aborted!\n")
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_ends_the_searches_of_all_configurations(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.yaml" for name in "ab"]
    for file in files:
        file.write_text("{devices: 6, microbatches: 20, p2p_latency: 0.3, memory: {limit: 4}}")
    options = [text for file in files for text in ("-c", str(file))]
    result = interrupted("compare", *options, "--format", "json", "--strategies", "1f1b")
    assert result.returncode == 0, result.stderr
    both = json.loads(result.stdout)["comparisons"]
    assert both[0]["search"]["interrupted"]
    assert both[1]["search"] is None


def with_parts(communication: float) -> Pipeline:
    parts = {"forward": [2, {"comm": communication}], "backward": [{"comm": communication}, 3], "weight": {1: 1}}
    moe = {"name": "moe", "count": 16, "forward": 2 + communication, "backward": 4 + communication, "parts": parts}
    return Pipeline.from_mapping({"devices": 4, "microbatches": 16, "layers": [moe]})


def test_a_sentence_says_whether_overlapped_blocks_pay() -> None:
    names = ["1f1b", "zb-v", "dualpipe-v"]
    made = ppopt.compare(with_parts(2), names, optimize=False)
    best, other = (next(each for each in made.schedules if each.strategy == name) for name in ("dualpipe-v", "zb-v"))
    shorter, hidden = 1 - best.makespan / other.makespan, best.hidden_communication
    assert made.overlapped.startswith(f"dualpipe-v is {shorter:.1%} shorter than zb-v, ")
    assert hidden is not None
    assert made.overlapped.endswith(f": its blocks hide {hidden:.2%} of the communication within layers.")
    assert made.overlapped in made.verdict
    assert made.overlapped in sentences.verdict(made.section())
    shares = {row["strategy"]: row["hidden_communication"] for row in made.to_dict()["schedules"]}
    assert shares == {"1f1b": 0, "zb-v": 0, "dualpipe-v": hidden}
    assert ppopt.compare(with_parts(2), names[:2], optimize=False).overlapped == ""


def test_it_also_says_that_they_do_not() -> None:
    made = ppopt.compare(with_parts(40), ["zb-v", "dualpipe-v"], optimize=False)
    assert made.winner is not None
    assert made.winner.strategy == "zb-v"
    assert made.overlapped.startswith("Overlapped blocks do not pay here: dualpipe-v, the best with them, is ")


def test_blocks_that_hide_nothing_are_blocks() -> None:
    parts = {"forward": [1, {"comm": 1}], "backward": [1, {"comm": 1}, 1]}
    layers = [
        {"name": "moe", "forward": 2, "backward": 3, "parts": parts},
        {"name": "dense", "count": 3, "forward": 2, "backward": 3},
    ]
    costs = {"devices": 2, "microbatches": 6, "layers": layers, "layers_per_stage": [1, 1, 1, 1]}
    made = ppopt.compare(Pipeline.from_mapping(costs), ["dualpipe-v", "zb-v", "1f1b-overlap"], optimize=False)
    shares = {each.strategy: each.hidden_communication for each in made.schedules}
    assert shares["dualpipe-v"] == shares["zb-v"] == 0 < (shares["1f1b-overlap"] or 0)
    assert made.winner is not None
    assert made.winner.strategy == "zb-v"
    assert made.overlapped.startswith(
        "Overlapped blocks do not pay here: dualpipe-v, the best with them, is 3.2% longer"
    )


def test_rows_have_the_same_columns_where_no_layer_communicates() -> None:
    made = ppopt.compare(with_parts(0), ["zb-v", "dualpipe-v"], optimize=False)
    assert made.overlapped == ""
    assert {row["hidden_communication"] for row in made.to_dict()["schedules"]} == {None}


def test_nothing_is_said_of_blocks_without_parts() -> None:
    made = ppopt.compare(pipeline(overlap=0.5), ["zb-v", "dualpipe-v"], optimize=False)
    assert made.overlapped == ""
    assert "hidden_communication" not in made.to_dict()["schedules"][0]
