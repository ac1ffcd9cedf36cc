"""``ppopt plan``, and layouts and cuts given to the other commands."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import ppopt
from ppopt.commands.cli import cli
from reports.numbers import grouped
from tests.planned_models import uneven
from tests.running import call_ppopt

LAYOUT = "Et*3|t*3|t*3|t*3L"


def config(folder: Path, **options: Any) -> str:
    path = folder / "model.yaml"
    path.write_text(yaml.safe_dump(uneven(**options).to_mapping()))
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_the_table_shows_every_plan_with_its_bound_and_its_cut(tmp_path: Path) -> None:
    made = run("plan", "-c", config(tmp_path), "--strategies", "1f1b,zb-h1", "--time-limit", "120")
    assert made.exit_code == 0, made.output
    lines = made.stdout.splitlines()
    assert lines[0].split() == [
        "strategy",
        "v",
        "makespan",
        "bound",
        "gap",
        "status",
        "memory",
        "runs",
        "in",
        "layers",
        "per",
        "stage",
    ]
    assert lines[1].startswith("* ")
    found = ppopt.plan(uneven(), ["1f1b", "zb-h1"], time_limit=120)
    for plan, line in zip(found, lines[1:], strict=False):
        assert line.split("optimal")[0].split()[-5:] == [
            plan.name,
            "1",
            f"{plan.makespan:g}",
            f"{plan.makespan:g}",
            "0.00%",
        ]
    assert f"{found[0].label}:" in lines
    assert found[0].reasons[0] in made.stdout


def test_a_terminal_gets_80_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ppopt.commands.printing._is_read_on_a_terminal", lambda: True)
    made = run(
        "plan", "interleaved", "-c", config(tmp_path, layers=40), "--stages-per-device", "5", "--time-limit", "3"
    )
    assert made.exit_code == 0, made.output
    assert max(map(len, made.stdout.splitlines())) <= 80


def test_json_has_every_plan_best_first(tmp_path: Path) -> None:
    made = call_ppopt(
        *("plan", "1f1b", "interleaved", "dualpipe-v", "-c", config(tmp_path), "--time-limit", "4"),
        *("--stages-per-device", "1,2", "--format", "json", "--layout", LAYOUT),
    )
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    plans = found["plans"]
    assert [plan["makespan"] for plan in plans] == sorted(plan["makespan"] for plan in plans)
    assert {(plan["strategy"], plan["stages_per_device"]) for plan in plans} == {
        ("1f1b", 1),
        ("interleaved", 2),
        ("dualpipe-v", 2),
    }
    for plan in plans:
        assert plan["bound"] <= plan["makespan"]
        assert plan["gap"] == pytest.approx(1 - plan["bound"] / plan["makespan"])
        assert sum(plan["layers_per_stage"]) == 14
        assert len(plan["layers_per_stage"]) == len(plan["recomputed_per_stage"]) == 4 * plan["stages_per_device"]
        assert len(plan["peak_memory"]) == 4
        assert (plan["megatron_layout"] is None) == (plan["strategy"] == "dualpipe-v")
        assert plan["torchtitan_parts"] is None or len(plan["torchtitan_parts"]) == len(plan["layers_per_stage"])
    (compared,) = found["layouts"]
    assert compared["strategy"] == "1f1b"
    assert compared["longer_by"] >= 0


def test_csv_has_a_row_for_each_plan(tmp_path: Path) -> None:
    made = run("plan", "1f1b", "zb-h1", "-c", config(tmp_path), "--format", "csv", "--time-limit", "8")
    rows = list(csv.DictReader(io.StringIO(made.stdout)))
    assert {row["strategy"] for row in rows} == {"1f1b", "zb-h1"}
    assert all(sum(map(int, row["layers_per_stage"].split())) == 14 for row in rows)


@pytest.mark.parametrize("limit", [None, 105])
def test_a_saved_plan_is_evaluated_to_the_tick(limit: float | None, tmp_path: Path) -> None:
    saved = tmp_path / "plan.yaml"
    made = run(
        *("plan", "1f1b", "interleaved", "-c", config(tmp_path, limit=limit), "--stages-per-device", "1,2"),
        *("--time-limit", "6", "--save", str(saved), "--format", "json"),
    )
    assert made.exit_code == 0, made.output
    best = json.loads(made.stdout)["plans"][0]
    again = json.loads(run("evaluate", "-c", str(saved), "--format", "json").stdout)["schedules"][0]
    assert again["strategy"] == best["strategy"]
    assert again["makespan"] == best["makespan"]
    assert again["peak_memory"] == best["peak_memory"]
    assert again["over_memory_limit"] == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "waiting",
    [
        {},
        {"p2p": "links", "communication": {"transfer": 4}},
        {"p2p": "batched", "communication": {"transfer": 3}},
        {"p2p": "rendezvous", "lowering": "pytorch", "communicators": "pair", "communication": {"transfer": 3}},
    ],
    ids=str,
)
def test_a_saved_plan_whose_order_was_searched_is_evaluated_to_the_tick(
    waiting: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = uneven(4, devices=3, microbatches=6, limit=160).to_mapping() | waiting
    if "communication" in waiting:
        mapping.pop("p2p_latency", None)
    path, saved, elsewhere = tmp_path / "model.yaml", tmp_path / "plan.yaml", tmp_path / "elsewhere"
    path.write_text(yaml.safe_dump(mapping))
    free = ("--free", "--placement", "linear", "--recompute", "none", "--save", str(saved))
    made = run("plan", "gpipe", "-c", str(path), *free, "--time-limit", "3", "--format", "json")
    assert made.exit_code == 0, made.output
    best = json.loads(made.stdout)["plans"][0]
    assert best["free"]
    assert f"order: {tmp_path / 'plan.csv'}" in made.stderr
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (elsewhere / "plan.csv").write_text("not an order")
    again = json.loads(run("evaluate", "-c", str(saved), "--format", "json").stdout)
    (schedule,) = again["schedules"]
    assert schedule["makespan"] == best["makespan"]
    assert schedule["peak_memory"] == best["peak_memory"]
    assert again["pipeline"]["layers_per_stage"] == best["layers_per_stage"]


def test_an_order_is_not_written_over_an_input(tmp_path: Path) -> None:
    path, order = config(tmp_path, layers=4), tmp_path / "plan.csv"
    ppopt.evaluate(uneven(4), "gpipe").export(order)
    made = run("plan", str(order), "-c", path, "--free", "--save", str(tmp_path / "plan.yaml"))
    assert made.exit_code == 2
    assert "--save, its order: " in made.stderr
    made = run("plan", "gpipe", "-c", path, "--free", "--save", str(tmp_path / "other.csv"))
    assert made.exit_code == 2
    assert "is also the file of --save" in made.stderr


def test_a_plan_is_printed_for_frameworks_with_what_they_cannot_express(tmp_path: Path) -> None:
    made = run("plan", "zb-h1", "-c", config(tmp_path), "--export-layout", "--time-limit", "5")
    assert "--pipeline-model-parallel-layout 'Et" in made.stdout
    assert "module_fqns_per_model_part = [[" in made.stdout
    assert "not expressed: DeepSpeed runs 1F1B, and not zb-h1" in made.stdout


def test_each_framework_gets_the_best_plan_that_it_runs_and_hears_of_the_better_one(tmp_path: Path) -> None:
    names = ("zb-v", "zb-h1", "interleaved", "1f1b", "dualpipe")
    options = ("--stages-per-device", "1,2", "--time-limit", "6", "--export-layout")
    made = run("plan", *names, "-c", config(tmp_path, layers=6, devices=2), *options)
    assert made.exit_code == 0, made.output
    found = ppopt.plan(uneven(6, devices=2), names, stages_per_device=[1, 2], time_limit=6)
    runs = {
        "Megatron-Core": {"interleaved", "1f1b"},
        "torchtitan": {"zb-v", "interleaved", "1f1b"},
        "DeepSpeed": {"1f1b"},
    }
    for framework, able in runs.items():
        best = found.best_for(framework)
        assert best is not None
        assert best.name in able
        assert not any(
            plan.makespan < best.makespan for plan in found if plan.name in able and all(plan.layers_per_stage)
        )
        assert f"{framework}: {best.label}, {grouped(best.makespan)}:" in made.stdout
        lines = made.stdout.split(f"{framework}: ")[1].splitlines()
        told = [line for line in lines[:6] if line.startswith(f"  not expressed: {found[0].label}, ")]
        saved = 1 - found[0].makespan / best.makespan
        assert bool(saved) == bool(told)
        assert not told or f", {saved:.2%} shorter: " in told[0]
        assert found.to_dict()["best_for"][framework]["strategy"] == best.name


def test_what_no_framework_runs_is_told_with_what_to_plan_for(tmp_path: Path) -> None:
    path = config(tmp_path, limit=105)
    made = run("plan", "1f1b", "-c", path, "--export-layout", "--time-limit", "5", "--format", "table")
    for framework in ("Megatron-Core", "torchtitan", "DeepSpeed"):
        assert f"{framework} runs none of these plans as a whole; from 1f1b, v = 1 it can take:" in made.stdout
    assert "that it can run, use --strategies 1f1b,interleaved,interleaved-overlap --recompute uniform-k" in made.stdout
    options = ("--strategies", "1f1b", "--recompute", "uniform-k", "--export-layout", "--time-limit", "5")
    assert "Megatron-Core: 1f1b, v = 1, " in run("plan", "-c", path, *options).stdout


def test_a_page_shows_the_cut(tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    made = run("plan", "1f1b", "-c", config(tmp_path), "--report", str(page), "--time-limit", "5")
    assert made.exit_code == 0, made.output
    text = page.read_text()
    assert "Why this cut" in text
    assert "Where the layers lie" in text
    assert "device 3, stage 3" in text


def test_somebodys_layout_is_told_with_how_far_it_is_from_the_best(tmp_path: Path) -> None:
    made = run("plan", "1f1b", "-c", config(tmp_path), "--layout", LAYOUT, "--time-limit", "5")
    assert f"{LAYOUT}: 1f1b takes" in made.stdout
    assert "% longer than the best cut found (" in made.stdout


def test_nothing_fits_ends_with_3_and_one_line(tmp_path: Path) -> None:
    options = ("--recompute", "none", "--time-limit", "5")
    made = run("plan", "1f1b", "zb-h1", "-c", config(tmp_path, limit=60), *options)
    assert made.exit_code == 3
    assert made.stdout == ""
    assert "every cut exceeds the memory limit of some device" in made.stderr
    assert "with recomputation one fits" in made.stderr


def test_a_layout_replays_and_a_cut_is_chosen(tmp_path: Path) -> None:
    path = config(tmp_path)
    laid = json.loads(run("evaluate", "1f1b", "-c", path, "--layout", LAYOUT, "--format", "json").stdout)
    assert laid["pipeline"]["layers_per_stage"] == [4, 3, 3, 4]
    even = json.loads(run("evaluate", "1f1b", "-c", path, "--cut", "even", "--format", "json").stdout)
    quick = json.loads(run("evaluate", "1f1b", "-c", path, "--format", "json").stdout)
    makespans = [each["schedules"][0]["makespan"] for each in (quick, laid, even)]
    assert makespans[0] < makespans[1] == makespans[2]
    proven = ppopt.plan(uneven(), ["1f1b"], time_limit=120).best
    assert proven is not None
    assert makespans[0] >= proven.makespan


def test_all_commands_cut_layers_that_come_without_a_cut(tmp_path: Path) -> None:
    path = config(tmp_path)
    compared = run("compare", "-c", path, "--strategies", "1f1b,dualpipe-v", "--no-optimize", "--format", "json")
    assert compared.exit_code == 0, compared.output
    assert "a quick cut of its own" in compared.stderr
    searched = [
        json.loads(run("optimize", "-c", path, "--cut", cut, "--time-limit", "1", "--format", "json").stdout)
        for cut in ("plan", "even")
    ]
    planned, even = (each["schedules"][0] for each in searched)
    assert planned["makespan"] < even["makespan"]


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, ["--stages-per-device", "0"], "--stages-per-device: must be whole numbers of at least 1"),
        ({}, ["--stages-per-device", "2,x"], "--stages-per-device: must be whole numbers of at least 1"),
        ({}, ["--strategies", ","], "--strategies: must name at least one"),
        ({}, ["--strategies", "1f2b"], "did you mean 1f1b?"),
        ({"times": {"forward": 1}}, [], "times: cannot be given beside layers"),
        ({"memory": {"limit": 3}}, [], "memory.limit: must hold the static memory"),
        ({"memory": {"limit": 17}}, [], "memory.limit: must hold the static memory of all layers"),
        (
            {"layers": [{"name": "t", "count": 2, "forward": 0, "backward": 0}]},
            [],
            "layers: must take some time; the forwards and backwards of all layers sum to 0",
        ),
        (
            {"layers": [{"name": "t", "count": 2, "forward": 1, "backward": 2}]},
            ["--no-empty-stages"],
            "layers: are too few for 4 stages of which none may be empty",
        ),
        (
            {"layers": [{"name": "t", "forward": 1, "backward": 2, "letter": "q"}]},
            [],
            "letter: must be one of E (embedding)",
        ),
        ({}, ["--layout", "Et*3|t*3|t*3|t*2L"], "must have 12 t (decoder layer), as many as the model; found 11"),
        ({}, ["--layout", "Et*3|t*3|t*3q|t*3L"], "layout: stage 2: 'q' is no layer"),
        ({}, ["--stages", "3"], "stages: must be 4, one for each device, or a multiple of it; found 3"),
        ({"stages": 6}, [], "stages: must be 4, one for each device, or a multiple of it; found 6"),
        ({}, ["--stages", "8", "--stages-per-device", "1"], "--stages: 8 are 2 on each of 4 devices"),
        ({}, ["--stages", "8"], "1f1b does not take 2 stages per device"),
        ({}, ["--placement", "v"], "placement: restricts the search for orders; give free as well"),
        ({"devices": 4, "layers": None, "times": {"forward": 1, "backward": 2}}, [], "layers: a plan needs"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    changes: dict[str, Any], arguments: list[str], message: str, tmp_path: Path
) -> None:
    mapping = {key: value for key, value in (uneven().to_mapping() | changes).items() if value is not None}
    if "layers" in changes:
        mapping.pop("layers_per_stage", None)
    path = tmp_path / "model.yaml"
    path.write_text(yaml.safe_dump(mapping))
    made = run("plan", *([] if "--strategies" in arguments else ["1f1b"]), "-c", str(path), *arguments)
    assert made.exit_code == 2, made.output
    assert message in made.stderr
    assert all(line.startswith("error: ") for line in made.stderr.splitlines())


def test_stages_say_how_many_each_device_holds(tmp_path: Path) -> None:
    options = ("--stages", "8", "--time-limit", "2", "--format", "json")
    made = run("plan", "interleaved", "1f1b", "-c", config(tmp_path, layers=6), *options)
    assert made.exit_code == 0, made.output
    assert {plan["stages_per_device"] for plan in json.loads(made.stdout)["plans"]} == {2}


def test_an_output_is_not_written_over_the_input(tmp_path: Path) -> None:
    path = config(tmp_path)
    made = run("plan", "1f1b", "-c", path, "--save", path)
    assert made.exit_code == 2
    assert "would overwrite the input" in made.stderr
