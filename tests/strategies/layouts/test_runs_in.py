"""Which framework runs which schedule: the table, its conditions, and names."""

from __future__ import annotations

import pytest

import ppopt
from solver.errors import InputError
from strategies.language.registry import all_strategies
from strategies.layouts.megatron import group_size_options
from strategies.layouts.runs_in import FRAMEWORKS, find_framework, frameworks_of, runs_in
from strategies.model.placements import make_placement


def pipeline(devices: int, microbatches: int) -> ppopt.Pipeline:
    return ppopt.Pipeline.from_mapping(
        {"devices": devices, "microbatches": microbatches, "times": {"forward": 1, "backward": 2}}
    )


def of(label: str, name: str, devices: int = 4, stages: int = 4, microbatches: int = 8) -> list[str]:
    placement = make_placement(name, devices, stages, microbatches)
    return [framework.name for framework in runs_in([label], placement)]


def test_every_schedule_of_the_table_exists_and_every_entry_has_a_source() -> None:
    for framework in FRAMEWORKS:
        assert set(framework.schedules) <= set(all_strategies())
        assert all(": " in source and "/" in source for source in framework.sources)
        assert framework.sources
    assert len({framework.letter for framework in FRAMEWORKS}) == len(FRAMEWORKS)


def test_frameworks_of_known_schedules() -> None:
    assert frameworks_of("1f1b") == ["megatron", "pytorch", "deepspeed", "zero-bubble", "primus"]
    assert frameworks_of("dualpipe") == ["dualpipe"]
    assert frameworks_of("dualpipe-v") == ["pytorch", "dualpipe"]
    assert frameworks_of("chimera") == []
    assert frameworks_of("v-half-primus") == ["pytorch", "primus"]


@pytest.mark.parametrize("placement", ["linear", "interleaved", "v", "wave", "bidirectional"])
def test_pytorch_loads_what_the_export_writes(placement: str) -> None:
    """An order is PyTorch's where `Schedule.export` writes it without force."""
    made = ppopt.optimize(pipeline(2, 2), placement=placement, time_limit=0.2)
    told = "pytorch" in [framework.name for framework in made.runs_in]
    if told:
        made.export("/dev/null")
    else:
        with pytest.raises(InputError, match="PyTorch"):
            made.export("/dev/null")
    assert told == (placement != "bidirectional")
    assert {framework.name for framework in made.runs_in} <= {"pytorch"}


def test_megatron_runs_the_groups_that_its_options_can_write() -> None:
    for microbatches in (3, 4, 6, 7, 8, 9):
        for group in range(1, 10):
            try:
                group_size_options(group, 4, 8, microbatches)
                allowed = True
            except InputError:
                allowed = False
            label = f"interleaved:group_size={group},stages=8"
            assert ("megatron" in of(label, "interleaved", 4, 8, microbatches)) == allowed
    assert "megatron" not in of("interleaved:stages=4", "interleaved", 4, 4)  # twice 1F1B's warm-up


def test_conditions_on_microbatches() -> None:
    assert of("dualpipe", "bidirectional", microbatches=8) == ["dualpipe"]
    assert of("dualpipe", "bidirectional", microbatches=6) == []
    assert "primus" in of("zb-v", "v", stages=8, microbatches=7)
    assert "primus" not in of("zb-v", "v", stages=8, microbatches=6)
    assert "zero-bubble" in of("interleaved", "interleaved", stages=8, microbatches=8)
    assert "zero-bubble" not in of("interleaved", "interleaved", stages=8, microbatches=9)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("megatron", "megatron"),
        ("Megatron-Core", "megatron"),
        ("torchtitan", "pytorch"),
        ("Zero_Bubble", "zero-bubble"),
    ],
)
def test_names(written: str, found: str) -> None:
    assert find_framework(written).name == found


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("megatrn", "framework: 'megatrn' is not known; did you mean megatron? Known are megatron, pytorch"),
        ("xyz", "framework: 'xyz' is not known; Known are megatron"),
        (3, "framework: 3 is not known; Known are"),
    ],
)
def test_a_wrong_name_is_one_line_with_the_nearest(wrong: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        find_framework(wrong)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_same_orders_run_where_one_of_them_does() -> None:
    made = ppopt.compare(pipeline(4, 8), ["zb1p", "zb-h1"], optimize=False)
    (row,) = made.shown.schedules
    assert [framework.name for framework in row.runs_in] == ["pytorch", "primus"]


def test_a_file_runs_where_orders_are_loaded(tmp_path: object) -> None:
    path = f"{tmp_path}/mine.csv"
    ppopt.evaluate(pipeline(2, 4), "1f1b").export(path)
    made = ppopt.evaluate(pipeline(2, 4), path)
    assert [framework.name for framework in made.runs_in] == ["pytorch"]
    assert made.to_dict()["runs_in"] == ["pytorch"]
