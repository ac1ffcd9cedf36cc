"""Orders for PyTorch's pipeline runtime: microbatches renumbered, with notes on the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from solver.errors import InputError
from solver.problem import Block
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import Aside, Token, ops_of, schedule_as_text

_FORCED = "--force-order-only, force_order_only=True in Python"


@dataclass(frozen=True)
class ExportedOrder:
    """An order to be written to a file.

    Attributes
    ----------
    orders : list of list of (Op, Block or Aside)
        The actions of each device, with the microbatch numbers of the file.
    notes : tuple of str
        Notes on the file.
    numbers : mapping of int to int
        The number in the file of each microbatch.
    """

    orders: Sequence[Sequence[Token]]
    notes: tuple[str, ...]
    numbers: Mapping[int, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text of the file, in the format of PyTorch's loader."""
        return schedule_as_text(self.orders)


def export_order(
    orders: Sequence[Sequence[Token]], placement: Placement, *, force_order_only: bool = False
) -> ExportedOrder:
    """Prepare an order for PyTorch's pipeline runtime.

    The runtime matches losses to the last stage's forwards by position. So microbatches are renumbered to make these
    forwards run 0, 1, 2, …; since all microbatches are alike, no time changes.

    Parameters
    ----------
    orders : sequence of sequence of (Op, Block or Aside)
        The actions of each device, with or without communication.
    placement : Placement
        Which device holds which stage.
    force_order_only : bool
        Whether to write even a bidirectional order, unchanged.

    Raises
    ------
    InputError
        If the order is bidirectional and ``force_order_only`` is not set.
    """
    if len(set(placement.homes)) > 1:
        if not force_order_only:
            raise InputError(
                "is bidirectional: two devices hold each stage, which PyTorch's runtime has on one device only; "
                f"the bare order can still be written ({_FORCED})"
            )
        note = "is bidirectional: PyTorch's runtime cannot run it; the order was written as it is, for other readers"
        return ExportedOrder(orders, (note,))
    numbers = _numbers(orders, last=len(placement.homes[0]) - 1)
    renumbered = [[_renumbered(action, numbers) for action in order] for order in orders]
    notes = [*_placement_notes(placement), *_block_notes(orders)]
    if any(old != new for old, new in numbers.items()):
        notes.insert(0, "microbatches were renumbered: PyTorch needs the last stage's forwards to run 0, 1, 2, …")
    if len({len(order) for order in orders}) > 1:
        notes.append("the rows differ in length, which PyTorch's loader takes")
    return ExportedOrder(renumbered, tuple(notes), numbers)


def _numbers(orders: Sequence[Sequence[Token]], last: int) -> dict[int, int]:
    """Assign each microbatch its number in the order in which the last stage runs the forwards."""
    ops = (op for order in orders for action in order for op in ops_of(action))
    forwards = (op.microbatch for op in ops if op.stage == last and op.kind == "F")
    return {microbatch: number for number, microbatch in enumerate(forwards)}


def _renumbered(action: Token, numbers: Mapping[int, int]) -> Token:
    if isinstance(action, Aside):
        return action if action.microbatch is None else action._replace(microbatch=numbers[action.microbatch])
    if isinstance(action, Block):
        return Block(*(op._replace(microbatch=numbers[op.microbatch]) for op in ops_of(action)))
    return action._replace(microbatch=numbers[action.microbatch])


def _placement_notes(placement: Placement) -> Iterator[str]:
    if placement.name == "v":
        yield "for torchtitan, name ZBVZeroBubble or DualPipeV beside the file: others do not place stages in a V"
    elif not placement.is_loop and len(placement.homes) == 1:
        yield (
            "torchtitan cannot take its placement (it lays stages out in a loop, or as a V for two of its schedules); "
            "torch.distributed.pipelining reads it off the file"
        )


def _block_notes(orders: Sequence[Sequence[Token]]) -> Iterator[str]:
    blocks = sum(isinstance(action, Block) for order in orders for action in order)
    if blocks:
        yield (
            f"PyTorch runs the halves of its {blocks} overlapped blocks one after the other, unless a custom function "
            "is registered for OVERLAP_F_B"
        )
