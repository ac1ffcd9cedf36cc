"""Compares the user's layouts with the plans for the same orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ppopt.cutting.fixed_order import FixedOrder
from ppopt.planning.candidates import name_of
from ppopt.planning.plans import ComparedLayout, Plan
from ppopt.schedules.replaying import replay_orders
from solver.counted import counted
from solver.errors import InputError
from strategies.layouts.reading import read_layout
from strategies.model.cuts import Counts
from strategies.model.pipeline import Pipeline


@dataclass(frozen=True)
class GivenLayout:
    """A layout from the user.

    Attributes
    ----------
    text : str
        As given.
    cut : tuple of int
        How many layers each stage holds.
    """

    text: str
    cut: Counts


def read_layouts(pipeline: Pipeline, layouts: Iterable[object]) -> list[GivenLayout]:
    """Read layouts for a model.

    Parameters
    ----------
    pipeline : Pipeline
        With layers.
    layouts : iterable of str or list
        As `strategies.layouts.reading` takes them.

    Raises
    ------
    InputError
        With one line per wrong layout.
    """
    layers = pipeline.layers
    assert layers is not None
    read: list[GivenLayout] = []
    mistakes: list[str] = []
    for layout in layouts:
        try:
            read.append(GivenLayout(str(layout), read_layout(layout, layers, pipeline.devices)))
        except InputError as error:
            mistakes.append(str(error))
    if mistakes:
        raise InputError("\n".join(mistakes))
    return read


@dataclass
class Compared:
    """The result of a comparison.

    Attributes
    ----------
    layouts : list of ComparedLayout
        Each layout with each order that it runs with, shortest first.
    left_out : list of (str, str)
        Layouts that could not be compared, at all or with some order, and why.
    """

    layouts: list[ComparedLayout] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def compare_layouts(layouts: Sequence[GivenLayout], orders: Sequence[FixedOrder], plans: Sequence[Plan]) -> Compared:
    """Replay each layout with every order that has its number of stages, placed in a loop; shortest first.

    Parameters
    ----------
    layouts : sequence of GivenLayout
        The layouts.
    orders : sequence of FixedOrder
        The orders that were planned for.
    plans : sequence of Plan
        The plans to compare with.
    """
    by_order = {(plan.name, plan.pipeline.stages): plan for plan in plans if not plan.is_free}
    made = Compared()
    for layout in layouts:
        fitting = [each for each in orders if each.stages == len(layout.cut) and each.placement.is_loop]
        if not fitting:
            made.left_out.append((layout.text, _why_none_fits(layout, orders)))
        found = []
        for each in fitting:
            name = name_of(each)
            try:
                pipeline = each.pipeline.with_cut(layout.cut)
                schedule = replay_orders(name, pipeline, each.placement, each.orders_on(pipeline), "graph")
            except InputError as error:
                made.left_out.append((layout.text, str(error)))
                continue
            found.append(ComparedLayout(layout.text, schedule, by_order.get((name, each.stages))))
        made.layouts += sorted(found, key=lambda each: each.schedule.makespan)
    return made


def _why_none_fits(layout: GivenLayout, orders: Sequence[FixedOrder]) -> str:
    loops = sorted({each.stages for each in orders if each.placement.is_loop})
    there = f"those in a loop have {' or '.join(map(str, loops))}" if loops else "none runs in a loop"
    stages = counted(len(layout.cut), "stage")
    return f"it has {stages}, and no schedule of this plan has as many in a loop (stage k on device k mod p); {there}"
