"""Support for rules that give every action a slot: a device runs its actions in the order of their slots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from strategies.language.steps import Step, Steps


def by_slot(slotted: Iterable[tuple[int, Steps]]) -> Iterator[Step]:
    """Yield steps in the order of their slots.

    Parameters
    ----------
    slotted : iterable of (int, Steps)
        The steps, each with the slot in which it begins.
    """
    for _, steps in sorted(slotted, key=lambda pair: pair[0]):
        yield from steps
