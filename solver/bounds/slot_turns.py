"""What all slots of a row waste together while they turn, each of them because of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor
from operator import itemgetter

CHOICES = 16
"""Of so many values of D′ the best one is chosen; each of them proves something."""


@dataclass(frozen=True)
class Option:
    """What one choice of D′ and of a number of slots proves.

    Attributes
    ----------
    slots : int
        q, how many slots are looked at together.
    harmonic, third : Fraction
        u·K ÷ (u + K) and min(u, K ÷ 3) for these, see `SlotTurns`.
    less : Fraction
        D − D′.
    """

    slots: int
    harmonic: Fraction
    third: Fraction
    less: Fraction

    def each(self, turns: int, preceded: bool) -> Fraction:
        """Bound the mean waste of these slots, or of more of them, in so many turns of each."""
        first, second = 2 * turns - (2 if preceded else 3), 2 * turns - 5
        return max(first * self.harmonic, second * self.third, Fraction(0)) / 2 - turns * self.less

    def all(self, count: int, live: int, ended: bool) -> Fraction:
        """Bound the waste of all slots, of which there are `live`, in so many turns altogether."""
        first, second = 2 * count - (2 if ended else 3) * live, 2 * count - 5 * live + 2
        return max(first * self.harmonic, second * self.third, Fraction(0)) / 2 - count * self.less


@dataclass(frozen=True)
class SlotTurns:
    """The turns of a row's slots (see `solver.bounds.single_track.Row`), for its terms Q, D, c, F and l.

    Stages are taken to be alike; `Row.turns` says what changes if they are not.

    Waste is counted as in `Row.wasted_in_thirds`, and phases f and i, the number n(a, b) of a pair of jobs, *high* and
    *low* are those of that argument. Let 0 < D′ ≤ min(D, F), (c − 1)D′ < Q, R′ = pQ + D′, u = (c − 1)D′ and
    K = Q − 4l − D′ > 0, and count waste from R′ for now. *Turn* k is that of job k's slot, from A_k to A_{k+c}.

    **Claim.** Of n ≥ c successive turns, numbered from 0, the waste is at least (n − 3c ÷ 2)·u·K ÷ (u + K), and at
    least (n − 5c ÷ 2 + 1)·min(u, K ÷ 3). It is at least (n − c)·u·K ÷ (u + K) if c more turns precede them, and also if
    what the c jobs behind them wait on their way down is counted. Counted from R it is less by D − D′ a turn.

    *Paths.* Let j_k = A_{k+c} − pQ − D′, which is at least i_k(0). For a < b < a + c then i_a on some device, or j_a,
    is at least A_b − n(a, b)Q: by high if n < p, and else because A_{a+c} − D′ ≥ A_b + F − D′. Let n(a, a) = 0. So for
    s < s' ≤ s + c a *step* from turn s to turn s' shows A_{s'+c} ≥ A_{s+c} + (p − n(s', s+c))Q + D′. A path is a
    sequence of steps, its weight the sum of all (p − n)Q + D′. Let P_k be a heaviest path from turn k − c to turn k.

    *Waits.* The weight of P_k is at least that of the single step, pQ + D′. With g turns between its ends, g < c, it
    is a multiple of Q and (g + 1)D′; since gD′ < Q, the multiple is at least p. So turn k wastes at least g·D′.

    *Hops.* Let P_k leave out turn a, k − c < a < k: a step leads from s < a to y > a, and let x = s + c, so a < y ≤ x
    < a + c. With a in between the path would be heavier by (p − e)Q + D′, for e = n(a, x) + n(y, a+c) − n(y, x). It is
    not, so e > p. Since no n is above p, n(a, x) and n(y, a+c) are above n(y, x). Job a so meets F_x on device p −
    n(a, x), not below the device p − 1 − n(y, x) where F_x meets I_y, and this is not above the device p − n(y, a+c)
    where I_y meets F_{a+c}. By low, high (where x = y: the turn of a job on the last device) and low,

        f_{a+c} ≥ i_y + n(y, a+c)Q − 2l ≥ f_x − n(y, x)Q + n(y, a+c)Q − 2l ≥ i_a + eQ − 4l ≥ i_a + (p + 1)Q − 4l,

    so the slot of a wastes at least K from an I of job a to an F of job a + c. Such stretches of one slot are disjoint.

    *Sum.* Let S be the turns that some P_k with c ≤ k < n leaves out, and r_a how many of these k are among a + 1, … a
    + c − 1. A turn a outside S lies on all r_a of these paths, so the waits are at least D′ times the sum of r_a over
    the a outside S. The hops are at least K for each a in S; those of a < n − c end in turn a + c, those of later a on
    the way down of job a + c. The waste is at least the mean of waits and hops with weights K and u, to which each a
    adds min(K·D′·r_a, u·K) ÷ (u + K) at least, which is K·D′·r_a ÷ (u + K) since r_a < c. All r_a together are (n −
    c)(c − 1), and those of a ≥ n − c at most c(c − 1) ÷ 2. If turns −c, … −1 precede, 0 ≤ k < n will do; then all r_a
    are n(c − 1), and those of a < 0, of which no hop is counted, c(c − 1) ÷ 2.

    For the other form, the waits of turns k for which neither k nor k − c is in S share nothing with hops. All waits
    together would be (n − c)u if S were empty. A turn a < n − c in S lessens the sum by r_a·D′ ≤ u, and the waits of
    turns a and a + c, of at most u each, are not counted; its hop is, so all such turns, X of them, change the sum by
    X(K − 3u) at least. The a ≥ n − c in S, at most c − 1 of them, lessen it by cu ÷ 2 together and by the waits of
    turns a, at most (c − 1)u. So the waste is at least (n − 5c ÷ 2 + 1)u + X(K − 3u), and at least X·K: for K < 3u,
    the larger of these is least where X = (n − 5c ÷ 2 + 1) ÷ 3.

    *Fewer slots.* The jobs of q of the c slots are such a row by themselves, with q in place of c: nothing above needs
    the other jobs. So h turns of each of them waste the claim for n = hq, ÷ q on average. And all slots, in c groups
    of q neighbours, each slot in q groups, waste together at least what the claim says with u for q slots, but with n
    and c of all (5c ÷ 2 − 1 is then more than need be taken off).

    Attributes
    ----------
    meeting : Fraction
        Q: the time between two trains of one direction that meet the same oncoming train at zero wait.
    behind : int
        D: what a slot falls behind when it turns.
    most : Fraction
        What D′ may be at most, besides being less than Q ÷ (c − 1): D or F.
    lost : Fraction
        What a hop loses: 4l.
    live : int
        c.
    """

    meeting: Fraction
    behind: int
    most: Fraction
    lost: Fraction
    live: int

    def best(self, slots: int) -> list[Option]:
        """Choose what proves most of many turns, in either form, with at most so many slots looked at together."""
        return self._best[min(slots, self.live)]

    @cached_property
    def _best(self) -> list[list[Option]]:
        found: list[list[Option]] = [[], []]
        for slots in range(2, self.live + 1):
            some = [*found[-1], *self._options(slots)]
            if some:
                first = max(some, key=lambda each: each.harmonic - each.less)
                some = [first, max(some, key=lambda each: each.third - each.less)]
            found.append(list(dict.fromkeys(some)))
        return found

    def _options(self, slots: int) -> Iterator[Option]:
        others = slots - 1
        most = min(self.most, (self.meeting - Fraction(1, 2 * CHOICES)) / others)
        for step in range(1, CHOICES + 1):
            chosen = most * step / CHOICES
            waits, hop = others * chosen, self.meeting - self.lost - chosen
            if waits > 0 and hop > 0:
                yield Option(slots, waits * hop / (waits + hop), min(waits, hop / 3), self.behind - chosen)

    def wasted(self, count: int, *, ended: bool = False) -> int:
        """Bound the waste of so many successive turns of all slots together, counted from R, rounded down.

        Parameters
        ----------
        count : int
            n.
        ended : bool
            Whether what the jobs behind the last turns wait is counted, too; else all of it lies in the turns, each of
            which ends where the next F of its slot starts.
        """
        return max([0, *(floor(each.all(count, self.live, ended)) for each in self.best(self.live))])

    def wasted_by_each(self, turns: int, slots: int, *, preceded: bool = False) -> tuple[int, int]:
        """Bound the mean waste of some neighbouring slots in so many turns of each, rounded down.

        Parameters
        ----------
        turns, slots : int
            h, and up to how many slots may be looked at.
        preceded : bool
            Whether each of them turns once more before.

        Returns
        -------
        slots, wasted : int
            The least number of slots that the mean may be of, and the waste, also that of more slots, up to as many
            as given; (1, 0) where nothing is known.
        """
        return max(
            ((each.slots, floor(each.each(turns, preceded))) for each in self.best(slots)),
            key=itemgetter(1),
            default=(1, 0),
        )
