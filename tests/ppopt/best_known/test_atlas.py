from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

import ppopt
from benchmarks.atlas import BEGIN, END, PAGE, Known, filled, markdown, published_on, replay_published
from ppopt.best_known import own_order
from ppopt.best_known.cells import FILE, STAGES, TIMES, Cell, Key, as_csv, costs_of, keys, read_cells
from ppopt.best_known.summary import summed_up
from ppopt.process.internal_error import InternalError
from ppopt.sweeps import engine
from ppopt.sweeps.job import Figures, Job
from tests.brute_force import optimum
from tests.running import call_ppopt
from tests.test_rooms import ROOT

CELLS = read_cells()


def families() -> Iterator[list[Cell]]:
    """Yield the cells that differ in memory only, those with the least memory first."""
    for key in (key for key in CELLS if key.memory is None):
        here = [cell for cell in CELLS.values() if cell.key._replace(memory=None) == key]
        yield sorted(here, key=lambda cell: float("inf") if cell.key.memory is None else cell.key.memory)


# ---- the file


def test_the_file_holds_every_cell_of_the_grid_as_it_writes_them() -> None:
    assert list(CELLS) == list(keys())
    assert len(CELLS) == 640
    text = files("ppopt.best_known").joinpath(FILE).read_text(encoding="utf-8")
    assert as_csv([cell.to_dict() for cell in CELLS.values()]) == text


def test_measured_times_are_those_of_the_example() -> None:
    example = yaml.safe_load((ROOT / "examples" / "measured-1.5b.yaml").read_text())
    assert TIMES["measured"] == {name: example[name] for name in ("times", "p2p_latency")}


def test_no_cell_contradicts_itself() -> None:
    for cell in CELLS.values():
        if cell.bound is not None and cell.found is not None:
            assert cell.bound <= cell.found, cell
        if cell.found is not None:
            assert cell.found <= (cell.published_makespan or cell.found), cell
            assert cell.key.allows(cell.peak_memory), cell
        assert (cell.status == "optimal") == (cell.found is not None and cell.found == cell.bound), cell
        assert (cell.published == ()) == (cell.published_makespan is None), cell


def test_more_memory_makes_no_cell_longer() -> None:
    for family in families():
        for less, more in pairwise(family):
            assert (more.found or 0) <= (less.found or float("inf")), more
            assert (more.bound or 0) <= (less.bound or float("inf")), more
            assert (more.published_makespan or 0) <= (less.published_makespan or float("inf")), more


def test_steps_in_a_row_are_a_step_of_more_microbatches() -> None:
    for key, cell in CELLS.items():
        for factor in (2, 4, 8, 16):
            more = CELLS.get(key._replace(microbatches=factor * key.microbatches))
            if more is not None and cell.found is not None:
                assert more.found is not None
                assert more.found <= factor * cell.found, more


def exact_formula(key: Key) -> tuple[Fraction, Fraction]:
    """Return what no linear schedule undercuts, and what ZB-H1 takes with p activations and equal times."""
    times, latency = TIMES[key.times]["times"], TIMES[key.times]["p2p_latency"]
    f, i, w = (Fraction(times[name]) for name in ("forward", "backward_input", "backward_weight"))
    work = key.microbatches * (f + i + w)
    return work + (key.devices - 1) * (f + latency), work + (key.devices - 1) * (f + i - w)


def test_linear_cells_agree_with_the_published_formulas() -> None:
    linear = [cell for cell in CELLS.values() if cell.key.placement == "linear"]
    for cell in linear:
        least, of_zb_h1 = exact_formula(cell.key)
        assert cell.found is None or cell.found >= least, cell
        if cell.key.times == "unit" and cell.key.allows(cell.key.devices):
            assert (cell.found, cell.bound) == (of_zb_h1, of_zb_h1), cell
            assert "zb-h1" in cell.published, cell


SMALL = [
    pytest.param(key, id=str(key[:2]), marks=[pytest.mark.slow] if STAGES[key.placement] > 1 else [])
    for key in CELLS
    if key[2:] == (2, 2, None)
]


@pytest.mark.parametrize("key", SMALL)
def test_small_cells_are_what_trying_every_order_gives(key: Key) -> None:
    """Every order of two devices and two microbatches, with none of the search's or the bounds' code."""
    costs = costs_of(key.times, 2, 2).recut(2 * STAGES[key.placement])
    one_at_a_time, any_memory = (
        optimum(limited, key.placement, split=True, overlap=False) for limited in (costs.with_limit(1), costs)
    )
    for cell in (CELLS[key._replace(memory=memory)] for memory in (1, 2, 3, 4, None)):
        true = one_at_a_time if cell.key.memory == 1 else any_memory  # two microbatches hold 2 at most
        assert true is not None
        assert cell.bound is not None
        assert cell.bound <= true
        assert cell.found is None or true <= cell.found
        assert not cell.proven or cell.found == true


PROVEN_SMALL = [key for key, cell in CELLS.items() if cell.proven and key.devices <= 4 and key.microbatches <= 8]


@pytest.mark.exhaustive(7)
@pytest.mark.parametrize("key", PROVEN_SMALL[:: max(1, len(PROVEN_SMALL) // 30)], ids=str)
def test_another_search_does_not_contradict_a_proven_cell(key: Key) -> None:
    costs = costs_of(key.times, key.devices, key.microbatches)
    limited = costs if key.memory is None else costs.with_limit(key.memory)
    made = ppopt.optimize(limited, placement=key.placement, time_limit=0.5, workers=1, seed=1)
    found = CELLS[key].found
    assert found is not None
    assert made.makespan >= found
    assert (made.bound or 0) <= found
    assert made.status != "optimal" or made.makespan == found


def test_published_schedules_are_in_every_cell_into_which_they_fit() -> None:
    """Replayed here one by one, not by a sweep: none is shorter than the bound, and the best are named."""
    for key in (key for key in CELLS if key.devices == 4 and key.microbatches in (4, 8)):
        costs = costs_of(key.times, key.devices, key.microbatches).recut(4 * STAGES[key.placement])
        limited = costs if key.memory is None else costs.with_limit(key.memory)
        replayed: dict[str, float] = {}
        for name in published_on(key.placement):
            try:
                made = ppopt.evaluate(limited, name, engine="graph")
            except ppopt.InputError:
                continue
            if made.fits:
                replayed[name] = made.makespan
        cell, least = CELLS[key], min(replayed.values(), default=None)
        assert cell.published_makespan == least, key
        assert set(cell.published) == {name for name, makespan in replayed.items() if makespan == least}, key
        assert least is None or cell.bound is None or cell.bound <= least, key


# ---- how it is filled

FEW = [Key("unit", placement, 2, 4, memory) for placement in ("linear", "v") for memory in (1, 2, 3, 4, None)]


def row(makespan: float, bound: float, peak: float = 2.0, name: str = "optimize:linear") -> dict[str, object]:
    return {"strategy": name, "makespan": makespan, "bound": bound, "peak_memory": peak, "seconds": 1.0}


def test_bounds_hold_for_less_memory_and_schedules_for_more() -> None:
    known, (least, two, three, four, none) = Known(), FEW[:5]
    known.searched(none, row(makespan=20, bound=12, peak=4), 1)
    known.searched(two, row(makespan=24, bound=14, peak=2), 1)
    known.replayed(none, row(makespan=22, bound=19, peak=3, name="zb-h1"))
    cells = [known.cell(key) for key in (least, two, three, four, none)]
    assert [cell.found for cell in cells] == [None, 24, 22, 20, 20]
    assert [cell.bound for cell in cells] == [14, 14, 12, 12, 12], "a replay's bound holds only for what it does"
    assert [cell.published for cell in cells] == [(), (), ("zb-h1",), ("zb-h1",), ("zb-h1",)]
    assert [cell.time_limit for cell in cells] == [None, 1, None, None, 1]


def test_what_the_table_shows_counts() -> None:
    known, (_, two, three, _, none) = Known(), FEW[:5]
    known.read([Cell(two, found=24, peak_memory=2, bound=14, time_limit=4, seconds=3.5), Cell(none, bound=12)])
    known.searched(two, row(makespan=26, bound=15, peak=1), 15)
    cells = [known.cell(key) for key in (two, three, none)]
    assert [(cell.found, cell.bound) for cell in cells] == [(24, 15), (24, 12), (24, 12)]
    assert cells[0].time_limit == 15
    assert cells[0].seconds > 3.5


def test_a_schedule_run_twice_is_one_of_twice_the_microbatches_and_not_published() -> None:
    known, key = Known(), Key("unit", "v", 2, 4, 2)
    known.replayed(key, row(makespan=13, bound=1, peak=2, name="zb-v"))
    known.searched(key, row(makespan=12.5, bound=12, peak=3), 1)
    twice = known.cell(key._replace(microbatches=8))
    assert (twice.found, twice.peak_memory, twice.published, twice.bound) == (26, 2, (), None)
    assert known.cell(key._replace(microbatches=8, memory=3)).found == 25
    assert known.cell(key._replace(microbatches=2)).found is None
    assert known.cell(key._replace(microbatches=8, memory=1)).found is None


def test_a_cell_whose_proof_carries_over_is_not_searched_and_nothing_is_run_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, cells = filled(FEW, tmp_path / "rows", [1.0])
    assert all(cell.proven for cell in cells)
    without_limit = [cell for cell in cells if cell.key.memory is None]
    assert all(cell.time_limit == 1 for cell in without_limit)
    carried = [cell for cell in cells if cell.time_limit is None]
    assert carried
    assert [CELLS[cell.key].found for cell in cells] == [cell.found for cell in cells]

    def run_nothing(job: object) -> None:
        raise AssertionError(job)

    monkeypatch.setattr(engine, "run_job", run_nothing)
    *_, again = filled(FEW, tmp_path / "rows", [1.0])
    assert again == cells


def test_ctrl_c_keeps_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = engine.run_job

    def press_at_a_search_without_limit(job: Job) -> tuple[str, Figures]:
        if job.run.is_search and job.run.name == "optimize:v":
            raise KeyboardInterrupt
        return whole(job)

    monkeypatch.setattr(engine, "run_job", press_at_a_search_without_limit)
    first, last = filled(FEW, tmp_path / "rows", [1.0])
    assert last == first
    assert all(cell.bound is not None for cell in last if cell.key.placement == "linear")
    assert all(cell.bound is None for cell in last if cell.key.placement == "v")
    assert any(cell.published for cell in last if cell.key.placement == "v")


def test_a_schedule_that_minds_the_limit_is_replayed_with_each(tmp_path: Path) -> None:
    known, cells = Known(), [key for key in FEW if key.placement == "linear"]
    replay_published(known, cells, tmp_path / "rows")
    zb_auto = [each for each in known.found[cells[-1]] if each.name == "zb-auto"]
    assert len(zb_auto) == len(cells)
    assert min(each.peak for each in zb_auto) == 1


# ---- what is said of it


def test_the_page_has_the_table_of_the_file() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == markdown(list(CELLS.values()))


def test_the_first_paragraph_of_the_page_is_true() -> None:
    enough = [cell for cell in CELLS.values() if cell.key.memory is None or cell.key.memory >= cell.key.devices]
    for cell in enough:
        times, placement, devices, microbatches, memory = cell.key
        if times == "unit" and placement != "bidirectional":
            best = {"linear": "zb-h1", "v": "zb-v-auto", "interleaved": "zb-interleaved"}[placement]
            assert cell.proven, cell
            assert best in cell.published, cell
            assert placement != "v" or microbatches == devices or "zb-v" in cell.published, cell
        if times == "unit" and placement == "bidirectional" and devices == 2:
            assert cell.proven, cell
            assert cell.is_published, cell
        if times == "measured" and placement == "linear" and memory is not None and memory < 2 * devices:
            assert cell.proven, cell
            assert "zb-auto" in cell.published, cell
    bidirectional = [cell for cell in CELLS.values() if cell.key.placement == "bidirectional"]
    assert not any(cell.is_published for cell in bidirectional if cell.key.devices > 2)
    others = [cell for cell in CELLS.values() if cell.key.times == "measured" and cell.key.placement != "linear"]
    others += [cell for cell in CELLS.values() if cell.key.label == "p/2"]
    assert sum(cell.proven and cell.is_published for cell in others) < len(others) / 8, "rare"


def test_every_cell_is_counted_once() -> None:
    lines = summed_up(CELLS.values())
    assert sum(line.cells for line in lines) == len(CELLS)
    assert sum(line.proven for line in lines) == sum(cell.proven for cell in CELLS.values())
    for line in lines:
        assert line.optimal <= line.proven
        assert line.optimal + line.beaten <= line.cells


def exported(tmp_path: Path, strategy: str, devices: int, microbatches: int) -> str:
    file = tmp_path / "order.csv"
    sizes = ["--devices", str(devices), "--microbatches", str(microbatches)]
    done = call_ppopt("evaluate", strategy, *sizes, "--export", str(file), "--force-order-only")
    assert done.returncode == 0, done.stderr
    return str(file)


@pytest.mark.parametrize(
    ("strategy", "placement"),
    [("zb-h1", "linear"), ("v-half", "v"), ("interleaved", "interleaved"), ("chimera", "bidirectional")],
)
def test_an_order_is_put_beside_the_cell_into_which_it_fits(tmp_path: Path, strategy: str, placement: str) -> None:
    file = exported(tmp_path, strategy, 4, 8)
    done = call_ppopt("atlas", "--mine", file, "--format", "json")
    assert done.returncode == 0, done.stderr
    orders = json.loads(done.stdout)["orders"]
    assert [order["times"] for order in orders] == list(TIMES)
    for order in orders:
        costs = costs_of(order["times"], 4, 8)
        replayed = ppopt.evaluate(costs, strategy)
        assert (order["mine"], order["mine_peak_memory"]) == (replayed.makespan, max(replayed.peak_memory))
        fitting = [
            key
            for key in CELLS
            if key[:4] == (order["times"], placement, 4, 8) and key.allows(max(replayed.peak_memory))
        ]
        cell = CELLS[fitting[0]]
        assert {name: order[name] for name in cell.to_dict()} == cell.to_dict()
        assert cell.bound is not None
        assert cell.bound <= order["mine"]


def test_the_sentence_about_an_order(tmp_path: Path) -> None:
    file = exported(tmp_path, "zb-v", 8, 32)
    done = call_ppopt("atlas", "--mine", file, "--times", "unit")
    title, sentence = done.stdout.splitlines()
    assert title == f"{file}: 8 devices, 32 microbatches, v"
    known = "best known with at most 8: 99.5, proven bound 99.5; published: zb-v, zb-v-auto 99.5"
    assert sentence == f"unit times: yours: 99.5 at 8 activations, which is optimal; {known}"
    done = call_ppopt("atlas", "--mine", exported(tmp_path, "1f1b", 4, 8), "--times", "unit")
    assert "yours: 33 at 4 activations, 22.22% longer than the best known;" in done.stdout


def test_an_order_that_beats_a_bound_is_a_bug_and_one_that_beats_all_known_is_praised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = exported(tmp_path, "1f1b", 4, 8)  # 33
    for bound, found, said in [(20.0, 40.0, "shorter than any known"), (20.0, None, "shorter than any known")]:
        changed = {key: replace(cell, bound=bound, found=found) for key, cell in CELLS.items() if key.times == "unit"}
        monkeypatch.setattr(own_order, "read_cells", lambda changed=changed: {**CELLS, **changed})
        _, (unit, _) = own_order.place_order(file)
        assert said in unit.sentence()
    wrong = {key: replace(cell, bound=34.0) for key, cell in CELLS.items()}
    monkeypatch.setattr(own_order, "read_cells", lambda: wrong)
    with pytest.raises(InternalError, match=r"order\.csv: takes 33, less than the atlas's bound, 34"):
        own_order.place_order(file)


@pytest.mark.exhaustive(4)
@pytest.mark.parametrize(
    ("strategy", "devices", "microbatches", "said"),
    [
        ("1f1b", 6, 24, "nearest: 4 devices with 16 microbatches or 8 devices with 32 microbatches. "),
        ("1f1b", 6, 24, "`ppopt optimize --devices 6 --stages 6 --microbatches 24 --placement linear` finds"),
        ("zb-v", 8, 24, "nearest: 8 devices with 16 microbatches or 8 devices with 32 microbatches. "),
        ("zb-v", 8, 24, "`ppopt optimize --devices 8 --stages 8 --microbatches 24 --placement v` finds"),
        ("1f1b", 4, 1, "nearest: 4 devices with 4 microbatches. "),
        ("gpipe", 4, 1000, "nearest: 4 devices with 64 microbatches. "),
        ("1f1b", 1, 4, "nearest: 2 devices with 8 microbatches. "),
        ("1f1b", 32, 64, "nearest: 16 devices with 32 microbatches. "),
        ("interleaved:stages=16", 4, 16, "has the placement interleaved with 16 stages on 4 devices; the atlas has "),
        ("hanayo:stages=16", 4, 16, "--devices 4 --stages 16 --microbatches 16 --placement wave` finds"),
    ],
)  # fmt: skip
def test_an_order_of_other_sizes_is_refused_with_the_nearest_cells(
    tmp_path: Path, strategy: str, devices: int, microbatches: int, said: str
) -> None:
    done = call_ppopt("atlas", "--mine", exported(tmp_path, strategy, devices, microbatches))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}/order.csv: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--devices", "7"], "--devices: must be one of 2, 4, 8, 16; found '7'"),
        (
            ["--microbatches", "9", "--devices", "8"],
            "--microbatches: must be one of 8, 16, 32, 128 on 8 devices; found '9'",
        ),
        (["--memory", "5", "--devices", "8"], "--memory: must be one of 4, 8, 12, 16, none on 8 devices; found '5'"),
        (["--microbatches", "9"], "--microbatches: must be one of 2, 4, 8, 16, 32, 64, 128, 256; found '9'"),
        (["--memory", "5"], "--memory: must be one of 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, none; found '5'"),
        (["--placement", "wave"], "--placement: must be one of linear, v, interleaved, bidirectional; found 'wave'"),
        (["--times", "slow"], "--times: must be one of unit, measured; found 'slow'"),
        (["--mine", "x.csv", "--memory", "8"], "--mine: takes sizes and placement from the order; leave out --memory"),
        (["--mine", "nowhere.csv"], "nowhere.csv: cannot be read: No such file or directory"),
    ],
)
def test_mistakes(arguments: list[str], said: str) -> None:
    done = call_ppopt("atlas", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {said}\n"


def test_the_command_of_a_cell_searches_the_cell() -> None:
    for key in (Key("measured", "v", 2, 2, 2), Key("unit", "interleaved", 2, 4, None)):
        _, *arguments = key.command.split()
        done = call_ppopt(*arguments, "--time-limit", "1", "--workers", "1", "--format", "json")
        found = json.loads(done.stdout)["schedules"][0]
        cell = CELLS[key]
        assert found["makespan"] >= (cell.bound or 0)
        assert (cell.found or float("inf")) >= found["bound"]
        assert key.allows(found["peak_memory"][0])


def test_cells_are_listed_in_every_form() -> None:
    one = ["--devices", "8", "--microbatches", "32", "--memory", "8", "--placement", "v", "--times", "unit"]
    table = call_ppopt("atlas", *one).stdout
    assert "unit, v 8 32 8 99.5 99.5 optimal 99.5" in " ".join(table.split())
    assert "best published, unit times: zb-v, zb-v-auto" in table
    (cell,) = json.loads(call_ppopt("atlas", *one, "--format", "json").stdout)["cells"]
    assert cell == CELLS[Key("unit", "v", 8, 32, 8)].to_dict()
    assert call_ppopt("atlas", "--format", "csv").stdout == files("ppopt.best_known").joinpath(FILE).read_text()
    assert len(json.loads(call_ppopt("atlas", "--memory", "p/2", "--format", "json").stdout)["cells"]) == 128
    assert len(call_ppopt("atlas").stdout.splitlines()) == 1 + 40 + 4


def test_python_gives_the_same_table() -> None:
    frame = ppopt.atlas()
    assert len(frame) == len(CELLS)
    here = frame[(frame.devices == 8) & (frame.microbatches == 32) & (frame.placement == "v") & (frame.times == "unit")]
    assert here[here.memory == 8].found.item() == 99.5
    assert here.memory.isna().sum() == 1


def test_python_says_where_an_order_stands(tmp_path: Path) -> None:
    file = exported(tmp_path, "1f1b", 4, 8)
    orders = json.loads(call_ppopt("atlas", "--mine", file, "--format", "json").stdout)["orders"]
    names = ["mine", "mine_peak_memory", "times", "memory", "found", "bound", "published"]
    found = ppopt.atlas(mine=file)[names].to_dict("records")
    assert found == [{name: order[name] for name in names} for order in orders]
    with pytest.raises(ppopt.InputError, match="of which the atlas has no cell"):
        ppopt.atlas(mine=exported(tmp_path, "1f1b", 3, 8))
