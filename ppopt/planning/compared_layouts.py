"""Somebody's layouts beside the plans for the same orders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ppopt.evaluation.replaying import replay_orders
from ppopt.planning.candidates import name_of
from ppopt.planning.fixed_order import FixedOrder
from ppopt.planning.plans import ComparedLayout, Plan
from solver.errors import InputError
from strategies.cuts import Counts
from strategies.layouts.frameworks import LOOPS
from strategies.layouts.reading import read_layout
from strategies.pipeline import Pipeline


@dataclass(frozen=True)
class GivenLayout:
    """A layout that was read.

    Attributes
    ----------
    text : str
        As it was given.
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
        With a line for each that is wrong.
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


def compare_layouts(
    layouts: Sequence[GivenLayout], orders: Sequence[FixedOrder], plans: Sequence[Plan]
) -> Iterator[ComparedLayout]:
    """Replay each layout with every order that has as many stages in a loop, shortest first.

    Parameters
    ----------
    layouts : sequence of GivenLayout
        What is compared.
    orders : sequence of FixedOrder
        The orders that were planned for.
    plans : sequence of Plan
        What they are compared with.
    """
    by_order = {(plan.name, plan.pipeline.stages): plan for plan in plans if not plan.is_free}
    for layout in layouts:
        fitting = [each for each in orders if each.stages == len(layout.cut) and each.placement.name in LOOPS]
        found = []
        for each in fitting:
            pipeline = each.pipeline.with_cut(layout.cut)
            name = name_of(each)
            schedule = replay_orders(name, pipeline, each.placement, each.orders_on(pipeline), "graph")
            found.append(ComparedLayout(layout.text, schedule, by_order.get((name, each.stages))))
        yield from sorted(found, key=lambda each: each.schedule.makespan)
