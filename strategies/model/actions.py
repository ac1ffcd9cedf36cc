"""Operations and blocks, and their text in PyTorch's grammar."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from solver.errors import InputError
from solver.problem import Block
from strategies.model.numbers import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = ("F", "B", "I", "W")
"""Forward, full backward, backward for the input, backward for the weights."""


class Op(NamedTuple):
    """One operation on one microbatch and one stage.

    Attributes
    ----------
    stage : int
        The stage, 0-based.
    kind : str
        ``F``, ``B``, ``I`` or ``W``.
    microbatch : int
        The microbatch, 0-based.
    """

    stage: int
    kind: str
    microbatch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.microbatch}"


PipelineAction: TypeAlias = Op | Block


class OpNames(NamedTuple):
    """Operations as whole numbers, microbatch by microbatch and stage by stage, in the order of `KINDS`.

    Attributes
    ----------
    stages, microbatches : int
        How many there are.
    """

    stages: int
    microbatches: int

    @property
    def size(self) -> int:
        """All codes are below it."""
        return len(KINDS) * self.stages * self.microbatches

    def code(self, stage: int, microbatch: int) -> int:
        """Return the code of a forward; those of what else is done to its microbatch there follow."""
        return (microbatch * self.stages + stage) * len(KINDS)

    def microbatch(self, code: int) -> int:
        """Return the microbatch of an operation."""
        return code // (len(KINDS) * self.stages)

    def parts(self, codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Return the stage, the place of the kind in `KINDS`, and the microbatch of each code."""
        cell = codes // len(KINDS)
        return cell % self.stages, codes % len(KINDS), cell // self.stages

    def keys(self, codes: NDArray[np.int64]) -> list[Op]:
        """Make the operations of codes."""
        stage, kind, microbatch = (part.tolist() for part in self.parts(codes))
        return list(map(Op, stage, map(KINDS.__getitem__, kind), microbatch))


_ALLOWED = "allowed are e.g. 2F0, 2B0, 2I0, 2W0 and (0F1;7B0)OVERLAP_F_B"
_OP = re.compile(r"(\d+)([FBIW])(\d+)", re.ASCII)
_BLOCK = re.compile(r"\((\d+F\d+);(\d+B\d+)\)OVERLAP_F_B", re.ASCII)


def parse_action(text: str) -> PipelineAction:
    """Read an action; the exact inverse of ``str``.

    Parameters
    ----------
    text : str
        ``2F0`` (stage 2, forward, microbatch 0) or ``(0F1;7B0)OVERLAP_F_B``.

    Raises
    ------
    InputError
        If it is neither.
    """
    if not isinstance(text, str):
        raise InputError(f"{shown(text)} is not an action; {_ALLOWED}")
    block = _BLOCK.fullmatch(text)
    if block:
        return Block(_parse_op(block[1]), _parse_op(block[2]))
    return _parse_op(text)


def _parse_op(text: str) -> Op:
    found = _OP.fullmatch(text)
    if not found or max(len(found[1]), len(found[3])) > 9:
        raise InputError(f"{shown(text)} is not an action; {_ALLOWED}")
    return Op(int(found[1]), found[2], int(found[3]))
