"""Which transfers share a queue of a device: the communicators that frameworks create."""

from __future__ import annotations

from solver.problem import Key
from solver.programs import Queues, Transfer
from strategies.model.actions import Op

COMMUNICATORS = ("edge", "pair", "way", "rank")
"""Ordered from the most to the fewest communicators; ``edge`` and ``way`` are not comparable."""

MEANINGS = {
    "edge": "one communicator for each directed pair of devices",
    "pair": "one for each pair of devices",
    "way": "one for forwards and one for backwards",
    "rank": "one for all of a rank",
}

RELEASED = {"pair", "rank"}
"""PyTorch 2.13 creates ``rank`` if ``device_id`` is given to ``init_process_group``, otherwise ``pair``."""


def queues(communicators: str) -> Queues:
    """Return the function that names the queue of a transfer.

    Parameters
    ----------
    communicators : {"edge", "pair", "way", "rank"}
        The kind of communicators.
    """
    return _QUEUES[communicators]


def _edge(_: Key, transfer: Transfer) -> tuple[int, int]:
    return transfer.source, transfer.destination


def _pair(_: Key, transfer: Transfer) -> tuple[int, int]:
    return min(transfer[:2]), max(transfer[:2])


def _way(key: Key, _: Transfer) -> str:
    assert isinstance(key, Op)
    return key.kind


def _rank(_: Key, __: Transfer) -> None:
    return None


_QUEUES: dict[str, Queues] = {"edge": _edge, "pair": _pair, "way": _way, "rank": _rank}
