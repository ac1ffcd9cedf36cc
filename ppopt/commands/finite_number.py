"""A finite number on the command line; click's own type accepts nan and inf."""

from __future__ import annotations

import math

import click

from strategies.model.numbers import SEEDS


class _Finite(click.ParamType[float]):
    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a number.", param, ctx)
        if not 0 <= number < math.inf:
            self.fail(f"{value} is not a finite number of at least 0.", param, ctx)
        return number


FINITE = _Finite()
"""A finite number of at least 0."""

SEED = click.option(
    "--seed",
    type=click.IntRange(0, SEEDS - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="The seed of everything random.",
)
