"""A bound on every order if each device holds one stage, from a device's own layers and those before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate

from solver.exact import common_scale, in_ticks
from strategies.model.layers import LayerCosts
from strategies.model.pipeline import Pipeline


@dataclass(frozen=True)
class Totals:
    """The summed costs of layers, in whole ticks of time and memory.

    Attributes
    ----------
    forward, to_input, to_weight : int
        F, I and W; for whole backwards B and 0 instead of I and W.
    activation, held, static : int
        The memory that a microbatch keeps, the part of it that stays from I until W, and the static memory.
    """

    forward: int = 0
    to_input: int = 0
    to_weight: int = 0
    activation: int = 0
    held: int = 0
    static: int = 0

    def minus(self, other: Totals) -> Totals:
        """Subtract the costs of other layers."""
        return Totals(*(getattr(self, key) - getattr(other, key) for key in Totals.__dataclass_fields__))

    def slowed(self, pace: Fraction) -> Totals:
        """Return the costs on a device that takes ``pace`` times as long."""
        slow, fast = pace.numerator, pace.denominator
        return replace(
            self,
            forward=self.forward * slow // fast,
            to_input=self.to_input * slow // fast,
            to_weight=self.to_weight * slow // fast,
        )

    def plus(self, other: Totals) -> Totals:
        """Add the costs of other layers."""
        return Totals(*(getattr(self, key) + getattr(other, key) for key in Totals.__dataclass_fields__))


@dataclass(frozen=True)
class Scales:
    """Ticks per unit of time and of memory, for every cut of a model."""

    time: int
    memory: int


def scales_of(pipeline: Pipeline) -> Scales:
    """Find ticks in which the costs of every cut are whole."""
    layers = pipeline.layers
    assert layers is not None
    kinds = [costs for kind in layers.kinds for costs in (kind.costs, kind.recomputed) if costs is not None]
    times = [pace * value for costs in kinds for value in costs[:4] for pace in pipeline.paces]
    times += [pipeline.after, *pipeline.overheads.values()]
    amounts = [value for costs in kinds for value in costs[4:]]
    limits = [limit for limit in pipeline.limits if limit is not None]
    return Scales(common_scale([pipeline.least_lag, *times]), common_scale([*limits, *amounts]))


def least_overhead(pipeline: Pipeline, scales: Scales, *, split_backward: bool) -> Totals:
    """Return the overhead of one stage's operations on one microbatch at its least, by F, I and W as `least_totals`."""
    forward, whole, to_input, to_weight = (in_ticks(each, scales.time) for each in pipeline.overheads.values())
    if not split_backward:
        return Totals(forward, whole)
    return Totals(forward, to_input, min(to_weight, whole - to_input))


def least_totals(
    plain: LayerCosts, recomputed: LayerCosts | None, scales: Scales, count: int, *, split_backward: bool
) -> Totals:
    """Return each cost of layers of a kind at its least: recomputation takes no time and saves all it can.

    Without recomputation these are the exact costs; with it, no choice makes any of them less.
    """
    less = recomputed or plain
    if split_backward:
        to_input, to_weight = plain.backward_input, plain.backward_weight
        if plain.backward < to_input + to_weight:  # a whole backward may be shorter
            to_weight = plain.backward - to_input
    else:
        to_input, to_weight = plain.backward, plain.backward * 0
    return Totals(
        in_ticks(count * plain.forward, scales.time),
        in_ticks(count * to_input, scales.time),
        in_ticks(count * to_weight, scales.time),
        in_ticks(count * min(plain.activation, less.activation), scales.memory),
        in_ticks(count * min(plain.held_for_weight, less.held_for_weight), scales.memory) if split_backward else 0,
        in_ticks(count * plain.static, scales.memory),
    )


class LinearBound:
    """For each device and slice of the model, a bound on every order and every cut of the layers before and after it.

    The slice alone determines a device's work and the work before and after it: earlier layers are on earlier devices,
    later layers on later ones. Write F, I and W for the sums over the slice, m for the number of microbatches, `head`
    for the forwards before the slice with their transfers, `tail` for the backwards for the input before the slice with
    theirs, R for the forwards and backwards after the slice with theirs. c is how many whole activations fit in
    addition to the static memory (at most m), and u how many of the parts held for W fit. Then, for every order:

    - Nothing runs before `head`. The first backward starts at least F + R after the first forward starts, and at most c
      forwards run before it: until then, the device idles for at least `front` = (F + R − c·F)⁺.
    - Let c < m. The last forward waits for memory that only a backward frees, so it starts after the first backward,
      and idle time that follows it adds to `front`. Its own backward starts at least R after it ends. In addition to
      it, at most x activations are whole and y are held for W, where (x + 1)·activation + y·held fit. So during this R
      the device has at most x·(I + W) + y·W of work, which is linear in x and greatest at x = 0 or x = c − 1. The rest
      of R, `back`, is idle. For c = m, `back` is 0.
    - So the device finishes no earlier than at head + front + back + m·(F + I + W).
    - The last I (or whole B) comes after all forwards, all other I, and all W except those whose parts are still held,
      at most u; the idle time above lies before it. `tail` comes after it. So the step takes at least
      head + front + back + m·(F + I + W) − u·W + tail. For whole backwards W is 0.
    - Each microbatch is held from its forward to its backward, for F + R + I; at most c are held at a time. So one of
      c places is taken ⌈m ÷ c⌉ times, one after the other: head + ⌈m ÷ c⌉·(F + R + I) + tail.

    Each stage has the overhead of its operations, whatever it holds; it counts within F, I and W, and once for each
    stage within `head`, `tail` and R. A device that takes f times as long has f times the times of its slice; layers
    before and after it take at least as long as on the fastest device there.

    Parameters
    ----------
    pipeline : Pipeline
        With layers; one stage for each device.
    split_backward : bool
        Whether backwards may be I and W.
    empty : bool
        Whether stages may be empty.
    recompute : bool
        Whether layers may be recomputed: each cost is then the least possible, so the bound still holds.

    Raises
    ------
    InputError
        If the pins allow no cut.
    """

    def __init__(self, pipeline: Pipeline, *, split_backward: bool, empty: bool, recompute: bool = False) -> None:
        layers = pipeline.layers
        assert layers is not None
        self.scales = scales_of(pipeline)
        self.devices, self.microbatches, self.empty = pipeline.devices, pipeline.microbatches, empty
        self.latency = in_ticks(pipeline.least_lag, self.scales.time)
        self.limits = [None if each is None else in_ticks(each, self.scales.memory) for each in pipeline.limits]
        self.windows = layers.stage_windows(pipeline.devices, empty=empty)
        self.kinds = [place for place, _ in layers.groups]
        self.sizes = [size for _, size in layers.groups]
        each = [
            least_totals(
                layers.kinds[place].costs,
                layers.kinds[place].recomputed if recompute else None,
                self.scales,
                size,
                split_backward=split_backward,
            )
            for place, size in layers.groups
        ]
        self.before = list(accumulate(each, Totals.plus, initial=Totals()))
        self.overhead = least_overhead(pipeline, self.scales, split_backward=split_backward)
        self.after = in_ticks(pipeline.after, self.scales.time)
        self.paces = [pipeline.pace(device) for device in range(pipeline.devices)]

    @property
    def items(self) -> int:
        """The number of pieces that the model can be cut into."""
        return len(self.kinds)

    def layers_of(self, items: Sequence[int]) -> tuple[int, ...]:
        """Return how many layers each stage holds, given how many of these pieces it holds."""
        starts = accumulate(items, initial=0)
        return tuple(sum(self.sizes[start : start + held]) for start, held in zip(starts, items, strict=False))

    def __call__(self, device: int, start: int, stop: int) -> int | None:
        """Bound the makespan if a device holds the pieces from ``start`` up to ``stop``; None if it may not.

        Parameters
        ----------
        device, start, stop : int
            The slice.

        Returns
        -------
        int or None
            In ticks.
        """
        if not self._may_hold(device, start, stop):
            return None
        own = self.before[stop].minus(self.before[start]).slowed(self.paces[device]).plus(self.overhead)
        limit = self.limits[device]
        room = None if limit is None else limit - own.static
        if room is not None and room < own.activation:
            return None
        return max(self._bounds(device, start, stop, own, room)) + self.after

    def _may_hold(self, device: int, start: int, stop: int) -> bool:
        if start == stop:
            return self.empty
        return self.windows[self.kinds[stop - 1]][0] <= device <= self.windows[self.kinds[start]][1]

    def _bounds(self, device: int, start: int, stop: int, own: Totals, room: int | None) -> Iterator[int]:
        count, forward, to_input, to_weight = self.microbatches, own.forward, own.to_input, own.to_weight
        overhead, left = self.overhead, self.devices - 1 - device
        before = self.before[start].slowed(min(self.paces[:device], default=Fraction(1)))
        head = before.forward + device * (self.latency + overhead.forward)
        tail = before.to_input + device * (self.latency + overhead.to_input)
        behind = self.before[-1].minus(self.before[stop]).slowed(min(self.paces[device + 1 :], default=Fraction(1)))
        around = behind.forward + behind.to_input + left * (2 * self.latency + overhead.forward + overhead.to_input)
        whole = _fitting(room, own.activation, count)
        front = max(0, forward + around - whole * forward)
        back = max(0, around - _work_beside(own, room, whole, count)) if whole < count else 0
        work = head + front + back + count * (forward + to_input + to_weight)
        yield work
        yield work - _fitting(room, own.held, count) * to_weight + tail
        yield head + -(-count // whole) * (forward + around + to_input) + tail


def _fitting(room: int | None, amount: int, most: int) -> int:
    return most if room is None or not amount else min(most, room // amount)


def _work_beside(own: Totals, room: int | None, whole: int, count: int) -> int:
    """Bound a device's work between the last forward and its backward."""
    first, each = own.to_input + own.to_weight, own.to_weight
    most = (whole - 1) * first + count * each
    if room is None or not own.held:
        return most

    def work(others: int) -> int:
        return others * first + each * (room - (others + 1) * own.activation) // own.held

    return min(most, max(work(0), work(whole - 1)))
