"""The table of an ablation, and what follows from it for each method."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median

from benchmarks.ablation.instances import FAMILIES
from benchmarks.ablation.runs import BASELINE, Results, Row
from benchmarks.ablation.switches import Method

MORE_GAP, LOST_PROOFS, SLOWER = 0.005, 2, 2.0
"""One of these is what a method has to bring to some family: median gap, proofs of the twelve, time to a proof."""

LARGE = 300
"""A method of more lines than this has to bring twice as much."""

LEAST_SECONDS = 0.1
"""Proofs that are later by less than this are no later."""

SAME = 1e-9

EXPLAINED = (
    "Each row: one method off, one family. *reached*: in how many instances the method was at work at all, and in how "
    "many runs without it what takes its place was asked for (a constant cannot tell). The time to a proof is the "
    "median of those proven both with the method and without it. *found*: how many schedules are longer without it, "
    "and how many are shorter. A method stays if without it the median gap of a family grows by half a percentage "
    "point, two proofs fewer are left, or they take twice as long; one of more than 300 lines has to bring twice that."
)
HEAD = (
    "| method | lines | family | reached | gap with | without | proven with | without | s to proof with | without "
    "| found longer, shorter | |"
)


@dataclass(frozen=True)
class Effect:
    """What a family loses without a method; both lists of rows are of the same instances.

    Attributes
    ----------
    family : str
        Its name.
    rows, others : list of Row
        With the method, and without it.
    """

    family: str
    rows: Sequence[Row]
    others: Sequence[Row]

    @property
    def reached(self) -> int:
        """In how many instances the method was at work."""
        return sum(each.copied != "not reached" for each in self.others)

    @property
    def off(self) -> int:
        """In how many of those a switch was asked for with the method off."""
        return sum(bool(each.asked) for each in self.others)

    @property
    def gaps(self) -> tuple[float, float]:
        """The median gaps."""
        return median(each.gap for each in self.rows), median(each.gap for each in self.others)

    @property
    def proven(self) -> tuple[int, int]:
        """How many were proven."""
        return sum(each.is_proven for each in self.rows), sum(each.is_proven for each in self.others)

    @property
    def seconds(self) -> tuple[float, float] | None:
        """The median times to a proof of those that were proven in both; None if there are none."""
        both = [(one.closed, two.closed) for one, two in zip(self.rows, self.others, strict=True)]
        closed = [(one, two) for one, two in both if one is not None and two is not None]
        return (median(one for one, _ in closed), median(two for _, two in closed)) if closed else None

    @property
    def found(self) -> tuple[int, int]:
        """How many schedules are longer without it, and how many are shorter."""
        pairs = [(one.found or 1e300, two.found or 1e300) for one, two in zip(self.rows, self.others, strict=True)]
        return sum(b > a * (1 + SAME) for a, b in pairs), sum(b < a * (1 - SAME) for a, b in pairs)

    @property
    def brings(self) -> list[tuple[float, str]]:
        """What the method brings, in multiples of what it has to."""
        gap, proofs, times = self.gaps, self.proven, self.seconds
        found = [
            ((gap[1] - gap[0]) / MORE_GAP, f"gap {_percent(gap[0])} → {_percent(gap[1])}"),
            ((proofs[0] - proofs[1]) / LOST_PROOFS, f"{proofs[0]} → {proofs[1]} proven"),
        ]
        if times is not None and times[1] - times[0] >= LEAST_SECONDS:
            found.append((times[1] / times[0] / SLOWER, f"proof after {times[0]:.1f} → {times[1]:.1f} s"))
        return [(factor, f"{self.family}: {text}") for factor, text in found]


def effects(method: Method, results: Results, seconds: float, seed: int) -> list[Effect]:
    """Compare the families of a method, as far as there are rows of both."""
    made = []
    for family in method.families:
        others = [row for row in results.of(method.name, family, seconds, seed) if not row.error]
        known = {row.number: row for row in results.of(BASELINE, family, seconds, seed) if not row.error}
        others = [row for row in others if row.number in known]
        if others:
            made.append(Effect(family, [known[row.number] for row in others], others))
    return made


def verdict(method: Method, found: Sequence[Effect]) -> str:
    """Say whether a method stays, and what decides."""
    if not any(each.reached for each in found):
        return "not reached"
    factor, text = max(each for effect in found for each in effect.brings)
    needed = 2 if method.lines > LARGE else 1
    if factor >= needed:
        return f"stays ({text})"
    return f"goes (most: {text})" if factor > 0 else "goes"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _machine(seconds: float, seed: int) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("ortools", "numba", "numpy", "highspy"))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, {versions}; {seconds:g} s and one core for each instance, seed {seed}."
    )


def written(methods: Sequence[Method], results: Results, seconds: float, seed: int) -> str:
    """Write all as Markdown."""
    lines = ["# Ablation", "", _machine(seconds, seed), "", *_with_everything(results, seconds, seed), ""]
    lines += [EXPLAINED, "", HEAD, "| --- | --: | --- |" + " --: |" * 8 + " --- |"]
    for method in methods:
        found = effects(method, results, seconds, seed)
        for place, each in enumerate(found):
            named = (f"`{method.name}`", str(method.lines), verdict(method, found)) if not place else ("", "", "")
            lines.append(_line(each, *named))
    names = (BASELINE, *(method.name for method in methods))
    errors = [row for name in names for each in FAMILIES for row in results.of(name, each, seconds, seed) if row.error]
    lines += ["", *(f"- {row.method}, {row.family} {row.number}: {row.error}" for row in errors)] if errors else []
    return "\n".join(lines) + "\n"


def _line(effect: Effect, name: str, count: str, decided: str) -> str:
    times = ("–", "–") if effect.seconds is None else tuple(f"{each:.2f}" for each in effect.seconds)
    reached = f"{effect.reached} of {len(effect.others)}" + (f", off in {effect.off}" if effect.off else "")
    cells = [name, count, effect.family, reached]
    cells += [*map(_percent, effect.gaps), *map(str, effect.proven), *times, f"{effect.found[0]}, {effect.found[1]}"]
    return f"| {' | '.join([*cells, decided])} |"


def _with_everything(results: Results, seconds: float, seed: int) -> list[str]:
    lines = ["| family | instances | proven | median gap | largest gap | median s to proof |"]
    lines.append("| --- | --: | --: | --: | --: | --: |")
    for family in FAMILIES:
        rows = [row for row in results.of(BASELINE, family, seconds, seed) if not row.error]
        if rows:
            gaps, closed = [row.gap for row in rows], [row.closed for row in rows if row.closed is not None]
            when = f"{median(closed):.2f}" if closed else "–"
            proven = f"{len(closed)} | {_percent(median(gaps))} | {_percent(max(gaps))} | {when}"
            lines.append(f"| {family} | {len(rows)} | {proven} |")
    return lines
