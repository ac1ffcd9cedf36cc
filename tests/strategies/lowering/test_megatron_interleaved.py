"""Megatron-Core's interleaved schedule in batches, against its own loops, rewritten here from their rule.

The loops are ``forward_backward_pipelining_with_interleaving`` without ``overlap_p2p_comm``. Virtual microbatch k is a
chunk and a microbatch. One batch follows each forward of the warm-up, each pair of the steady phase and each backward
of the cool-down; it holds the results just produced and the inputs needed next.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

import ppopt
from solver.programs import Compute, End, Instruction, Post, Transfer, Wait
from solver.rendezvous import run
from strategies.model.actions import Op
from strategies.model.communicators import queues


class Rank:
    """The program of one rank."""

    def __init__(self, devices: int, rank: int, chunks: int, microbatches: int) -> None:
        self.p, self.rank, self.v, self.m = devices, rank, chunks, microbatches
        self.total = microbatches * chunks
        self.last_stage = devices * chunks - 1
        self.program: list[Instruction] = []

    def forward(self, k: int) -> Op:
        group, inside = divmod(k, self.p * self.v)
        return Op(self.p * (inside // self.p) + self.rank, "F", self.p * group + inside % self.p)

    def backward(self, k: int) -> Op:
        op = self.forward(k)
        chunk = self.v - 1 - op.stage // self.p
        return Op(self.p * chunk + self.rank, "B", op.microbatch)

    def sent(self, op: Op) -> list[End]:
        goes_on = op.stage < self.last_stage if op.kind == "F" else op.stage > 0
        return [End(op, True)] if goes_on else []

    def received(self, op: Op) -> list[End]:
        if op.kind == "F":
            return [End(op._replace(stage=op.stage - 1), False)] if op.stage else []
        return [End(op._replace(stage=op.stage + 1), False)] if op.stage < self.last_stage else []

    def received_next(self, k: int, kind: str) -> list[End]:
        """As ``recv_tensor_from_previous_stage``: the leading rank receives for the chunk that the results enter."""
        if k == self.total - 1:
            return []
        of = self.forward if kind == "F" else self.backward
        if self.rank != (0 if kind == "F" else self.p - 1):
            return self.received(of(k + 1))
        if k < self.p - 1:
            return []
        come = of(k - (self.p - 1))
        stage = come.stage + (self.p if kind == "F" else -self.p)
        return self.received(come._replace(stage=stage)) if 0 <= stage <= self.last_stage else []

    def compute(self, op: Op) -> None:
        self.program.append(Compute(op, 20 if op.kind == "F" else 40))

    def exchange(self, *ends: list[End]) -> None:
        if group := tuple(end for part in ends for end in part):
            self.program += [Post(group), Wait(len(self.program))]

    def written(self) -> list[Instruction]:
        warmup = min(self.total, 2 * (self.p - self.rank - 1) + (self.v - 1) * self.p)
        steady = self.total - warmup
        self.exchange(self.received(self.forward(0)))
        for k in range(warmup):
            self.compute(self.forward(k))
            ahead = self.received(self.backward(0)) if k == warmup - 1 and steady else []
            self.exchange(self.sent(self.forward(k)), self.received_next(k, "F"), ahead)
        if not steady:
            self.exchange(self.received(self.backward(0)))
        for k in range(steady):
            forward, backward = self.forward(warmup + k), self.backward(k)
            self.compute(forward)
            self.compute(backward)
            following = self.received_next(warmup + k, "F") + self.received_next(k, "B")
            self.exchange(self.sent(forward), self.sent(backward), following)
        for k in range(steady, self.total):
            self.compute(self.backward(k))
            self.exchange(self.sent(self.backward(k)), self.received_next(k, "B"))
        return self.program


def makespan_of_megatron(devices: int, chunks: int, microbatches: int) -> Fraction:
    programs = [Rank(devices, rank, chunks, microbatches).written() for rank in range(devices)]
    transfers: dict[Op, Transfer] = {}
    for program in programs:
        for instruction in program:
            for end in instruction.ends if isinstance(instruction, Post) else ():
                assert isinstance(end.transfer, Op)
                source = end.transfer.stage % devices
                step = 1 if end.transfer.kind == "F" else -1
                transfers[end.transfer] = Transfer(source, (source + step) % devices, 1)
    return Fraction(run(programs, transfers, queues("rank")).makespan, 20)


@pytest.mark.exhaustive
@pytest.mark.parametrize("devices", [3, 4, 5, 7, 9])
def test_batches_are_megatrons_also_where_one_pair_is_steady(devices: int) -> None:
    """With m = p and p odd, some devices have one pair as their steady phase: all their forwards come first."""
    for chunks in (2, 3, 4):
        for microbatches in (devices, 2 * devices):
            made = ppopt.evaluate(
                ppopt.Pipeline.from_mapping(
                    {
                        "devices": devices,
                        "stages": devices * chunks,
                        "microbatches": microbatches,
                        "times": {"forward": 1, "backward": 2},
                        "communication": {"transfer": 0.05},
                        "p2p": "batched",
                    }
                ),
                "interleaved",
            )
            assert made.makespan == float(makespan_of_megatron(devices, chunks, microbatches))
