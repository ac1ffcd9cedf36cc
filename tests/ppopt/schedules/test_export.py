"""Orders that are exported and read again: nothing is lost, and nothing wrong is accepted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import Block, DeadlockError, InputError, Op, Pipeline, Schedule
from ppopt.commands.cli import cli
from ppopt.commands.pages import write_report
from ppopt.comparison.ranking import comparison_of
from ppopt.schedules.order_files import read_given_order
from strategies.faults.order_faults import check_file
from strategies.language.registry import all_strategies
from strategies.order_files.exported_order import export_order
from strategies.order_files.schedule_file import parse_schedule
from tests.conftest import DATA
from tests.evaluated import evaluated, pipeline
from tests.examples import examples

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
FILES = sorted((DATA / "pytorch_orders").glob("*.csv"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def exported_again(schedule: Schedule, path: Path) -> Schedule:
    """Export a schedule and evaluate the file on the same costs."""
    schedule.export(path, force_order_only=True)
    return evaluated(str(path), schedule.pipeline)


def last_forwards(schedule: Schedule) -> list[int]:
    """Return the microbatches of the last stage's forwards, in order."""
    last = (schedule.pipeline.stages or 0) - 1
    halves = (
        op for order in schedule.actions for each in order for op in (each if isinstance(each, Block) else [each])
    )
    return [op.microbatch for op in halves if op.stage == last and op.kind == "F"]


@pytest.mark.parametrize("name", list(all_strategies()))
def test_every_schedule_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    costs = pipeline(4, 8, p2p_latency=0.25, times={"forward": 1, "backward": 2.5, "overlapped_forward_backward": 3})
    made = ppopt.evaluate(costs, name, engine="graph")
    again = exported_again(made, tmp_path / "x.csv")
    assert again.makespan == made.makespan
    assert again.placement == made.placement
    assert again.peak_memory == made.peak_memory
    text = (tmp_path / "x.csv").read_text()
    assert text.count("\n") == 4
    assert text.endswith("\n")
    if made.placement != "bidirectional":
        assert last_forwards(again) == list(range(8))


@settings(max_examples=examples(60), deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_every_schedule_comes_back_on_any_costs(data: st.DataObject, tmp_path: Path) -> None:
    strategy = all_strategies()[data.draw(st.sampled_from(sorted(all_strategies())))]
    devices = data.draw(st.sampled_from([2, 4] if strategy.requirements.even_devices else [1, 2, 3, 4]))
    microbatches = 2 * data.draw(st.integers(devices, devices + 3))
    stages = strategy.requirements.default_stages(devices)
    durations = st.lists(st.sampled_from([0.1, 0.7, 1, 2, 3]), min_size=stages, max_size=stages)
    times = {key: data.draw(durations) for key in ("forward", "backward_input", "backward_weight")}
    costs = pipeline(devices, microbatches, times=times, p2p_latency=data.draw(st.sampled_from([0, 0.3, 2])))
    try:
        made = ppopt.evaluate(costs, strategy.name, engine="graph")
    except DeadlockError:
        return  # the interleaved rules deadlock if the last group is incomplete
    again = exported_again(made, tmp_path / "x.csv")
    assert again.makespan == made.makespan
    assert again.busy == made.busy


def test_microbatches_are_renumbered_and_the_makespan_is_kept(tmp_path: Path) -> None:
    text = "0F2,0F0,0F1,0B0,0I1,0W1,0B2\n1F1,1B1,1F0,1B0,1F2,1B2\n"
    Path(tmp_path / "in.csv").write_text(text)
    costs = pipeline(2, 3, p2p_latency=0.5)
    made = evaluated(str(tmp_path / "in.csv"), costs)
    notes = made.export(tmp_path / "out.csv")
    assert "microbatches were renumbered" in notes[0]
    assert (tmp_path / "out.csv").read_text() == "0F2,0F1,0F0,0B1,0I0,0W0,0B2\n1F0,1B0,1F1,1B1,1F2,1B2\n"
    again = evaluated(str(tmp_path / "out.csv"), costs)
    assert again.makespan == made.makespan
    assert last_forwards(again) == [0, 1, 2]


@settings(max_examples=examples(40), deadline=None)
@given(numbers=st.permutations(range(8)), name=st.sampled_from(["1f1b", "zb-h1", "dualpipe-v", "interleaved"]))
def test_any_numbering_is_brought_into_order(numbers: list[int], name: str) -> None:
    made = ppopt.evaluate(pipeline(4, 8), name, engine="graph")
    shuffled = [[_renumbered(each, numbers) for each in order] for order in made.actions]
    renumbered = export_order(shuffled, made.layout)
    assert renumbered.text == export_order(made.actions, made.layout).text


def _renumbered(action: Any, numbers: list[int]) -> Any:
    if isinstance(action, Block):
        return Block(*(_renumbered(half, numbers) for half in action))
    return action._replace(microbatch=numbers[action.microbatch])


@pytest.mark.parametrize("placement", ["linear", "v", "bidirectional"])
def test_a_searched_schedule_comes_back(placement: str, tmp_path: Path) -> None:
    times = {"forward": 1, "backward": 2, "overlapped_forward_backward": 2.5}
    made = ppopt.optimize(
        pipeline(2, 4, times=times, p2p_latency=0.1), placement=placement, overlap=True, time_limit=1, workers=1
    )
    again = exported_again(made, tmp_path / "x.csv")
    assert again.makespan == made.makespan
    assert run("check", str(tmp_path / "x.csv")).exit_code == 0


def test_what_torchtitan_and_blocks_need_is_told(tmp_path: Path) -> None:
    told = ppopt.evaluate(pipeline(4, 8), "dualpipe-v").export(tmp_path / "x.csv")
    assert [note.split(": ")[0] for note in told] == ["dualpipe-v"] * 3
    assert "for torchtitan, name ZBVZeroBubble or DualPipeV beside the file" in told[0]
    assert "one after the other, unless a custom function is registered for OVERLAP_F_B" in told[1]
    assert "the rows differ in length" in told[2]
    assert ppopt.evaluate(pipeline(4, 8), "1f1b").export(tmp_path / "x.csv") == ()


def test_bidirectional_orders_are_refused_unless_forced(tmp_path: Path) -> None:
    made = ppopt.evaluate(pipeline(4, 8), "dualpipe")
    with pytest.raises(InputError, match="dualpipe: is bidirectional: two devices hold each stage"):
        made.export(tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()
    (note,) = made.export(tmp_path / "x.csv", force_order_only=True)
    assert "PyTorch's runtime cannot run it" in note
    assert read_given_order(tmp_path / "x.csv").orders == made.actions


def custom() -> str:
    """Six stages on three devices, in a placement without a name."""
    rows = ["0F0,0F1,3F0,3F1,3B0,3B1,0B0,0B1", "4F0,5F0,5B0,4B0,4F1,5F1,5B1,4B1", "1F0,1F1,2F0,2F1,2B0,1B0,2B1,1B1"]
    return "\n".join(rows) + "\n"


def test_any_placement_is_evaluated_explained_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "custom.csv"
    path.write_text(custom())
    costs = pipeline(3, 2, stages=6, p2p_latency=0.5, times={"forward": [1, 2, 1, 3, 1, 1], "backward": 2})
    made = evaluated(str(path), costs)
    assert made.placement == "custom"
    assert made.layout.homes == ((0, 2, 2, 0, 1, 1),)
    assert evaluated(str(path), costs, "cpsat").makespan == made.makespan
    comparison = comparison_of(costs, [made])
    assert comparison.ladders[0].bound > 0
    assert "no schedule on this placement can go below" in ppopt.explain(comparison.schedules[0])
    write_report(str(tmp_path / "x.html"), [comparison], ["custom"], ["ppopt"])
    assert "custom.csv" in (tmp_path / "x.html").read_text()
    assert exported_again(made, tmp_path / "again.csv").makespan == made.makespan
    assert any("torchtitan cannot take its placement" in note for note in made.export(tmp_path / "again.csv"))


def test_permuted_ranks_and_uneven_stages_are_custom(tmp_path: Path) -> None:
    for name, text in {
        "permuted": "1F0,1B0\n0F0,0B0\n",
        "uneven": "0F0,2F0,2B0,0B0\n1F0,1B0\n",
    }.items():
        (tmp_path / f"{name}.csv").write_text(text)
        assert read_given_order(tmp_path / f"{name}.csv").placement.name == "custom"


def test_what_contradicts_a_pipeline_is_told_with_both_values(tmp_path: Path) -> None:
    path = tmp_path / "custom.csv"
    path.write_text(custom())
    with pytest.raises(InputError) as caught:
        ppopt.evaluate(pipeline(4, 8, stages=8), path)
    assert str(caught.value).splitlines() == [
        f"devices: the pipeline has 4, but {path} has 3",
        f"stages: the pipeline has 8, but {path} has 6",
        f"microbatches: the pipeline has 8, but {path} has 2",
    ]
    with pytest.raises(InputError, match="stages: the pipeline has 3, but"):
        ppopt.compare(pipeline(3, 2, stages=3), ["1f1b", str(path)], optimize=False)
    with pytest.raises(InputError, match="a schedule file takes no options; found stages"):
        ppopt.evaluate(pipeline(3, 2), str(path), stages=6)
    assert ppopt.evaluate(pipeline(3, 2), str(path)).pipeline.stages == 6
    assert [each.pipeline.stages for each in ppopt.evaluate_all(pipeline(3, 2), ["1f1b", path])] == [3, 6]
    compared = ppopt.compare(pipeline(3, 2), ["1f1b", path], optimize=False)
    assert {each.strategy for each in compared.schedules} == {"1f1b", str(path)}


CELLS = st.sampled_from(
    ["0F0", "3B1", "0f0", "0F99", "99F0", "xyz", "", " ", "0SEND_F0", "(0F1;3B0)OVERLAP_F_B", "0I0"]
)
SMALL_FILES = [file for file in FILES if file.stat().st_size < 1200]


@pytest.mark.no_cover
@settings(max_examples=examples(250), deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_a_mangled_file_is_never_a_traceback_and_never_taken_wrongly(data: st.DataObject, tmp_path: Path) -> None:
    file = data.draw(st.sampled_from(SMALL_FILES))
    rows = [line.split(",") for line in file.read_text().splitlines()]
    for _ in range(data.draw(st.integers(1, 3))):
        _mangle(rows, data)
    text = "\n".join(",".join(row) for row in rows) + "\n"
    try:
        checked = check_file(parse_schedule(text, "x.csv"))
    except InputError:
        return
    for fault in checked.faults:
        assert len(str(fault).splitlines()) == 1
    if checked.placement is None:
        return
    _complete_by_an_independent_count(text, len(checked.placement.homes[0]), checked.placement.microbatches)
    (tmp_path / "x.csv").write_text(text)
    given_order = read_given_order(tmp_path / "x.csv")
    evaluated(str(tmp_path / "x.csv"), pipeline(given_order.sizes["devices"], given_order.sizes["microbatches"]))


def _mangle(rows: list[list[str]], data: st.DataObject) -> None:
    row = data.draw(st.sampled_from([row for row in rows if row]))
    place = data.draw(st.integers(0, len(row) - 1))
    other_row = data.draw(st.sampled_from([row for row in rows if row]))
    other = data.draw(st.integers(0, len(other_row) - 1))
    how = data.draw(st.sampled_from(["swap", "delete", "double", "digit", "letter", "insert", "character"]))
    if how == "swap":
        row[place], other_row[other] = other_row[other], row[place]
    elif how == "delete" and len(row) > 1:
        del row[place]
    elif how == "double":
        other_row.insert(other, row[place])
    elif how == "digit":
        row[place] = row[place].replace(data.draw(st.sampled_from("0123")), data.draw(st.sampled_from("0129")), 1)
    elif how == "letter":
        row[place] = row[place].replace(data.draw(st.sampled_from("FBIW")), data.draw(st.sampled_from("FBIWX")), 1)
    elif how == "insert":
        row.insert(place, data.draw(CELLS))
    else:
        row[place] += data.draw(st.characters(exclude_characters=",\n\r", codec="utf-8"))


def _complete_by_an_independent_count(text: str, stages: int, microbatches: int) -> None:
    """Count the operations in the text itself: each once, and no others."""
    seen: Counter[str] = Counter()
    for cell in (cell.strip().strip('"') for line in text.splitlines() for cell in line.split(",")):
        if cell.startswith("("):
            seen.update(cell.removesuffix(")OVERLAP_F_B").removeprefix("(").split(";"))
        elif cell and "_" not in cell and "SHARD" not in cell:
            seen[cell] += 1
    assert set(seen.values()) == {1}
    for stage in range(stages):
        for microbatch in range(microbatches):
            assert seen.pop(f"{stage}F{microbatch}") == 1
            whole = seen.pop(f"{stage}B{microbatch}", 0)
            halves = seen.pop(f"{stage}I{microbatch}", 0), seen.pop(f"{stage}W{microbatch}", 0)
            assert (whole, halves) in [(1, (0, 0)), (0, (1, 1))]
    assert not seen


def test_evaluate_exports_one_schedule(tmp_path: Path) -> None:
    path = str(tmp_path / "x.csv")
    result = run("evaluate", "zb-h1", "--export", path)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, f"export: {path}")
    assert run("evaluate", path).stdout.split()[-4] == result.stdout.split()[-6]
    forced = run("evaluate", "dualpipe", "--export", path, "--force-order-only", "--format", "json")
    assert forced.stdout.startswith("{")
    assert f"export: {path}" in forced.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "1f1b", "gpipe", "--export", "x.csv"], "--export: takes one schedule; found 2"),
        (["evaluate", "dualpipe", "--export", "x.csv"], "--export: dualpipe: is bidirectional"),
        (
            ["evaluate", "1f1b", "--force-order-only"],
            "--force-order-only: applies to --export FILE.csv; give that as well",
        ),
        (["evaluate", "1f1b", "--export", "absent/x.csv"], "--export: absent/x.csv: the folder absent does not exist"),
        (["evaluate", "1f1b", "--export", "x", "--save", "x"], "is also the file of --save"),
        (
            ["optimize", "--placement", "all", "--export", "x.csv"],
            "--export: takes one schedule; --placement all finds",
        ),
        (["optimize", "--placement", "bidirectional", "--export", "x.csv"], "cannot run bidirectional schedules"),
        (["compare", "--force-order-only"], "--force-order-only: applies to --export-dir DIR; give that as well"),
        (["compare", "--export-dir", "a/b"], "--export-dir: a/b: the folder"),
        (["compare", "--export-dir", "file"], "--export-dir: file: is a file; name a folder"),
        (["compare", "--export-dir", ""], "--export-dir: '' names no folder"),
    ],
)
def test_mistakes_are_told_before_any_work(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_optimize_exports_what_it_found(tmp_path: Path) -> None:
    path = str(tmp_path / "x.csv")
    result = run("optimize", "--devices", "2", "--microbatches", "3", "--time-limit", "1", "--export", path)
    assert result.exit_code == 0
    assert run("check", path).exit_code == 0


def test_compare_exports_a_file_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = "1f1b,interleaved:stages=8,interleaved:stages=12,dualpipe"
    result = run("compare", "--no-optimize", "--strategies", names, "--export-dir", "orders")
    assert result.exit_code == 0
    assert sorted(each.name for each in Path("orders").iterdir()) == [
        "1f1b.csv", "interleaved-stages-12.csv", "interleaved-stages-8.csv",
    ]  # fmt: skip
    assert "note: not written: dualpipe: is bidirectional" in result.stderr
    assert run("check", *(str(each) for each in Path("orders").iterdir())).exit_code == 0
    Path("a.yaml").write_text("devices: 2\nmicrobatches: 4\ntimes: {forward: 1, backward: 2}\n")
    Path("b.yaml").write_text("devices: 2\nmicrobatches: 6\ntimes: {forward: 1, backward: 2}\n")
    options = ["-c", "a.yaml", "-c", "b.yaml", "--no-optimize", "--strategies", "1f1b,dualpipe", "--force-order-only"]
    run("compare", *options, "--export-dir", "both")
    assert sorted(each.name for each in Path("both").iterdir()) == [
        "a-1f1b.csv", "a-dualpipe.csv", "b-1f1b.csv", "b-dualpipe.csv",
    ]  # fmt: skip


def test_the_operations_of_a_file_are_ours(tmp_path: Path) -> None:
    ppopt.evaluate(Pipeline.from_mapping({"devices": 1, "microbatches": 1}), "1f1b").export(tmp_path / "x.csv")
    assert read_given_order(tmp_path / "x.csv").orders == [[Op(0, "F", 0), Op(0, "B", 0)]]
