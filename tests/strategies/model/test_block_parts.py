"""The length of an overlapped block from the parts of its layers: measured ones, closed forms, and its graph."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from solver.errors import InputError
from solver.problem import Block
from strategies.language.orders import make_orders
from strategies.language.registry import all_strategies
from strategies.model.block_parts import BlockParts
from strategies.model.layers import Layers
from strategies.model.pipeline import Pipeline
from strategies.problem.hidden_communication import hidden_communication
from tests import block_lengths

MEASURED: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data" / "moe_overlap.json").read_text())
PROFILE = MEASURED["deepseek_profile"]
AVERAGE: dict[str, float] = PROFILE["average_us"]
COMMUNICATION = ("dispatch(F)", "combine(F)", "combine(B)", "dispatch(B)")


def parts_of(forward: dict[str, Any], backward: dict[str, Any] | None = None, order: str = "deepseek") -> Any:
    """Write DeepSeek's parts of a layer: its forward, and its backward."""
    backward = backward or forward

    def by_turns(times: dict[str, Any], chain: str) -> list[Any]:
        return [{"comm": times[key]} if key in COMMUNICATION else times[key] for key in PROFILE["chains"][chain]]

    return {
        "forward": by_turns(forward, "F"),
        "backward": by_turns(backward, "B"),
        "weight": {1: backward["mlp(W)"], 3: backward["attn(W)"]},
        "order": order,
    }


def rows_of(parts: list[Any]) -> list[dict[str, Any]]:
    return [{"name": f"layer {place}", "forward": 1, "backward": 1, "parts": each} for place, each in enumerate(parts)]


def length(parts: Any, layers: int) -> Fraction:
    """Return how long so many equal layers take side by side."""
    model = Layers.model_validate([{"name": "moe", "count": layers, "forward": 1, "backward": 1, "parts": parts}])
    return BlockParts.of(model, [[layers]]).paired(0, 0).together


def steady(parts: Any) -> Fraction:
    """Return by how much one more pair makes a long block longer, on average."""
    return (length(parts, 40) - length(parts, 16)) / 24


def scaled(times: dict[str, Any], scale: Any) -> dict[str, Fraction]:
    return {key: Fraction(value) * (Fraction(scale) if key in COMMUNICATION else 1) for key, value in times.items()}


def sums(times: dict[str, Any]) -> tuple[Fraction, Fraction]:
    """Return all computing and all communication of a pair."""
    communication = sum(Fraction(times[key]) for key in COMMUNICATION)
    return sum(map(Fraction, times.values()), Fraction(0)) - communication, communication


def test_deepseeks_block_is_within_a_percent_of_what_was_measured() -> None:
    layers = PROFILE["per_layer_us"]
    # the i-th layer of its forward runs beside the i-th from the end of its backward
    model = Layers.model_validate(rows_of([parts_of(*each) for each in zip(layers, layers[::-1], strict=True)]))
    together = BlockParts.of(model, [[1] * len(layers)]).paired(0, 0).together
    assert together == MEASURED["replay"]["two streams, per layer parts"]
    assert abs(together / PROFILE["measured_block_us"] - 1) < Fraction(1, 100)


@pytest.mark.parametrize("row", MEASURED["ratio"]["rows"][1:], ids=lambda row: str(row[0]))
def test_the_table_of_ratios(row: list[float]) -> None:
    scale, block, longer, lockstep, share, _ = row
    times = scaled(AVERAGE, scale)
    assert steady(parts_of(times)) == block == max(sums(times)) == longer
    assert int(steady(parts_of(times, order="lockstep"))) == lockstep
    forward = sum((times[key] for key in PROFILE["chains"]["F"]), Fraction(0))
    # alone, the experts' W hides behind the dispatch, or the dispatch behind it; that of attention hides behind nothing
    hidden = min(times["mlp(W)"], times["dispatch(B)"])
    backward = sum((times[key] for key in (*PROFILE["chains"]["B"], "mlp(W)", "attn(W)")), Fraction(0)) - hidden
    assert round(float((forward + backward - block) / min(forward, backward)), 3) == share


def drawn(seed: int, low: float, high: float) -> dict[str, Fraction]:
    draw = random.Random(seed)
    return {key: Fraction(round(value * draw.uniform(low, high))) for key, value in AVERAGE.items()}


@pytest.mark.parametrize("scale", [0.5, 2])
def test_in_the_long_run_the_busier_stream_decides(scale: float) -> None:
    for seed in range(100):
        times = scaled(drawn(seed, 0.85, 1.15), scale)
        assert steady(parts_of(times)) == max(sums(times)), seed


def longest_cycle(times: dict[str, Fraction]) -> Fraction:
    """Return the mean length of the longest way from a pair to the next but one and back to the same chain.

    At each of the four places a way may be in either chain, and leads to both at the next place: along the chain, or
    along the stream. Only along the computing stream does it pass the weights behind a backward.
    """
    places = [
        ("attn(F)", "combine(B)"),
        ("dispatch(F)", "mlp(B)"),
        ("mlp(F)", "dispatch(B)"),
        ("combine(F)", "attn(B)"),
    ]
    weights = {1: "mlp(W)", 3: "attn(W)"}

    def way(chains: tuple[int, ...]) -> Fraction:
        total = Fraction(0)
        for at, (chain, then) in enumerate(zip(chains, (*chains[1:], chains[0]), strict=True)):
            total += times[places[at % 4][chain]]
            if chain == 1 and then == 0 and at % 4 in weights:
                total += times[weights[at % 4]]
        return total

    return max(map(way, product((0, 1), repeat=8))) / 2


def test_a_pair_takes_as_long_as_the_longest_way_through_both_streams() -> None:
    decided = 0
    for seed in range(100):
        times = drawn(seed, 0.5, 1.5)
        found, longest = steady(parts_of(times)), longest_cycle(times)
        assert found == longest, seed
        assert max(sums(times)) <= found <= steady(parts_of(times, order="lockstep")), seed
        decided += found == max(sums(times))
    assert 0 < decided < 100  # where both streams are about as busy, the chains decide


def drawn_row(draw: random.Random, name: str, order: str) -> dict[str, Any]:
    """Draw a kind of layers: with chains of any length that begin on any stream, or without parts."""
    row: dict[str, Any] = {
        "name": name,
        "count": draw.randint(1, 3),
        "forward": draw.randint(1, 30),
        "backward": draw.choice([draw.randint(1, 30), 0.1 + draw.random()]),
    }
    if draw.random() < 0.75:
        forward, backward = drawn_chain(draw), drawn_chain(draw)
        computing = [place for place, part in enumerate(backward) if not isinstance(part, dict)]
        places = draw.sample(computing, draw.randint(0, len(computing)))
        weight = {place: draw.randint(1, 9) for place in places}
        row["parts"] = {"forward": forward, "backward": backward, "weight": weight, "order": order}
    return row


def drawn_chain(draw: random.Random) -> list[Any]:
    first, size = draw.random() < 0.5, draw.randint(1, 5)
    chain: list[Any] = [
        draw.randint(1, 9) if (place % 2 == 0) == first else {"comm": draw.choice([0, draw.randint(1, 9), 2.5])}
        for place in range(size)
    ]
    return chain if size > 1 or first else [*chain, draw.randint(1, 9)]


@pytest.mark.parametrize("order", ["deepseek", "lockstep"])
def test_blocks_of_any_layers_last_as_long_as_their_graph(order: str) -> None:
    for seed in range(150):
        draw = random.Random(f"{order} {seed}")
        rows = [drawn_row(draw, name, order) for name in ("one", "other", "third")[: draw.randint(1, 3)]]
        layers = [row for row in rows for _ in range(row["count"])]
        cut = draw.randint(0, len(layers))
        pipeline = Pipeline.from_mapping(
            {
                "devices": 2,
                "microbatches": 2,
                "layers": rows,
                "layers_per_stage": [cut, len(layers) - cut],
                "slowdown": {1: 1.25},
                "overhead": draw.choice([0, 0.3]),
            }
        )
        stages, overhead = [layers[:cut], layers[cut:]], pipeline.overheads["F"]
        for first, second in product(range(2), repeat=2):
            forward, backward = pipeline.work[first].forward, pipeline.work[second].backward
            expected = block_lengths.block(stages[first], stages[second], forward, backward)
            assert pipeline.block_duration(first, second) == expected + overhead, (seed, first, second)
            assert pipeline.block_duration(first, second, 1) == Fraction(5, 4) * expected + overhead


def test_layers_without_a_partner_run_alone() -> None:
    parts = {"forward": [2, {"comm": 3}], "backward": [{"comm": 3}, 2]}
    rows = [{"name": "moe", "count": 5, "forward": 6, "backward": 7, "parts": parts},
            {"name": "head", "forward": 10, "backward": 20}]  # fmt: skip
    made = Pipeline.from_mapping({"devices": 2, "microbatches": 4, "layers": rows, "layers_per_stage": [2, 4]})
    # a pair takes 6, for that long it communicates
    assert made.block_duration(0, 0) == 2 * 6
    assert made.block_duration(0, 1) == 2 * 6 + 7 + 20
    assert made.block_duration(1, 0) == 2 * 6 + 6 + 10
    assert made.block_duration(1, 1) == 3 * 6 + 10 + 20


def test_what_is_hidden() -> None:
    parts = {"forward": [2, {"comm": 3}], "backward": [{"comm": 3}, 2]}
    rows = [{"name": "moe", "count": 2, "forward": 5, "backward": 5, "parts": parts}]
    made = Pipeline.from_mapping({"devices": 2, "microbatches": 4, "layers": rows, "layers_per_stage": [1, 1]})
    _, orders = make_orders(all_strategies()["1f1b-overlap"], made, {})
    blocks = sum(isinstance(action, Block) for order in orders for action in order)
    assert blocks
    # each computes for 4 and communicates for 6 in a time of 6, so 4 of the 6 are hidden; there are 48 in all
    assert hidden_communication(made, orders) == Fraction(4 * blocks, 8 * 6)
    assert hidden_communication(made.with_cut([2, 0]), orders) == Fraction(4 * 2 * blocks_of(orders, 0, 0), 8 * 6)


def blocks_of(orders: Any, forward: int, backward: int) -> int:
    blocks = [action for order in orders for action in order if isinstance(action, Block)]
    return sum((first.stage, second.stage) == (forward, backward) for first, second in blocks)


MOE: dict[str, Any] = {
    "name": "moe",
    "count": 4,
    "forward": 24674,
    "backward": 30641,
    "parts": {"forward": [4599, {"comm": 6738}], "backward": [{"comm": 5784}, 5363], "weight": {1: 5073}},
}


def configuration(**changes: Any) -> dict[str, Any]:
    return {"devices": 2, "microbatches": 4, "layers": [MOE | changes]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forward": [1, 2]}, r"layers\.0\.parts\.forward: 1: must not follow computing with computing: .*add both up"),
        ({"forward": [{"comm": 1}]}, r"layers\.0\.parts\.forward: must have a part that computes: a number; found"),
        ({"forward": []}, r"layers\.0\.parts\.forward: must be a list of numbers \(computing\) and \{comm: number\}"),
        ({"forward": [1, {"communication": 2}]}, r"layers\.0\.parts\.forward: 1: must be a number .*found"),
        ({"forward": [0, {"comm": 2}]}, r"layers\.0\.parts\.forward: 0: must be greater than 0; found 0"),
        ({"backward": [{"comm": -1}, 2]}, r"layers\.0\.parts\.backward: 0: must .*found -1"),
        ({"weight": {0: 3}}, r"layers\.0\.parts\.weight: must name places of computing parts in backward, here 1; fou"),
        ({"weight": {"x": 3}}, r"layers\.0\.parts\.weight: must be a mapping from places in backward"),
        ({"weight": [3]}, r"layers\.0\.parts\.weight: must be a mapping from places in backward"),
        ({"order": "megatron"}, r"layers\.0\.parts\.order: must be one of deepseek, lockstep; found 'megatron'"),
        ({"wieght": {1: 3}}, r"layers\.0\.parts\.wieght: is not a known key; did you mean weight\? Allowed are"),
    ],
)
def test_wrong_parts_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}") as error:
        Pipeline.from_mapping(configuration(parts=MOE["parts"] | change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (configuration(recompute={"activation": 0.5}), r"layers\.0\.recompute: cannot be given beside parts"),
        (configuration(attention=0.5), r"layers\.0\.attention: cannot be given beside parts"),
        (configuration() | {"overlap": 0.5}, r"overlap: contradicts the parts of layers"),
        (
            configuration() | {"microbatches": [{"count": 3}, {"size": 2}]},
            r"layers\.0\.parts: are those of microbatches as measured",
        ),
        (configuration(forward=0), r"layers\.0\.forward: must take time where parts are given"),
        (
            configuration() | {"layers": [MOE, {**MOE, "name": "b", "parts": MOE["parts"] | {"order": "lockstep"}}]},
            r"layers: parts\.order: must be the same in all rows; found deepseek and lockstep",
        ),
        (
            configuration() | {"layers": [MOE, {**MOE, "parts": MOE["parts"] | {"weight": {}}}]},
            r"layers: rows of one name must have the same costs",
        ),
    ],
)
def test_what_cannot_go_together_is_refused_by_name(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}") as error:
        Pipeline.from_mapping(mapping)
    assert "\n" not in str(error.value)


def test_a_configuration_with_parts_is_written_and_read_again() -> None:
    made = Pipeline.from_mapping(configuration())
    assert Pipeline.from_mapping(made.to_mapping()) == made
    assert Pipeline.from_mapping(json.loads(json.dumps(made.to_mapping()))) == made
    assert hash(made.layers)
