from __future__ import annotations

import pytest

import ppopt
from reports.page.tables import number_titles
from reports.units import Units, in_best_unit
from solver.errors import InputError
from tests.evaluated import pipeline


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1_163_054, "us", "1.163 s"),
        (1_163_054, "µs", "1.163 s"),
        (0.5, "ms", "0.5 ms"),
        (0.05, "ms", "50 us"),
        (999.94, "ms", "999.9 ms"),
        (999.96, "ms", "1 s"),
        (45_000, "s", "45,000 s"),
        (0.0004, "ns", "0.0004 ns"),
        (0, "ms", "0 ms"),
        (-2500, "ms", "-2.5 s"),
        (36.819, "GB", "36.82 GB"),
        (2_184_192, "MiB", "2.083 TiB"),
        (1_163_054, "", "1,163,054"),
        (1_163_054, "ticks", "1,163,054 ticks"),
    ],
)
def test_a_figure_is_written_in_the_unit_that_a_person_reads(value: float, unit: str, text: str) -> None:
    assert in_best_unit(value, unit) == text


def test_units_stand_below_the_titles_that_they_belong_to() -> None:
    titles = ("strategy", "makespan", "gap", "memory")
    assert Units("ms", "GB").below(titles) == [["", "ms", "", "GB"]]
    assert Units("ms").below(titles) == [["", "ms", "", ""]]
    assert Units().below(titles) == []


def test_the_unit_of_memory_labels_figures_and_changes_none() -> None:
    plain = pipeline(4, 8, memory={"limit": 3})
    named = pipeline(4, 8, memory={"limit": 3, "unit": "GB"})
    one, other = (ppopt.compare(each, ["1f1b", "gpipe"], optimize=False) for each in (plain, named))
    assert [each.makespan for each in one.schedules] == [each.makespan for each in other.schedules]
    assert "needs 4 GB of 3 GB on device 0" in other.verdict
    assert "needs 4 of 3 on device 0" in one.verdict
    assert other.section().units.memory == "GB"
    assert "peak memory, GB" in number_titles(other.section())
    assert "peak memory" in number_titles(one.section())


def test_the_unit_of_memory_survives_every_change_of_a_pipeline() -> None:
    layers = {
        "devices": 4,
        "microbatches": 8,
        "layers": [{"name": "decoder", "count": 8, "forward": 1, "backward": 2}],
        "memory": {"limit": 30, "unit": "GiB"},
    }
    open_cut = ppopt.Pipeline.from_mapping(layers)
    cut = open_cut.with_even_cut(8)
    stages = pipeline(4, 8, stages=4, memory={"unit": "GiB"})
    of_layers = [open_cut, open_cut.with_limit(None), cut, cut.as_stages(), cut.recut(4), cut.with_limit(20)]
    for each in (*of_layers, stages, stages.recut(8)):
        assert each.to_mapping()["memory"]["unit"] == "GiB"
        assert ppopt.Pipeline.from_mapping(each.to_mapping()).memory.unit == "GiB"


@pytest.mark.parametrize("unit", ["", 3, " GB", "a name that is far too long"])
def test_a_unit_of_memory_is_a_short_name(unit: object) -> None:
    with pytest.raises(InputError, match=r"memory\.unit: must be the short name of a unit"):
        pipeline(4, 8, memory={"unit": unit})
