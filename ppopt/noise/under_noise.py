"""Schedules side by side under the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from time import perf_counter

import numpy as np

from ppopt.noise.factors import NoisyOrder
from ppopt.noise.luck import Cells, Luck
from ppopt.noise.noise import Noise
from ppopt.schedules.schedule import Schedule
from reports.noise import NoiseFigures
from solver.deadline import is_over
from solver.errors import InputError
from solver.sampled_replay import Numbers
from strategies.model.numbers import shown

NUMBERS_AT_ONCE = 4_000_000
"""About the most numbers in a batch of draws (32 MB in each of a few arrays)."""

EQUAL = 1e-12
"""Makespans within this relative difference count as equal, because floats round."""


def under_noise(schedules: Sequence[Schedule], noise: Noise, *, deadline: float | None = None) -> list[Schedule]:
    """Replay schedules of one model with many draws of its times, the same for all of them.

    Parameters
    ----------
    schedules : sequence of Schedule
        On the same devices and with the same microbatches; the stages may differ.
    noise : Noise
        How times vary, and the number of draws.
    deadline : float, optional
        On the clock of `time.perf_counter`: only the first batch of draws may start after it, and a note says so.

    Returns
    -------
    list of Schedule
        The same, each with ``noise`` figures.

    Raises
    ------
    InputError
        If something is wrong, or the spreads lack a time that a schedule runs.
    """
    if not isinstance(noise, Noise):
        raise InputError(f"noise: must be a Noise; found {shown(noise)}")
    if not schedules:
        return []
    makespans = sampled_makespans(schedules, noise, deadline=deadline)
    figures = figures_of(schedules, makespans)
    fewer = makespans.shape[1] < noise.samples
    note = f"only {makespans.shape[1]:,} of {noise.samples:,} draws were made: the time was up"
    return [
        replace(schedule, noise=each, notes=(*schedule.notes, *([note] if fewer else [])))
        for schedule, each in zip(schedules, figures, strict=True)
    ]


def sampled_makespans(schedules: Sequence[Schedule], noise: Noise, *, deadline: float | None = None) -> Numbers:
    """Compute the makespans of schedules in each draw.

    Ctrl-C ends this with the finished batches, if any.

    Parameters
    ----------
    schedules, noise, deadline
        As for `under_noise`.

    Returns
    -------
    array of float, schedules x draws
        In the user's unit of time.
    """
    first = schedules[0].pipeline
    noise.refuse_unknown_devices(first.devices)
    for schedule in schedules:
        if schedule.layout.microbatches != schedule.pipeline.microbatches:
            raise InputError(
                f"noise: {schedule.strategy} is too long to be written out, and noise needs every operation"
            )
        if schedule.unhindered_makespan is not None:
            schedule.pipeline.refuse_waits("noise:")
        if (schedule.pipeline.devices, schedule.pipeline.microbatches) != (first.devices, first.microbatches):
            raise InputError(
                f"noise: {schedules[0].strategy} and {schedule.strategy} must have the same devices and microbatches "
                "to share draws; slices and whole microbatches share none"
            )
    orders = [NoisyOrder(schedule, noise) for schedule in schedules]
    cells = Cells(order.stages for order in orders)
    transfers = noise.spreads is not None and noise.spreads.latency is not None
    at_once = batch_size(orders, noise)
    batches: list[Numbers] = []
    with suppress(KeyboardInterrupt):
        for start in range(0, noise.samples, at_once):
            if batches and is_over(deadline):
                break
            draws = range(start, min(start + at_once, noise.samples))
            luck = Luck(cells, first.microbatches, first.devices, noise.seed, draws, with_transfers=transfers)
            batches.append(np.stack([order.makespans(luck) for order in orders]))
    if not batches:
        raise KeyboardInterrupt
    return np.concatenate(batches, axis=1)


def batch_size(orders: Sequence[NoisyOrder], noise: Noise) -> int:
    """Choose the number of draws to replay at once, so that they fit in memory."""
    return max(1, min(noise.samples, NUMBERS_AT_ONCE // max(order.operations for order in orders)))


def figures_of(schedules: Sequence[Schedule], makespans: Numbers) -> list[NoiseFigures]:
    """Summarize makespans, one row per schedule."""
    fits = [schedule.may_win for schedule in schedules]
    fits = fits if any(fits) else [schedule.fits for schedule in schedules]
    compared = np.array(fits if any(fits) else [True] * len(fits))
    least = makespans[compared].min(axis=0)
    wins = (makespans <= least * (1 + EQUAL)) & compared[:, np.newaxis]
    shares = (wins / wins.sum(axis=0)).mean(axis=1)
    samples = makespans.shape[1]
    return [
        NoiseFigures(
            mean=float(row.mean()),
            standard_error=_standard_error(row),
            low=float(np.percentile(row, 5)),
            high=float(np.percentile(row, 95)),
            best=float(share) if is_compared else None,
            samples=samples,
        )
        for row, share, is_compared in zip(makespans, shares, compared.tolist(), strict=True)
    ]


def _standard_error(makespans: Numbers) -> float:
    """Estimate the error of the mean from the means of pairs of draws: pairs are independent, single draws are not."""
    pairs = makespans[: len(makespans) // 2 * 2].reshape(-1, 2).mean(axis=1)
    return float(pairs.std(ddof=1) / np.sqrt(len(pairs))) if len(pairs) > 1 else 0.0


def seconds_needed(schedules: Sequence[Schedule], noise: Noise, more_operations: int = 0) -> float:
    """Predict how long `under_noise` takes, from a batch of the largest schedule and a batch of two draws.

    Parameters
    ----------
    schedules, noise
        As for `under_noise`; at least one.
    more_operations : int
        The total operations of schedules still to come.
    """
    sizes = [len(schedule.problem.tasks) for schedule in schedules]
    largest = schedules[sizes.index(max(sizes))]
    at_once = max(1, min(noise.samples, NUMBERS_AT_ONCE // max(sizes)))
    began = perf_counter()
    sampled_makespans([largest], replace(noise, samples=min(2, at_once)))
    prepared = perf_counter()
    sampled_makespans([largest], replace(noise, samples=at_once))
    preparing, drawing = prepared - began, perf_counter() - prepared
    per_draw = max(0.0, drawing - preparing) / at_once
    return (preparing + per_draw * noise.samples) * (sum(sizes) + more_operations) / max(sizes)
