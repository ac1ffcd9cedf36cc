from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import ppopt
from ppopt import InputError, Pipeline
from ppopt.sweeps import cluster, engine, journal, sweeping
from ppopt.sweeps.grid import read_grid
from ppopt.sweeps.job import Job, OtherVersionError, jobs_of, run_job
from ppopt.sweeps.journal import Journal
from ppopt.sweeps.sweeping import SweepStanding, run_sweep

BASE = {"devices": 4, "microbatches": 8, "memory": {"limit": 6}}
GRID = {
    "base": BASE,
    "axes": {"microbatches": [7, 8, 16], "p2p_latency": [0, 0.25]},
    "run": ["1f1b", "zb-h1", "dualpipe", {"optimize": "linear"}],
    "time_limit": 0.2,
}
QUICK = GRID | {"run": ["1f1b", "zb-h1", "dualpipe"]}


def test_each_row_is_what_evaluate_gives() -> None:
    frame = ppopt.sweep(GRID, jobs=1)
    assert list(frame.columns[:2]) == ["microbatches", "p2p_latency"]
    assert len(frame) == 3 * 2 * 4
    for row in frame.itertuples():
        costs = Pipeline.from_mapping(
            BASE | {"stages": 4, "microbatches": row.microbatches, "p2p_latency": row.p2p_latency}
        )
        if row.status == "failed":
            assert row.strategy == "dualpipe"
            assert "needs an even number of microbatches" in row.reason
        elif row.strategy == "optimize:linear":
            assert row.bound <= row.makespan <= ppopt.evaluate(costs, "1f1b").makespan
            assert row.status in ("optimal", "feasible")
        else:
            schedule = ppopt.evaluate(costs, row.strategy)
            assert row.makespan == schedule.makespan
            assert row.peak_memory == max(schedule.peak_memory)
            assert row.fits == schedule.fits
            assert 0 < row.bound <= row.makespan


def without_seconds(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="seconds")


def test_processes_give_the_same_table_in_the_same_order() -> None:
    pd.testing.assert_frame_equal(
        without_seconds(ppopt.sweep(QUICK, jobs=2)), without_seconds(ppopt.sweep(QUICK, jobs=1))
    )


def test_what_fits_no_memory_is_a_row_and_no_failure() -> None:
    grid = {"base": BASE, "axes": {"memory.limit": [0.5, 4]}, "run": "optimize: linear", "time_limit": 0.1}
    outcome = run_sweep(read_grid(grid), None, workers=1)
    assert [row["status"] == "infeasible" for row in outcome.rows] == [True, False]
    assert outcome.rows[0]["reason"]
    assert outcome.failed == []


def test_plans_are_searches_of_a_model_of_layers() -> None:
    layers = [
        {"name": "decoder", "count": 7, "forward": 1, "backward": 2},
        {"name": "head", "forward": 2, "backward": 4},
    ]
    grid = {
        "base": {"devices": 2, "microbatches": 4, "layers": layers},
        "axes": {"layers.head.forward": [1, 3]},
        "run": ["plan: 1f1b"],
        "time_limit": 0.5,
    }
    frame = ppopt.sweep(grid, jobs=1)
    assert list(frame.strategy) == ["plan:1f1b"] * 2
    assert all(frame.bound <= frame.makespan)
    costs = Pipeline.from_mapping(grid["base"])
    assert frame.makespan[0] <= ppopt.evaluate(costs.with_even_cut(2), "1f1b").makespan
    failed = ppopt.sweep(QUICK | {"axes": {"microbatches": [4]}, "run": ["plan: 1f1b"]}, jobs=1)
    assert failed.reason[0] == "plan: needs layers, and this pipeline gives the times of its stages"


def test_a_fault_of_ours_in_one_job_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of\ncourse")

    monkeypatch.setattr("ppopt.optimization.optimize.optimize", broken)
    outcome = run_sweep(read_grid(GRID), None, workers=1)
    assert {row["reason"] for row in outcome.failed if row["strategy"].startswith("optimize")} == {
        "internal error: ZeroDivisionError: of; course"
    }
    assert len(outcome.rows) == outcome.jobs


# ---- the folder


def test_what_is_done_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_sweep(
        read_grid(QUICK | {"axes": {"microbatches": [7, 8], "p2p_latency": [0, 0.25]}}), tmp_path / "new", workers=1
    )
    assert first.ran == 12
    outcome = run_sweep(read_grid(QUICK), tmp_path / "new", workers=1)
    failed_before = 2
    assert outcome.ran == 6 + failed_before
    whole = run_sweep(read_grid(QUICK), None, workers=1)
    assert [row | {"seconds": 0} for row in outcome.rows] == [row | {"seconds": 0} for row in whole.rows]
    monkeypatch.setattr("ppopt.sweeps.job.__version__", "9.9")
    assert run_sweep(read_grid(QUICK), tmp_path / "new", workers=1).ran == 18


def test_every_job_is_on_disk_before_anybody_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def look(standing: SweepStanding) -> None:
        assert standing.done + standing.running + standing.left == standing.jobs == 18
        told.append((standing.done, len(Journal(tmp_path / "s").done)))

    run_sweep(read_grid(QUICK), tmp_path / "s", workers=1, on_progress=look)
    assert told == [(count, count) for count in range(19)]


def test_a_half_written_line_is_left_out(tmp_path: Path) -> None:
    run_sweep(read_grid(QUICK), tmp_path / "s", workers=1)
    file = next((tmp_path / "s").glob("jobs-*"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    with Journal(tmp_path / "s") as read:
        assert len(read.done) == 17
    assert run_sweep(read_grid(QUICK), tmp_path / "s", workers=1).ran >= 1
    with Journal(tmp_path / "s") as read:
        assert len(read.done) == 18


def in_new_folder(folder: Path, content: bytes) -> Path:
    """Make a sweep's folder with one file of finished jobs."""
    with Journal(folder):
        (folder / "jobs-1.jsonl").write_bytes(content)
    return folder


def journal_of(grid: dict[str, Any], folder: Path) -> bytes:
    run_sweep(read_grid(grid), folder, workers=1)
    return next(folder.glob("jobs-*")).read_bytes()


@pytest.mark.parametrize(
    ("key", "value"),
    [("bound", -1), ("bound", "x"), ("bound", True), ("makespan", 1), ("status", "optimal"), ("key", []), ("fits", 7)],
)
def test_a_row_that_was_changed_is_set_aside_and_run_again(tmp_path: Path, key: str, value: object) -> None:
    lines = journal_of(QUICK, tmp_path / "s").splitlines()
    expected = run_sweep(read_grid(QUICK), None, workers=1).rows
    lines[3] = json.dumps(json.loads(lines[3]) | {key: value}).encode()
    folder = in_new_folder(tmp_path / "new", b"\n".join([*lines, b""]))
    with pytest.warns(
        UserWarning, match=r"new/jobs-1\.jsonl, line 4: was changed after it was written; it is left out, and"
    ):
        outcome = run_sweep(read_grid(QUICK), folder, workers=1)
    assert [row | {"seconds": 0} for row in outcome.rows] == [row | {"seconds": 0} for row in expected]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*was changed after it was written")
def test_no_edit_of_a_journal_changes_what_is_shown(tmp_path: Path) -> None:
    grid = {"base": BASE, "axes": {"microbatches": [7, 8]}, "run": ["1f1b", "dualpipe"]}
    written = journal_of(grid, tmp_path / "s")
    expected = [row | {"seconds": 0} for row in run_sweep(read_grid(grid), None, workers=1).rows]
    draw = random.Random(7)
    places = [b"0", b"-", b'"', b"{", b"}", b",", b"\n", b"9", b"e", b"\xff", b"null", b"true", b"[" * 5000, b""]
    for number in range(300):
        place, length = draw.randrange(len(written)), draw.choice([0, 1, 1, 2, 30])
        changed = written[:place] + draw.choice(places) + written[place + length :]
        outcome = run_sweep(read_grid(grid), in_new_folder(tmp_path / str(number), changed), workers=1)
        assert [row | {"seconds": 0} for row in outcome.rows] == expected


def test_a_folder_whose_making_was_killed_is_taken(tmp_path: Path) -> None:
    """The kill comes between writing a temporary file and renaming it."""
    (tmp_path / f".{journal.MARK}.x1y2.part").write_text('{"form')
    assert run_sweep(read_grid(QUICK), tmp_path, workers=1).ran == 18
    assert run_sweep(read_grid(QUICK), tmp_path, workers=1).ran == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".mine.txt.x1y2.part").write_text("x")
    with pytest.raises(InputError, match="is not the folder of a sweep"):
        Journal(tmp_path / "other")


def test_two_sweeps_share_a_folder(tmp_path: Path) -> None:
    jobs = list(jobs_of(read_grid(QUICK)))
    with Journal(tmp_path / "s") as one, Journal(tmp_path / "s") as two:
        for place, job in enumerate(jobs):
            (one, two)[place % 2].record(*run_job(job))
        one.record(*run_job(jobs[1]))  # both may run the same
    outcome = run_sweep(read_grid(QUICK), tmp_path / "s", workers=1)
    assert len(outcome.rows) == 18
    assert outcome.ran == len(outcome.failed)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="is not the folder of a sweep"):
        Journal(tmp_path)
    with pytest.raises(InputError, match="is a file; name a folder"):
        Journal(tmp_path / "mine.txt")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / journal.MARK).write_text('{"format": 99}')
    with pytest.raises(InputError, match="is not of this version"):
        Journal(tmp_path / "old")
    with pytest.raises(InputError, match="cannot be written"):
        Journal("/proc/nowhere/s")


def test_a_full_disk_is_one_line_and_what_is_done_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = os.fdatasync
    count = 0

    def full(handle: int) -> None:
        nonlocal count
        count += 1
        if count == 5:
            os.ftruncate(handle, os.fstat(handle).st_size - 30)
            raise OSError(errno.ENOSPC, "No space left on device")
        synced(handle)

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(InputError) as caught:
        run_sweep(read_grid(QUICK), tmp_path / "s", workers=1)
    assert str(caught.value) == (
        f"{tmp_path / 's'}: cannot be written: the disk is full; 4 finished jobs stay there, and the same sweep goes "
        "on from them"
    )
    with Journal(tmp_path / "s") as read:
        assert len(read.done) == 4
    assert len(run_sweep(read_grid(QUICK), tmp_path / "s", workers=1).rows) == 18


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_and_ends_with_the_same_table(tmp_path: Path) -> None:
    grid = QUICK | {"axes": {"microbatches": list(range(8, 68, 2))}}
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump(grid))
    command = [
        sys.executable,
        "-m",
        "ppopt",
        "sweep",
        str(file),
        "-o",
        str(tmp_path / "s"),
        "--jobs",
        "2",
        "--format",
        "json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    ends = time.monotonic() + 300
    while lines_in(tmp_path / "s") < 7 and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 7 <= lines_in(tmp_path / "s") < 90
    last = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(last.stdout)["rows"]
    expected = run_sweep(read_grid(grid), None, workers=1).rows
    assert [row | {"seconds": 0} for row in rows] == [row | {"seconds": 0} for row in expected]
    assert lines_in(tmp_path / "s") == len(rows)  # no job twice


def lines_in(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("jobs-*.jsonl"))


# ---- engines


class _Dies:
    """A job that kills its process the first time."""

    def __init__(self, job: Job, mark: Path) -> None:
        self.key, self.job, self.mark = job.key, job, mark


def _run_or_die(each: Any) -> Any:
    if isinstance(each, _Dies):
        if not each.mark.exists():
            each.mark.write_text("died")
            os.kill(os.getpid(), signal.SIGKILL)
        each = each.job
    return run_job(each)


def test_a_process_that_dies_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "run_job", _run_or_die)
    jobs: list[Any] = list(jobs_of(read_grid(QUICK)))
    jobs[9] = _Dies(jobs[9], tmp_path / "mark")
    found = dict(engine.run_all(jobs, 2, None, ppopt.__version__))
    assert (tmp_path / "mark").exists()
    assert found.keys() == {job.key for job in jobs}


@pytest.mark.slow
def test_processes_that_keep_dying_end_the_sweep_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "run_job", _run_or_die)
    monkeypatch.setattr(engine, "MOST_CRASHES", 1)
    job = next(jobs_of(read_grid(QUICK)))
    with pytest.raises(InputError, match=r"a worker process died 1 time in a row \(out of memory\?\); 1 job is left"):
        list(engine.run_all([_Dies(job, tmp_path / "mark")], 2, None, ppopt.__version__))  # type: ignore[list-item]


def test_another_version_is_no_result() -> None:
    job = next(jobs_of(read_grid(QUICK)))
    with pytest.raises(OtherVersionError, match=ppopt.__version__):
        run_job(Job(**{**vars(job), "version": "9.9"}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jobs": 0}, "jobs: must be a whole number from 1 to 1024; found 0"),
        ({"jobs": 2, "cluster": "tcp://x:1"}, "jobs: sets the number of processes on this machine"),
        *(
            ({"cluster": name}, f"--cluster: must be an address such as tcp://host:8786, or local; found {name!r}")
            for name in ("", "tcp://", "tcp://127.0.0.1:abc", "tcp://127.0.0.1", "tcp://127.0.0.1:70000", "x://y:1")
        ),
        ({"cluster": "x"}, "--cluster: must be an address such as tcp://host:8786, or local; found 'x'"),
    ],
)
def test_wrong_engines_are_refused(arguments: dict[str, Any], message: str) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(InputError) as caught:
        ppopt.sweep(QUICK, **arguments)
    assert message in str(caught.value)


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "SECONDS_TO_ANSWER", 0.5)
    with pytest.raises(InputError, match=r"tcp://127\.0\.0\.1:9 cannot be reached: it did not answer within 0\.5 s"):
        ppopt.sweep(QUICK, cluster="tcp://127.0.0.1:9")


@pytest.mark.slow
def test_a_cluster_gives_the_same_table_also_where_a_worker_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    grid = read_grid(QUICK | {"axes": {"microbatches": list(range(8, 40, 2))}})
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as made:
        workers = [each.pid for each in made.workers.values()]

        def kill(standing: SweepStanding) -> None:
            if standing.done == 10:
                os.kill(workers[0], signal.SIGKILL)

        outcome = run_sweep(grid, None, workers=2, cluster=made.scheduler_address, on_progress=kill)
        with pytest.raises(InputError, match=f"has ppopt {ppopt.__version__}, this is 9.9; install the same"):
            list(engine.run_all(list(jobs_of(grid)), 2, made.scheduler_address, "9.9"))
    expected = run_sweep(grid, None, workers=1).rows
    assert [row | {"seconds": 0} for row in outcome.rows] == [row | {"seconds": 0} for row in expected]


def test_very_many_jobs_want_to_be_confirmed() -> None:
    grid = {"base": BASE, "axes": {"p2p_latency": {"from": 0, "to": 1, "steps": 10_000}}, "run": "1f1b"}
    with pytest.raises(InputError, match="grid: has 10,000 jobs; confirmed=True runs more than 5,000"):
        ppopt.sweep(grid)
    assert 0 < sweeping.foresee(read_grid(grid), 2) < 10_000
    searched = grid | {"run": "optimize: v", "time_limit": 3}
    assert sweeping.foresee(read_grid(searched), 2) == 15_000


def test_a_worker_loads_no_solver_for_what_is_only_replayed() -> None:
    """Every worker of a sweep pays for what it loads, so it loads only what its jobs need."""
    program = (
        "import sys\n"
        "from ppopt.sweeps.grid import read_grid\n"
        "from ppopt.sweeps.job import jobs_of, run_job\n"
        "base = {'devices': 2, 'microbatches': 4}\n"
        "grid = read_grid({'base': base, 'axes': {'microbatches': [4]}, 'run': ['1f1b', 'zb-h1']})\n"
        "print([run_job(job)[1]['status'] for job in jobs_of(grid)])\n"
        "print([name for name in ('ortools', 'pandas', 'numba', 'altair', 'highspy') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["['replayed', 'replayed']", "[]"]


def test_a_fraction_between_the_ends_of_an_axis_is_named_as_a_decimal() -> None:
    grid = {"base": {"devices": 2}, "axes": {"microbatches": {"from": 1, "to": 2, "steps": 3}}, "run": ["1f1b"]}
    rows = run_sweep(read_grid(grid), None, workers=1).rows
    assert rows[1]["reason"] == "microbatches: must be a whole number of at least 1; found 1.5"
