from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ppopt import B, F, InputError, Pipeline, Step, schedule, strategy
from strategies.language import registry
from strategies.language.orders import parse_strategy, with_group_size
from strategies.language.registry import all_strategies, find_strategy, plain


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("1F1B", "1f1b"),
        ("Schedule1F1B", "1f1b"),
        ("ScheduleGPipe", "gpipe"),
        ("ScheduleInterleaved1F1B", "interleaved"),
        ("ScheduleLoopedBFS", "looped-bfs"),
        ("ScheduleDualPipeV", "dualpipe-v"),
        ("Interleaved1F1B", "interleaved"),
        ("LoopedBFS", "looped-bfs"),
        ("GPipe", "gpipe"),
        ("DualPipeV", "dualpipe-v"),
        ("interleave", "interleaved"),
        ("1f1b_interleave", "interleaved"),
        ("1f1b_overlap", "1f1b-overlap"),
        ("1f1b_interleave_overlap", "interleaved-overlap"),
        ("dualpipe_v", "dualpipe-v"),
        ("ZB_H1", "zb-h1"),
        ("zbH2", "zb-h2"),
        ("ZB-1P", "zb1p"),
        ("ScheduleZBVZeroBubble", "zb-v"),
        ("ZBVZeroBubble", "zb-v"),
        ("zbv", "zb-v"),
        ("ScheduleInterleavedZeroBubble", "zb-interleaved"),
        ("InterleavedZeroBubble", "zb-interleaved"),
        ("ZB", "zb-auto"),
        ("zb1p_auto", "zb-auto"),
        ("1f1b_overlap_friendly", "eager-1f1b"),
    ],
)
def test_names_are_found_without_regard_to_case_and_dashes(written: str, name: str) -> None:
    assert find_strategy(written).name == name


def test_no_two_names_mean_the_same_once_case_and_dashes_are_ignored() -> None:
    owners: dict[str, str] = {}
    for each in all_strategies().values():
        for name in (each.name, *each.aliases):
            assert owners.setdefault(plain(name), each.name) == each.name


def test_a_schedule_whose_name_is_taken_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(pipeline: Pipeline, _device: int) -> Iterator[Step]:
        yield from (F + B) * pipeline.microbatches

    late = [strategy("ZB_V", placement="linear")(rule), strategy("lazy", placement="linear", aliases=("Eager",))(rule)]
    monkeypatch.setattr(registry, "_from_other_packages", lambda: iter(late))
    with pytest.warns(UserWarning, match="is left out") as warned:
        names = set(all_strategies.__wrapped__())
    assert [str(each.message) for each in warned] == [
        "the schedule 'ZB_V' is left out: 'ZB_V' means 'zb-v'",
        "the schedule 'lazy' is left out: 'Eager' means 'eager-1f1b'",
    ]
    assert names == set(all_strategies())


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("dualpip", "dualpipe"),
        ("Zero Bubble H1", "zb-h1"),
        ("zero-bubble-h2", "zb-h2"),
        ("ZeroBubble V", "zb-v"),
        ("zero bubble 1p", "zb1p"),
        ("Zero Bubbel", "zb-auto"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(written: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"'{written}' is not known; did you mean {near}\?"):
        find_strategy(written)


@pytest.mark.parametrize("read", [find_strategy, parse_strategy])
def test_several_names_in_one_are_told_apart(read: Callable[[str], object]) -> None:
    with pytest.raises(InputError, match=r"'1f1b, gpipe,' is no name; write one by one, without commas: 1f1b gpipe$"):
        read("1f1b, gpipe,")
    with pytest.raises(InputError, match=r"'gpip' is not known; did you mean gpipe\?"):
        read("1f1b,gpip")
    with pytest.raises(InputError, match="',' is not known"):
        read(",")


@pytest.mark.parametrize("name", ["ScheduleNobodyKnows", "NobodyKnows"])
def test_a_class_of_pytorch_that_is_not_here_is_not_taken_for_another(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is not known"):
        find_strategy(name)


def test_pytorchs_own_names_are_understood_or_refused() -> None:
    """Every name that PyTorch's look-up accepts, with and without the class's prefix, means one schedule or none."""
    torch = importlib.util.find_spec("torch")
    if torch is None or not torch.submodule_search_locations:
        pytest.skip("PyTorch is not installed: pip install 'ppopt[torch]'")
    source = Path(torch.submodule_search_locations[0]) / "distributed" / "pipelining" / "schedules.py"
    classes = re.findall(r'^ +"(\w+)": (Schedule\w+),$', source.read_text(), re.MULTILINE)
    assert len(classes) >= 7
    for name, of_class in classes:
        try:
            assert find_strategy(name) is find_strategy(of_class)
        except InputError as error:
            assert "is not known" in str(error)  # noqa: PT017  # not here (yet): both names are refused
            with pytest.raises(InputError, match="is not known"):
                find_strategy(of_class)
    known = {find_strategy(name).name for name, _ in classes if not name.endswith("ZeroBubble")}
    assert known == {"1f1b", "dualpipe-v", "gpipe", "interleaved", "looped-bfs"}


def test_the_decorators_earlier_name_still_works() -> None:
    assert schedule is strategy


PACKAGE = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "elsewhere"
version = "1"
[project.entry-points."ppopt.strategies"]
lazy = "elsewhere:lazy"
broken = "elsewhere.absent"
""",
    "elsewhere.py": '''
from ppopt import B, F, schedule

@schedule("lazy", placement="linear", aliases=("idler",))
def lazy(pipeline, device):
    """One microbatch after the other."""
    yield from (F + B) * pipeline.microbatches
''',
}


@pytest.mark.slow
def test_a_schedule_of_another_package_appears_beside_ours(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    for name, text in PACKAGE.items():
        (source / name).write_text(text)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(source)]
    subprocess.run([sys.executable, *install], check=True)
    run = [
        sys.executable,
        "-c",
        f"import sys; sys.path.append({str(target)!r}); from ppopt.commands.cli import main; main()",
    ]

    listed = subprocess.run([*run, "strategies"], capture_output=True, text=True, check=True)
    assert "lazy: One microbatch after the other." in listed.stdout
    assert "1f1b" in listed.stdout
    assert "'broken' from 'elsewhere.absent' cannot be loaded" in listed.stderr

    evaluated = subprocess.run(
        [*run, "evaluate", "idler", "--devices", "2"], capture_output=True, text=True, check=True
    )
    assert "lazy" in evaluated.stdout
    assert "24" in evaluated.stdout  # 4 microbatches with 2 stages of F + B each, in sequence


def test_options_may_have_spaces() -> None:
    assert parse_strategy("interleaved: stages = 8 , group-size = 2")[1] == {"stages": 8, "group_size": 2}


@pytest.mark.parametrize("written", ["interleaved:stages=8,stages=12", "interleaved:group_size=1,group-size=1"])
def test_an_option_is_given_once(written: str) -> None:
    with pytest.raises(InputError, match=r"^interleaved:(stages|group_size): is given twice$"):
        parse_strategy(written)


@pytest.mark.parametrize(
    ("written", "whole"),
    [
        ("Interleave", "Interleave:group_size=3"),
        ("1F1B_INTERLEAVE_OVERLAP:stages=8", "1F1B_INTERLEAVE_OVERLAP:stages=8,group_size=3"),
        ("interleaved:", "interleaved:group_size=3"),
        ("interleaved:group_size=2", "interleaved:group_size=2"),
        ("1f1b", "1f1b"),
    ],
)
def test_a_group_size_is_given_to_the_strategies_that_take_one(written: str, whole: str) -> None:
    assert with_group_size(written, 3) == whole
    assert with_group_size(written, None) == written
