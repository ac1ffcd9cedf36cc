"""Finds every fault in the copies of activations to the host and back, each with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from strategies.faults.communication_faults import Computations
from strategies.faults.deadlock import Place
from strategies.model.actions import Op
from strategies.order_files.schedule_file import COPIES, Aside, Fault, Token, is_copy


def copy_faults(rows: Sequence[Sequence[Token | None]], said: Computations) -> Iterator[Fault]:
    """Yield the faults of OFFLOAD, RELEASE and RELOAD.

    Each copied activation is offloaded behind its F, and reloaded behind that, before its B or I; between the two its
    memory may be released.

    Parameters
    ----------
    rows : sequence of sequence of token or None
        The cells of each device.
    said : Computations
        The computations of the file.
    """
    places: dict[Aside, Place] = {}
    for row, cells in enumerate(rows):
        for column, token in enumerate(cells):
            if not isinstance(token, Aside) or not is_copy(token):
                continue
            place = Place(row, column)
            if problem := _why_impossible(token, place, said):
                yield Fault(*place, str(token), problem)
            elif token in places:
                text = f"appears twice; the first is in row {places[token].row + 1}, column {places[token].column + 1}"
                yield Fault(*place, str(token), text)
            else:
                places[token] = place
    for token, place in places.items():
        yield from _misplaced(token, place, places, said)


def _why_impossible(token: Aside, place: Place, said: Computations) -> str | None:
    assert token.microbatch is not None
    for what, number, size in (
        ("stage", token.stage, said.stages),
        ("microbatch", token.microbatch, said.microbatches),
    ):
        if number >= size:
            allowed = f"the file's own are 0 to {size - 1}" if size > 1 else "the file's only one is 0"
            return f"is of {what} {number}, which is out of range; {allowed}"
    home = said.home(Op(token.stage, "F", token.microbatch))
    return None if home == place.row else f"is on the wrong device: stage {token.stage} belongs to device {home}"


def _misplaced(token: Aside, place: Place, places: Mapping[Aside, Place], said: Computations) -> Iterator[Fault]:
    """Yield what is wrong with the place of a copy relative to the others of its activation, and to F and B or I."""
    assert token.microbatch is not None
    offload, release, reload = (token._replace(kind=kind) for kind in COPIES)
    forward = Op(token.stage, "F", token.microbatch)
    backwards = [op for kind in "BI" if (op := forward._replace(kind=kind)) in said.places]
    if token == offload:
        made = said.places.get(forward)
        if made is not None and made > place:
            text = f"comes before {forward} (column {made.column + 1}), whose activation it copies"
            yield Fault(*place, str(token), text)
        if reload not in places:
            needed = f"{backwards[0]} needs it" if backwards else "its backward needs it"
            yield Fault(*place, str(token), f"has no {reload} behind it, and {needed}")
        return
    if offload not in places or places[offload] > place:
        yield Fault(*place, str(token), f"has no {offload} before it")
    if token == release and reload in places and places[reload] < place:
        text = f"comes after {reload} (column {places[reload].column + 1}), which takes the memory again"
        yield Fault(*place, str(token), text)
    for op in backwards if token == reload else ():
        used = said.places[op]
        if used < place:
            yield Fault(*place, str(token), f"comes after {op} (column {used.column + 1}), which needs what it copies")
