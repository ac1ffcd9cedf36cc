"""A problem in whole numbers: tasks, chains and modes of devices become indices into plain lists.

A device's order is a string of *tokens*. A token is a *mode*: the chains that one action advances (one; two or three in
a block or a merged pair). The j-th occurrence of a chain in the string stands for its j-th task. So a string determines
every task without naming any, and the memory held depends on the string alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from solver.deadline import check_time, is_over, until
from solver.problem import Action, Block, Key, Merged, Orders, Problem, tasks_of

LARGEST_CLOSURE = 200_000_000
"""Tasks times chains; above this, only direct predecessors are known to be ahead on a device."""

Tokens = list[list[int]]
"""For each device, the modes that it runs, in order."""


class Mode(NamedTuple):
    """A kind of action of a device, by the chains that it advances.

    Attributes
    ----------
    device : int
        Its device.
    chains : tuple of int
        The chains that it advances: one, two or three.
    duration : int
        Its duration.
    take, give : int
        The memory taken when it starts and returned when it ends.
    fused, merged : bool
        Whether it is a `Block`, and whether it contains a `Merged` pair.
    """

    device: int
    chains: tuple[int, ...]
    duration: int
    take: int
    give: int
    fused: bool = False
    merged: bool = False


@dataclass(frozen=True)
class CompiledProblem:
    """A problem in whole numbers.

    Attributes
    ----------
    keys : list of Key
        The tasks; their positions here are their numbers everywhere else.
    device, duration : list of int
        Of each task.
    chain, position : list of int
        The chain of each task and its position there. A task in no chain of the problem is a chain of its own.
    chains : list of list of int
        The tasks of each chain.
    local_chains, local_modes : list of list of int
        The chains and the modes of each device.
    modes : list of Mode
        All modes of the devices. The first ones are the single chains: mode c is chain c.
    predecessors, successors : list of list of (int, int)
        The tasks that each task waits for, and those that wait for it, with lags; without the order inside a chain.
    needs : list of list of (int, int)
        For each task, (chain, count): how many tasks of other chains must be ahead of it on its device.
    take, give : list of int
        The memory that each task takes at its start and returns at its end.
    capacities : list of int
        The memory of each device; without a limit, the total that its tasks take.
    topological : list of int
        All tasks, each after those that it waits for.
    """

    keys: list[Key]
    device: list[int]
    duration: list[int]
    chain: list[int]
    position: list[int]
    chains: list[list[int]]
    local_chains: list[list[int]]
    local_modes: list[list[int]]
    modes: list[Mode]
    predecessors: list[list[tuple[int, int]]]
    successors: list[list[tuple[int, int]]]
    needs: list[list[tuple[int, int]]]
    take: list[int]
    give: list[int]
    capacities: list[int]
    topological: list[int]

    @property
    def devices(self) -> int:
        """The number of devices."""
        return len(self.capacities)

    def orders(self, tokens: Tokens) -> list[list[Action]]:
        """Return the actions that strings of tokens stand for."""
        count = [0] * len(self.chains)
        return [[self._action(self.modes[mode], count) for mode in string] for string in tokens]

    def _action(self, mode: Mode, count: list[int]) -> Action:
        names: list[Key] = []
        for chain in mode.chains:
            names.append(self.keys[self.chains[chain][count[chain]]])
            count[chain] += 1
        if mode.fused:
            return Block(names[0], Merged(names[1], names[2]) if mode.merged else names[1])
        return Merged(names[0], names[1]) if mode.merged else names[0]


def compile_problem(problem: Problem, *, deadline: float | None = None) -> CompiledProblem:
    """Write a problem in whole numbers.

    Parameters
    ----------
    problem : Problem
        The problem. Memory taken on a device must be returned there.
    deadline : float or None
        On the clock of `time.perf_counter`.

    Raises
    ------
    OutOfTimeError
        If the deadline passes first.
    ValueError
        If the precedences have a cycle, or memory is returned on another device than the one it was taken on.
    """
    keys = list(problem.tasks)
    number = {key: index for index, key in enumerate(keys)}
    device = [problem.tasks[key].device for key in keys]
    duration = [problem.tasks[key].duration for key in keys]
    take, give = _memory(problem, number, device)
    chains = _chains(problem, number, [*zip(device, duration, take, give, strict=True)])
    chain, position = [0] * len(keys), [0] * len(keys)
    for index, tasks in enumerate(chains):
        for place, task in enumerate(tasks):
            chain[task], position[task] = index, place
    in_chain = {pair for tasks in chains for pair in pairwise(tasks)}
    check_time(deadline)
    predecessors, successors = _neighbours(problem, number, in_chain)
    check_time(deadline)
    topological = _topological(predecessors, successors, chains, chain, position)
    local_chains: list[list[int]] = [[] for _ in range(problem.devices)]
    for index, tasks in enumerate(chains):
        local_chains[device[tasks[0]]].append(index)
    modes = [Mode(device[t[0]], (c,), duration[t[0]], take[t[0]], give[t[0]]) for c, t in enumerate(chains)]
    modes += _joint_modes(problem, keys, number, chains, local_chains, modes)
    local_modes: list[list[int]] = [[] for _ in range(problem.devices)]
    for index, mode in enumerate(modes):
        local_modes[mode.device].append(index)
    return CompiledProblem(
        keys=keys,
        device=device,
        duration=duration,
        chain=chain,
        position=position,
        chains=chains,
        local_chains=local_chains,
        local_modes=local_modes,
        modes=modes,
        predecessors=predecessors,
        successors=successors,
        needs=_needs(predecessors, topological, chains, chain, position, device, local_chains, deadline),
        take=take,
        give=give,
        capacities=_capacities(problem, device, take),
        topological=topological,
    )


def _memory(problem: Problem, number: dict[Key, int], device: list[int]) -> tuple[list[int], list[int]]:
    """Add up the memory that each task takes and returns."""
    take, give = [0] * len(number), [0] * len(number)
    for hold in problem.holds:
        taker = number[hold.take]
        take[taker] += hold.amount
        for key, part in hold.returns:
            if device[number[key]] != device[taker]:
                raise ValueError(f"{key} returns memory of another device")
            give[number[key]] += part
    return take, give


def _capacities(problem: Problem, device: list[int], take: list[int]) -> list[int]:
    given = list(problem.capacities) or [None] * problem.devices
    taken = [0] * problem.devices
    for where, amount in zip(device, take, strict=True):
        taken[where] += amount
    return [most if limit is None else limit for limit, most in zip(given, taken, strict=True)]


def _chains(problem: Problem, number: dict[Key, int], alike: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """List the chains whose tasks are equal as promised; every other task is a chain of its own."""
    chains: list[list[int]] = []
    for keys in problem.chains:
        tasks = [number[key] for key in keys]
        if len({(*alike[task], *_choices(problem, key)) for task, key in zip(tasks, keys, strict=True)}) == 1:
            chains.append(tasks)
    named = {task for tasks in chains for task in tasks}
    return chains + [[task] for task in number.values() if task not in named]


def _choices(problem: Problem, key: Key) -> tuple[int | None, int | None, bool, int | None]:
    return (
        problem.fusing.firsts.get(key),
        problem.fusing.seconds.get(key),
        key in problem.partners,
        problem.merged_durations.get(key),
    )


def _joint_modes(
    problem: Problem,
    keys: list[Key],
    number: dict[Key, int],
    chains: list[list[int]],
    local_chains: list[list[int]],
    single: list[Mode],
) -> Iterator[Mode]:
    """List merged pairs and blocks that are shorter than their parts in sequence; others are never needed."""
    chain_of = {tuple(tasks): chain for chain, tasks in enumerate(chains)}
    partner: dict[int, int] = {}
    for chain, tasks in enumerate(chains):
        partners = [problem.partners.get(keys[task]) for task in tasks]
        known = tuple(number[key] for key in partners if key is not None)
        if known in chain_of:
            partner[chain] = chain_of[known]
    for chain, other in partner.items():
        length = problem.merged_durations.get(keys[chains[chain][0]])
        if length is not None:
            yield _joint((chain, other), length, single, merged=True)
    for local in local_chains:
        firsts = [chain for chain in local if keys[chains[chain][0]] in problem.fusing.firsts]
        seconds = [chain for chain in local if keys[chains[chain][0]] in problem.fusing.seconds]
        for second in seconds:
            has_partner = keys[chains[second][0]] in problem.partners
            if has_partner and second not in partner:
                continue
            parts = (second, partner[second]) if has_partner else (second,)
            for first in firsts:
                block = (first, *parts)
                length = problem.fusing.duration(keys[chains[first][0]], keys[chains[second][0]])
                alone = sum(single[chain].duration for chain in block)
                if first != second and length is not None and length < alone:
                    yield _joint(block, length, single, fused=True, merged=has_partner)


def _joint(
    chains: tuple[int, ...], length: int, single: list[Mode], *, fused: bool = False, merged: bool = False
) -> Mode:
    take = sum(single[chain].take for chain in chains)
    give = sum(single[chain].give for chain in chains)
    return Mode(single[chains[0]].device, chains, length, take, give, fused, merged)


def _neighbours(
    problem: Problem, number: dict[Key, int], in_chain: set[tuple[int, int]]
) -> tuple[list[list[tuple[int, int]]], list[list[tuple[int, int]]]]:
    lags: dict[tuple[int, int], int] = {}
    for before, after, lag in problem.precedences:
        pair = (number[before], number[after])
        if lag or pair not in in_chain:
            lags[pair] = max(lag, lags.get(pair, 0))
    predecessors: list[list[tuple[int, int]]] = [[] for _ in number]
    successors: list[list[tuple[int, int]]] = [[] for _ in number]
    for (first, second), lag in lags.items():
        predecessors[second].append((first, lag))
        successors[first].append((second, lag))
    return predecessors, successors


def _topological(
    predecessors: list[list[tuple[int, int]]],
    successors: list[list[tuple[int, int]]],
    chains: list[list[int]],
    chain: list[int],
    position: list[int],
) -> list[int]:
    """Sort the tasks such that each comes after those that it waits for, including the order inside chains."""
    missing = [len(before) + (place > 0) for before, place in zip(predecessors, position, strict=True)]
    found = [task for task, count in enumerate(missing) if not count]
    for task in found:
        after = [other for other, _ in successors[task]]
        after += chains[chain[task]][position[task] + 1 : position[task] + 2]
        for other in after:
            missing[other] -= 1
            if not missing[other]:
                found.append(other)
    if len(found) < len(missing):
        raise ValueError("the precedences have a cycle")
    return found


def _needs(
    predecessors: list[list[tuple[int, int]]],
    topological: list[int],
    chains: list[list[int]],
    chain: list[int],
    position: list[int],
    device: list[int],
    local_chains: list[list[int]],
    deadline: float | None,
) -> list[list[tuple[int, int]]]:
    """For each task, count how many tasks of each other chain must be ahead of it on its device.

    Waits by way of other devices count as well: otherwise a string could wait for itself.
    """
    needs: list[list[tuple[int, int]]] = [[] for _ in chain]
    if len(chain) * len(chains) > LARGEST_CLOSURE:
        for task, before in enumerate(predecessors):
            ahead = [other for other, _ in before if device[other] == device[task]]
            needs[task] = [(chain[other], position[other] + 1) for other in ahead]
        return needs
    behind = np.zeros((len(chain), len(chains)), dtype=np.int32)
    local = [np.array(indices) for indices in local_chains]
    over = partial(is_over, deadline)
    for task in until(over, topological):
        row = behind[task]
        own = chain[task]
        earlier = [other for other, _ in predecessors[task]]
        if position[task]:
            earlier.append(chains[own][position[task] - 1])
        for other in earlier:
            np.maximum(row, behind[other], out=row)
        indices = local[device[task]]
        needs[task] = [
            (chain_number, count)
            for chain_number, count in zip(indices.tolist(), row[indices].tolist(), strict=True)
            if count and chain_number != own
        ]
        row[own] = position[task] + 1
    return [_without_implied(task, needs, chains, chain, position) for task in until(over, range(len(chain)))]


def _without_implied(
    task: int, needs: list[list[tuple[int, int]]], chains: list[list[int]], chain: list[int], position: list[int]
) -> list[tuple[int, int]]:
    """Drop needs that the previous task of the chain, or another need, already implies."""
    implied: dict[int, int] = defaultdict(int)
    others = [chains[other][count - 1] for other, count in needs[task]]
    if position[task]:
        others.append(chains[chain[task]][position[task] - 1])
    for other in others:
        for number, count in needs[other]:
            implied[number] = max(implied[number], count)
    return [(number, count) for number, count in needs[task] if count > implied[number]]


def tokens_from(compiled: CompiledProblem, orders: Orders) -> Tokens | None:
    """Read orders as strings of tokens, renumbering the tasks of each chain in the order in which they occur.

    Returns
    -------
    list of list of int or None
        None if the orders contain an action that cannot be a token here.
    """
    number = {key: index for index, key in enumerate(compiled.keys)}
    modes = {(mode.chains, mode.fused): index for index, mode in enumerate(compiled.modes)}
    tokens: Tokens = []
    for order in orders:
        string: list[int] = []
        for action in order:
            names = tasks_of(action)
            if any(name not in number for name in names):
                return None
            chains = tuple(compiled.chain[number[name]] for name in names)
            mode = modes.get((chains, isinstance(action, Block)))
            string += [mode] if mode is not None else chains  # a block that saves nothing becomes its parts in sequence
        tokens.append(string)
    return tokens
