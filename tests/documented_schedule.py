"""The example schedule of docs/how-to/adding-a-schedule.md, taken from the page itself."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import ppopt
from ppopt import Pipeline, Schedule
from ppopt.schedules.replaying import replay_orders
from strategies.language.orders import make_orders
from strategies.language.registry import Strategy

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "adding-a-schedule.md"


@cache
def example() -> Strategy:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(compile(code[1], str(PAGE), "exec"), names)  # our own page
    (found,) = [each for each in names.values() if isinstance(each, Strategy)]
    return found


def documented_schedule(costs: Pipeline, **options: int) -> Schedule:
    """Evaluate the example as if its file were in the catalogue."""
    placement, orders = make_orders(example(), costs, options)
    made = replay_orders(example().name, costs, placement, orders, "graph")
    assert ppopt.violations(made.problem, made.rows, memory=False) == []
    return made
