"""Megatron-Core's interleaved schedule with ``overlap_p2p_comm``: single sends and receives, a computation ahead.

As `forward_backward_pipelining_with_interleaving` runs it with ``deallocate_pipeline_outputs``, which Megatron-Core's
own training sets: a forward's result is freed as soon as it is sent, so computing waits for the send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from solver.programs import Compute, End, Instruction, Post, Wait
from strategies.lowering.as_program import LoweredPrograms
from strategies.lowering.batched import (
    BATCHED,
    MEGATRON,
    Interleaved,
    Order,
    batched_programs,
    receives_of,
    refuse_sizes,
    sends_of,
    timed_transfers,
)
from strategies.lowering.transfers import Crossings
from strategies.model.actions import Op, PipelineAction
from strategies.model.placements import Placement

OVERLAPPED = {name: whose for name, whose in BATCHED.items() if whose == MEGATRON}
"""The schedules with a program, and whose it is."""


def overlapped_programs(
    name: str,
    orders: Sequence[Order],
    placement: Placement,
    duration: Callable[[PipelineAction], int],
    moving: Callable[[Op], tuple[int, int]],
) -> LoweredPrograms:
    """Write the programs of Megatron-Core where communication overlaps; its 1F1B always exchanges batches.

    Parameters
    ----------
    name : str
        The schedule, one of `OVERLAPPED`.
    orders, placement, duration, moving
        As for `batched_programs`.

    Raises
    ------
    InputError
        If Megatron-Core does not take the sizes.
    """
    if name != "interleaved":
        return batched_programs(name, orders, placement, duration, moving)
    refuse_sizes(orders[0], placement)
    crossings = Crossings(placement)
    devices = [_Device(device, order, crossings, duration) for device, order in enumerate(orders)]
    for each in devices:
        each.write()
    transfers = timed_transfers(crossings, moving)
    return LoweredPrograms([each.program for each in devices], transfers, [each.columns for each in devices])


class _Device:
    """The program of one device as it is written."""

    def __init__(
        self, device: int, order: Order, crossings: Crossings, duration: Callable[[PipelineAction], int]
    ) -> None:
        self.rule = Interleaved(device, order, crossings)
        self.crossings, self.duration = crossings, duration
        self.sends_first = device % 2 == 0
        self.program: list[Instruction] = []
        self.columns: list[int] = []
        self.column = 0

    def write(self) -> None:
        """Write the warm-up, the steady phase and the cool-down."""
        warmup, backwards = self.rule.warmup, self.rule.backwards
        steady = len(self.rule.forwards) - warmup
        self._wait(self._post(receives_of(self.rule.forwards[0], self.crossings)))
        for place in range(warmup):
            self._compute(self.rule.forwards[place])
            self._wait(self._exchange_forward(place))
        received = self._post(receives_of(backwards[0], self.crossings))
        received = self._steady(warmup, steady, received)
        for place in range(steady, len(backwards)):
            self._wait(received)
            self._compute(backwards[place])
            received = self._exchange_backward(place)
        self._wait(received)

    def _steady(self, warmup: int, steady: int, backward_input: list[int]) -> list[int]:
        """Write pairs of a forward and a backward; return what to wait for before the next backward."""
        forward_input: list[int] = []
        sent_before: list[int] = []
        for place in range(steady):
            self._wait(forward_input)
            self._compute(self.rule.forwards[warmup + place])
            sent, forward_input = self._split(self._exchange_forward(warmup + place))
            self._wait([*sent, *backward_input])
            self._compute(self.rule.backwards[place])
            sent, backward_input = self._split(self._exchange_backward(place))
            self._wait(sent_before)
            sent_before = sent
        return backward_input

    def _exchange_forward(self, place: int) -> list[int]:
        """Post the result of a forward, and the receive that follows it."""
        return self._exchange(self.rule.forwards[place], self.rule.next_forward(place))

    def _exchange_backward(self, place: int) -> list[int]:
        return self._exchange(self.rule.backwards[place], self.rule.next_backward(place))

    def _exchange(self, computed: Op, following: list[End]) -> list[int]:
        sends = sends_of(computed, self.crossings)
        return self._post([*sends, *following] if self.sends_first else [*following, *sends])

    def _split(self, posts: Sequence[int]) -> tuple[list[int], list[int]]:
        """Split posts into sends and receives."""
        sends = [post for post in posts if self._is_send(post)]
        return sends, [post for post in posts if post not in sends]

    def _is_send(self, post: int) -> bool:
        instruction = self.program[post]
        return isinstance(instruction, Post) and instruction.ends[0].is_send

    def _post(self, ends: Iterable[End]) -> list[int]:
        """Post each end on its own; return where."""
        posts: list[int] = []
        for end in ends:
            posts.append(len(self.program))
            self._write(Post((end,)))
        return posts

    def _wait(self, posts: Iterable[int]) -> None:
        for post in posts:
            self._write(Wait(post))

    def _compute(self, action: Op) -> None:
        self._write(Compute(action, self.duration(action)))
        self.column += 1

    def _write(self, instruction: Instruction) -> None:
        self.program.append(instruction)
        self.columns.append(self.column)
