"""Small random models that vary in their form, in what transfers wait for, and in the digits of their numbers."""

from __future__ import annotations

import random
from typing import Any, NamedTuple, Protocol

FEATURES = ("stages", "layers", "glue", "recompute", "empty", "overhead", "slowdown", "parts")
"""Times per stage; layers; layers with glue; layers that may be recomputed; stages without layers; any of these with an
overhead of operations, and with a slow device; any with overlapped blocks of layers with parts, or that save more than
their shorter half."""

FORMS = FEATURES[:5]

SEMANTICS = ("async", "links", "rendezvous", "batched")

NUMBERS = ("round", "digits")
"""A few digits, or the sixteen of Python's floats."""


class Model(NamedTuple):
    """A drawn model.

    Attributes
    ----------
    mapping : dict
        The configuration.
    stages : int
        The number of stages that it is cut into, or may be.
    seed : int
        The seed for later choices.
    """

    mapping: dict[str, Any]
    stages: int
    seed: int


def draw_model(feature: str, semantics: str, numbers: str, number: int) -> Model:
    """Draw the model of a kind with this number; the result is always the same."""
    draw = random.Random(f"{feature} {semantics} {numbers} {number}")
    form = feature if feature in FORMS else draw.choice(FORMS if feature != "parts" else FORMS[1:])
    written = _digits(draw) if numbers == "digits" else _as_it_is
    per_device = draw.choice([1, 1, 2])
    stages = 2 * per_device
    # with eight, a search that counts in machine integers starts
    counts = [2, 3, 8, 8] if numbers == "digits" else [2, 2, 3, 4]
    mapping: dict[str, Any] = {"devices": 2, "microbatches": draw.choice(counts) if per_device == 1 else 2}
    if form == "stages":
        mapping |= _stages(draw, stages, written)
    else:
        mapping |= _layers(draw, form, stages, written)
    mapping |= _transfers(draw, semantics, stages if form == "stages" else None, written)
    mapping |= _besides(draw, feature, written)
    if "overlapped_forward_backward" not in mapping.get("times", ()) and draw.random() < 0.4:
        mapping["overlap"] = draw.choice([0.25, 0.5, 1])
    if feature == "parts":
        _overlap_more(draw, mapping, rounds=numbers == "round")
    can_recompute = any("recompute" in row for row in mapping.get("layers", ()))
    if can_recompute or draw.random() < 0.5:
        mapping.setdefault("memory", {})["limit"] = _limit(draw, mapping)
    return Model(mapping, stages, draw.randrange(1000))


class Written(Protocol):
    """Writes a number, by default of a time."""

    def __call__(self, value: float, what: str = "time") -> float: ...


def _as_it_is(value: float, what: str = "time") -> float:
    return value


def _digits(draw: random.Random) -> Written:
    """Write numbers of sixteen digits, at a magnitude that depends on the kind of number."""
    scales = {what: draw.choice([1, 1, 0.01, 0.0007]) for what in ("time", "hop", "memory")}

    def write(value: float, what: str = "time") -> float:
        return value * scales[what] * draw.uniform(0.7, 1.3)

    return write


def _stages(draw: random.Random, stages: int, written: Written) -> dict[str, Any]:
    def each(*values: float, what: str = "time") -> list[float]:
        return [written(draw.choice(values), what) for _ in range(stages)]

    times: dict[str, Any] = {"forward": each(1, 2, 5)}
    if draw.random() < 0.3:
        times["backward"] = each(2, 3, 8)
    else:
        times |= {"backward_input": each(1, 2, 4), "backward_weight": each(1, 3)}
    if draw.random() < 0.25:
        times["overlapped_forward_backward"] = each(3, 5, 9)
    activation = each(1, 2, 3, what="memory")
    memory: dict[str, Any] = {"activation": activation}
    if draw.random() < 0.6:
        memory["held_for_weight"] = [value * draw.choice([0, 0.5, 1]) for value in activation]
    if draw.random() < 0.4:
        memory["static"] = each(0, 1, 2, what="memory")
    return {"stages": stages, "times": times, "memory": memory}


def _layers(draw: random.Random, feature: str, stages: int, written: Written) -> dict[str, Any]:
    rows = [_row(draw, feature, place, written) for place in range(draw.choice([1, 1, 2]))]
    most = {2: 6, 4: 4}[stages]
    while sum(row["count"] for row in rows) > most:
        rows[-1]["count"] -= rows[-1].get("glue", 1)
        rows = [row for row in rows if row["count"]]
    if feature in ("layers", "recompute") and draw.random() < 0.4:
        head = {"name": "head", "count": 1, "forward": written(3), "backward": written(5),
                "activation": written(1, "memory"), "earliest_stage": -1}  # fmt: skip
        rows.append(head)
    made: dict[str, Any] = {"layers": rows}
    layers = sum(row["count"] for row in rows)
    if feature == "empty" and draw.random() < 0.7 and not any("glue" in row for row in rows):
        made["layers_per_stage"] = _cut_with_an_empty_stage(draw, layers, stages)
    return made


def _row(draw: random.Random, feature: str, place: int, written: Written) -> dict[str, Any]:
    glue = 2 if feature == "glue" or (feature == "recompute" and draw.random() < 0.3) else 1
    most = 1 if glue == 2 or feature == "empty" else 3
    row: dict[str, Any] = {
        "name": "block" if not place else "tail",
        "count": glue * draw.randint(1, most + (glue == 2)),
        "forward": written(draw.choice([1, 2, 3, 5])),
    }
    if glue == 2:
        row["glue"] = glue
    if draw.random() < 0.4:
        row["backward"] = written(draw.choice([2, 4, 6]))
    else:
        row |= {"backward_input": written(draw.choice([1, 2, 4])), "backward_weight": written(draw.choice([1, 2]))}
    row["activation"] = written(draw.choice([1, 2, 4]), "memory")
    if draw.random() < 0.5:
        row["held_for_weight"] = row["activation"] * draw.choice([0, 0.5])
    if draw.random() < 0.4:
        row["static"] = written(draw.choice([1, 2]), "memory")
    if feature == "recompute" or (feature in ("glue", "empty") and draw.random() < 0.7):
        row["recompute"] = {"activation": row["activation"] * draw.choice([0, 0.25, 0.5]), "held_for_weight": 0}
        if draw.random() < 0.3:
            row["recompute"]["time"] = written(draw.choice([1, 2]))
    return row


def _overlap_more(draw: random.Random, mapping: dict[str, Any], *, rounds: bool) -> None:
    """Give some layers parts, or let blocks save more than their shorter half."""
    mapping.pop("overlap", None)
    rows = mapping["layers"]
    if draw.random() < 0.25:
        mapping["overlap"] = draw.choice([1.25, 1.5, 1.9])
        return
    order = draw.choice(["deepseek", "deepseek", "lockstep"])
    for row in [rows[0], *(row for row in rows[1:] if draw.random() < 0.6)]:
        row.pop("recompute", None)
        whole = sum(row.get(key, 0) for key in ("backward", "backward_input", "backward_weight"))
        forward, backward = _chain(draw, row["forward"], rounds=rounds), _chain(draw, whole, rounds=rounds)
        row["parts"] = {"forward": forward, "backward": backward, "order": order}
        computing = [part for part in backward if not isinstance(part, dict)]
        if draw.random() < 0.6:
            part = draw.choice(computing)
            row["parts"]["weight"] = {backward.index(part): part * draw.choice([0.5, 1])}


def _chain(draw: random.Random, time: float, *, rounds: bool) -> list[Any]:
    """Draw parts that together take about as long as an operation outside blocks, or under contention longer."""
    computes = draw.random() < 0.5
    size = draw.randint(1 if computes else 2, 4)
    parts = [time / size * draw.choice([0.5, 1, 1, 2]) for _ in range(size)]
    parts = [round(part, 2) if rounds else part for part in parts]
    return [part if (place % 2 == 0) == computes else {"comm": part} for place, part in enumerate(parts)]


def _cut_with_an_empty_stage(draw: random.Random, layers: int, stages: int) -> list[int]:
    cut = [0] * stages
    usable = draw.sample(range(stages), draw.randint(1, stages - 1))
    for _ in range(layers):
        cut[draw.choice(usable)] += 1
    return cut


def _transfers(draw: random.Random, semantics: str, stages: int | None, written: Written) -> dict[str, Any]:
    made: dict[str, Any] = {} if semantics == "async" else {"p2p": semantics}
    if semantics == "rendezvous":
        made["communicators"] = draw.choice(["edge", "pair", "way", "rank"])
        if draw.random() < 0.25:
            made["lowering"] = "pytorch"
    if semantics == "async" and draw.random() < 0.5:
        return made | ({"p2p_latency": written(draw.choice([0.5, 1, 2]), "hop")} if draw.random() < 0.6 else {})
    communication: dict[str, Any] = {"transfer": written(draw.choice([0.5, 1, 3]), "hop")}
    if stages is not None and draw.random() < 0.4:
        communication["transfer"] = [written(draw.choice([0.5, 1, 3]), "hop") for _ in range(stages - 1)]
    if draw.random() < 0.5:
        communication["latency"] = written(draw.choice([0.25, 1]), "hop")
    return made | {"communication": communication}


def _besides(draw: random.Random, feature: str, written: Written) -> dict[str, Any]:
    """Draw what a step costs besides the work of its stages."""
    made: dict[str, Any] = {}
    if feature == "overhead" or (feature == "slowdown" and draw.random() < 0.3):
        keys = ("forward", "backward", "backward_input", "backward_weight")
        each = {key: written(draw.choice([0, 0.5, 1, 3])) for key in keys}
        each["backward"] = max(each[key] for key in keys[1:])  # it contains its halves
        made["overhead"] = each if draw.random() < 0.5 else written(draw.choice([0.25, 1, 2]))
    if feature in ("overhead", "slowdown") and draw.random() < 0.4:
        made["step"] = {"after": written(draw.choice([0.5, 7]))}
    if feature == "slowdown":
        slow = [draw.choice([1, 1.5, 1.08]), draw.choice([1.25, 2])]
        made["slowdown"] = slow if draw.random() < 0.4 else {draw.randrange(2): slow[1]}
    return made


def _limit(draw: random.Random, mapping: dict[str, Any]) -> float:
    """Choose a limit between about the least for one microbatch and the memory of all microbatches."""
    rows = mapping.get("layers")
    if rows is None:
        memory = mapping["memory"]
        least, able = 0.0, False
        static, kept = sum(memory.get("static", [0])), sum(memory["activation"])
    else:
        least, able = max(row.get("static", 0) for row in rows), any("recompute" in row for row in rows)
        static = sum(row["count"] * row.get("static", 0) for row in rows)
        kept = sum(row["count"] * row["activation"] for row in rows)
    share = draw.choice([0.5, 0.6, 0.8, 1, 1.3, 2, 4])
    if able and draw.random() < 0.7:  # then it depends on what is recomputed
        groups = sum(row["count"] // row.get("glue", 1) for row in rows or ())
        static, share = 0.6 * static, draw.uniform(0.5, 1) * (2 if groups == 1 else 1)
    limit = max(static + kept * share, least)
    return limit if any(value != round(value, 3) for value in (static, kept)) else round(limit, 1)
