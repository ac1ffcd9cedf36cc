"""The costs of a model, from its mapping and docs/reference/configuration.md alone: shares no code with the judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise, product
from typing import Any, NamedTuple

from tests import block_lengths

Counts = tuple[int, ...]


class Stage(NamedTuple):
    """The costs of one microbatch on one stage, and the stage's static memory."""

    forward: Fraction
    backward: Fraction
    to_input: Fraction
    to_weight: Fraction
    activation: Fraction
    held: Fraction
    static: Fraction
    block: Fraction | None
    """Duration of any block with a forward of this stage, if given."""


class Hop(NamedTuple):
    """The time of a result over a boundary between two devices: on its link, and after that."""

    moving: Fraction
    latency: Fraction


class Costs(NamedTuple):
    """Everything that the times and the memory of an order depend on."""

    stages: tuple[Stage, ...]
    hops: tuple[Hop, ...]
    overlap: Fraction
    limits: tuple[Fraction | None, ...]
    microbatches: int
    links: bool
    paces: tuple[Fraction, ...]
    overhead: Mapping[str, Fraction]
    after: Fraction
    blocks: tuple[tuple[Fraction, ...], ...] | None = None
    """Duration of a block by the stages of its forward and its backward, if layers have parts."""

    def lasts(self, kind: str, stage: int, device: int) -> Fraction:
        here = self.stages[stage]
        own = {"F": here.forward, "B": here.backward, "I": here.to_input, "W": here.to_weight}[kind]
        return self.overhead[kind] + self.paces[device] * own

    def block(self, forward: int, backward: int, device: int) -> Fraction:
        given = self.stages[forward].block if self.blocks is None else self.blocks[forward][backward]
        if given is None:
            one, other = self.stages[forward].forward, self.stages[backward].backward
            given = one + other - self.overlap * min(one, other)
        return self.overhead["F"] + self.paces[device] * given


def exact(value: Any) -> Fraction:
    """Read a number as the decimal that it is written as."""
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def costs_of(
    mapping: Mapping[str, Any], stages: int, cut: Sequence[int] | None = None, again: Sequence[Counts] | None = None
) -> Costs:
    """Return the costs of a model in stages; for layers, on a cut, with the recomputed layers of each stage and row."""
    made = list(
        _layer_stages(mapping["layers"], cut, again)
        if cut is not None
        else _recut([_given_stage(mapping, stage) for stage in range(mapping["stages"])], stages)
    )
    limit = mapping.get("memory", {}).get("limit")
    return Costs(
        tuple(made),
        tuple(_hops(mapping, stages)),
        exact(mapping.get("overlap", 0)),
        (None if limit is None else exact(limit),) * mapping["devices"],
        mapping["microbatches"],
        mapping.get("p2p") == "links",
        _paces(mapping.get("slowdown", {}), mapping["devices"]),
        _overhead(mapping.get("overhead", 0)),
        exact(mapping.get("step", {}).get("after", 0)),
        None if cut is None else _blocks(mapping["layers"], cut, made),
    )


def _blocks(
    rows: Sequence[Mapping[str, Any]], cut: Sequence[int], stages: Sequence[Stage]
) -> tuple[tuple[Fraction, ...], ...] | None:
    if not any("parts" in row for row in rows):
        return None
    layers = [[row for row, n in zip(rows, held, strict=True) for _ in range(n)] for held in rows_per_stage(rows, cut)]
    return tuple(
        tuple(
            block_lengths.block(here, there, forward.forward, backward.backward)
            for there, backward in zip(layers, stages, strict=True)
        )
        for here, forward in zip(layers, stages, strict=True)
    )


def _paces(given: Any, devices: int) -> tuple[Fraction, ...]:
    factors = dict(enumerate(given)) if isinstance(given, list) else given
    return tuple(exact(factors.get(device, 1)) for device in range(devices))


def _overhead(given: Any) -> _Overhead:
    if not isinstance(given, dict):
        return _Overhead(dict.fromkeys("FBIW", exact(given)))
    keys = {"F": "forward", "B": "backward", "I": "backward_input", "W": "backward_weight"}
    return _Overhead({kind: exact(given[key]) for kind, key in keys.items()})


class _Overhead(dict[str, Fraction]):
    """The overhead of each kind; hashable, because searches are remembered by costs."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


def _given_stage(mapping: Mapping[str, Any], stage: int) -> Stage:
    times, memory = mapping["times"], mapping.get("memory", {})

    def of(entry: Any) -> Fraction | None:
        return None if entry is None else exact(entry[stage] if isinstance(entry, list) else entry)

    backward, to_input, to_weight = _halves(
        of(times.get("backward")), of(times.get("backward_input")), of(times.get("backward_weight"))
    )
    activation = of(memory.get("activation", 1))
    held = of(memory.get("held_for_weight"))
    assert activation is not None
    return Stage(
        of(times["forward"]) or Fraction(0),
        backward,
        to_input,
        to_weight,
        activation,
        activation if held is None else held,
        of(memory.get("static", 0)) or Fraction(0),
        of(times.get("overlapped_forward_backward")),
    )


def _halves(
    backward: Fraction | None, to_input: Fraction | None, to_weight: Fraction | None
) -> tuple[Fraction, Fraction, Fraction]:
    if backward is None:
        assert to_input is not None
        assert to_weight is not None
        return to_input + to_weight, to_input, to_weight
    if to_input is None and to_weight is None:
        return backward, backward / 2, backward / 2
    if to_input is None:
        assert to_weight is not None
        return backward, backward - to_weight, to_weight
    return backward, to_input, backward - to_input if to_weight is None else to_weight


def _recut(given: Sequence[Stage], stages: int) -> Iterator[Stage]:
    """Spread each stage evenly over its part of the model, and give each new stage the share in its own part."""
    size = Fraction(len(given), stages)
    for number in range(stages):
        start, stop = number * size, (number + 1) * size
        parts = [
            (max(Fraction(0), min(stop, Fraction(old + 1)) - max(start, Fraction(old))), stage)
            for old, stage in enumerate(given)
        ]
        yield Stage(
            *(
                None
                if any(stage[place] is None for stage in given)
                else sum(part * stage[place] for part, stage in parts)
                for place in range(len(Stage._fields))
            )
        )


def _hops(mapping: Mapping[str, Any], stages: int) -> Iterator[Hop]:
    given = mapping.get("communication", {"latency": mapping.get("p2p_latency", 0)})
    latency, transfer = exact(given.get("latency", 0)), given.get("transfer", 0)
    for boundary in range(1, stages):
        if not isinstance(transfer, list):
            yield Hop(exact(transfer), latency)
            continue
        place = Fraction(boundary * mapping["stages"], stages)
        ends = {int(place) - 1} if place.denominator == 1 else {int(place) - 1, int(place)}
        yield Hop(max(exact(transfer[end]) for end in ends if 0 <= end < len(transfer)), latency)


def _layer_stages(
    rows: Sequence[Mapping[str, Any]], cut: Sequence[int], again: Sequence[Counts] | None
) -> Iterator[Stage]:
    for stage, held in enumerate(rows_per_stage(rows, cut)):
        total = [Fraction(0)] * 7
        for place, (row, count) in enumerate(zip(rows, held, strict=True)):
            twice = 0 if again is None else again[stage][place]
            for layer, how_many in ((_layer(row), count - twice), (_recomputed(row), twice)):
                if how_many:
                    total = [value + how_many * more for value, more in zip(total, layer, strict=True)]
        yield Stage(*total, None)


def _layer(row: Mapping[str, Any]) -> list[Fraction]:
    times = _halves(
        *(
            None if row.get(key) is None else exact(row[key])
            for key in ("backward", "backward_input", "backward_weight")
        )
    )
    activation = exact(row["activation"]) if "activation" in row else Fraction(1 if times[0] else 0)
    held = exact(row["held_for_weight"]) if "held_for_weight" in row else activation if times[2] else Fraction(0)
    return [exact(row["forward"]), *times, activation, held, exact(row.get("static", 0))]


def _recomputed(row: Mapping[str, Any]) -> list[Fraction]:
    changed = row.get("recompute")
    forward, backward, to_input, to_weight, activation, held, static = _layer(row)
    if changed is None:
        return [forward, backward, to_input, to_weight, activation, held, static]
    time = exact(changed["time"]) if "time" in changed else forward
    kept = exact(changed["activation"])
    held = exact(changed["held_for_weight"]) if "held_for_weight" in changed else min(held, kept)
    return [forward, backward + time, to_input + time, to_weight, kept, held, static]


def rows_per_stage(rows: Sequence[Mapping[str, Any]], cut: Sequence[int]) -> list[Counts]:
    """Count the layers of each row on each stage."""
    ends = [sum(row.get("count", 1) for row in rows[: place + 1]) for place in range(len(rows))]
    edges = [sum(cut[:stage]) for stage in range(len(cut) + 1)]
    return [
        tuple(
            max(0, min(stop, end) - max(start, end - row.get("count", 1))) for row, end in zip(rows, ends, strict=True)
        )
        for start, stop in pairwise(edges)
    ]


def every_cut(rows: Sequence[Mapping[str, Any]], stages: int, *, empty: bool = True) -> Iterator[Counts]:
    """Yield all cuts that pins and glue allow."""
    total = sum(row.get("count", 1) for row in rows)
    for inner in product(range(total + 1), repeat=stages - 1):
        edges = [0, *inner, total]
        cut = tuple(after - before for before, after in pairwise(edges))
        if min(cut) >= (0 if empty else 1) and _is_allowed(rows, cut):
            yield cut


def _is_allowed(rows: Sequence[Mapping[str, Any]], cut: Counts) -> bool:
    held = rows_per_stage(rows, cut)
    for place, row in enumerate(rows):
        first, last = row.get("earliest_stage", 0), row.get("latest_stage", len(cut) - 1)
        first, last = (stage + len(cut) if stage < 0 else stage for stage in (first, last))
        before = 0
        for stage, counts in enumerate(held):
            before += counts[place]
            if before % row.get("glue", 1) or (counts[place] and not first <= stage <= last):
                return False
    return True


def every_recomputation(rows: Sequence[Mapping[str, Any]], cut: Counts, how: str) -> Iterator[tuple[Counts, ...]]:
    """Yield every allowed recomputation: none, any number of layers of each stage, or the first k of every stage."""
    able = [
        tuple(count if row.get("recompute") else 0 for row, count in zip(rows, held, strict=True))
        for held in rows_per_stage(rows, cut)
    ]
    if how == "uniform-k":
        for first in range(max(map(sum, able), default=0) + 1):
            yield tuple(_first_of(counts, first) for counts in able)
        return
    choices = [range((count if how == "per-stage" else 0) + 1) for counts in able for count in counts]
    for chosen in product(*choices):
        yield tuple(tuple(chosen[at : at + len(rows)]) for at in range(0, len(chosen), len(rows)))


def _first_of(counts: Counts, wanted: int) -> Counts:
    return tuple(min(count, max(0, wanted - sum(counts[:place]))) for place, count in enumerate(counts))
