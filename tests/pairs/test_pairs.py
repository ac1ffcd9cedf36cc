"""For every pair of features: no bound above an existing order, no makespan below its bound, no traceback.

``python -m tests.pairs.table --models 10`` prints the verdict of every cell on as many models as you like.
"""

from __future__ import annotations

from itertools import combinations, product

import pytest

from tests.pairs.command_line import command_line_faults
from tests.pairs.commands import COMMANDS, judge
from tests.pairs.drawn_models import FEATURES, NUMBERS, SEMANTICS, draw_model

AXES = (FEATURES, SEMANTICS, tuple(COMMANDS), NUMBERS)

EVERY_CELL = list(product(*AXES))

DIAGONAL = [
    (feature, SEMANTICS[(one + other) % 4], command, NUMBERS[(one + other // 2) % 2])
    for (one, feature), (other, command) in product(enumerate(FEATURES), enumerate(COMMANDS))
]


def test_the_diagonal_has_every_pair_of_two() -> None:
    for one, other in combinations(range(len(AXES)), 2):
        there = {(cell[one], cell[other]) for cell in DIAGONAL}
        assert there == set(product(AXES[one], AXES[other]))


def assert_no_fault(cell: tuple[str, str, str, str], number: int) -> None:
    feature, semantics, command, numbers = cell
    verdict = judge(command, draw_model(feature, semantics, numbers, number))
    assert verdict.outcome != "FAULT", "\n".join([*verdict.messages, verdict.call])


@pytest.mark.exhaustive(16)
@pytest.mark.parametrize("cell", DIAGONAL, ids="-".join)
def test_what_a_command_claims_is_true_of_one_model(cell: tuple[str, str, str, str]) -> None:
    assert_no_fault(cell, 0)


@pytest.mark.slow
@pytest.mark.parametrize("cell", EVERY_CELL, ids="-".join)
def test_what_a_command_claims_is_true_of_three_models(cell: tuple[str, str, str, str]) -> None:
    for number in range(3):
        assert_no_fault(cell, number)


@pytest.mark.slow
@pytest.mark.parametrize("cell", EVERY_CELL, ids="-".join)
def test_the_command_line_ends_as_it_should(cell: tuple[str, str, str, str]) -> None:
    feature, semantics, command, numbers = cell
    model = draw_model(feature, semantics, numbers, 0)
    assert list(command_line_faults(command, model)) == [], model.mapping
