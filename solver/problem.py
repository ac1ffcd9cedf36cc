"""A scheduling problem: tasks on devices, precedences with lag, memory, and tasks that may fuse.

Nothing here knows about pipelines. All durations, lags and amounts are whole numbers ("ticks"), so that replay, search,
bounds and checks are exact; ``ticks_per_unit`` converts back to the user's unit of time, ``amounts_per_unit`` to the
user's unit of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import networkx as nx

Key: TypeAlias = Hashable
"""Names a task."""


class Task(NamedTuple):
    """Work that occupies one device without a break.

    Attributes
    ----------
    device : int
        Where it runs.
    duration : int
        In ticks. A task of 0 ticks still takes its turn: it starts when its device is free, and ends at that moment.
    """

    device: int
    duration: int


class Block(NamedTuple):
    """Two tasks of one device, fused: they start together and end together."""

    first: Key
    second: Key

    def __str__(self) -> str:
        return f"({self.first};{self.second})OVERLAP_F_B"


class Merged(NamedTuple):
    """Two tasks of one device run as one piece of work: both end when it ends."""

    first: Key
    second: Key


Action: TypeAlias = Hashable
"""The unit of work of a device: a task (its key), a `Merged` pair, or a `Block` (whose second half may be merged)."""

Orders: TypeAlias = Sequence[Sequence[Action]]
"""The actions of each device, in the order in which it runs them."""

Precedence: TypeAlias = tuple[Key, Key, int]
"""(before, after, lag): ``after`` starts no earlier than ``lag`` ticks after ``before`` ends."""


class Hold(NamedTuple):
    """Memory that is taken on a device when one task starts, and returned when others end.

    Attributes
    ----------
    take : Key
        The task at whose start the memory is taken.
    amount : int
        How much is taken.
    returns : tuple of (Key, int)
        The tasks at whose ends a part is returned; the parts add up to ``amount``. A task that returns a part takes
        time. So memory returned at a moment was held before it, and the order in which tasks of no duration start and
        end at one moment never matters.
    """

    take: Key
    amount: int
    returns: tuple[tuple[Key, int], ...]


@dataclass(frozen=True)
class Fusing:
    """Which tasks may share a block, and how long it lasts.

    Attributes
    ----------
    firsts, seconds : mapping of Key to int
        The class of each task that may be the first, or the second, half of a block. In blocks, all tasks of a class
        are equivalent. In a search, a second half with a partner brings the partner along (`Merged`).
    durations : mapping of (int, int) to int
        The duration of a block, in ticks, by the classes of its two halves; two classes without an entry do not fuse.
    """

    firsts: Mapping[Key, int] = field(default_factory=dict)
    seconds: Mapping[Key, int] = field(default_factory=dict)
    durations: Mapping[tuple[int, int], int] = field(default_factory=dict)

    def duration(self, first: Key, second: Key) -> int | None:
        """Return the duration of a block of two tasks; None if they do not fuse in this order."""
        if first not in self.firsts or second not in self.seconds:
            return None
        return self.durations.get((self.firsts[first], self.seconds[second]))

    def scaled(self, scale: Callable[[int], int]) -> Fusing:
        """Convert the durations to other ticks."""
        return replace(self, durations={pair: scale(duration) for pair, duration in self.durations.items()})


@dataclass(frozen=True)
class Problem:
    """A scheduling problem.

    Attributes
    ----------
    devices : int
        The number of devices.
    tasks : mapping of Key to Task
        All tasks, each to be run exactly once.
    precedences : sequence of (before, after, lag)
        The dependencies; see `Precedence`.
    holds : sequence of Hold
        The memory that tasks take and return.
    capacities : sequence of int or None
        The memory that each device has for holds, in addition to its static memory; None if unlimited. Empty if no
        device has a limit.
    static : sequence of int
        The memory that each device holds at all times; empty if none does.
    fusing : Fusing
        Which tasks may share a block: any two of one device whose classes have a duration together.
    partners : mapping of Key to Key
        For a search: for each of these tasks, another one that waits for it and can be merged with it.
    merged_durations : mapping of Key to int
        For a search: the duration of each of these tasks when merged with its partner outside a block; a task not
        named here merges only inside a block.
    chains : sequence of sequence of Key
        For a search: tasks that are equal in everything (device, duration, memory, and dependencies), in an order that
        a heuristic may impose. If the precedences impose this order as well, no solution is lost.
    ticks_per_unit, amounts_per_unit : int
        Ticks per unit of the user's time, and of the user's memory.
    moves : mapping of (Key, Key) to int
        For precedences between devices: the number of ticks of the lag for which the first task's result is on the link
        from its device to the other. A link moves one result at a time, in the order in which the device produces them;
        in a block, the first half's result comes first. Empty if results do not wait for each other.
    repeats : bool
        Whether chains, if they are regular, can be continued: each device's work is then the same over and over.
    """

    devices: int
    tasks: Mapping[Key, Task]
    precedences: Sequence[Precedence]
    holds: Sequence[Hold] = ()
    capacities: Sequence[int | None] = ()
    fusing: Fusing = field(default_factory=Fusing)
    partners: Mapping[Key, Key] = field(default_factory=dict)
    merged_durations: Mapping[Key, int] = field(default_factory=dict)
    chains: Sequence[Sequence[Key]] = ()
    ticks_per_unit: int = 1
    amounts_per_unit: int = 1
    static: Sequence[int] = ()
    moves: Mapping[tuple[Key, Key], int] = field(default_factory=dict)
    repeats: bool = True

    def __post_init__(self) -> None:
        if not self.capacities:
            object.__setattr__(self, "capacities", (None,) * self.devices)

    def static_of(self, device: int) -> int:
        """Return the memory that a device holds at all times."""
        return self.static[device] if self.static else 0

    def duration(self, action: Action) -> int:
        """Return the duration of a task or a block, in ticks."""
        if isinstance(action, Block):
            second = action.second.first if isinstance(action.second, Merged) else action.second
            return self.fusing.durations[self.fusing.firsts[action.first], self.fusing.seconds[second]]
        if isinstance(action, Merged):
            return self.merged_durations[action.first]
        return self.tasks[action].duration

    def can_merge(self, task: Key) -> bool:
        """Return whether a search may merge a task with its partner, alone or in a block."""
        return task in self.partners and (task in self.merged_durations or task in self.fusing.seconds)

    def dag(self) -> nx.DiGraph[Key]:
        """Build the precedences as a graph: nodes with ``device`` and ``duration``, edges with ``lag``."""
        import networkx as nx

        graph: nx.DiGraph[Key] = nx.DiGraph()
        for key, task in self.tasks.items():
            graph.add_node(key, device=task.device, duration=task.duration)
        graph.add_edges_from((before, after, {"lag": lag}) for before, after, lag in self.precedences)
        return graph


def tasks_of(action: Action) -> tuple[Key, ...]:
    """List the tasks of an action: one, the two of a merged pair, or those of both halves of a block."""
    if isinstance(action, Block):
        return (action.first, *tasks_of(action.second))
    return tuple(action) if isinstance(action, Merged) else (action,)


class Placed(NamedTuple):
    """The times of one task.

    Attributes
    ----------
    task : Key
        The task.
    device : int
        Its device.
    start, end : int
        In ticks.
    block : int or None
        A number shared by the two halves of a block; None outside blocks.
    """

    task: Key
    device: int
    start: int
    end: int
    block: int | None = None
