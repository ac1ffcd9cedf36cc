"""Luck: the random numbers, drawn once for all schedules, whatever stages they cut the model into.

The model is divided wherever any schedule cuts it. In each draw, the forward, the backward for the input and the
backward for the weights of each microbatch on each of these parts have a standard normal number. An operation that
covers several parts has the sum of their numbers, each weighted by the root of its share, which is again standard
normal: a stage that another schedule splits combines the luck of both halves, and a full backward that of I and W. So
schedules are compared on the same luck, and each of their operations still varies as much as requested.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from solver.sampled_replay import Numbers

PIECES = ("F", "I", "W")


class Cells:
    """The model, divided wherever any schedule cuts it.

    Parameters
    ----------
    cuts : iterable of int
        The schedules' numbers of stages.
    """

    def __init__(self, cuts: Iterable[int]) -> None:
        places = sorted({Fraction(place, stages) for stages in set(cuts) for place in range(stages + 1)})
        self._number = {place: number for number, place in enumerate(places)}
        self.widths = np.array([float(end - start) for start, end in pairwise(places)])

    def __len__(self) -> int:
        return len(self.widths)

    def of_stage(self, stage: int, stages: int) -> range:
        """Return the cells of a stage."""
        return range(self._number[Fraction(stage, stages)], self._number[Fraction(stage + 1, stages)])


class Luck:
    """A batch of draws.

    Parameters
    ----------
    cells : Cells
        The parts of the model.
    microbatches, devices : int
        Their numbers.
    seed : int
        The seed of all draws.
    draws : range
        The draws of this batch; each draw is the same in whatever batch it is drawn.
    with_transfers : bool
        Whether transfers have numbers as well.
    """

    def __init__(
        self, cells: Cells, microbatches: int, devices: int, seed: int, draws: range, *, with_transfers: bool
    ) -> None:
        self.cells, self.draws = cells, len(draws)
        work, transfers = (len(cells), len(PIECES), microbatches), (len(cells), 2, microbatches * with_transfers)
        sizes = (math.prod(work), devices, math.prod(transfers))
        drawn = np.stack([_draw(seed, draw, sum(sizes)) for draw in draws], axis=-1)
        first, second, third = np.split(drawn, np.cumsum(sizes)[:-1])
        self._work = first.reshape(*work, len(draws))
        self._devices = second
        self._transfers = third.reshape(*transfers, len(draws))
        self._stages: dict[int, Numbers] = {}

    def of_device(self, device: int) -> Numbers:
        """Return a device's numbers, one per draw."""
        numbers: Numbers = self._devices[device]
        return numbers

    def of_kind(self, kind: str, stages: int) -> Numbers:
        """Return the numbers of a kind of operation.

        Returns
        -------
        array of float, stages x microbatches x draws
            Numbers for B combine those of I and W.
        """
        work = self._of_stages(stages)
        if kind == "B":
            halves: Numbers = (work[:, 1] + work[:, 2]) / np.sqrt(2)
            return halves
        whole: Numbers = work[:, PIECES.index(kind)]
        return whole

    def _of_stages(self, stages: int) -> Numbers:
        if stages not in self._stages:
            self._stages[stages] = np.stack([self._weighted(stage, stages) for stage in range(stages)])
        return self._stages[stages]

    def _weighted(self, stage: int, stages: int) -> Numbers:
        cells = self.cells.of_stage(stage, stages)
        weights = np.sqrt(self.cells.widths[cells] * stages)
        weighted: Numbers = np.einsum("c,ckmd->kmd", weights, self._work[cells])
        return weighted

    def of_transfers(self, senders: Sequence[tuple[int, int, int]], stages: int) -> Numbers:
        """Return the numbers of transfers.

        Parameters
        ----------
        senders : sequence of (stage, direction, microbatch)
            The sender of each transfer; direction 0 goes to the next stage, 1 to the previous one.
        stages : int
            The number of stages.

        Returns
        -------
        array of float, senders x draws
            Transfers over the same boundary of the model have the same numbers, however it is cut elsewhere.
        """
        edges = [self.cells.of_stage(stage, stages) for stage, _, _ in senders]
        places = [cells[0] if back else cells[-1] for cells, (_, back, _) in zip(edges, senders, strict=True)]
        backs, microbatches = [back for _, back, _ in senders], [microbatch for *_, microbatch in senders]
        numbers: Numbers = self._transfers[places, backs, microbatches]
        return numbers


def _draw(seed: int, draw: int, count: int) -> Numbers:
    """Draw numbers; each odd draw is the negative of the draw before it.

    When one draw is lucky, its antithetic twin is not, which removes most of the chance from a mean (Hammersley and
    Morton 1956).
    """
    pair, is_second = divmod(draw, 2)
    numbers: Numbers = np.random.default_rng([seed % 2**64, pair]).standard_normal(count)
    return -numbers if is_second else numbers
