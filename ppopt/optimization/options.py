"""The options of a search."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, get_args

from ppopt.noise.noise import Noise
from ppopt.process.cores import usable_cores
from ppopt.schedules.schedule import Schedule
from solver.bounds.bound import Bound
from solver.errors import InputError
from solver.search.state import Progress, Standing
from solver.states import Objective
from strategies.given_model.stages import CutChoice
from strategies.layouts.runs_in import Framework, find_framework
from strategies.model.numbers import check_seed, shown
from strategies.model.pipeline import Pipeline
from strategies.model.placements import PLACEMENTS
from strategies.problem.search_problem import Allowed

OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

MOST_CORES = 16
"""Most cores used by default."""


class QuickBound(NamedTuple):
    """What all arguments that need no search show of a whole problem.

    Attributes
    ----------
    bound : Bound
        On the makespan.
    seconds : float
        How long that took.
    """

    bound: Bound
    seconds: float


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What `optimize` takes besides the pipeline; the same names and meanings.

    Attributes
    ----------
    known : Bound or None
        A bound of the objective on the one placement searched, proven before with the same freedom and limits no lower
        than now: more memory makes no schedule longer, so it holds. Its ticks are those of the same costs.
    quick : mapping of Freedom to QuickBound
        Quick bounds that have been found already, by what exactly is free, see `ppopt.optimization.ladders.Freedom`.
    periodic : bool
        Whether long pipelines of more than 100,000 operations may be searched by their first microbatches, as
        `optimize` does; without it there are at most 300,000. Their schedules are
        `ppopt.optimization.periodic.PeriodicSchedule`.
    framework : str or None
        The framework that runs the result; placements on which it loads no order are not searched.
    offload : bool
        Whether the search chooses what is offloaded.
    one_way : bool
        Whether ``all`` leaves out placements with two directions, which take no search where microbatches differ.

    Raises
    ------
    InputError
        If a value is wrong.
    """

    placement: str = "linear"
    split_backward: bool = True
    overlap: bool = False
    objective: Objective = "makespan"
    time_limit: float = 60.0
    workers: int | None = None
    seed: int = 0
    progress: Progress | None = None
    starts: Sequence[Schedule] = ()
    cut: CutChoice = "plan"
    known: Bound | None = None
    quick: Mapping[Hashable, QuickBound] = field(default_factory=dict)
    periodic: bool = False
    robust: Noise | None = None
    framework: str | None = None
    one_way: bool = False
    offload: bool = False

    def __post_init__(self) -> None:
        if self.placement not in (*PLACEMENTS, "all"):
            known = ", ".join([*PLACEMENTS, "all"])
            raise InputError(f"placement: {self.placement!r} is not known; allowed are {known}")
        framework = self.runs_for
        if framework is not None and self.placement not in (*framework.placements, "all"):
            raise InputError(f"placement: {framework.loads_only}; found {self.placement}")
        if self.objective not in OBJECTIVES:
            raise InputError(f"objective: {self.objective!r} is not known; allowed are {', '.join(OBJECTIVES)}")
        limit, workers = self.time_limit, self.workers
        if not (isinstance(limit, (int, float)) and 0 <= limit < math.inf):
            raise InputError(f"time_limit: must be a finite number of seconds of at least 0; found {limit!r}")
        check_seed(self.seed)
        if not all(isinstance(each, Schedule) for each in self.starts):
            raise InputError(f"starts: must be schedules; found {shown(self.starts)}")
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise InputError(f"workers: must be a whole number of at least 1; found {workers!r}")
        if self.robust is not None and not isinstance(self.robust, Noise):
            raise InputError(f"robust: must be a Noise; found {shown(self.robust)}")
        if self.robust is not None and self.objective != "makespan":
            raise InputError("robust: minimises the mean makespan, so the objective must be makespan, not span")

    def refuse_offload(self, pipeline: Pipeline, *, searches: bool = True) -> None:
        """Refuse a choice of copies where none can be made, such as where nothing is searched."""
        if not isinstance(self.offload, bool):
            raise InputError(f"offload: must be True or False; found {shown(self.offload)}")
        if not self.offload:
            return
        if not searches:
            raise InputError("offload: chooses the copies of a search, and there is none; allow it (--optimize)")
        if pipeline.offload is None:
            raise InputError(
                "offload: chooses what is copied to the host, so the configuration must say how long that takes; "
                "give it offload: {time: …}"
            )
        if pipeline.sharding is not None and pipeline.sharding.resident == "auto":
            raise InputError("offload: takes a number of sharding.resident; found auto")
        if self.runs_for is not None and not self.placements:
            raise InputError(f"offload: chooses the copies of any order, and {self.runs_for.title} loads none")

    @property
    def allowed(self) -> Allowed:
        """What the search may use."""
        return Allowed(self.split_backward, self.overlap)

    def progress_on(self, pipeline: Pipeline) -> Progress | None:
        """Return the callback for a search, which knows nothing of what a step takes after its last operation."""
        tell, after = self.progress, float(pipeline.after)
        if tell is None or not after or self.objective != "makespan":
            return tell

        def told(standing: Standing) -> None:
            best = None if standing.best is None else standing.best + after
            tell(replace(standing, best=best, bound=standing.bound + after))

        return told

    @property
    def placements(self) -> list[str]:
        """The placements to be searched."""
        if self.placement != "all":
            return [self.placement]
        return [name for name in self._of_all if name not in self.two_ways]

    @property
    def two_ways(self) -> list[str]:
        """The placements with two directions that ``all`` leaves out because microbatches differ."""
        return [name for name in self._of_all if self.one_way and PLACEMENTS[name].copies > 1]

    @property
    def _of_all(self) -> list[str]:
        """The placements that ``all`` stands for; none if one is named."""
        if self.placement != "all":
            return []
        loaded = PLACEMENTS if self.runs_for is None else self.runs_for.placements
        return [name for name in loaded if PLACEMENTS[name].in_all]

    @property
    def runs_for(self) -> Framework | None:
        """The framework that runs the result, if one is given."""
        return None if self.framework is None else find_framework(self.framework)

    @property
    def cores(self) -> int:
        """How many the search uses."""
        return self.workers or min(MOST_CORES, usable_cores())
