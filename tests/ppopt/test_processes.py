"""Processes that a command starts end with it, however it ends, and print nothing themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from ppopt.process.processes import take_termination_as_interrupt
from solver.interrupts_kept import InterruptsKept
from tests.running import allow_ctrl_c

GRID = {
    "base": {"devices": 4, "microbatches": 16, "memory": {"limit": 3}},
    "axes": {"p2p_latency": {"from": 0, "to": 1, "steps": 40}},
    "run": ["optimize: v"],
    "time_limit": 20,
}
MODEL = {"devices": 8, "microbatches": 48, "memory": {"limit": 5}, "p2p_latency": 0.3}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def started(folder: Path, command: str) -> subprocess.Popen[str]:
    file = folder / "input.yaml"
    file.write_text(yaml.safe_dump(GRID if command == "sweep" else MODEL))
    arguments = {
        "sweep": [str(file), "--jobs", "2"],
        "frontier": ["-c", str(file), "--placement", "v", "--time-limit", "60", "--workers", "2"],
        "optimize": ["-c", str(file), "--placement", "v", "--time-limit", "60"],
    }[command]
    return subprocess.Popen(
        [sys.executable, "-m", "ppopt", command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=allow_ctrl_c,
    )


def children_of(process: int) -> set[int]:
    """List the child processes of a process, except those that compile, which outlive a command by design."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_text()
        except OSError:
            continue
        if parent == process and "compile_all" not in command:
            found.add(int(folder.name))
    return found


def wait_until(what: str, is_so: object, process: subprocess.Popen[str]) -> None:
    ends = time.monotonic() + 120
    assert callable(is_so)
    while not is_so():
        assert process.poll() is None, f"it ended before {what}"
        assert time.monotonic() < ends, f"never {what}"
        time.sleep(0.05)


def is_there(process: int) -> bool:
    return Path(f"/proc/{process}").exists() and ") Z " not in Path(f"/proc/{process}/stat").read_text()


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("command", ["sweep", "frontier"])
def test_workers_end_with_the_command_and_let_go_of_its_output(
    command: str, number: signal.Signals, tmp_path: Path
) -> None:
    process = started(tmp_path, command)
    wait_until("it has workers", lambda: len(children_of(process.pid)) >= 2, process)
    time.sleep(1)  # a worker of which even the start is not read when the command is killed says so
    workers = children_of(process.pid)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)  # until no process holds the pipes
    assert "Traceback" not in out + err
    for worker in workers:
        ends = time.monotonic() + 60
        while is_there(worker) and time.monotonic() < ends:
            time.sleep(0.05)
        assert not is_there(worker)
    if number == signal.SIGTERM:
        assert process.returncode in (0, 1)
        assert "interrupted" in err or "Aborted" in err


def test_a_worker_that_is_still_being_loaded_takes_no_notice_of_ctrl_c(tmp_path: Path) -> None:
    process = started(tmp_path, "sweep")
    wait_until("it has workers", lambda: len(children_of(process.pid)) >= 2, process)
    workers = children_of(process.pid)
    for worker in workers:
        os.kill(worker, signal.SIGINT)
    time.sleep(1)
    assert all(map(is_there, workers))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in out + err
    assert "interrupted: " in err


def test_sigterm_ends_a_search_with_the_best_so_far(tmp_path: Path) -> None:
    process = started(tmp_path, "optimize")
    wait_until("it handles the signal", lambda: handles_sigterm(process.pid), process)
    loaded = Path(f"/proc/{process.pid}/maps")  # libraries that are being loaded may lose an interrupt
    wait_until("it has loaded CP-SAT", lambda: "cp_model_helper" in loaded.read_text(), process)
    time.sleep(1)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in out + err
    assert process.returncode in (0, 1)
    assert ("optimized-v" in out) == (process.returncode == 0)


def handles_sigterm(process: int) -> bool:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def test_a_scheduler_that_is_killed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    from distributed.client import FutureCancelledError

    from ppopt import InputError
    from ppopt.sweeps import engine
    from ppopt.sweeps.grid import read_grid
    from ppopt.sweeps.job import jobs_of

    def cancelled(*_: object, **__: object) -> None:
        raise FutureCancelledError("run_job-1", "scheduler-connection-lost")

    monkeypatch.setattr(engine, "_parallel", cancelled)
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as made,
        pytest.raises(InputError, match=r"^cluster: .*scheduler-connection-lost.*; what is done is kept$"),
    ):
        list(engine.run_all(list(jobs_of(read_grid(GRID))), 1, made.scheduler_address, __import__("ppopt").__version__))


def test_sigterm_while_numba_compiles_is_taken_as_ctrl_c() -> None:
    """The handlers of both signals are then taken over, so one that calls the other must say which signal it means."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        take_termination_as_interrupt()
        kept = InterruptsKept()
        kept.begin()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            kept.end()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
