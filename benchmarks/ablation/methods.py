"""What can be switched off: each method with the families that it is for, its files, and its switches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from benchmarks.ablation.switches import Method, Switch, always, if_any, if_not_none, method


def gives(value: Any) -> Callable[[Any], Any]:
    """Return the same value whatever is asked."""
    return lambda _original: lambda *_arguments, **_named: value


def empty(_original: Any) -> Callable[..., Iterator[Any]]:
    """Yield nothing."""
    return lambda *_arguments, **_named: iter(())


def argument(place: int) -> Callable[[Any], Any]:
    """Return one of the arguments as it is."""
    return lambda _original: lambda *arguments, **_named: arguments[place]


def constant(value: Any) -> Callable[[Any], Any]:
    """Put another value in the place of a constant."""
    return lambda _original: value


def assembled(name: str, off: Callable[[Any], Any], counts: Callable[..., bool] = always) -> Switch:
    """Switch an argument off where bounds are assembled, of whole problems and of the first tasks of long ones."""
    return Switch(f"{MAKESPAN}:{name}", off, counts)


def without(tool: str, at_work: str) -> Switch:
    """Take a tool of the search away; where it is at work, its name is called in the portfolio."""

    def off(original: Any) -> Any:
        return lambda *arguments: tuple(each for each in original(*arguments) if each != tool)

    return Switch(f"{ONE}:usual_tools", off, seen_at=f"{PORTFOLIO}:{at_work}")


def is_of_search(module: Any) -> bool:
    """Return whether inner loops are not those of cuts, which `solver.jit` compiles, too."""
    return module.__name__ != f"{SPLITS}.loops"


def plain_loops(original: Any) -> Any:
    """Have no compiled loops of the search."""
    return lambda module, **how: None if is_of_search(module) else original(module, **how)


def plain_replay(original: Any) -> Any:
    """Replay cuts in plain Python."""
    return lambda problem, _compiled: original(problem, None)


def listed_rules(original: Any) -> Any:
    """Take the rules that are listed, and those for the case that all came to a halt."""
    from solver.search.greedy import PROVEN_RULES

    def rules(compiled: Any, results: Any, rng: Any) -> Iterator[Any]:
        for number, rule in enumerate(original(compiled, results, rng)):
            if number >= len(PROVEN_RULES) and results:
                return
            yield rule

    return rules


def no_idleness(_original: Any) -> Any:
    """Return a curve that shows nothing."""
    from solver.bounds.idle_curves import Curve

    return lambda *_arguments, **_named: Curve(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))


def even_only(_original: Any) -> Any:
    """Replay the even start, and go no further."""
    from solver.partitioning.descent import Descent
    from solver.partitioning.solve import weights_of
    from solver.partitioning.splits import even_start

    def descended(problem: Any, replay: Any, pool: Any, seed: int, _replays: int, *_rest: Any) -> Any:
        descent = Descent(problem, replay, pool, seed)
        cuts = even_start(problem, weights_of(problem))
        return descent.judged(descent.place(cuts, np.zeros((problem.bins, len(problem.runs)), dtype=np.int64)))

    return descended


def functions(file: str, names: str) -> str:
    """Name some functions of a file."""
    return " ".join(f"{file}:{name}" for name in names.split())


def files(folder: str, names: str) -> str:
    """Name some files of a folder."""
    return " ".join(f"{folder}/{name}" for name in names.split())


BOUNDS, SEARCH, SPLITS = "solver.bounds", "solver.search", "solver.partitioning"
PLANNING, CUTTING, OPTIMIZATION = "ppopt.planning", "ppopt.cutting", "ppopt.optimization"
MAKESPAN, PORTFOLIO, TOOLS = f"{BOUNDS}.makespan", f"{SEARCH}.portfolio", f"{SEARCH}.tools"
LONG, TREE, ONE = f"{SEARCH}.long_search", f"{SPLITS}.tree", f"{OPTIMIZATION}.one_search"
BRANCHING = f"{SPLITS}.branching"

IN_CURVES = functions("solver/bounds/idle_curves", "make_pool _row _split _knapsack _rates _steps")
JOINT = functions("solver/search/annealing", "propose_joint nearest join split")
CPSAT = files(
    "solver/search", "cpsat_lane cpsat_model cpsat_search cpsat_solution cpsat_state cpsat_steps cpsat_variants"
)
ROUTES = files("solver/search", "long_search shorter_problems stretching lattice")
PROBING = functions("solver/partitioning/tree", "_probed _probe") + " solver/partitioning/rows:order_rows"

# fmt: off
BASIC = (
    method("jackson", "v uneven linear", "solver/bounds/jackson",
           Switch(f"{MAKESPAN}:jackson_bound", gives(0)), reach="first bound"),
    method("alike", "v below-p interleaved", "solver/bounds/alike",
           Switch(f"{MAKESPAN}:alike_edges", gives([]), if_any), reach="bounds"),
    method("blocks", "fused v", "solver/bounds/blocks",
           assembled("blocks_curve", gives(None), if_not_none), reach="first bound"),
    method("block-area", "fused-below-p fused", "solver/bounds/block_area",
           assembled("block_area_bound", gives(None), if_not_none), reach="first bound"),
    method("pairing-by-smaller", "fused v", "solver/bounds/pairing:_by_smaller",
           Switch(f"{BOUNDS}.pairing:Pairing._by_smaller", constant(lambda pairing: pairing._by_sums()), if_any)),
    method("idle-curves", "v interleaved linear", "solver/bounds/idle_curves",
           Switch(f"{BOUNDS}.analysis:front_curve", no_idleness), Switch(f"{BOUNDS}.analysis:back_curve", no_idleness),
           reach="bounds"),
    method("idle-curves-memory", "v interleaved below-p", IN_CURVES,
           Switch(f"{BOUNDS}.analysis:make_pool", gives(None), if_not_none), reach="bounds"),
    method("preceding-work", "uneven v linear", "solver/bounds/preceding_work:raised_heads",
           Switch(f"{BOUNDS}.analysis:raised_heads", argument(0)), reach="bounds"),
    method("memory-edges", "below-p v linear", "solver/bounds/memory_edges",
           Switch(f"{MAKESPAN}:with_memory_edges", constant(lambda _problem, network, **_: (network, [])),
                  lambda result, *_, **__: bool(result[1])),
           Switch(f"{TOOLS}:memory_edges", gives([]), if_any), reach="bounds"),
    method("stretched", "long linear", "solver/bounds/stretched",
           Switch(f"{MAKESPAN}:bounds_of_long", empty, if_not_none, f"{MAKESPAN}:shortened"),
           Switch(f"{SEARCH}.first_bounds:bounds_of_long", empty, if_not_none, f"{MAKESPAN}:shortened"),
           Switch(f"{OPTIMIZATION}.unwritten:bounds_of_long", empty, if_not_none, f"{MAKESPAN}:shortened")),
    method("repeated-paths", "long linear",
           functions("solver/bounds/stretched", "repeated_paths _taking _steps _longest_by_steps"),
           assembled("repeated_paths", empty)),
    method("round-trips", "below-p long", "solver/bounds/round_trips",
           assembled("round_trips_bound", gives(None), if_not_none), reach="first bound"),
    method("refutation", "v below-p uneven", "solver/bounds/refutation",
           Switch(f"{SEARCH}.first_bounds:refuted_bounds", empty)),
    method("span-bound", "linear below-p", "solver/bounds/span",
           Switch(f"{OPTIMIZATION}.span_bound:span_bounds", lambda _: lambda forwards, *_, **__: [0] * len(forwards))),
    method("cp-sat", "below-p fused linear", CPSAT, without("cp-sat", "run_cpsat")),
    method("local-search", "v fused linear", "solver/search/annealing solver/search/local_search",
           without("local search", "Annealing")),
    method("compiled-loops", "v linear", "solver/jit",
           Switch("solver.jit:jitted", plain_loops,
                  lambda names, module, **_: names is not None and is_of_search(module))),
    method("joint-moves", "fused v", JOINT,
           Switch(f"{SEARCH}.local_search:JOINT_SHARE", constant(0), lambda _, search, *__, **___: search.has_joint,
                  f"{SEARCH}.local_search:LocalSearch.run_round")),
    method("rules-beyond-12", "interleaved v linear", "solver/search/greedy:_varied",
           Switch(f"{SEARCH}.greedy:_rules", listed_rules, seen_at=f"{SEARCH}.greedy:_varied")),
    method("list-schedules", "interleaved v linear", "solver/search/greedy",
           Switch(f"{TOOLS}:greedy_schedules", empty), Switch(f"{LONG}:greedy_tokens", empty)),
    method("short-problems", "long interleaved", ROUTES,
           Switch(f"{ONE}:long_search_of", gives(None), if_not_none),
           Switch(f"{PORTFOLIO}:long_search_of", gives(None), if_not_none),
           Switch(f"{ONE}:_Whole.search_ahead", gives(None), if_not_none)),
    method("descent", "plans free-plans", "solver/partitioning/descent",
           Switch(f"{SPLITS}.solve:_descended", even_only)),
    method("probing", "plans free-plans", PROBING, Switch(f"{TREE}:Tree._probed", argument(1))),
    method("roundings", "plans free-plans", "solver/partitioning/roundings",
           Switch(f"{TREE}:Tree._separate_rounded", gives(False))),
    method("paths-between", "plans free-plans", "solver/partitioning/tree:_separate_between",
           Switch(f"{TREE}:SHARE_OF_CENTRE", constant(0.0), seen_at=f"{TREE}:Tree._separate_between")),
    method("steps", "plans free-plans", "solver/partitioning/solve:_run_in_steps",
           Switch(f"{SPLITS}.solve:SHARE_OF_FIRST", constant(1.0), seen_at=f"{SPLITS}.solve:_run_in_steps")),
    method("tried-branches", "plans free-plans", functions("solver/partitioning/branching", "_best_of _promise _tried"),
           Switch(f"{BRANCHING}:CANDIDATES", constant(1), seen_at=f"{BRANCHING}:Branching._tried")),
    method("compiled-loops-of-cuts", "plans free-plans", "",
           Switch(f"{SPLITS}.solve:Replay", plain_replay, lambda replay, *_, **__: replay.compiled is not None)),
    method("bound-of-all-orders", "plans free-plans", "ppopt/planning/dependent_order:bound_of_all_orders",
           Switch(f"{PLANNING}.race:bound_of_all_orders", gives(Fraction(0)))),
    method("cuts-to-begin-with", "plans free-plans", "ppopt/planning/dependent_order:cuts_to_begin_with",
           Switch(f"{PLANNING}.race:cuts_to_begin_with", empty)),
)
# fmt: on

_NAMED = {each.name: each for each in BASIC}
TOGETHER = (_NAMED["jackson"] + _NAMED["alike"],)
METHODS: dict[str, Method] = _NAMED | {each.name: each for each in TOGETHER}
