"""What round trips through a row of devices cost where memory is for few of them: trains on a single track.

**Row.** Job k runs F on devices 0, … p − 1, I on p − 1, … 0, and W on device 0, which holds memory from the start of F
to the end of W, for c jobs at a time. Let all F, all I and all links be alike, the least of each: where tasks and lags
are shorter, every schedule remains one. λ is the lag of a link, there and back together; Q = F + I + λ, D = W − λ. No
time between F and W of a job on device 0 is shorter than R = pQ + D. Jobs are numbered in the order of their F.

**Meetings.** Take any schedule. The *phases* of job k are the starts of its F and I, less what they are at least after
the start of its first F, A_k: f_k(d) on the way out, i_k(d) on the way back, which is f_k = A_k without waits. They
never fall along a job. For a < b < a + c, let I_a come before F_b on the last n = n(a, b) devices; n does not rise with
a nor fall with b. Then

- *high*: i_a ≥ f_b − nQ on device p − 1 − n, if n < p;
- *low*: f_b ≥ i_a + nQ − λ on device p − n, if n > 0;
- *turn*: A_{a+c} ≥ i_a(0) + pQ + D. Let j_a = A_{a+c} − pQ − D. If n = p, j_a ≥ A_b − pQ, where D ≤ F.

So the c jobs under way are like trains on a ring, a place of it for each Q. In place, b is n behind a, but each turn
costs D more than p places: either all others wait for it, or a train hops to the next place, which costs Q.

**Places.** Jobs 0, … c − 1 begin in place 0, and job b in that in which job b − c ended, plus p. In the order of their
meetings, b and within it a, the place of b must become that of a, plus n: if it is less, b *hops out* as many places;
if it is more, a *hops back*. Then places do not fall along a job. By induction, as n is monotone: at one meeting, later
jobs are in no lower places, for b and for a alike; job b hops out only where n ≥ 1, and if it does so over a with
n(a, b) = n(a, b − 1), so did job b − 1; a hops back only where n < p.

**Levels.** Let the level of a job be its phase less Q times its place. Let x_d ≤ the level of job b − d once it has met
job b, x_0 ≤ … ≤ x_{c−1} = t, and let job b + 1 hop out n times, over jobs at the distances g ∈ H. Then, for the levels
once they have met job b + 1, we may put y for x with

- y_d ≥ x_{d−1}, if d ≥ 1, and y_d ≥ D + t less Q for each hop at g ≥ max(d, 1) (high, and the turn of job b + 1 − c);
- y_d ≥ x_{g−1} − λ for the least g ∈ H above d, if no g = d ≥ 1 (low, then high).

*Low* holds at the device where job a has met job b at the latest, or job b has hopped over it, too, and b + 1 comes
behind b in the same place; *high* after *low* needs n(a, b) to be smaller for the later a: if it is not, I of that job
comes behind I of the other in the same place. A job that hops back is at least at the level of the one that it waits
for: at D + t, or at x_{g−1} − λ ≥ x_{d−1} − λ. So if any hops back, subtract λ from all of y.

**Theorem** (`growth`). Let α = λ · max(2, c(c − 2) ÷ (2c − 3)), Q ≥ cλ and 0 ≤ cD ≤ Q − α. If r jobs begin with all
levels at L and E hops are made in all, then ct + QE ≥ cL + cDr.

**Bound.** Let there be N jobs, and A_0 = 0. Begin with all levels at −D: as D ≤ F, A_b ≥ bD is at least D more than
the highest level after b jobs. Let T be the end and T* = T − F − (p − 1)Q. Job N − c + i, 0 ≤ i < c, has c − i times
I + W on device 0 from its I on, so i(0) ≤ T* − (c − i)(I + W) for it. Add c jobs N + i with n = p over all earlier
jobs, n = 0 among themselves, A = f = T* − (c − i)(I + W) + pQ + D and i = the largest of these: all that is said above
holds for them. They hop until all are in the highest place, P. With θ the places in which the jobs N − c + i end, whose
sum is p(N − c) + E, they hop cP − cp − Σθ times, and the theorem says for the oldest of them

    c(T* − (I + W) + pQ + D − PQ) ≥ cD(N + c − 1) − QE − Q(cP − cp − Σθ), so
    T ≥ F + (p − 1)Q + I + W + pQ(N − c) ÷ c + D(N + c − 2).

The same is true of the jobs of q of the c slots of memory, with q for c: they are a row of their own. A slot's jobs
grow by pQ + qD a turn, instead of R.

What it is worth: row `round-trips` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil

from solver.bounds.bound import Bound
from solver.problem import Key, Problem
from solver.repetition import Place, Repetition, is_regular, places_of


@dataclass(frozen=True)
class Row:
    """Devices in a row through which jobs go out and back, with memory on the first one for a few of them.

    Attributes
    ----------
    devices : int
        p.
    first : int
        The number of device 0 in the problem.
    forward, to_input : int
        The shortest F and the shortest I of all devices.
    lag : int
        λ: the least lag of a link, of both ways together.
    to_weight : int
        How long W takes on device 0.
    live : int
        c: job k + c starts on device 0 no earlier than W of job k ends there.
    """

    devices: int
    first: int
    forward: int
    to_input: int
    lag: int
    to_weight: int
    live: int

    @property
    def meeting(self) -> int:
        """Q."""
        return self.forward + self.to_input + self.lag

    def growth(self, slots: int) -> Fraction:
        """Return the largest D that is proven for a number of slots; where it is not positive, nothing is.

        **Theorem.** ct + QE ≥ cL + cDr (see the module, whose words are used; k is λ here and a is Q − cD).

        Less D only lowers levels, by no more than r times as much: let (1) 2k ≤ a ≤ ck, (2) (2c − 3)a ≥ c(c − 2)k,
        (3) Q ≥ ck. For 1 ≤ g < h ≤ c and 0 ≤ i < c let

            G_g(x) = the least of J_g and, for i < g, I_{g,i}: J_g = c·x_{g−1} − ck + ac,
            I_{g,i} = c·max(x_i, x_{g−1} − k) + a(c − 1 − i),
            T_{g,h}(x) = max(G_g + A_h, c·x_{h−1} − gQ), A_c = 0, else A_h = (c − h)Q − (c − 1 − h)(ck − a),
            B_i(x) = c·x_i + r_i, r_i = (c − 1 − i)Q for i ≥ 1, r_0 = (c − 1)(Q − max(0, ck − 2a)),

        and Φ the least of all T_{g,h} and B_i. Then Φ ≤ B_{c−1} = ct; where all levels are u, Φ = cu; and Φ falls by at
        most c times what all levels fall. By (1) to (3), for h < c: (4) A_h ≥ (c − h)a, A_{h−1} ≤ A_h + Q and A_{h−1} =
        A_h + Q − ck + a; and (5) (c − 1)a ≤ r_0 ≤ (c − 1)Q and r_0 ≥ (c − 2)Q.

        *Claim.* Φ(y) + nQ − cD ≥ Φ(x) for a job that hops out n times. Then the theorem follows, job by job; a hop back
        costs Q, which pays for λ off all levels by (3). If n = 0, all of y is t + D, and Φ(y) = ct + cD. Let n ≥ 1, so
        P = nQ − cD = (n − 1)Q + a, and p = max H, or one more if two hops or more are made there and p < c − 1. Then

        (a) y_i ≥ x_{i−1} for i ≥ 1; (b) y_i ≥ t + D for i > p; (c) y_0 ≥ x_0 − k; (d) y_p ≥ t + D − Q;
        (e) if n = 1, y_i ≥ t + D − Q for i ≤ p and y_i ≥ x_{p−1} − k for i < p. And c(t + D − Q) + a = ct − (c − 1)Q.

        Only if e > 1 hops are made at c − 1, (d) may be false. Then lower t first, to t − (e − 1)Q or to x_{c−2},
        whatever is more, for which the e − 1 hops pay: Φ falls by Q at most. For T_{g,c} + Q is then at least the
        T_{g,c−1} before, if g < c − 1, and T_{c−1,c} + Q at least B_{c−2} or, if G_{c−1} ≥ G_{c−2}, T_{c−2,c−1}, and ct
        + Q at least B_{c−2}.

        *Lemma.* G_g(y) + a + (g − 1 − e)Q ≥ G_e(x) for 1 ≤ e < g. By (a) y_{g−1} ≥ x_{e−1}, so J_g(y) ≥ J_e(x), and
        I_{g,0}(y) + a ≥ J_e(x). For i ≥ 1 and j = min(i − 1, e − 1), I_{g,i}(y) + a ≥ I_{e,j}(x) − (i − 1 − j)a.

        Each term of Φ(y), and P, are at least one of Φ(x).

        - B_i, i > p: c(t + D) + nQ − cD ≥ ct. B_i, 1 ≤ i ≤ p, n ≥ 2: at least B_{i−1}. B_0, n ≥ 2: at least B_0, by
          (c), (3).
        - B_i, i ≤ p, n = 1: at least T_{p,c}. By (e), c·y_i + r_i + a ≥ ct − (c − 1)Q + r_i ≥ ct − pQ. And it is at
          least G_p: for i = 0, c(x_{p−1} − k) + r_0 + a ≥ J_p by (5); else y_i ≥ max(x_{i−1}, x_{p−1} − k), so at least
          I_{p,i−1}.
        - T_{g,h}, h − 1 > p: its second branch and P are at least ct − (g − n)Q. So at least ct if g ≤ n, else
          T_{g−n,c}, with the Lemma for e = g − n.
        - T_{g,h}, h − 1 ≤ p, n = 1, so g ≤ p: the first branch and a are at least T_{p,c}. First, G_g(y) + A_h + a ≥ ct
          − (c − 1)Q + m + A_h with m = min(ac − ck, a(c − g)). If h = c, then p = c − 1. Else c − 1 − p ≤ c − h, and m
          ≥ (c − 1 − h)(ck − a) is enough: ac − ck ≥ (c − 3)(ck − a) is (2), and 2(c − h)a ≥ (c − 1 − h)ck follows from
          it. Second, at least G_p: I_{g,0}(y) + a ≥ J_p; I_{g,i}(y) + a ≥ I_{p,i−1} for i ≥ 1; and J_g(y) + A_h + a ≥
          c·x_{p−1} + (ac − 2ck) + A_h + a ≥ I_{p,p−1}, as a ≥ 2k and A_h ≥ a(c − 1 − p).
        - T_{g,h}, h − 1 ≤ p, n ≥ 2. If g ≥ 2: at least T_{g−1,h−1}, with the Lemma for e = g − 1. If g = 1 and h = c =
          p + 1: at least c·y_{c−1} + a, which is at least T_{c−1,c}, by (a) and (d). If g = 1 and 3 ≤ h < c: at least
          T_{1,h−1}, since G_1(y) ≥ G_1(x) − ck. If g = 1 and h = 2 < c: at least c·x_0 − 2ck + ac + A_2 + Q + a ≥ B_0.
        """
        enough = self.lag * max(Fraction(2), Fraction(slots * (slots - 2), 2 * slots - 3))
        if self.meeting < slots * self.lag:
            return Fraction(0)
        return min(Fraction(self.to_weight - self.lag), Fraction(self.forward), (self.meeting - enough) / slots)

    def length(self, jobs: int) -> int:
        """Bound the makespan of a number of jobs, by all numbers of slots."""
        return max((self._length(jobs, slots) for slots in range(2, self.live + 1)), default=0)

    def _length(self, jobs: int, slots: int) -> int:
        """Bound the makespan by the jobs that share the slots of the last ones."""
        turns, others = divmod(jobs, self.live)
        looked_at, growth = turns * slots + min(slots, others), self.growth(slots)
        if growth <= 0 or looked_at < 2 * slots:
            return 0
        first = max(0, (others or self.live) - slots) * self.forward
        trip = self.forward + (self.devices - 1) * self.meeting + self.to_input + self.to_weight
        places = Fraction(self.devices * self.meeting * (looked_at - slots), slots)
        return ceil(first + trip + places + growth * (looked_at + slots - 2))


def round_trips_bound(whole: Repetition) -> Bound | None:
    """Bound the makespan by what round trips wait for one another; None where nothing is known.

    Parameters
    ----------
    whole : Repetition
        All jobs, or the first of them with the number of those that are left out.
    """
    row = row_of(whole.problem)
    if row is None:
        return None
    length = row.length(len(whole.problem.chains[0]) + min(whole.more))
    return Bound(length, "round trips", row.first, {"held": row.live}) if length else None


def row_of(problem: Problem) -> Row | None:
    """Read a problem as a row of devices with jobs that go out and back; None if it is not one."""
    if problem.fusing.firsts or problem.merged_durations or len(problem.chains) != 3 * problem.devices:
        return None
    if problem.devices < 2 or not is_regular(problem):
        return None
    places = places_of(problem)
    waits: list[dict[int, int]] = [{} for _ in problem.chains]
    for before, after, lag in problem.precedences:
        first, second = places[before][0], places[after][0]
        if first != second:
            waits[second][first] = lag
    tasks = [problem.tasks[chain[0]] for chain in problem.chains]
    trip = _trip([task.device for task in tasks], [set(each) for each in waits])
    live = 0 if trip is None else _live(problem, places, trip.out[0], trip.late)
    if trip is None or not 2 <= live <= problem.devices:
        return None
    ways = zip(pairwise(trip.out), pairwise(trip.back), strict=True)
    return Row(
        devices=problem.devices,
        first=tasks[trip.out[0]].device,
        forward=min(tasks[chain].duration for chain in trip.out),
        to_input=min(tasks[chain].duration for chain in trip.back),
        lag=min(waits[there[1]][there[0]] + waits[back[0]][back[1]] for there, back in ways),
        to_weight=tasks[trip.late].duration,
        live=live,
    )


@dataclass(frozen=True)
class _Trip:
    """The chains of a row on the way out and on the way back, by device, and the one of W on device 0."""

    out: list[int]
    back: list[int]
    late: int


def _trip(devices: Sequence[int], waits: Sequence[AbstractSet[int]]) -> _Trip | None:
    """Find the chains of a row: out from the one that waits for none, and back from the last device."""
    out = [chain for chain, before in enumerate(waits) if not before]
    while len(out) == len({devices[chain] for chain in out}) < len(set(devices)):
        here = devices[out[-1]]
        after = [chain for chain, before in enumerate(waits) if before == {out[-1]} and devices[chain] != here]
        if not after:
            return None
        out += after
    if len(out) != len(set(devices)):
        return None
    back, late = list[int](), list[int]()
    for chain in reversed(out):
        others = [each for each, device in enumerate(devices) if device == devices[chain] and each != chain]
        behind = set(back[-1:])
        back += [each for each in others if waits[each] in ({chain} | behind, behind or {chain})]
        late = [each for each in others if waits[each] == {back[-1]}] if back else []
        if len(back) != len(out) - out.index(chain) or not late:
            return None
    return _Trip(out, back[::-1], late[0])


def _live(problem: Problem, places: Mapping[Key, Place], first: int, last: int) -> int:
    """Count for how many jobs the memory of device 0 is enough; 0 where it is not limited, or held in another way.

    If I returns a part, c jobs that have not ended W hold what W returns, and one more that starts takes all.
    """
    device = problem.tasks[problem.chains[first][0]].device
    capacity = problem.capacities[device]
    holds = [hold for hold in problem.holds if problem.tasks[hold.take].device == device]
    if capacity is None or any(places[hold.take][0] != first for hold in holds):
        return 0
    kinds = {(hold.amount, sum(part for task, part in hold.returns if places[task][0] == last)) for hold in holds}
    if len(kinds) != 1:
        return 0
    ((amount, kept),) = kinds
    return (capacity - amount) // kept + 1 if 0 < kept <= amount <= capacity else 0
