"""Bad input gives one clear message on standard error and exit status 2: never a traceback or half a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ppopt.commands.cli import cli
from ppopt.commands.printing import together
from solver.counted import listed
from tests.examples import examples

RIGHT: dict[str, Any] = {
    "devices": 2,
    "stages": 2,
    "microbatches": 3,
    "times": {"forward": [1.0, 2.0], "backward": 2.0, "backward_input": {0: 1.0, 1: 1.0}},
    "p2p_latency": 0.5,
    "memory": {"activation": 1.0, "held_for_weight": 0.5, "limit": [3, 3]},
}


def fails(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["evaluate", *arguments], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1f1b", "--devices", "0"], "error: devices: must be a whole number of at least 1; found 0"),
        (["1f1b", "--devices", "-1"], "error: devices: must be a whole number of at least 1; found -1"),
        (["1f1b", "--devices", "1000000000000"], "are too many together"),
        (["1f1b", "--stages", "1000000000000"], "are too many together"),
        (["zb1p", "--microbatches", "500000"], "are 6,000,000 operations; at most 5,000,000 are taken"),
        (["1f1b", "--devices", "four"], "'four' is not a valid integer"),
        (["1f1b", "--device", "4"], "Did you mean"),
        (["1f1b", "--time", "forward=nan"], "times.forward: must be a"),
        (["1f1b", "--time", "forward=0"], "times.forward: must be greater than 0; found 0"),
        (["1f1b", "--time", "forwad=1"], "times.forwad: is not a known key; did you mean forward?"),
        (["1f1b", "--time", "forward"], "--time: must be KEY=VALUE"),
        (["1f1b", "--time", "forward.9=1"], "times.forward.9: there are only 4 stages"),
        (["1f1b", "--time", "forward.x=1"], "times.forward.x: must name a stage"),
        (["1f1b", "--time", "forward=[1,2"], "times.forward: must be a number; found '[1,2'"),
        (["1f1b", "--time", "forward=[1,2,3]"], "times.forward: must have one entry for each"),
        (["1f1b", "--memory-limit", "lots"], "memory.limit: must be a number; found 'lots'"),
        (["1f1b", "--p2p-latency", "-1"], "p2p_latency: must be at least 0; found -1"),
        (["1f2b"], "strategy: '1f2b' is not known; did you mean 1f1b?"),
        (["interleaved:group=2"], "interleaved:group: is not an option; allowed are group_size, stages"),
        (["interleaved:group_size=0"], "interleaved:group_size: must be a whole number of at least 1"),
        (["interleaved:group_size=x"], "interleaved:group_size: must be a whole number of at least 1; found 'x'"),
        (["interleaved:stages=6"], "interleaved:stages: 6 do not fit 4 devices; 8 do"),
        (["1f1b:stages=8"], "1f1b:stages: 8 do not fit 4 devices; 4 do"),
        ([], "strategy: none is named"),
        (["dualpipe", "--devices", "8", "--microbatches", "21"], "20 and 22 fit, 21 does not"),
        (["1f1b", "-c", "absent.yaml"], "absent.yaml: cannot be read"),
        (["1f1b", "--save", "absent/file.csv"], "absent/file.csv: the folder absent does not exist"),
        (["interleaved:stages=999999996"], "are 15,999,999,936 operations; at most 5,000,000 are taken"),
        (["interleaved:stages=400000"], "are 6,400,000 operations; at most 5,000,000 are taken"),
        (["interleaved", "--devices", "1000", "--microbatches", "1600"], "at most 5,000,000 are taken"),
        (["interleaved:stages=8,stages=12"], "interleaved:stages: is given twice"),
        (["1f1b", "--time", "forward=1", "--time", "forward=2"], "--time: forward is given twice"),
        (["1f1b", "--time", "forward.1=1", "--time", "forward.01=2"], "is given twice, as forward.1 and as forward.01"),
        (
            ["1f1b", "--time", "backward_D=3", "--time", "backward_input=1"],
            "--time: backward_input is given twice, as backward_D and as backward_input",
        ),
        (["1f1b", "--time", "forward.1=2", "--time", "forward=1"], "forward would overwrite forward.1"),
        (["1f1b", "--time", 'forward={"0":1,"0":2}'], "--time forward: the key '0' appears twice"),
        (["1f1b", "--time", ".3=3"], "--time: must be KEY=VALUE"),
        (["1f1b", "--time", "forward\nx=3"], "times.forward x: is not a known key"),
        (["1f1b", "--time", "forward=1e-400"], "times.forward: must lie between 1e-30 and 1e30; found 1E-400"),
        (["1f1b", "--p2p-latency", "1e-400"], "p2p_latency: must lie between 1e-30 and 1e30; found 1E-400"),
        (["1f1b", "--memory-limit", "1e-400"], "memory.limit: must lie between"),
        (["1f1b", "-c", ""], "configuration: '' names no file"),
        (["1f1b", "--save", ""], "--save: '' names no file"),
        (["1f1b", "--save", "x" * 300], f"{'x' * 300}: cannot be written: File name too long"),
        (
            ["1f1b", "--save", "absent.file", "--trace", "./absent.file"],
            "--trace: ./absent.file is also the file of --save",
        ),
        (["1f1b", "--trace", "/"], "/: is a folder; name a file"),
        (["interleaved", "--microbatches", "5", "--stages", "12"], "the order deadlocks"),
    ],
)
def test_a_mistake_is_answered_in_a_line(arguments: list[str], message: str) -> None:
    told = fails(*arguments)
    assert message in told
    assert len([line for line in told.splitlines() if line.startswith("error:")]) <= 1


def test_nothing_is_left_of_a_failed_write(tmp_path: Path) -> None:
    fails("interleaved", "--microbatches", "5", "--stages", "12", "--save", str(tmp_path / "timeline.csv"))
    assert list(tmp_path.iterdir()) == []


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**40), 10**40),
        st.integers(-3, 12),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["1e3", "no", "010", "forward", ".inf", "0x10"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=6), st.integers(-1, 3).map(str)), inner, max_size=4),
    ),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Draw a valid configuration with something replaced, removed or added."""
    whole: dict[str, Any] = json.loads(json.dumps(RIGHT))
    for _ in range(draw(st.integers(1, 3))):
        place = whole
        inner = [value for value in whole.values() if isinstance(value, dict)]
        if inner and draw(st.booleans()):
            place = draw(st.sampled_from(inner))
        key = draw(st.one_of(st.sampled_from(sorted(place) or ["x"]), st.text(max_size=8), st.just("num_devices")))
        if draw(st.booleans()):
            place[key] = draw(VALUES)
        else:
            place.pop(key, None)
    return whole


@pytest.mark.no_cover
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutated(), st.sampled_from(["1f1b", "zb-h1", "interleaved", "dualpipe", "dualpipe-v", "1f1b-overlap"]))
def test_no_configuration_gives_a_traceback(tmp_path: Path, configuration: Any, strategy: str) -> None:
    file = tmp_path / "costs.json"
    file.write_text(json.dumps(configuration))
    arguments = ["evaluate", strategy, "-c", str(file), "--format", "json", "--engine", "graph"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code in (0, 2)
    if result.exit_code == 0:
        json.loads(result.stdout)
    else:
        assert result.stdout == ""
        assert result.stderr


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=60), st.binary(max_size=60)))
def test_no_file_gives_a_traceback(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "costs.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    result = CliRunner().invoke(cli, ["evaluate", "1f1b", "-c", str(file)], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr


ESCAPE = "\x1b[31mred\x9b\u202e"


def test_a_time_of_a_stage_beside_layers_says_that_they_have_their_own(tmp_path: Path) -> None:
    file = tmp_path / "layers.yaml"
    file.write_text("{devices: 2, microbatches: 4, layers: [{name: a, count: 4, forward: 1, backward: 2}]}")
    result = CliRunner().invoke(cli, ["evaluate", "1f1b", "-c", str(file), "--time", "forward.1=2"])
    assert result.exit_code == 2
    assert result.stderr == "error: times.forward.1: cannot be given beside layers, which have their own\n"


@pytest.mark.parametrize("name", ["long.yaml", "long.json"])
def test_a_number_of_thousands_of_digits_is_told_without_pythons_advice(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text('{"devices": 4, "microbatches": ' + "9" * 5000 + "}")
    result = CliRunner().invoke(cli, ["evaluate", "1f1b", "-c", str(file)])
    assert result.exit_code == 2
    told = "a number has thousands of digits; numbers lie between 1e-30 and 1e30"
    assert result.stderr == f"error: {file}: {told}\n"


def test_names_of_files_cannot_command_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are printed in errors, tables, notes, titles and lists of written files."""
    monkeypatch.chdir(tmp_path)
    order, costs = f"{ESCAPE}.csv", f"{ESCAPE}.yaml"
    Path(order).write_text("0F0,0B0\n\n")
    Path(costs).write_text("devices: 1\nmicrobatches: 1\n")
    for arguments in (
        ["evaluate", order, "1f1b", "--devices", "1", "--save", f"{ESCAPE}.out", "--trace", f"{ESCAPE}.json"],
        ["check", order],
        ["compare", "-c", costs, "-c", costs, "--strategies", f"1f1b,{order}", "--no-optimize"],
        ["compare", "-c", costs, "--no-optimize", "--strategies", "1f1b", "--report", f"{ESCAPE}.html"],
        ["evaluate", "1f1b", "-c", f"{ESCAPE}.none"],
        ["evaluate", "1f1b", "-c", costs, "--save", f"none/{ESCAPE}"],
        ["profile", f"{ESCAPE}.none"],
        ["sweep", f"{ESCAPE}.none"],
        ["atlas", "--mine", f"{ESCAPE}.none"],
        ["atlas", "--mine", order],
        ["atlas", "--memory", ESCAPE],
    ):
        result = CliRunner().invoke(cli, arguments)
        assert "\\x1b[31mred" in result.output, arguments
        assert not {"\x1b", "\x9b", "\u202e"} & set(result.output), arguments


def test_lists_of_names_with_commas_are_divided_by_semicolons() -> None:
    assert listed(["1f1b", "gpipe"]) == "1f1b, gpipe"
    assert listed(name for name in ("dualpipe, v = 1", "zb-h2, v = 1")) == "dualpipe, v = 1; zb-h2, v = 1"
    assert listed([]) == ""
    named = [("a:x=1,y=2", "too long"), ("b", "too long"), ("c", "odd")]
    assert together(named, lambda name, text: f"{name}: {text}") == ["a:x=1,y=2; b: too long", "c: odd"]
