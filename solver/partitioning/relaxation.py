"""The linear program at a node: all rows known to matter there, solved by HiGHS from the last basis.

HiGHS works in floating point. Its results are only proposals: points are replayed, and multipliers become exact
certificates (`solver.partitioning.multipliers`).
"""

from __future__ import annotations

from typing import NamedTuple

import highspy
import numpy as np
import numpy.typing as npt

from solver.linear_program import quiet_highs
from solver.partitioning.multipliers import Certificate, certificate
from solver.partitioning.pool import Pool
from solver.partitioning.problem import Numbers, PartitionProblem
from solver.partitioning.rows import NO_SIDE, Rows

Floats = npt.NDArray[np.float64]

MOST_ROWS = 250
"""With more temporary rows than this, those that have not been tight for longest are dropped."""

KEPT_ROWS = 120
"""The number of temporary rows kept then."""

MOST_ITERATIONS = 20_000
"""A program that takes more simplex steps than this is cycling, and is rebuilt."""

TIGHT = 1e-9
"""A multiplier above this counts."""


class Node(NamedTuple):
    """A set of splits, given by the box of the columns and the sides of the sums."""

    low: Numbers
    high: Numbers
    sum_low: Numbers
    sum_high: Numbers

    @property
    def is_empty(self) -> bool:
        """Whether some upper limit is below the lower limit."""
        return bool((self.low > self.high).any() or (self.sum_low > self.sum_high).any())


class Solved(NamedTuple):
    """The solution of the linear program at a node.

    Attributes
    ----------
    point : array of float or None
        The columns; None if there is no point, or the solver gave up.
    length : float
        The longest path there, according to the rows.
    proof : Certificate or None
        The bound that the multipliers prove.
    """

    point: Floats | None
    length: float
    proof: Certificate | None


class Relaxation:
    """One linear program that moves from node to node.

    Parameters
    ----------
    problem : PartitionProblem
        The problem.
    pool : Pool
        Its paths.
    totals, sums, sides : Rows
        Permanent rows; rows whose sides a node changes; temporary rows.
    scale : int
        The approximate length of a good split; lengths are counted relative to it.
    """

    def __init__(
        self, problem: PartitionProblem, pool: Pool, totals: Rows, sums: Rows, sides: Rows, scale: int
    ) -> None:
        self.problem, self.pool = problem, pool
        self.totals, self.sums, self.sides = totals, sums, sides
        self.scale = float(max(1, scale))
        self.columns = len(problem.columns)
        self.fixed = len(totals.low) + len(sums.low)
        self.dynamic: list[tuple[bool, int]] = []  # (is a path, its place)
        self.ages: list[int] = []
        self.solved = 0
        self._present: set[tuple[bool, int]] = set()
        self._roundings: dict[tuple[bytes, int], int] = {}
        self._node: Node | None = None
        self._build()

    def _build(self) -> None:
        self.model = model = quiet_highs()
        model.setOptionValue("presolve", "off")
        model.setOptionValue("solver", "simplex")
        model.setOptionValue("simplex_iteration_limit", MOST_ITERATIONS)
        none: npt.NDArray[np.int32] = np.array([], dtype=np.int32)
        for column in self.problem.columns:
            model.addCol(0.0, 0.0, float(self.problem.runs[column.run].all_parts), 0, none, none.astype(float))
        model.addCol(1.0, 0.0, highspy.kHighsInf, 0, none, none.astype(float))
        for rows in (self.totals, self.sums):
            for factors, low, high in zip(rows.factors, rows.low, rows.high, strict=True):
                self._add(factors, float(low), float(high), 0.0)
        self.dynamic, self.ages, self._present = [], [], set()
        self._node = None

    def _add(self, factors: Numbers | Floats, low: float, high: float, length: float) -> None:
        places = np.flatnonzero(factors).astype(np.int32)
        values = factors[places].astype(float)
        if length:
            places, values = np.append(places, np.int32(self.columns)), np.append(values, length)
        self.model.addRow(low, high, len(places), places, values)

    def add_path(self, place: int) -> bool:
        """Add a path of the pool; return whether it is new here."""
        key = (True, place)
        if key in self._present:
            return False
        factors = self.pool.factors[place] / -self.scale
        self._add(factors, float(self.pool.constants[place]) / self.scale, highspy.kHighsInf, 1.0)
        self._took(key)
        return True

    def add_side(self, place: int) -> bool:
        """Add a temporary row; return whether it is new here."""
        key = (False, place)
        if key in self._present:
            return False
        factors, low = self.sides.factors[place], self.sides.low[place]
        size = float(np.abs(factors).max(initial=1)) or 1.0
        self._add(factors / size, float(low) / size, highspy.kHighsInf, 0.0)
        self._took(key)
        return True

    def add_rounding(self, factors: Numbers, low: int) -> bool:
        """Add a rounding of a limit as a temporary row; return whether it is new here."""
        key = (factors.tobytes(), low)
        if key not in self._roundings:
            self._roundings[key] = len(self.sides.low)
            self.more_sides(Rows(factors[None, :], np.array([low]), np.array([NO_SIDE])))
        return self.add_side(self._roundings[key])

    def more_sides(self, rows: Rows) -> None:
        """Extend the temporary rows."""
        self.sides = Rows(*(np.concatenate(pair) for pair in zip(self.sides, rows, strict=True)))

    def _took(self, key: tuple[bool, int]) -> None:
        self.dynamic.append(key)
        self.ages.append(0)
        self._present.add(key)

    def forget_old(self) -> None:
        """If there are too many rows, drop those that have not been tight for longest."""
        if len(self.dynamic) <= MOST_ROWS:
            return
        order = np.argsort(self.ages, kind="stable")[KEPT_ROWS:]
        dropped = sorted(int(place) for place in order if self.ages[place] > 0)
        if not dropped:
            return
        self.model.deleteRows(len(dropped), np.array(dropped, dtype=np.int32) + self.fixed)
        gone = set(dropped)
        self._present -= {self.dynamic[place] for place in gone}
        self.dynamic = [key for place, key in enumerate(self.dynamic) if place not in gone]
        self.ages = [age for place, age in enumerate(self.ages) if place not in gone]

    def go_to(self, node: Node) -> None:
        """Set the box and the sides of a node."""
        old = self._node
        if old is None or not (np.array_equal(old.low, node.low) and np.array_equal(old.high, node.high)):
            at = np.arange(self.columns, dtype=np.int32)
            self.model.changeColsBounds(self.columns, at, node.low.astype(float), node.high.astype(float))
        first = len(self.totals.low)
        for place in range(len(self.sums.low)):
            low, high = int(node.sum_low[place]), int(node.sum_high[place])
            if old is None or (low, high) != (old.sum_low[place], old.sum_high[place]):
                self.model.changeRowBounds(first + place, float(low), float(high))
        self._node = node

    def solve(self, node: Node) -> Solved:
        """Solve the program at a node."""
        self.go_to(node)
        self.model.run()
        self.solved += 1
        status = self.model.getModelStatus()
        if status == highspy.HighsModelStatus.kOptimal:
            solution = self.model.getSolution()
            values, duals = np.array(solution.col_value), np.array(solution.row_dual)
            self._grow_older(duals)
            return Solved(values[:-1], float(values[-1]) * self.scale, self._certificate(duals, node))
        if status == highspy.HighsModelStatus.kInfeasible:
            ray = self.model.getDualRay()
            if ray[1]:
                values = np.asarray(ray[2]) / max(1e-30, float(np.abs(ray[2]).max()))
                proofs = (self._certificate(sign * values, node) for sign in (1.0, -1.0))
                return Solved(None, 0.0, next((proof for proof in proofs if proof.is_contradiction), None))
        self._build()  # without a basis, in case the last basis was the problem
        return Solved(None, 0.0, None)

    def _grow_older(self, duals: Floats) -> None:
        for place, dual in enumerate(duals[self.fixed :].tolist()):
            self.ages[place] = 0 if abs(dual) > TIGHT else self.ages[place] + 1

    def _certificate(self, duals: Floats, node: Node) -> Certificate:
        tail = duals[self.fixed :]
        paths = [at for at, (is_path, _) in enumerate(self.dynamic) if is_path and tail[at] > TIGHT]
        others = [at for at, (is_path, _) in enumerate(self.dynamic) if not is_path and tail[at] > TIGHT]
        pooled = [self.dynamic[at][1] for at in paths]
        places = [self.dynamic[at][1] for at in others]
        sizes = np.abs(self.sides.factors[places]).max(axis=1, initial=1)
        rows = np.concatenate([self.totals.factors, self.sums.factors, self.sides.factors[places]])
        low = np.concatenate([self.totals.low, node.sum_low, self.sides.low[places]])
        high = np.concatenate([self.totals.high, node.sum_high, np.full(len(places), NO_SIDE, dtype=np.int64)])
        multipliers = np.concatenate([duals[: self.fixed], tail[others] / sizes]) * self.scale
        return certificate(
            tail[paths],
            self.pool.factors[pooled],
            self.pool.constants[pooled],
            multipliers,
            rows,
            (low, high),
            (node.low, node.high),
        )
