"""Luck: what is drawn, once for all schedules, whatever stages they cut the model into.

Every piece of work has a standard normal number in each draw: the forward, the backward for the input and that for the
weights, of each microbatch on each part of the model, where the parts are as fine as all cuts together make them. What
a schedule runs in one piece has the sum of the numbers of its pieces, each weighted by the root of its share, so that
it is standard normal again: a stage that another schedule splits has the luck of both halves, and a full backward that
of I and W. So schedules are compared on the same luck, and each of their operations still varies as much as was asked.
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
    """The model, cut wherever some schedule cuts it.

    Parameters
    ----------
    cuts : iterable of int
        The numbers of stages.
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
        How many there are.
    seed : int
        What seeds all draws.
    draws : range
        Which ones; each is the same in whatever batch it is drawn.
    with_transfers : bool
        Whether transfers have numbers, too.
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
        """Return a device's numbers, one a draw."""
        numbers: Numbers = self._devices[device]
        return numbers

    def of_kind(self, kind: str, stages: int) -> Numbers:
        """Return the numbers of a kind of operation.

        Returns
        -------
        array of float, stages x microbatches x draws
            Those of B are made of those of I and W.
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
            Where each comes from; direction 0 goes to the next stage, 1 to the one before.
        stages : int
            How many stages there are.

        Returns
        -------
        array of float, senders x draws
            Transfers over one boundary of the model have the same numbers, however it is cut elsewhere.
        """
        edges = [self.cells.of_stage(stage, stages) for stage, _, _ in senders]
        places = [cells[0] if back else cells[-1] for cells, (_, back, _) in zip(edges, senders, strict=True)]
        backs, microbatches = [back for _, back, _ in senders], [microbatch for *_, microbatch in senders]
        numbers: Numbers = self._transfers[places, backs, microbatches]
        return numbers


def _draw(seed: int, draw: int, count: int) -> Numbers:
    """Draw numbers; those of an odd draw are the negatives of the ones before.

    Where one draw is lucky its antithetic twin is not, which takes most of the chance out of a mean (Hammersley and
    Morton 1956).
    """
    pair, is_second = divmod(draw, 2)
    numbers: Numbers = np.random.default_rng([seed % 2**64, pair]).standard_normal(count)
    return -numbers if is_second else numbers
