"""Instances, each in a process of its own, with one method off or none; rows are kept in a file."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

from benchmarks.ablation.instances import Instance, instances
from benchmarks.ablation.methods import BASIC, METHODS
from benchmarks.ablation.switches import Method, switched_off, watching

BASELINE = "baseline"

BEGINNING = 2.5
"""Seconds until a process has loaded all."""

Key: TypeAlias = tuple[str, str, int, str, float, int]


def key_of(method: str, instance: Instance, seconds: float, seed: int) -> Key:
    """Name the row of an instance."""
    return method, instance.family, instance.number, instance.mark, seconds, seed


@dataclass(frozen=True)
class Row:
    """What became of an instance.

    Attributes
    ----------
    method : str
        What was off; `BASELINE` for nothing.
    family, number, mark : str, int, str
        The instance.
    seconds, seed : float, int
        The limit, in seconds of processor time as all times here, and the seed of the search.
    found, bound : float or None, float
        The makespan and its bound. None if there is none.
    closed : float or None
        After how many seconds the one met the other; None if they did not.
    took : float
        How long it was worked on.
    first_bound : int or None
        What was known when the tools of the search began, in ticks.
    used : dict of str to int
        With nothing off: how often each method was at work.
    asked : list of str
        With a method off: which of its switches were asked for.
    copied : str
        Why it did not have to run: without the method it is the same. Empty if it ran.
    error : str
        What went wrong.
    """

    method: str
    family: str
    number: int
    mark: str
    seconds: float
    seed: int
    found: float | None = None
    bound: float = 0.0
    closed: float | None = None
    took: float = 0.0
    first_bound: int | None = None
    used: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    copied: str = ""
    error: str = ""

    @property
    def key(self) -> Key:
        """What makes two rows the same."""
        return self.method, self.family, self.number, self.mark, self.seconds, self.seed

    @property
    def gap(self) -> float:
        """(found − bound) ÷ found, all of it where nothing was found."""
        return 1.0 if not self.found else max(0.0, (self.found - self.bound) / self.found)

    @property
    def is_proven(self) -> bool:
        """Whether it was proven to be optimal."""
        return self.closed is not None

    def copy_as(self, method: str, why: str, asked: Sequence[str] = ()) -> Row:
        """Say that a method changes nothing."""
        return Row(**asdict(self) | {"method": method, "copied": why, "used": {}, "asked": [*asked]})


class _SameBoundError(Exception):
    """Without a method the bound ahead of the search is the same."""


def _decides_alone(method: Method, baseline: Row) -> bool:
    """Return whether a method can change nothing any more behind the first bound."""
    return method.reach == "first bound" or (method.reach == "bounds" and not baseline.used.get("cp-sat", 0))


def _at_first_bound(act: Callable[[int], None]) -> AbstractContextManager[Any]:
    """Look at the bound of a search when its tools begin."""
    import solver.search.portfolio as module

    run_tools = module.run_tools

    def begin(search: Any, *arguments: Any, **named: Any) -> None:
        act(search.bound)
        run_tools(search, *arguments, **named)

    return patch.object(module, "run_tools", begin)


def solve(
    instance: Instance, seconds: float, seed: int, enough: Row | None = None
) -> tuple[float | None, float, float | None]:
    """Run an instance on one core; return what was found, the bound, and after how many seconds they met.

    A search ends as soon as both are as good as in another row, where they did not meet.
    """
    import ppopt
    from solver.errors import InfeasibleError

    pipeline = ppopt.Pipeline.from_mapping(instance.mapping)
    how: dict[str, Any] = {"time_limit": seconds, "workers": 1, "seed": seed}
    began = time.perf_counter()
    if pipeline.layers is not None:
        planning = ppopt.plan(pipeline, raise_infeasible=False, **how, **instance.options)
        took = time.perf_counter() - began
        wanted = [plan for plan in planning if plan.is_free or "free" not in instance.options]
        if not wanted:
            return None, 0.0, took if planning.infeasible else None
        best = wanted[0]
        return float(best.exact_makespan), float(best.bound), took if best.status == "optimal" else None
    closed: list[float] = []
    is_open = enough is not None and enough.found is not None and not enough.is_proven

    def note(at: ppopt.Standing) -> None:
        if not closed and at.best is not None and at.best <= at.bound:
            closed.append(time.perf_counter() - began)
        elif is_open and at.best is not None and at.best <= enough.found and at.bound >= enough.bound:
            signal.raise_signal(signal.SIGINT)

    try:
        made = ppopt.optimize(pipeline, progress=note, **how, **instance.options)
    except InfeasibleError:
        return None, 0.0, time.perf_counter() - began
    when = closed[0] if closed else made.seconds
    return made.makespan, made.bound or 0.0, when if made.status == "optimal" else None


def run(method: str, instance: Instance, seconds: float, seed: int, baseline: Row | None = None) -> Row:
    """Run an instance, with a method off, or with nothing off and all methods watched."""
    import ppopt.optimization.one_search
    import ppopt.planning.planning

    row = Row(*key_of(method, instance, seconds, seed))
    first: list[int] = []

    def look(bound: int) -> None:
        first.append(bound)
        if baseline is not None and bound == baseline.first_bound and _decides_alone(METHODS[method], baseline):
            raise _SameBoundError

    used: dict[str, int] = {}
    asked: list[str] = []
    began = time.perf_counter()
    with ExitStack() as stack:  # what shortens no makespan would take time after a proof
        stack.enter_context(patch.object(ppopt.optimization.one_search, "spare_memory", lambda *_, **__: None))
        stack.enter_context(_at_first_bound(look))
        if method == BASELINE:
            used = stack.enter_context(watching(BASIC))
        else:
            asked = stack.enter_context(switched_off(METHODS[method]))
        try:
            found, bound, closed = solve(instance, seconds, seed, baseline)
        except _SameBoundError:
            assert baseline is not None
            return baseline.copy_as(method, "same bound", asked)
        except Exception as error:  # a row says so, and the others go on
            return Row(**asdict(row) | {"error": f"{type(error).__name__}: {error}", "asked": asked})
    more = {"found": found, "bound": bound, "closed": closed, "took": time.perf_counter() - began, "asked": asked}
    return Row(**asdict(row) | more | {"first_bound": first[0] if first else None, "used": used})


class Results:
    """Rows, kept in a file as soon as they are there, or nowhere."""

    def __init__(self, folder: Path | None) -> None:
        self.rows: dict[Key, Row] = {}
        self.path = None if folder is None else folder / "rows.jsonl"
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path is not None and self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                self._keep(Row(**json.loads(line)))

    def _keep(self, row: Row) -> None:
        self.rows[row.key] = row

    def add(self, row: Row) -> None:
        """Keep a row."""
        self._keep(row)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")

    def of(self, method: str, family: str, seconds: float, seed: int) -> list[Row]:
        """List the rows of a family."""
        keys = [key_of(method, each, seconds, seed) for each in instances(family)]
        return [self.rows[key] for key in keys if key in self.rows]


def count_processor_time() -> None:
    """Let every clock of this process count what it used of a processor: a busy machine then changes nothing.

    It must be the first thing that a process does.
    """
    time.perf_counter = time.process_time


def families_of(methods: Iterable[Method]) -> list[str]:
    """List the families that some methods are tried on."""
    return list(dict.fromkeys(family for method in methods for family in method.families))


def run_all(
    methods: Sequence[Method],
    families: Sequence[str],
    results: Results,
    *,
    seconds: float,
    seed: int,
    jobs: int,
    tell: Callable[[Row, int], None],
    foresee: Callable[[int, float], None],
) -> None:
    """Run what is missing: all with nothing off, then each method where it has been at work.

    Parameters
    ----------
    methods, families : sequence
        Which ones; of a method's families only those named here.
    results : Results
        Where rows go.
    seconds, seed : float, int
        For each search.
    jobs : int
        How many run side by side.
    tell : callable
        ``tell(row, left)`` for every row, and how many are left.
    foresee : callable
        ``foresee(count, seconds)`` once it is known how many methods and instances have to run, and about how long.
    """
    every = [instance for family in families for instance in instances(family)]
    missing = [each for each in every if key_of(BASELINE, each, seconds, seed) not in results.rows]
    _run(((BASELINE, each, None) for each in missing), results, seconds, seed, jobs, tell)
    waiting = list(_to_run(methods, families, results, seconds, seed))
    foresee(len(waiting), sum(BEGINNING + known.took for *_, known in waiting) / jobs)
    _run(waiting, results, seconds, seed, jobs, tell)


def _to_run(
    methods: Sequence[Method], families: Sequence[str], results: Results, seconds: float, seed: int
) -> Iterator[tuple[str, Instance, Row]]:
    """List what has to run; where a method was not at work, the row is known."""
    for method in methods:
        for family in (each for each in method.families if each in families):
            for instance, known in zip(instances(family), results.of(BASELINE, family, seconds, seed), strict=True):
                if key_of(method.name, instance, seconds, seed) in results.rows:
                    continue
                if any(known.used.get(part, 0) for part in method.parts) or known.error:
                    yield method.name, instance, known
                else:
                    results.add(known.copy_as(method.name, "not reached"))


def _run(
    tasks: Iterable[tuple[str, Instance, Row | None]],
    results: Results,
    seconds: float,
    seed: int,
    jobs: int,
    tell: Callable[[Row, int], None],
) -> None:
    waiting = list(tasks)
    context = get_context("spawn")
    with ProcessPoolExecutor(jobs, context, count_processor_time, max_tasks_per_child=1) as pool:
        begin = partial(pool.submit, run)
        futures: list[Future[Row]] = [begin(name, each, seconds, seed, known) for name, each, known in waiting]
        for number, future in enumerate(as_completed(futures), 1):
            results.add(future.result())
            tell(future.result(), len(waiting) - number)
