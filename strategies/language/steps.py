"""The vocabulary of schedule rules: F, B, I, W, and pairs of them."""

from __future__ import annotations

from typing import NamedTuple

from solver.errors import InputError


class Step(NamedTuple):
    """One step of a device: a kind of operation. Its microbatch is usually counted elsewhere.

    Attributes
    ----------
    kind : str
        ``F``, ``B``, ``I`` or ``W``.
    chunk : int or None
        The device's stage, by its number there; None is the first, or for W the one that has owed it longest.
    microbatch : int or None
        The microbatch, if the rule does not take them in increasing order.
    fused_with : Step or None
        The backward that runs with this forward in one block.
    """

    kind: str
    chunk: int | None = None
    microbatch: int | None = None
    fused_with: Step | None = None


class Steps(tuple[Step, ...]):
    """A sequence of steps: ``F + B`` one after the other, ``F * 3`` three times, ``F | B`` fused in one block."""

    __slots__ = ()

    def __add__(self, other: tuple[Step, ...]) -> Steps:  # type: ignore[override]  # Steps stay Steps
        return Steps((*self, *other))

    def __mul__(self, times: int) -> Steps:  # type: ignore[override]  # Steps stay Steps
        return Steps(tuple(self) * times)

    def __or__(self, backward: Steps) -> Steps:
        (first,), (second,) = self, backward
        if (first.kind, second.kind) != ("F", "B"):
            raise InputError(f"only a forward and a full backward fuse (F | B), not {first.kind} | {second.kind}")
        return Steps((first._replace(fused_with=second),))

    def __call__(self, chunk: int, microbatch: int | None = None) -> Steps:
        """Choose the device's stage (0 is its first), and the microbatch if the rule names it."""
        return Steps(step._replace(chunk=chunk, microbatch=microbatch) for step in self)


F = Steps((Step("F"),))
B = Steps((Step("B"),))
I = Steps((Step("I"),))  # noqa: E741  # the field's letter for the backward of the input
W = Steps((Step("W"),))
