"""Finds the best of all orders and all choices of copies of a small linear pipeline, in a replay of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import accumulate, combinations, permutations, product
from typing import Any, NamedTuple

Token = tuple[int, str, int]
Row = tuple[Token, ...]


class Costs(NamedTuple):
    """A pipeline with one stage on each device, and full backwards."""

    devices: int
    microbatches: int
    forward: Sequence[Fraction]
    backward: Sequence[Fraction]
    activation: Sequence[Fraction]
    limit: Fraction
    offload: Fraction
    back: Fraction
    share: Fraction
    streams: str
    latency: Fraction = Fraction(0)

    @property
    def mapping(self) -> dict[str, Any]:
        return {
            "devices": self.devices,
            "p2p_latency": float(self.latency),
            "microbatches": self.microbatches,
            "times": {"forward": list(map(float, self.forward)), "backward": list(map(float, self.backward))},
            "memory": {"activation": list(map(float, self.activation)), "limit": float(self.limit)},
            "offload": {
                "time": float(self.offload), "back": float(self.back), "share": float(self.share),
                "streams": self.streams,
            },
        }  # fmt: skip


class Replay:
    """A replay of rows of tokens, each as early as its row, its inputs and its stream allow."""

    def __init__(self, costs: Costs, rows: Sequence[Sequence[Token]]) -> None:
        self.costs = costs
        self.free = [Fraction(0)] * costs.devices
        self.ends: dict[Token, Fraction] = {}
        self.streams: defaultdict[tuple[int, str], Fraction] = defaultdict(Fraction)
        self.changes: list[list[tuple[Fraction, Fraction]]] = [[] for _ in rows]
        self.released = {(stage, microbatch) for row in rows for stage, kind, microbatch in row if kind == "RELEASE"}
        self.copied = {(stage, microbatch) for row in rows for stage, kind, microbatch in row if kind == "RELOAD"}
        left = [list(reversed(row)) for row in rows]
        while any(left):
            ready = [place for place, row in enumerate(left) if row and self._needs(row[-1]) <= self.ends.keys()]
            self.runs = bool(ready)
            if not ready:
                return
            for place in ready:
                self._run(left[place].pop())

    @property
    def makespan(self) -> Fraction:
        return max((*self.free, *self.ends.values()))

    @property
    def peaks(self) -> list[Fraction]:
        return [max(accumulate(change for _, change in sorted(each))) for each in self.changes]

    @property
    def fits(self) -> bool:
        return max(self.peaks) <= self.costs.limit

    def _needs(self, token: Token) -> set[Token]:
        stage, kind, microbatch = token
        if kind == "F":
            return {(stage - 1, "F", microbatch)} if stage else set()
        if kind == "B":
            after = (stage, "F") if stage == self.costs.devices - 1 else (stage + 1, "B")
            copied = {(stage, "RELOAD", microbatch)} if (stage, microbatch) in self.copied else set()
            return {(*after, microbatch), *copied}
        return {(stage, "F" if kind == "OFFLOAD" else "OFFLOAD", microbatch)}

    def _run(self, token: Token) -> None:
        costs, (stage, kind, microbatch) = self.costs, token
        inputs = (self.ends[each] + (costs.latency if each[0] != stage else 0) for each in self._needs(token))
        start = max([self.free[stage], *inputs])
        away = costs.share * costs.activation[stage]
        if kind in ("OFFLOAD", "RELOAD"):
            stream = stage, kind if costs.streams == "two" else ""
            start = max(start, self.streams[stream])
            end = self.streams[stream] = start + (costs.offload if kind == "OFFLOAD" else costs.back)
        else:
            lasts = {"F": costs.forward[stage], "B": costs.backward[stage], "RELEASE": Fraction(0)}[kind]
            end = self.free[stage] = start + lasts
        self.ends[token] = end
        if kind == "F":
            self.changes[stage].append((start, costs.activation[stage]))
        elif kind == "B":
            self.changes[stage].append((end, -costs.activation[stage]))
        elif kind == "RELOAD":
            self.changes[stage].append((start, away))
        elif kind == "RELEASE" or (stage, microbatch) not in self.released:
            self.changes[stage].append((end, -away))


def best_with_copies(costs: Costs, lead: int | None = None) -> Fraction | None:
    """Return the least makespan that fits, over all orders and choices of copies; None if nothing fits.

    With a lead, copies follow the rule: of all activations, where at least three are in flight.
    """
    every = [list(_rows(costs, stage, lead)) for stage in range(costs.devices)]
    plain = [{tuple(token for token in row if token[1] in "FB") for row in rows} for rows in every]
    replays = [(Replay(costs, rows), rows) for rows in product(*map(sorted, plain))]
    timed = sorted((replay.makespan, rows) for replay, rows in replays if replay.runs)
    of_order: list[dict[Row, list[Row]]] = [defaultdict(list) for _ in every]
    for stage, rows in enumerate(every):
        for row in rows:
            of_order[stage][tuple(token for token in row if token[1] in "FB")].append(row)
    best: Fraction | None = None
    for length, orders in timed:
        if best is not None and length >= best:
            break  # copies make no order shorter
        for rows in product(*(of_order[stage][order] for stage, order in enumerate(orders))):
            replay = Replay(costs, rows)
            if replay.runs and replay.fits and (best is None or replay.makespan < best):
                best = replay.makespan
                if best == length:
                    break
    return best


def _rows(costs: Costs, stage: int, lead: int | None) -> Iterator[Row]:
    """List the rows of a device that may fit: every order, with all copies, leads, and waits for offloads."""
    tokens = [(stage, kind, microbatch) for microbatch in range(costs.microbatches) for kind in "FB"]
    for order in dict.fromkeys(permutations(tokens)):
        at = {token: place for place, token in enumerate(order)}
        forwards = [at[stage, "F", microbatch] for microbatch in range(costs.microbatches)]
        if any(at[stage, "B", each] < at[stage, "F", each] for each in range(costs.microbatches)):
            continue
        if stage == 0 and forwards != sorted(forwards):  # microbatches are alike
            continue
        if lead is not None:
            yield _by_rule(order, at, lead)
            continue
        for number in range(costs.microbatches + 1):
            for copied in combinations(range(costs.microbatches), number):
                yield from _with_copies(costs, order, at, copied)


def _by_rule(order: Row, at: dict[Token, int], lead: int) -> Row:
    if max(accumulate(1 if kind == "F" else -1 for _, kind, _ in order)) < 3:
        return order
    gaps: list[list[Token]] = [[] for _ in order]
    for stage, kind, each in order:
        if kind == "F":
            gaps[at[stage, "F", each] + 1].append((stage, "OFFLOAD", each))
    for stage, kind, each in order:
        if kind == "B":
            gaps[max(at[stage, "B", each] - lead, at[stage, "F", each] + 1)].append((stage, "RELOAD", each))
    return tuple(token for gap, action in zip(gaps, order, strict=True) for token in (*gap, action))


def _with_copies(costs: Costs, order: Row, at: dict[Token, int], copied: Sequence[int]) -> Iterator[Row]:
    stage = order[0][0]
    spans = [(at[stage, "F", each] + 1, at[stage, "B", each]) for each in copied]
    for reloads in product(*(range(first, last + 1) for first, last in spans)):
        for waits in product(
            *((None, *range(first, back + 1)) for (first, _), back in zip(spans, reloads, strict=True))
        ):
            gaps: list[list[Token]] = [[] for _ in range(len(order) + 1)]
            for each, (first, _) in zip(copied, spans, strict=True):
                gaps[first].append((stage, "OFFLOAD", each))
            for each, wait in zip(copied, waits, strict=True):
                if wait is not None:
                    gaps[wait].append((stage, "RELEASE", each))
            for each, back in zip(copied, reloads, strict=True):
                gaps[back].append((stage, "RELOAD", each))
            row = tuple(token for place, gap in enumerate(gaps) for token in (*gap, *order[place : place + 1]))
            if _may_fit(costs, row):
                yield row


def _may_fit(costs: Costs, row: Row) -> bool:
    """Return whether a device would keep its limit if offloads took no time."""
    held = Fraction(0)
    whole = costs.activation[row[0][0]]
    change = {"F": whole, "B": -whole, "OFFLOAD": -costs.share * whole, "RELOAD": costs.share * whole}
    for _, kind, _ in row:
        held += change.get(kind, Fraction(0))
        if held > costs.limit:
            return False
    return True
