"""The checker finds every kind of fault, and nothing else."""

from __future__ import annotations

import random

import pytest

from ppopt import Placed, Problem, violations
from solver.problem import Fusing, Hold, Task
from tests.evaluated import evaluated, pipeline


def problem() -> Problem:
    tasks = {"a": Task(0, 2), "b": Task(0, 3), "c": Task(1, 2), "d": Task(1, 1)}
    precedences = [("a", "c", 1), ("c", "b", 1)]
    holds = [Hold("a", 5, (("b", 5),)), Hold("c", 2, (("c", 1), ("d", 1)))]
    return Problem(
        2, tasks, precedences, holds, (5, 3), Fusing({"a": 0, "c": 1}, {"b": 0, "d": 1}, {(0, 0): 4, (1, 1): 3})
    )


RIGHT = {"a": Placed("a", 0, 0, 2), "b": Placed("b", 0, 6, 9), "c": Placed("c", 1, 3, 5), "d": Placed("d", 1, 5, 6)}


def kinds(**changed: Placed | None) -> set[str]:
    rows = [row for row in {**RIGHT, **changed}.values() if row is not None]
    return {violation.kind for violation in violations(problem(), rows)}


def test_a_right_timeline_has_no_fault() -> None:
    assert kinds() == set()


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"d": None}, "missing"),
        ({"e": Placed("a", 0, 20, 22)}, "twice"),
        ({"e": Placed("nobody", 0, 20, 22)}, "unknown"),
        ({"d": Placed("d", 0, 20, 21)}, "device"),
        ({"d": Placed("d", 1, 5, 7)}, "duration"),
        ({"d": Placed("d", 1, 5, 5)}, "duration"),
        ({"d": Placed("d", 1, 4, 5)}, "overlap"),
        ({"b": Placed("b", 0, 5, 8)}, "precedence"),
        ({"c": Placed("c", 1, 2, 4)}, "precedence"),
        ({"a": Placed("a", 0, 0, 4, 1)}, "block"),
        ({"a": Placed("a", 0, 0, 4, 1), "b": Placed("b", 0, 6, 10, 1)}, "block"),
        ({"b": Placed("b", 0, 8, 12, 1), "d": Placed("d", 1, 8, 12, 1)}, "block"),
    ],
)
def test_each_fault_is_found(changed: dict[str, Placed | None], kind: str) -> None:
    assert kind in kinds(**changed)


def test_a_block_of_the_wrong_length_is_found() -> None:
    tasks = {"a": Task(0, 2), "b": Task(0, 3)}
    plain = Problem(1, tasks, [], fusing=Fusing({"a": 0}, {"b": 0}, {(0, 0): 4}))
    fused = [Placed("a", 0, 0, 4, 0), Placed("b", 0, 0, 4, 0)]
    assert violations(plain, fused) == []
    longer = [row._replace(end=5) for row in fused]
    assert [violation.kind for violation in violations(plain, longer)] == ["duration"]


def test_a_block_lasts_as_long_as_both_its_halves_say() -> None:
    tasks = dict.fromkeys("abcd", Task(0, 2))
    fusing = Fusing({"a": 0, "b": 1}, {"c": 0, "d": 1}, {(0, 0): 2, (0, 1): 3, (1, 0): 4})

    def found(first: str, second: str, end: int) -> list[str]:
        rest = [Placed(task, 0, 10 + 2 * n, 12 + 2 * n) for n, task in enumerate("abcd") if task not in (first, second)]
        fused = [Placed(first, 0, 0, end, 0), Placed(second, 0, 0, end, 0)]
        return [violation.kind for violation in violations(Problem(1, tasks, [], fusing=fusing), [*fused, *rest])]

    assert found("a", "c", 2) == found("a", "d", 3) == found("b", "c", 4) == []
    assert found("a", "c", 3) == found("a", "d", 2) == found("b", "c", 3) == ["duration"]
    assert found("b", "d", 4) == found("a", "b", 2) == found("c", "d", 2) == ["block"]


def test_an_overlap_under_a_longer_task_is_found() -> None:
    tasks = {"a": Task(0, 10), "b": Task(0, 1), "c": Task(0, 1)}
    rows = [Placed("a", 0, 0, 10), Placed("b", 0, 1, 2), Placed("c", 0, 5, 6)]
    assert [violation.kind for violation in violations(Problem(1, tasks, []), rows)] == ["overlap", "overlap"]


def test_memory_is_returned_before_it_is_taken_at_one_moment() -> None:
    tasks = {name: Task(0, 1) for name in "abcd"}
    holds = [Hold("a", 1, (("b", 1),)), Hold("c", 1, (("d", 1),))]
    tight = Problem(1, tasks, [], holds, (1,))
    one_after_the_other = [Placed(name, 0, place, place + 1) for place, name in enumerate("abcd")]
    assert violations(tight, one_after_the_other) == []
    both = [Placed(name, 0, place, place + 1) for place, name in enumerate("acbd")]
    assert [violation.kind for violation in violations(tight, both)] == ["memory"]
    assert violations(tight, both, memory=False) == []


@pytest.mark.parametrize("name", ["1f1b", "zb-h2", "dualpipe", "interleaved-overlap"])
def test_every_shift_of_a_tight_schedule_is_found(name: str) -> None:
    """Earliest starts leave no room: any operation that starts earlier breaks a rule."""
    made = evaluated(name, pipeline(4, 8, p2p_latency=0.25))
    chance = random.Random(1)
    movable = [place for place, row in enumerate(made.rows) if row.start > 0 and row.block is None]
    for place in chance.sample(movable, 40):
        row = made.rows[place]
        rows = [*made.rows[:place], row._replace(start=row.start - 1, end=row.end - 1), *made.rows[place + 1 :]]
        assert {each.kind for each in violations(made.problem, rows)} & {"overlap", "precedence"}
