"""How long an overlapped block lasts, computed from the parts of its layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, repeat, zip_longest
from typing import NamedTuple, TypeAlias

from solver.exact import common_scale, in_ticks
from strategies.model.cuts import Counts
from strategies.model.layer_parts import LayerParts, communicates, time_of
from strategies.model.layers import Layers


class _Step(NamedTuple):
    """What two layers do at one place of their order, in ticks; on different streams, if both do something.

    Attributes
    ----------
    forward, backward : (bool, int) or None
        Whether it is communication, and how long it takes; None if that layer has nothing to do.
    weight : int
        The computing for the weights behind ``backward``.
    """

    forward: tuple[bool, int] | None
    backward: tuple[bool, int] | None
    weight: int


def _steps(forward: LayerParts, backward: LayerParts, scale: int) -> list[_Step]:
    """Write the forward of one layer beside the backward of another.

    At each place they use different streams. So the backward comes a place later if both begin with the same one.
    """
    ahead: list[tuple[bool, int] | None]
    here, there = (
        [(communicates(each), in_ticks(time_of(each), scale)) for each in parts]
        for parts in (forward.forward, backward.backward)
    )
    weights = [in_ticks(backward.weight.get(place, Fraction(0)), scale) for place in range(len(there))]
    ahead = [None] if here[0][0] == there[0][0] else []
    behind = [*ahead, *there]
    return [
        _Step(one, other, weight or 0)
        for one, other, weight in zip_longest(here, behind, [*(0 for _ in ahead), *weights])
    ]


_State: TypeAlias = tuple[int, int, int, int]
"""When the computing and the communicating stream are free, and when the chains of forward and backward have ended."""


def _in_streams(steps: Sequence[_Step], state: _State) -> _State:
    """Run each part as soon as its stream is free and the part before it in its chain has ended."""
    free, ended = list(state[:2]), list(state[2:])
    for step in steps:
        for chain_, part in enumerate((step.forward, step.backward)):
            if part is not None:
                stream, time = part
                free[stream] = ended[chain_] = max(free[stream], ended[chain_]) + time
        free[False] += step.weight
    return free[0], free[1], ended[0], ended[1]


def _in_lockstep(steps: Sequence[_Step], state: _State) -> _State:
    """Let both streams wait for each other behind every place; a weight part is beside the next one, if there is one.

    Nothing but the part before it keeps a weight part, and the communication that follows hides it.
    """
    sums = [[0, 0] for _ in steps]
    for place, step in enumerate(steps):
        for stream, time in filter(None, (step.forward, step.backward)):
            sums[place][stream] += time
        sums[min(place + 1, len(steps) - 1)][False] += step.weight
    end = max(state) + sum(map(max, sums))
    return end, end, end, end


_RUN: dict[str, Callable[[Sequence[_Step], _State], _State]] = {"deepseek": _in_streams, "lockstep": _in_lockstep}

Runs: TypeAlias = tuple[tuple[int, int], ...]
"""Layers with parts, in an order: (index of the kind, how many of them)."""


class Paired(NamedTuple):
    """The layers of a block that run one beside the other.

    Attributes
    ----------
    together : Fraction
        How long they take.
    forward, backward : Fraction
        How long their forwards and their backwards take outside blocks.
    computing, communication : Fraction
        The sums of their parts.
    """

    together: Fraction
    forward: Fraction
    backward: Fraction
    computing: Fraction
    communication: Fraction


@dataclass(frozen=True)
class BlockParts:
    """The parts of all layers of a cut model.

    In a block, the forward of one stage's layers runs beside the backward of another's: its first layer with parts
    beside the last one there, and so on. Layers without a partner and layers without parts run alone, as long as
    outside blocks.

    Attributes
    ----------
    layers : Layers
        The model.
    runs : tuple of Runs
        For each stage, its layers with parts, in the order of the model.
    """

    layers: Layers
    runs: tuple[Runs, ...]
    _known: dict[tuple[Runs, Runs], Paired] = field(default_factory=dict, compare=False, repr=False)
    _sums: dict[int, tuple[Fraction, Fraction]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, layers: Layers, by_kind: Sequence[Counts]) -> BlockParts:
        """Collect the parts of a model.

        Parameters
        ----------
        layers : Layers
            The model.
        by_kind : sequence of sequence of int
            The number of layers of each kind on each stage.
        """
        with_parts = [place for place, kind in enumerate(layers.kinds) if kind.parts is not None]
        return cls(layers, tuple(tuple((k, counts[k]) for k in with_parts if counts[k]) for counts in by_kind))

    def times(self) -> Iterator[Fraction]:
        """Yield every time that the duration of a block is a sum of, except those of whole stages."""
        for kind in self.layers.kinds:
            if kind.parts is not None:
                yield from kind.parts.times
                yield from (kind.costs.forward, kind.costs.backward)

    def paired(self, forward_stage: int, backward_stage: int) -> Paired:
        """Return what runs side by side in a block, by the stages of its halves."""
        key = self.runs[forward_stage], self.runs[backward_stage][::-1]
        if key not in self._known:
            self._known[key] = self._pair(*key)
        return self._known[key]

    def communication(self, stage: int) -> tuple[Fraction, Fraction]:
        """Return the communication of a stage's layers with parts, in its forward and in its backward."""
        if stage not in self._sums:
            each = [(count, self.layers.kinds[kind].parts) for kind, count in self.runs[stage]]
            sums = [(count * part.communication[way] for count, part in each if part is not None) for way in (0, 1)]
            self._sums[stage] = sum(sums[0], Fraction(0)), sum(sums[1], Fraction(0))
        return self._sums[stage]

    def _pair(self, forward: Runs, backward: Runs) -> Paired:
        pairs = list(zip(_each(forward), _each(backward), strict=False))
        scale = common_scale(self.times())
        steps: dict[tuple[int, int], list[_Step]] = {}
        run: Callable[[Sequence[_Step], _State], _State] = _in_streams
        sums = [Fraction(0)] * 4
        for (here, there), number in Counter(pairs).items():
            one, other = self.layers.kinds[here], self.layers.kinds[there]
            assert one.parts is not None
            assert other.parts is not None
            run = _RUN[one.parts.order]
            steps[here, there] = _steps(one.parts, other.parts, scale)
            values = (
                one.costs.forward,
                other.costs.backward,
                one.parts.computing[0] + other.parts.computing[1],
                one.parts.communication[0] + other.parts.communication[1],
            )
            sums = [total + number * value for total, value in zip(sums, values, strict=True)]
        state = (0, 0, 0, 0)
        for pair in pairs:
            state = run(steps[pair], state)
        return Paired(Fraction(max(state), scale), *sums)


def _each(runs: Runs) -> Iterator[int]:
    return chain.from_iterable(repeat(kind, count) for kind, count in runs)
