"""Megatron-Core's interleaved schedule with ``overlap_p2p_comm``, against programs taken from its loops."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import pytest

import ppopt
from ppopt.schedules.communicated import Order
from solver.program_faults import check_programs, find_crossings
from solver.programs import Compute, Instruction, Post
from strategies.lowering.as_program import LoweredPrograms
from strategies.lowering.transfers import token_of
from tests.lowered_orders import TIMES, golden

OVERLAPPING = {"p2p": "rendezvous", "lowering": "megatron", "communication": {"transfer": 0.05}}


def evaluated(name: str, devices: int, stages: int, microbatches: int, **more: object) -> ppopt.Schedule:
    sizes = {"devices": devices, "stages": stages, "microbatches": microbatches, "times": TIMES}
    return ppopt.evaluate(ppopt.Pipeline.from_mapping({**sizes, **OVERLAPPING, **more}), name)


def programs_of(made: ppopt.Schedule) -> LoweredPrograms:
    return Order(made.strategy, made.pipeline, made.layout, made.problem, made.actions, made.rows).placed().lowered


def written(program: list[Instruction]) -> Iterator[str]:
    for each in program:
        if isinstance(each, Compute):
            yield f"C {each.name}"
        elif isinstance(each, Post):
            yield " ".join(["G", *(str(token_of(end)) for end in each.ends)])
        else:
            yield f"W {each.post}"


def test_the_programs_are_megatrons_instruction_by_instruction() -> None:
    (row,) = [each for each in golden()["programs_transfer_0.05"] if "overlap,deallocate" in each["program"]]
    made = evaluated("interleaved", row["devices"], 2 * row["devices"], row["microbatches"])
    assert [list(written(program)) for program in programs_of(made).programs] == row["instructions"]
    for communicators in ("edge", "pair", "way", "rank"):
        made = evaluated("interleaved", row["devices"], 8, row["microbatches"], communicators=communicators)
        assert made.makespan == float(Fraction(row[communicators]))
        assert made.placed_by == "Megatron-Core"


@pytest.mark.parametrize("devices", [2, 3, 4])
def test_every_transfer_is_posted_on_both_sides_whatever_the_sizes(devices: int) -> None:
    """Also where all forwards come first, with groups larger than the devices, and with a shorter last group."""
    for chunks in (2, 3):
        for microbatches, group in [(devices, devices), (3 * devices, devices), (2 * devices + 1, devices + 1)]:
            name = f"interleaved:group_size={group}"
            made = evaluated(name, devices, chunks * devices, microbatches)
            lowered = programs_of(made)
            check_programs(lowered.programs, lowered.transfers)
            assert not find_crossings(lowered.programs, lowered.transfers)
            assert made.placed_by == "Megatron-Core"


def test_its_1f1b_exchanges_batches_there_as_well() -> None:
    overlapped = evaluated("1f1b", 4, 4, 8)
    batched = evaluated("1f1b", 4, 4, 8, p2p="batched", lowering=None)
    assert overlapped.rows == batched.rows
    assert overlapped.placed_by == batched.placed_by == "Megatron-Core"


@pytest.mark.parametrize(
    ("name", "microbatches", "message"),
    [
        ("interleaved", 6, "a multiple of the devices, 4(, in batches)?; found 6"),
        ("interleaved:group_size=5", 8, "no last group of fewer microbatches than devices, 4; 8 in groups of 5"),
    ],
)
def test_sizes_that_megatron_refuses_are_named(name: str, microbatches: int, message: str) -> None:
    for more in ({}, {"p2p": "batched", "lowering": None}):
        with pytest.raises(ppopt.InputError, match=message):
            evaluated(name, 4, 8, microbatches, **more)
