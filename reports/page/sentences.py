"""Explains each chart in one sentence or two."""

from __future__ import annotations

from reports.charts.records import STEP_TITLES, label
from reports.charts.timeline_layout import memory_scale
from reports.content import Presented, Section
from reports.idle import CAUSES
from reports.ladder import STEPS
from reports.noise import NoisyRow, noise_sentence
from reports.numbers import digits_of, grouped, percent, with_unit
from reports.verdict import excess
from reports.verdict import verdict as say_verdict
from reports.what_if import strongest
from solver.counted import counted, listed


def winner(section: Section) -> Presented | None:
    """Choose the shortest schedule that fits the memory (for a frontier, of those searched); None if none does."""
    schedules = section.schedules
    if section.frontier is not None:
        comparable = (each.rank for each in section.frontier.published if each.is_comparable)
        ranks = {*comparable, *(point.rank for point in section.frontier.points)}
        schedules = [each for rank, each in enumerate(schedules) if rank in ranks]
    return next((each for each in schedules if not each.summary.over), None)


def fastest(section: Section) -> Presented | None:
    """Choose the shortest schedule, whether it fits or not; of equals, one that fits."""
    return min(section.schedules, key=lambda each: each.summary.figures.makespan, default=None)


def verdict(section: Section) -> str:
    """Say which schedule wins, how it compares, and what prevents a faster one."""
    rows = [each.summary for each in section.schedules]
    return say_verdict(rows, section.bound, section.baseline, is_infeasible=bool(section.infeasible))


def whole_verdict(section: Section) -> str:
    """Say which schedule wins, and how far that holds."""
    return f"{verdict(section)} {section.margins.sentences(section.unit)}".rstrip()


def margins(section: Section) -> str:
    """Say what the chart of margins shows."""
    names = [curve.name for curve in section.margins.curves]
    return (
        f"Each operation costs its overhead beside its work, and orders with more operations pay more of it. As it "
        f"grows, {listed(names)} lead in turn; orders stay as they are."
    )


def frontier(section: Section) -> str:
    """Say which published schedules are the best known for their memory, and how close the next one is."""
    if section.frontier is None:
        return ""
    over = {each.name: each.makespan / each.best - 1 for each in section.frontier.published if each.best is not None}
    best = [name for name, ratio in over.items() if ratio <= 0]
    others = {name: ratio for name, ratio in over.items() if ratio > 0}
    if not others:
        return f"Nothing shorter is known within the memory of {', '.join(best)}." if best else ""
    nearest = min(others, key=lambda name: others[name])
    near = f"{nearest} is {percent(others[nearest])} longer than the best known within its memory"
    if not best:
        return f"Every published schedule can be beaten within its own memory; {near}."
    return f"Nothing shorter is known within the memory of {', '.join(best)}. Of the others, {near}."


def bubbles(section: Section) -> str:
    """Say how much the best and the worst schedule idle."""
    ranked = sorted(section.schedules, key=lambda each: each.summary.figures.bubble_ratio)
    best, worst = ranked[0], ranked[-1]
    if best is worst:
        return f"{best.summary.name} leaves {percent(best.summary.figures.bubble_ratio)} of the device time idle."
    if best.summary.figures.bubble_ratio == worst.summary.figures.bubble_ratio:
        return f"All schedules leave {percent(best.summary.figures.bubble_ratio)} of the device time idle."
    return (
        f"{best.summary.name} leaves {percent(best.summary.figures.bubble_ratio)} of the device time idle, "
        f"{worst.summary.name} {percent(worst.summary.figures.bubble_ratio)}."
    )


def trade(section: Section) -> str:
    """Say how much time the least memory costs."""
    fitting = [each for each in section.schedules if not each.summary.over]
    limited = any(limit is not None for each in section.schedules for limit in each.summary.limits)
    fit = "fits" if len(fitting) == 1 else "fit"
    text = (
        f"{len(fitting)} of {counted(len(section.schedules), 'schedule')} {fit} the memory limit. " if limited else ""
    )
    best = winner(section)
    if best is None:
        return text.strip()
    held = f"{text}{best.summary.name} holds {grouped(_peak(best))} on its fullest device"
    frugal = min(fitting, key=lambda each: (_peak(each), each.summary.figures.makespan))
    if len(fitting) == 1:
        return f"{held}."
    if _peak(frugal) >= _peak(best):
        return f"{held}, and no other needs less."
    longer = frugal.summary.figures.makespan / best.summary.figures.makespan - 1
    return f"{held}; {frugal.summary.name} needs only {grouped(_peak(frugal))} and takes {percent(longer)} longer."


def noise(section: Section) -> str:
    """Say what the noise is, and which schedule is best under it."""
    rows = noisy_rows(section)
    return (
        f"Every schedule was replayed with the same {counted(rows[0].figures.samples, 'draw')} of times "
        f"({section.noise}). A bar spans nine draws in ten, the diamond marks their mean, and the cross line marks the "
        "makespan without noise. " + noise_sentence(rows)
    )


def effects(section: Section) -> str:
    """Say which of the winner's costs changes its makespan most, at one per cent each."""
    best = winner(section) or fastest(section)
    assert section.what_if is not None
    known = {id(each): found for each, found in zip(section.schedules, section.what_if.schedules, strict=True)}
    found = known.get(id(best))
    if best is None or found is None:
        return "How much of a step 1 % off each cost saves. Choose a schedule in the menu."
    single = [each for each in found.effects if not each.label.startswith("all ")]
    parts = [
        f"1 % off {_with_article(each.label)} takes {each.shrinking:.2f} % off its step"
        for each in strongest(single, 2)
    ]
    text = f"In {best.summary.name}, {' and '.join(parts)}" if parts else f"In {best.summary.name} no cost matters"
    return (
        f"{text}. Where the pale part of a bar is longer, several paths are critical: a higher cost lengthens the step "
        "by the whole bar, a lower one shortens it only by the dark part. Choose another schedule in the menu."
    )


def _with_article(label: str) -> str:
    return label if label.startswith("everything") else f"the {label}"


def noisy_rows(section: Section) -> list[NoisyRow]:
    """List the schedules that were evaluated under noise."""
    named = [(each, each.noise) for each in section.schedules]
    return [
        NoisyRow(label(each), each.summary.figures.makespan, figures) for each, figures in named if figures is not None
    ]


def _peak(presented: Presented) -> float:
    return max(presented.summary.figures.peak_memory)


_REMEDIES = {
    "cut": "which another cut of the same layers saves",
    "imbalance": "which only another partition of the model can change",
    "filling_and_draining": "which more microbatches or more stages per device would reduce",
    "latency": "which a faster network would shorten",
    "memory": "which a higher memory limit would recover",
    "after": "which no schedule changes",
    "overhead": "which fewer, longer operations would shorten",
    "order": "which another order might still recover",
    "communication": "which moving sends and receives, or more communicators, might recover",
}


def ladder(section: Section) -> str:
    """Say what costs the winner the most time, and which schedule loses most to its order."""
    best = winner(section) or fastest(section)
    if best is None or best.ladder is None:
        return "No bounds are known for these schedules."
    steps = best.ladder
    step = max(STEPS, key=lambda name: getattr(steps, name))
    lost = getattr(steps, step)
    if not lost:
        return f"{best.summary.name} loses nothing: its step is as long as the work, spread evenly over the devices."
    text = (
        f"{best.summary.name} loses most to {STEP_TITLES[step]}: {percent(float(lost / steps.makespan))} of each step, "
        f"{_REMEDIES[step]}."
    )
    return text + _worst_order(section)


def _worst_order(section: Section) -> str:
    shares = [(float(each.ladder.order / each.ladder.makespan), each) for each in section.schedules if each.ladder]
    share, worst = max(shares, key=lambda pair: pair[0])
    if share < 0.0005 or len(shares) < 2:
        return ""
    return f" {worst.summary.name} could gain most by another order on the same placement: up to {percent(share)}."


def idle(section: Section) -> str:
    """Say what the winner's devices wait for most, and which of them idles most."""
    best = winner(section) or fastest(section)
    if best is None:
        return ""
    totals = {cause: sum(getattr(each, cause) for each in best.waiting.devices) for cause in CAUSES}
    cause = max(CAUSES, key=lambda name: totals[name])
    if not totals[cause]:
        return f"The devices of {best.summary.name} never wait."
    devices = best.waiting.devices
    length = best.summary.figures.makespan * best.problem.ticks_per_unit
    per_device = [sum(getattr(each, name) for name in CAUSES) for each in devices]
    worst = max(range(len(devices)), key=per_device.__getitem__)
    return (
        f"The devices of {best.summary.name} idle {percent(sum(per_device) / len(devices) / length)} of the step on "
        f"average, most of it {_CAUSES[cause]} ({percent(totals[cause] / len(devices) / length)})"
        + (f"; device {worst} idles most, {percent(per_device[worst] / length)}." if len(set(per_device)) > 1 else ".")
    )


_CAUSES = {
    "filling": "before their first work",
    "data": "for data that another device still computes",
    "latency": "for data in transit",
    "order": "although other work was ready",
    "draining": "after their last work",
    "overhead": "as overhead of their operations",
}


def timeline(presented: Presented, *, whole: bool) -> str:
    """Say how long a schedule takes, how much it idles, and what was proven about it."""
    summary, figures = presented.summary, presented.summary.figures
    makespan = with_unit(grouped(figures.makespan, digits_of(summary.status)), summary.unit)
    text = f"Makespan {makespan}, {percent(figures.bubble_ratio)} idle"
    text += f", peak memory {grouped(_peak(presented))}"
    if summary.over:
        text += f"; it {excess(summary)}"
        if (others := len(summary.over) - 1) > 0:
            over = "devices are over their limits" if others > 1 else "device is over its limit"
            text += f", and {others} more {over}"
    if not presented.is_drawn:
        text += ". Its timeline is not drawn: the time limit was used up"
    elif not whole:
        text += (
            f". With {len(presented.timeline):,} operations it is too long to draw in full; below are the idle "
            "share of each device over time and three windows in full"
        )
    return text + "."


def strips(section: Section) -> str:
    """Say which memory a full strip below a timeline stands for."""
    full = memory_scale(section.schedules)
    highest = max((_peak(each) for each in section.schedules), default=0.0)
    limits = {limit for each in section.schedules for limit in each.summary.limits if limit is not None}
    if not highest and not any(limits):
        return ""
    text = f"A full memory strip is {grouped(full)} in all timelines"
    limit = "limit" if len(limits) == 1 else "highest limit"
    if full in limits:
        return f"{text}, the {limit}."
    return f"{text}, twice the {limit}; the rest is cut off." if highest > full else f"{text}, the highest peak."


def devices(section: Section) -> str:
    """Say which device of the winner idles most and which least."""
    best = winner(section) or fastest(section)
    if best is None:
        return ""
    length = best.summary.figures.makespan * best.problem.ticks_per_unit
    shares = [sum(getattr(each, name) for name in CAUSES) / length for each in best.waiting.devices]
    least, most = min(shares), max(shares)
    if least == most:
        return (
            f"All devices of {best.summary.name} idle {percent(most)} of the step. Choose another schedule in the menu."
        )
    return (
        f"In {best.summary.name}, device {shares.index(least)} idles least, {percent(least)} of the step, and device "
        f"{shares.index(most)} most, {percent(most)}. Choose another schedule in the menu."
    )


def cuts(section: Section) -> str:
    """Say which device of the first schedule works longest for a microbatch, and which least."""
    best = next((each for each in section.schedules if each.cut), None)
    if best is None:
        return ""
    work = [0.0] * best.problem.devices
    for held in best.cut:
        work[held.device] += held.time
    least, most = min(work), max(work)
    text = f"In {best.summary.name}, device {work.index(most)} works longest per microbatch, "
    text += with_unit(grouped(most), section.unit)
    if least < most:
        text += f"; device {work.index(least)} works least, {with_unit(grouped(least), section.unit)}"
    again = sum(held.count for held in best.cut if held.recomputed)
    if again:
        text += f". The paler layers, {again} of {sum(held.count for held in best.cut)}, are recomputed"
    return f"{text}."


def device_memory(section: Section) -> str:
    """Say which device of the first schedule holds most, and what its limit is."""
    best = next((each for each in section.schedules if each.cut), None)
    if best is None:
        return ""
    peaks = best.summary.figures.peak_memory
    device = max(range(len(peaks)), key=peaks.__getitem__)
    static = sum(held.static for held in best.cut if held.device == device)
    text = f"In {best.summary.name}, device {device} holds most, {grouped(peaks[device])}"
    text += f", {grouped(static)} of it at all times" if static else ""
    limit = best.summary.limits[device]
    return f"{text}; its limit is {grouped(limit)}." if limit is not None else f"{text}."
