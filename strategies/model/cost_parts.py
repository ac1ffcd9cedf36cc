"""Traces the times of cut stages back to the costs that a user gave, for any cut of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from strategies.model.cuts import counts_by_kind
from strategies.model.layers import LayerKind
from strategies.model.pipeline import Pipeline, StageCosts

FORWARD, INPUT, WEIGHT = "forward", "backward_input", "backward_weight"
BLOCK = "overlapped_forward_backward"


class Cost(NamedTuple):
    """A cost in a configuration.

    Attributes
    ----------
    key : str
        ``forward``, ``backward_input``, ``backward_weight`` or ``overlapped_forward_backward``.
    place : int or str
        Its stage, or its kind of layers.
    """

    key: str
    place: int | str


Parts: TypeAlias = Mapping[Cost, Fraction]
"""The amount that each cost contributes to a time; costs that do not affect it are absent."""

PartsOfKinds: TypeAlias = Mapping[str, Sequence[Parts]]
"""The parts of each stage's time: for F, B, I, W and, if blocks have times of their own, ``block``."""


def cost_parts(given: Pipeline, cut: Pipeline) -> PartsOfKinds | None:
    """Split the times of a cut model's own work into the costs of the model as given.

    A full backward is divided between the costs of its two halves in proportion to them. Recomputing a layer adds its
    forward to its backward, unless the recomputation has a time of its own.

    Parameters
    ----------
    given : Pipeline
        The model in the stages that its times are meant for.
    cut : Pipeline
        The same model in the stages that a schedule runs.

    Returns
    -------
    mapping or None
        None if the parts do not add up to the times of the cut, which then is not a cut of that model.
    """
    pieces = list(_pieces_of_layers(cut)) if cut.layers is not None else list(_pieces_of_stages(given, cut))
    parts: dict[str, list[Parts]] = {kind: [] for kind in ("F", "B", "I", "W")}
    if cut.times.overlapped_forward_backward is not None:
        parts["block"] = []
    for stage in pieces:
        added: dict[str, dict[Cost, Fraction]] = {kind: {} for kind in parts}
        for kind, cost, amount in stage:
            added[kind][cost] = added[kind].get(cost, Fraction(0)) + amount
        for kind, sums in added.items():
            parts[kind].append(sums)
    return parts if _adds_up(parts, cut.work) else None


_Piece = tuple[str, Cost, Fraction]


def _pieces_of_stages(given: Pipeline, cut: Pipeline) -> Iterator[list[_Piece]]:
    """Spread the given stages over those of the cut, as `Pipeline.recut` does."""
    old, new = len(given.work), len(cut.work)
    for stage in range(new):
        pieces: list[_Piece] = []
        for place in range(stage * old // new, -(-(stage + 1) * old // new)):
            first, last = max(stage * old, place * new), min((stage + 1) * old, (place + 1) * new)
            pieces += _of_stage(given.work[place], place, Fraction(last - first, new))
        yield pieces


def _of_stage(costs: StageCosts, place: int, share: Fraction) -> Iterator[_Piece]:
    yield "F", Cost(FORWARD, place), share * costs.forward
    yield "I", Cost(INPUT, place), share * costs.backward_input
    yield "W", Cost(WEIGHT, place), share * costs.backward_weight
    yield from _backward(place, share * costs.backward, costs.backward_input, costs.backward_weight)
    if costs.overlapped is not None:
        yield "block", Cost(BLOCK, place), share * costs.overlapped


def _backward(place: int | str, whole: Fraction, to_input: Fraction, to_weight: Fraction) -> Iterator[_Piece]:
    halves = to_input + to_weight
    share = to_input / halves if halves else Fraction(1)
    yield "B", Cost(INPUT, place), whole * share
    yield "B", Cost(WEIGHT, place), whole * (1 - share)


def _pieces_of_layers(cut: Pipeline) -> Iterator[list[_Piece]]:
    layers, counts = cut.layers, cut.layers_per_stage
    assert layers is not None
    assert counts is not None
    held = counts_by_kind(layers, counts)
    again = cut.recomputed_per_stage or [[0] * len(layers.kinds)] * len(held)
    for here, twice in zip(held, again, strict=True):
        pieces: list[_Piece] = []
        for kind, count, recomputed in zip(layers.kinds, here, twice, strict=True):
            pieces += _of_layers(kind, count, int(recomputed))
        yield pieces


def _of_layers(kind: LayerKind, count: int, recomputed: int) -> Iterator[_Piece]:
    costs, name = kind.costs, kind.name
    yield "F", Cost(FORWARD, name), count * costs.forward
    yield "I", Cost(INPUT, name), count * costs.backward_input
    yield "W", Cost(WEIGHT, name), count * costs.backward_weight
    yield from _backward(name, count * costs.backward, costs.backward_input, costs.backward_weight)
    if recomputed and kind.recompute is not None:
        own = kind.recompute.time
        cost, time = (Cost(FORWARD, name), costs.forward) if own is None else (Cost(INPUT, name), own)
        yield "B", cost, recomputed * time
        yield "I", cost, recomputed * time


def _adds_up(parts: Mapping[str, Sequence[Parts]], costs: Sequence[StageCosts]) -> bool:
    columns = {"F": FORWARD, "B": "backward", "I": INPUT, "W": WEIGHT, "block": "overlapped"}
    return all(
        sum(parts[kind][stage].values(), Fraction(0)) == getattr(cost, columns[kind])
        for kind in parts
        for stage, cost in enumerate(costs)
    )
