"""Cuts of a model: the number of its layers on each stage, and how many of those are recomputed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from numbers import Integral
from typing import Any, TypeAlias

from solver.counted import counted
from solver.errors import InputError
from strategies.model.layers import LayerCosts, LayerKind, Layers, added_up
from strategies.model.numbers import read_entry, refusal, shown

Counts: TypeAlias = tuple[int, ...]
"""One number for each stage, or for each kind."""

ByKind: TypeAlias = tuple[Counts, ...]
"""For each stage, the number of layers of each kind."""


def read_layer_count(value: object) -> int:
    """Read a whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise refusal("must be a whole number of at least 0", value)
    return int(value)


def read_layers_per_stage(value: object) -> Counts:
    """Read one whole number of at least 0 for each stage."""
    if not isinstance(value, (list, tuple)) or not value:
        raise refusal("must be a list with the number of layers of each stage", value)
    return tuple(read_entry(read_layer_count, f"stage {stage}", entry) for stage, entry in enumerate(value))


def read_recomputed_per_stage(value: object) -> tuple[Any, ...]:
    """Read one entry for each stage: a number of layers, numbers by the names of kinds, or one number for each kind."""
    if not isinstance(value, (list, tuple)) or not value:
        raise refusal("must be a list with the number of recomputed layers of each stage", value)
    return tuple(read_entry(_read_recomputed, f"stage {stage}", entry) for stage, entry in enumerate(value))


def _read_recomputed(value: object) -> int | dict[str, int] | Counts:
    if isinstance(value, Mapping):
        return {str(name): read_layer_count(count) for name, count in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(read_layer_count(count) for count in value)
    return read_layer_count(value)


def counts_by_kind(layers: Layers, layers_per_stage: Sequence[int]) -> ByKind:
    """Return how many layers of each kind each stage holds."""
    ends = list(accumulate(kind.count for kind in layers.kinds))
    cuts = [0, *accumulate(layers_per_stage)]
    return tuple(
        tuple(
            max(0, min(stop, end) - max(start, end - kind.count)) for kind, end in zip(layers.kinds, ends, strict=True)
        )
        for start, stop in pairwise(cuts)
    )


def check_cut(layers: Layers, layers_per_stage: Sequence[int], *, empty: bool = True) -> None:
    """Refuse a cut that the model does not allow.

    Parameters
    ----------
    layers : Layers
        The model.
    layers_per_stage : sequence of int
        The cut.
    empty : bool
        Whether stages may be empty.

    Raises
    ------
    InputError
        If the numbers do not sum to the number of layers, separate glued layers, violate a pin, or leave a stage empty.
    """
    stages = len(layers_per_stage)
    if sum(layers_per_stage) != layers.total:
        raise InputError(
            f"layers_per_stage: must sum to the {counted(layers.total, 'layer')} of the model; "
            f"found {sum(layers_per_stage)}"
        )
    layers.stage_windows(stages)
    by_kind = counts_by_kind(layers, layers_per_stage)
    for place, kind in enumerate(layers.kinds):
        held = [counts[place] for counts in by_kind]
        _check_glue(kind, held)
        _check_pins(kind, held)
    if not empty and 0 in layers_per_stage:
        raise InputError(f"layers_per_stage: stage {list(layers_per_stage).index(0)} is empty, and none may be")


def _check_glue(kind: LayerKind, held: Sequence[int]) -> None:
    for stage, before in enumerate(accumulate(held)):
        if before % kind.glue:
            raise InputError(
                f"layers_per_stage: splits {kind.name} after stage {stage}, after {before} of {kind.count}; "
                f"{kind.glue} at a time stay together"
            )


def _check_pins(kind: LayerKind, held: Sequence[int]) -> None:
    first, last = kind.stage_window(len(held))
    for stage, count in enumerate(held):
        if count and not first <= stage <= last:
            allowed = f"stage {first}" if first == last else f"stages {first} to {last}"
            raise InputError(f"layers_per_stage: puts {kind.name} on stage {stage}; allowed are {allowed}")


def resolve_recomputed(layers: Layers, layers_per_stage: Sequence[int], given: Sequence[Any]) -> ByKind:
    """Return how many layers of each kind each stage recomputes, taking the first ones of each name.

    Parameters
    ----------
    layers : Layers
        The model.
    layers_per_stage : sequence of int
        Its cut.
    given : sequence
        For each stage a number (of the first layers there that can be recomputed), numbers by name, or one per kind.

    Raises
    ------
    InputError
        If a stage holds fewer layers that can be recomputed.
    """
    if len(given) != len(layers_per_stage):
        raise InputError(
            f"recomputed_per_stage: must have one entry for each of the {counted(len(layers_per_stage), 'stage')}; "
            f"found {counted(len(given), 'entry')}"
        )
    by_kind = counts_by_kind(layers, layers_per_stage)
    return tuple(_resolve(layers, stage, held, given[stage]) for stage, held in enumerate(by_kind))


def _resolve(layers: Layers, stage: int, held: Counts, given: int | Mapping[str, int] | Counts) -> Counts:
    able = [count if kind.recompute is not None else 0 for kind, count in zip(layers.kinds, held, strict=True)]
    if isinstance(given, int):
        return _first_ones(stage, able, given, "layers")
    wanted: dict[str, int] = {}
    for name, count in _by_name(layers, stage, given):
        wanted[name] = wanted.get(name, 0) + count
    found = [0] * len(able)
    for name, count in wanted.items():
        own = [number if kind.name == name else 0 for kind, number in zip(layers.kinds, able, strict=True)]
        for place, number in enumerate(_first_ones(stage, own, count, name)):
            found[place] += number
    return tuple(found)


def _by_name(layers: Layers, stage: int, given: Mapping[str, int] | Counts) -> list[tuple[str, int]]:
    if isinstance(given, Mapping):
        for name in given:
            if name not in layers.recomputable:
                known = ", ".join(layers.recomputable) or "none"
                raise InputError(
                    f"recomputed_per_stage: stage {stage}: {shown(name)} is no kind that can be recomputed; "
                    f"there is {known}"
                )
        return list(given.items())
    if len(given) != len(layers.kinds):
        raise InputError(
            f"recomputed_per_stage: stage {stage}: must have one number for each of the {len(layers.kinds)} kinds of "
            f"layers; found {len(given)}"
        )
    return [(kind.name, count) for kind, count in zip(layers.kinds, given, strict=True)]


def _first_ones(stage: int, able: Sequence[int], wanted: int, what: str) -> Counts:
    if wanted > sum(able):
        raise InputError(
            f"recomputed_per_stage: stage {stage} holds {sum(able)} {what} that can be recomputed; found {wanted}"
        )
    before = [0, *accumulate(able)]
    return tuple(min(count, max(0, wanted - start)) for count, start in zip(able, before, strict=False))


def written_recomputed(layers: Layers, recomputed: ByKind) -> list[int | dict[str, int]]:
    """Write what is recomputed as in a configuration: one number per stage, or by name if several kinds can be."""
    named = [_named(layers, counts) for counts in recomputed]
    if len(layers.recomputable) > 1:
        return [dict(counts) for counts in named]
    return [sum(counts.values()) for counts in named]


def _named(layers: Layers, counts: Counts) -> dict[str, int]:
    named: dict[str, int] = {}
    for kind, count in zip(layers.kinds, counts, strict=True):
        if count:
            named[kind.name] = named.get(kind.name, 0) + count
    return named


def stage_costs(
    layers: Layers, layers_per_stage: Sequence[int], recomputed: ByKind | None = None
) -> tuple[LayerCosts, ...]:
    """Add up the costs of each stage of a cut; an empty stage costs nothing.

    Parameters
    ----------
    layers : Layers
        The model.
    layers_per_stage : sequence of int
        The cut.
    recomputed : sequence of sequence of int or None
        The number of recomputed layers for each stage and kind; None if no layer is.
    """
    by_kind = counts_by_kind(layers, layers_per_stage)
    again = recomputed or (((0,) * len(layers.kinds),) * len(by_kind))
    return tuple(
        added_up(
            part
            for kind, count, twice in zip(layers.kinds, held, changed, strict=True)
            for part in _costs_of(kind, count, twice)
        )
        for held, changed in zip(by_kind, again, strict=True)
    )


def attention_shares(
    layers: Layers, layers_per_stage: Sequence[int], recomputed: ByKind | None = None
) -> dict[str, tuple[Fraction, ...]]:
    """Return the shares of each stage's times that grow with pairs of tokens, by their keys; nothing if none does.

    A layer whose forward runs again has the same share of its longer backward.

    Parameters
    ----------
    layers, layers_per_stage, recomputed
        As for `stage_costs`.
    """
    if not any(kind.attention for kind in layers.kinds):
        return {}
    by_kind = counts_by_kind(layers, layers_per_stage)
    again = recomputed or (((0,) * len(layers.kinds),) * len(by_kind))
    shares: dict[str, list[Fraction]] = {"attention": [], "attention_backward": [], "attention_weight": []}
    for held, changed in zip(by_kind, again, strict=True):
        whole, parts = added_up(()), (Fraction(0), Fraction(0), Fraction(0))
        for kind, count, twice in zip(layers.kinds, held, changed, strict=True):
            for costs in _costs_of(kind, count, twice):
                whole = whole.plus(costs)
                backward = kind.attention * costs.backward
                weight = min(costs.backward_weight, max(Fraction(0), backward - costs.backward_input))
                parts = parts[0] + kind.attention * costs.forward, parts[1] + backward, parts[2] + weight
        times = (whole.forward, whole.backward, whole.backward_weight)
        for values, part, time in zip(shares.values(), parts, times, strict=True):
            values.append(part / time if time else Fraction(0))
    return {key: tuple(values) for key, values in shares.items()}


def _costs_of(kind: LayerKind, count: int, recomputed: int) -> list[LayerCosts]:
    plain = kind.costs.times(count - recomputed)
    return [plain, kind.recomputed.times(recomputed)] if recomputed and kind.recomputed else [plain]


def even_cut(layers: Layers, stages: int, *, empty: bool = True) -> Counts:
    """Cut a model as frameworks do by default: the same number of layers on each stage, the first stages one more.

    Layers pinned to a single stage, such as an embedding or a head, lie there and are not counted. Glued layers go
    where the first of them would; pinned layers go to the nearest stage that their pins allow.

    Parameters
    ----------
    layers : Layers
        The model.
    stages : int
        The number of stages.
    empty : bool
        Whether stages may be empty.

    Returns
    -------
    tuple of int
        The layers of each stage.

    Raises
    ------
    InputError
        If the pins allow no cut.
    """
    windows = layers.stage_windows(stages, empty=empty)
    free = sum(size for place, size in layers.groups if windows[place][0] < windows[place][1])
    wanted = _even_stages(free, stages)
    held = [0] * stages
    stage = placed = 0
    reach = None if empty else _reachable(layers, windows, stages)
    for number, (place, size) in enumerate(layers.groups):
        first, last = windows[place]
        is_free = first < last
        target = wanted[placed] if is_free else first
        if reach is not None:  # each group on the stage of the one before it or the next stage, and none left empty
            first, last = reach[number]
            first, last = max(first, stage), min(last, stage + (number > 0))
        stage = min(max(target, first), last)
        held[stage] += size
        placed += size if is_free else 0
    return tuple(held)


def _even_stages(layers: int, stages: int) -> list[int]:
    """Return the stage of each layer if layers are spread evenly."""
    least, more = divmod(layers, stages)
    return [stage for stage in range(stages) for _ in range(least + (stage < more))]


def _reachable(layers: Layers, windows: Sequence[tuple[int, int]], stages: int) -> list[tuple[int, int]]:
    """Return for each group the first and the last stage from which the groups after it can fill all later stages."""
    reach: list[tuple[int, int]] = []
    first = last = stages - 1
    for number, (place, _) in enumerate(reversed(layers.groups)):
        lowest, highest = windows[place]
        first = max(lowest, first - (number > 0))
        last = min(highest, last)
        reach.append((first, last))
    reach.reverse()
    return reach
