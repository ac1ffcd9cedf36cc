"""``ppopt check``, and files next to names on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ppopt.commands.cli import cli
from tests.conftest import DATA
from tests.running import call_ppopt

SMALL = "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.csv").write_text(SMALL)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def test_a_file_without_fault_is_one_line() -> None:
    result = run("check", "my.csv")
    assert result.exit_code == 0
    assert result.stdout == (
        "my.csv: 2 devices, 2 stages (linear), 2 microbatches, 8 operations; no fault; "
        "lowered by PyTorch, it runs with pair, and with defer_pp_recv=True it hangs: see --lower deferred\n"
    )
    assert result.stderr == ""
    file = str(DATA / "pytorch_orders" / "ZBVZeroBubble_p8_v2_m5.csv")
    assert "8 devices, 16 stages (v), 5 microbatches, 240 operations; no fault" in run("check", file).stdout


def test_every_fault_of_every_file_is_a_line_and_the_status_is_2() -> None:
    Path("bad.csv").write_text(SMALL.replace("0F1", "0f1").replace("1B1", "1B1,1B1"))
    Path("empty.csv").write_text("")
    result = run("check", "bad.csv", "my.csv", "empty.csv", "absent.csv")
    assert result.exit_code == 2
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [
        "bad.csv", "bad.csv", "bad.csv", "bad.csv", "my.csv", "empty.csv", "absent.csv",
    ]  # fmt: skip
    assert "bad.csv: row 1 (device 0), column 2: '0f1' is not an action; did you mean 0F1?" in result.stdout
    assert "bad.csv: 3 faults" in result.stdout


def test_all_of_many_faults_are_told_by_check_and_the_first_by_evaluate() -> None:
    Path("bad.csv").write_text(SMALL + "".join(f"0F{n},0F{n}\n" for n in range(40)))
    assert len(run("check", "bad.csv").stdout.splitlines()) > 60
    told = run("evaluate", "bad.csv")
    assert told.exit_code == 2
    assert told.stdout == ""
    lines = told.stderr.splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith("more faults; `ppopt check` lists all")


def test_what_is_set_aside_is_a_note() -> None:
    Path("my.csv").write_text(SMALL.replace("0F0,", "0UNSHARD,0F0,0SEND_F0,"))
    result = run("evaluate", "my.csv")
    assert result.exit_code == 0
    assert "note: my.csv: 1 SEND_F were set aside: ppopt places communication by itself" in result.stderr
    Path("my.csv").write_text(SMALL.replace("0F0,", "0UNSHARD,0F0,"))
    result = run("check", "my.csv")
    assert result.exit_code == 0
    assert "note: my.csv: 1 UNSHARD count only where the configuration has sharding\n" in result.stderr


def test_memory_is_checked_where_there_is_a_limit() -> None:
    Path("c.yaml").write_text("memory: {activation: [2, 3], limit: 4}\ntimes: {forward: 1, backward: 2}\n")
    assert run("check", "my.csv", "--memory-limit", "2").exit_code == 0
    result = run("check", "my.csv", "--memory-limit", "1")
    assert result.exit_code == 2
    assert "my.csv: row 1 (device 0), column 2: 0F1 is where the device holds most: 2; its limit is 1" in result.stdout
    assert run("check", "my.csv", "--memory-limit", "[2,1]").exit_code == 0
    assert run("check", "my.csv", "-c", "c.yaml").exit_code == 0
    assert run("check", "my.csv", "-c", "c.yaml", "--memory-limit", "3.5").exit_code == 2
    assert "memory.limit" in run("check", "my.csv", "--memory-limit", "[1,2,3]").stdout


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
@pytest.mark.parametrize("file", ["DualPipeV_p4_v2_m8", "ZBVZeroBubble_p4_v2_m8", "Interleaved1F1B_p4_v2_m4"])
def test_check_finds_the_peaks_that_a_replay_has(file: str, limit: int) -> None:
    path = str(DATA / "pytorch_orders" / f"{file}.csv")
    (shown,) = json.loads(run("evaluate", path, "--format", "json").stdout)["schedules"]
    over = [device for device, peak in enumerate(shown["peak_memory"]) if peak > 2 * limit]
    faults = run("check", path, "--memory-limit", str(2 * limit)).stdout.splitlines()[:-1]
    assert [int(line.split("(device ")[1].split(")")[0]) for line in faults] == over


def test_a_configuration_that_contradicts_is_told_with_both_values() -> None:
    Path("c.yaml").write_text("devices: 4\ntimes: {forward: [1, 2, 3, 4], backward: 2}\n")
    expected = (
        "devices: 4 from c.yaml, but 2 from my.csv\n"
        "stages (the entries of times.forward): 4 from c.yaml, but 2 from my.csv; "
        "--recut re-partitions the model into as many\n"
    )
    result = run("check", "my.csv", "-c", "c.yaml")
    assert (result.exit_code, result.stdout) == (2, expected)
    evaluated = run("evaluate", "my.csv", "-c", "c.yaml")
    assert (evaluated.exit_code, evaluated.stdout) == (2, "")
    assert evaluated.stderr == "".join(f"error: {line}\n" for line in expected.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my.csv", "--microbatches", "7"], "microbatches: 7 from --microbatches, but 2 from my.csv"),
        (["my.csv", "--devices", "3"], "devices: 3 from --devices, but 2 from my.csv"),
        (["my.csv", "--stages", "4"], "stages: 4 from --stages, but 2 from my.csv"),
        (["my.csv", "other.csv"], "microbatches: 2 from my.csv, but 1 from other.csv"),
        (["1f1b", "my.csv", "other.csv"], "microbatches: 2 from my.csv, but 1 from other.csv"),
        (["my_.csv"], "my_.csv: cannot be read: No such file or directory; did you mean my.csv?"),
        (["./1f1b", "x/y"], "strategy: './1f1b' is not known"),
        (["my.csv:stages=4"], "my.csv: a schedule file takes no options; found 'stages=4'"),
        (["."], "strategy: '.' is not known"),
        (["./"], "./: cannot be read: Is a directory"),
        (["my.csv", "nosuch"], "strategy: 'nosuch' is not known"),
    ],
)
def test_mistakes_are_lines_and_status_2(arguments: list[str], message: str) -> None:
    Path("other.csv").write_text("0F0,0B0\n1F0,1B0\n")
    for command in (["evaluate", *arguments], ["compare", "--strategies", ",".join(arguments), "--no-optimize"]):
        if any(each.startswith("--") for each in arguments) and command[0] == "compare":
            command = ["compare", "--no-optimize", "--strategies", *arguments]
        result = run(*command)
        assert result.exit_code == 2, result.stdout
        assert f"error: {message}" in result.stderr
        assert result.stdout == ""


def test_sizes_that_are_left_open_come_from_the_file() -> None:
    Path("c.yaml").write_text("times: {forward: [1, 2], backward: 2}\np2p_latency: 1\n")
    (shown,) = json.loads(run("evaluate", "my.csv", "-c", "c.yaml", "--format", "json").stdout)["schedules"]
    assert (shown["devices"], shown["stages"], shown["microbatches"]) == (2, 2, 2)
    assert (shown["strategy"], shown["status"], shown["makespan"]) == ("my.csv", "replayed", 13)


def test_uneven_stages_and_lists_for_them() -> None:
    Path("uneven.csv").write_text("0F0,2F0,2B0,0B0\n1F0,1B0\n")
    Path("c.yaml").write_text("times: {forward: [1, 2, 3], backward: [1, 1, 1]}\n")
    assert run("evaluate", "uneven.csv", "-c", "c.yaml").exit_code == 0
    assert run("evaluate", "uneven.csv", "--time", "forward.2=5").exit_code == 0
    assert "3 stages (custom)" in run("check", "uneven.csv").stdout


def test_files_beside_names_are_one_model() -> None:
    Path("v.csv").write_text("0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n")
    result = run("evaluate", "v.csv", "1f1b")
    assert result.exit_code == 0
    assert "v.csv runs 4 stages: the same model, re-partitioned from 2 stages" in result.stderr
    compared = run("compare", "--no-optimize", "--strategies", "1f1b,v.csv,./v.csv,gpipe", "--format", "json")
    assert sorted(each["strategy"] for each in json.loads(compared.stdout)["schedules"]) == ["1f1b", "gpipe", "v.csv"]


def test_a_configuration_may_name_a_file() -> None:
    Path("c.yaml").write_text("strategy: my.csv\ntimes: {forward: 1, backward: 2}\n")
    assert "my.csv" in run("evaluate", "-c", "c.yaml").stdout


def test_a_process_of_its_own(tmp_path: Path) -> None:
    Path("bad.csv").write_bytes(b"\x00\xff\xfe")
    result = call_ppopt("check", "bad.csv", "my.csv", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (2, "")
    assert "bad.csv: is not text (UTF-8)" in result.stdout
    assert call_ppopt("check", cwd=tmp_path).returncode == 2
