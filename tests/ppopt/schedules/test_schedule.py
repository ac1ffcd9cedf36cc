from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest

import ppopt
from ppopt import InputError, Pipeline
from tests.evaluated import evaluated, pipeline
from tests.test_rooms import ROOT


def test_the_graph_can_be_taken_and_asked() -> None:
    made = evaluated("zb1p", pipeline(4, 8, p2p_latency=0.5))
    for tail, _, edge in made.dag.edges(data=True):
        edge["length"] = made.dag.nodes[tail]["duration"] + edge["lag"]
    path = nx.dag_longest_path(made.dag, weight="length")
    length = nx.path_weight(made.dag, path, "length") + made.dag.nodes[path[-1]]["duration"]
    assert length / made.problem.ticks_per_unit == made.makespan
    assert str(path[0]) == "0F0"
    assert set(map(str, made.dag)) == {action for order in made.orders for action in order}


def test_the_dependencies_are_a_graph_of_operations_with_lag() -> None:
    made = evaluated("1f1b-overlap", pipeline(2, 3, p2p_latency=0.25))
    graph = made.problem.dag()
    assert len(graph) == 12
    assert graph.edges[ppopt.Op(0, "F", 0), ppopt.Op(1, "F", 0)]["lag"] / made.problem.ticks_per_unit == 0.25
    assert nx.is_directed_acyclic_graph(graph)


def test_figures_are_as_defined() -> None:
    times = {"forward": 1, "backward": 2, "overlapped_forward_backward": 2}
    made = evaluated("dualpipe", Pipeline.from_mapping({"devices": 4, "microbatches": 8, "times": times}))
    frame = made.timeline
    assert made.makespan == frame.end.max() - frame.start.min()
    per_device = frame.groupby("device")
    assert made.span == (per_device.end.max() - per_device.start.min()).max()
    once = frame[~(frame.block.notna() & frame.block.duplicated())]
    assert made.busy == tuple((once.end - once.start).groupby(once.device).sum())
    assert made.ideal == 8 * 4 * 3 / 4
    assert made.bubble_ratio == pytest.approx(1 - sum(made.busy) / (4 * made.makespan), abs=1e-15)
    assert made.bubble_over_ideal == pytest.approx((made.makespan - made.ideal) / made.ideal, abs=1e-15)
    assert made.span_bubble_ratio == pytest.approx(1 - made.ideal / made.span, abs=1e-15)


def test_overlap_can_beat_the_ideal() -> None:
    times = {"forward": 1, "backward": 2, "overlapped_forward_backward": 2}
    made = evaluated("1f1b-overlap", Pipeline.from_mapping({"devices": 2, "microbatches": 40, "times": times}))
    assert made.bubble_over_ideal < 0 < made.bubble_ratio


@pytest.mark.parametrize(("name", "peaks"), [("1f1b", (2, 1)), ("zb-h1", (2, 1.75))])
def test_memory_is_partly_returned_by_i(name: str, peaks: tuple[float, ...]) -> None:
    memory = {"activation": 1, "held_for_weight": 0.75}
    assert evaluated(name, pipeline(2, 8, memory=memory)).peak_memory == peaks


@pytest.mark.no_cover
def test_the_zero_bubble_papers_ratios() -> None:
    """Table 5 of arXiv 2401.10241 is computed from the profiles of its Table 9; ours agree to the published digits."""
    import json

    from tests.conftest import DATA

    rows = json.loads((DATA / "zero_bubble_profiles.json").read_text())["rows"]
    for row in rows:
        times = {key: row[key] for key in ("forward", "backward_input", "backward_weight")}
        sizes = {key: row[key] for key in ("devices", "microbatches", "p2p_latency")}
        costs = Pipeline.from_mapping({**sizes, "times": times})
        for name, published in (("1f1b", "1F1B"), ("zb-h1", "ZB-H1"), ("zb-h2", "ZB-H2"), ("zb1p", "ZB-1p")):
            ratio = evaluated(name, costs).span_bubble_ratio
            assert ratio == pytest.approx(row["span_bubble_ratio"][published], abs=5.1e-5), (row["model"], name)


def test_several_names_come_from_any_iterable() -> None:
    made = ppopt.evaluate_all(pipeline(2, 4), (name for name in ("1f1b", "gpipe")))
    assert [schedule.strategy for schedule in made] == ["1f1b", "gpipe"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "strategies: name at least one"),
        (iter(()), "strategies: name at least one"),
        ("1f1b", "strategies: must be a list of names; found '1f1b'"),
        (None, "strategies: must be a list of names; found None"),
        ([None], "strategy: must be a name; found None"),
    ],
)
def test_several_names_are_a_list_of_names(names: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ppopt.evaluate_all(pipeline(2, 4), names)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: ppopt.evaluate(None, "1f1b"), "pipeline: must be a Pipeline"),  # type: ignore[arg-type]
        (lambda: ppopt.evaluate({}, "1f1b"), "pipeline: must be a Pipeline"),  # type: ignore[arg-type]
        (lambda: ppopt.evaluate_all({}, ["1f1b"]), "pipeline: must be a Pipeline"),  # type: ignore[arg-type]
        (lambda: ppopt.evaluate(pipeline(2, 4), None), "strategy: must be a name; found None"),  # type: ignore[arg-type]
        (lambda: ppopt.evaluate(pipeline(2, 4), 3), "strategy: must be a name; found 3"),  # type: ignore[arg-type]
        (lambda: Pipeline.from_file(None), "configuration: must be the path of a file; found None"),  # type: ignore[arg-type]
        (lambda: ppopt.parse_action(None), "None is not an action"),  # type: ignore[arg-type]
        (
            lambda: ppopt.evaluate(pipeline(2, 4), "interleaved:stages=4", stages=4),
            "interleaved:stages: is given twice",
        ),
        (lambda: ppopt.evaluate(pipeline(2, 4), "interleaved", stages=True), "must be a whole number of at least 1"),
    ],
)
def test_what_is_of_the_wrong_type_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        wrong()


def test_numpys_integers_are_options() -> None:
    made = ppopt.evaluate(pipeline(2, 4), "interleaved", stages=np.int64(8))  # type: ignore[arg-type]
    assert made.strategy == "interleaved:stages=8"


def test_a_schedule_shows_its_makespan_with_all_whole_digits() -> None:
    costs = ppopt.Pipeline.from_file(ROOT / "examples" / "measured-1.5b.yaml")
    assert "makespan 1456749 us" in repr(ppopt.evaluate(costs, "1f1b"))
