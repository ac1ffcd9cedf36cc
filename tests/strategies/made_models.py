"""Random models of layers for tests, with kinds, pins and glue, and the cuts that they allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from strategies.model.layers import Layers

EMBEDDING = {"name": "embedding", "forward": 1, "backward": 2, "static": 4, "latest_stage": 0}
DECODER = {
    "name": "decoder",
    "forward": 10,
    "backward_input": 11,
    "backward_weight": 9,
    "activation": 10,
    "held_for_weight": 6,
    "static": 5,
    "recompute": {"activation": 1},
}
HEAD = {"name": "head", "forward": 20, "backward": 40, "activation": 3, "static": 6, "earliest_stage": -1}


def model(count: int = 12, **more: Any) -> Layers:
    """Make a model of an embedding, ``count`` decoder layers, and a head."""
    return Layers.model_validate([EMBEDDING, DECODER | {"count": count} | more, HEAD])


@st.composite
def models(draw: st.DrawFn, most_kinds: int = 4, most_groups: int = 5) -> Layers:
    """Draw a model of several kinds, with some zero costs, glue, and pins from either end."""
    kinds = []
    for number in range(draw(st.integers(1, most_kinds))):
        glue = draw(st.sampled_from([1, 1, 1, 2, 3]))
        kind: dict[str, Any] = {
            "name": f"kind {number}",
            "count": glue * draw(st.integers(1, most_groups)),
            "glue": glue,
            "forward": draw(st.integers(0, 5)),
            "backward_input": draw(st.integers(1, 5)),
            "backward_weight": draw(st.integers(0, 5)),
            "static": draw(st.integers(0, 3)),
        }
        pin = draw(st.sampled_from(["earliest_stage", "latest_stage", None, None]))
        if pin:
            kind[pin] = draw(st.integers(-4, 3))
        if draw(st.booleans()):
            kind["recompute"] = {"activation": 0, "time": draw(st.integers(0, 4))}
        kinds.append(kind)
    return Layers.model_validate(kinds)


def all_cuts(layers: int, stages: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to put the layers on the stages."""
    if stages == 1:
        yield (layers,)
        return
    for first in range(layers + 1):
        yield from ((first, *rest) for rest in all_cuts(layers - first, stages - 1))
