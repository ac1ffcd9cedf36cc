"""Runs each of the six commands on a drawn model, and checks all its claims by exhaustive search."""

from __future__ import annotations

import random
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any, NamedTuple

import numpy as np

import ppopt
from strategies.language.registry import all_strategies
from tests.pairs.costs import Costs, Counts, costs_of, every_cut, every_recomputation, exact
from tests.pairs.drawn_models import Model
from tests.pairs.exhaustive import Freedom, Shorter
from tests.pairs.replay import Action, read_orders
from tests.pairs.schedules import (
    as_bound,
    bound_faults,
    costs_as_run,
    exact_makespan,
    faults_of,
    order_fits,
    own_bound_faults,
    shorter,
    something_fits,
    written,
)

PLACEMENTS = ("linear", "interleaved", "v", "bidirectional")

SECONDS = 0.6
"""Time limit of each search; plans get more, and end as soon as they are proven."""


class Verdict(NamedTuple):
    """The outcome of a command on a model.

    Attributes
    ----------
    outcome : {"ok", "refused", "infeasible", "no answer", "FAULT"}
        The last one if any of its claims is false, or it ends with a traceback.
    messages : tuple of str
        The faults; without any, the message if it has no result.
    call : str
        The code that reproduces it.
    """

    outcome: str
    messages: tuple[str, ...]
    call: str


REFUSALS = {
    "evaluate": r"needs|cannot|must be|does not|hangs with|takes|deadlock|is crossed|lowering|no order",
    "optimize": r"microbatches? .*directions|bidirectional needs|placement: ",
    "compare": r"^$",
    "plan": r"gives the times of its stages|needs an even number of microbatches|batched: Megatron-Core's|hangs with",
    "frontier": r"limits: .* is below|nothing takes memory|placement: ",
    "sweep": r"^$",
}
"""Patterns of the messages with which a command may refuse a valid model."""


def judge(command: str, model: Model) -> Verdict:
    """Run a command on a model and check its claims by exhaustive search."""
    draw = random.Random(f"{command} {model.seed}")
    calls: list[str] = [f"mapping = {model.mapping!r}"]
    try:
        faults = list(COMMANDS[command](model, draw, calls.append))
    except ppopt.InputError as error:
        said = str(error)
        known = all(re.search(REFUSALS[command], line) for line in said.split("\n"))
        return Verdict("refused" if known else "FAULT", (said,), "\n".join(calls))
    except ppopt.InfeasibleError as error:
        return Verdict("infeasible", (str(error),), "\n".join(calls))
    except ppopt.TimeTooShortError as error:
        return Verdict("no answer", (str(error),), "\n".join(calls))
    except Exception as error:  # any other error is a fault
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
        return Verdict("FAULT", (f"{type(error).__name__} at {where}: {error}",), "\n".join(calls))
    return Verdict("FAULT" if faults else "ok", tuple(faults), "\n".join(calls))


Faults = Iterator[str]
Tell = Callable[[str], None]


def _evaluate(model: Model, draw: random.Random, tell: Tell) -> Faults:
    pipeline = ppopt.Pipeline.from_mapping(model.mapping)
    made, refused = 0, []
    for name in all_strategies():
        engine = draw.choice(["graph", "graph", "graph", "cpsat"])
        try:
            schedule = ppopt.evaluate(pipeline, name, engine=engine)
        except ppopt.InputError as error:
            if not re.search(REFUSALS["evaluate"], str(error)):
                yield f"{name}: refused with {error}"
            refused.append(str(error))
            continue
        except Exception as error:
            tell(f"ppopt.evaluate(ppopt.Pipeline.from_mapping(mapping), {name!r}, engine={engine!r})")
            yield f"{name}: {type(error).__name__}: {error}"
            continue
        made += 1
        faults = list(faults_of(model.mapping, schedule))
        if faults:
            tell(f"ppopt.evaluate(ppopt.Pipeline.from_mapping(mapping), {name!r}, engine={engine!r})")
        yield from faults
    if not made:
        raise ppopt.InputError("\n".join(refused))


def _optimize(model: Model, draw: random.Random, tell: Tell) -> Faults:
    pipeline = ppopt.Pipeline.from_mapping(model.mapping)
    options = {
        "placement": draw.choice(["linear", "linear", "all", *_fitting(model)]),
        "split_backward": draw.random() < 0.7,
        "overlap": draw.random() < 0.4,
        "time_limit": SECONDS,
        "workers": 1,
        "seed": draw.randrange(5),
    }
    tell(f"ppopt.optimize(ppopt.Pipeline.from_mapping(mapping), **{options})")
    try:
        found = ppopt.optimize(pipeline, **options)
    except ppopt.InfeasibleError:
        yield from _infeasible_faults(model, _placements(options["placement"]))
        raise
    yield from faults_of(model.mapping, found)
    ended_itself = found.seconds < 0.8 * SECONDS  # with more time, finer steps may close what coarse ones left open
    if ended_itself and found.bound is not None and 0 < found.makespan - found.bound < 1e-9 * found.makespan:
        yield f"{found.strategy}: {found.makespan!r} is not proven, only rounding is between it and {found.bound!r}"
    if not found.fits:
        yield f"{found.strategy}: takes {found.peak_memory}, more than its limit"
    freedom = Freedom(found.placement, options["split_backward"], options["overlap"])
    yield from bound_faults(found.strategy, costs_as_run(model.mapping, found), freedom, found.bound)


def _infeasible_faults(model: Model, placements: Sequence[str]) -> Faults:
    for placement in placements:
        for costs in _every_costs(model, placement):
            if something_fits(costs, Freedom(placement, True, False)):
                yield f"said to be infeasible, but one microbatch at a time fits on {placement} with {costs.stages}"
                return


def _compared(model: Model, found: ppopt.Comparison) -> list[ppopt.Schedule]:
    """List the schedules that fit; those with two copies of weights of an unknown size only if there are no others."""
    fitting = [schedule for schedule in found.schedules if schedule.fits]
    parts = [model.mapping.get("memory", {}), *model.mapping.get("layers", ())]
    if any(np.any(part.get("static", 0)) for part in parts):
        return fitting
    return [schedule for schedule in fitting if schedule.placement != "bidirectional"] or fitting


def _compare(model: Model, draw: random.Random, tell: Tell) -> Faults:
    pipeline = ppopt.Pipeline.from_mapping(model.mapping)
    options = {
        "placement": draw.choice(["all", *_fitting(model)]),
        "overlap": draw.choice([None, None, True, False]),
        "time_limit": SECONDS,
        "workers": 1,
    }
    tell(f"ppopt.compare(ppopt.Pipeline.from_mapping(mapping), **{options})")
    found = ppopt.compare(pipeline, **options)
    fitting = _compared(model, found)
    for schedule, ladder in zip(found.schedules, found.ladders, strict=True):
        yield from faults_of(model.mapping, schedule)
        yield from own_bound_faults(model.mapping, schedule)
        yield from _ladder_faults(model, schedule, ladder)
    for schedule in fitting:
        if found.bound is not None and found.bound > schedule.makespan:
            yield f"the lower bound {found.bound!r} is above {schedule.strategy}, {schedule.makespan!r}, which fits"
    if fitting and found.winner is not min(fitting, key=lambda each: (each.makespan, *each.memory_taken)):
        best = min(fitting, key=lambda each: (each.makespan, *each.memory_taken))
        if (best.makespan, best.memory_taken) != (found.winner.makespan, found.winner.memory_taken):
            yield f"{found.winner.strategy} is said to win over {best.strategy}"
    yield from _left_behind(found)
    for place in _placements(options["placement"]) if found.infeasible else ():
        if any(place in said.split(":")[0] for said in found.infeasible):
            yield from _infeasible_faults(model, [place])


def _left_behind(found: ppopt.Comparison) -> Faults:
    """Find searches that lose to a published schedule on the same placement and cut with no more freedom."""
    for searched in (each for each in found.schedules if each.is_searched):
        for other in found.schedules:
            same = (
                other.layout.homes == searched.layout.homes
                and other.pipeline.costs == searched.pipeline.costs
                and (other.allowed.overlap or _has_blocks(other)) <= searched.allowed.overlap
                and searched.pipeline.semantics in ("async", "links")
            )
            if same and other.fits and not other.is_searched and other.makespan < searched.makespan:
                yield (
                    f"{searched.strategy}, {searched.makespan!r}, is behind {other.strategy}, {other.makespan!r}, "
                    "on the same placement and cut"
                )


def _has_blocks(schedule: ppopt.Schedule) -> bool:
    return any("OVERLAP" in action for order in schedule.orders for action in order)


def _ladder_faults(model: Model, schedule: ppopt.Schedule, ladder: Any) -> Faults:
    parts = {step: getattr(ladder, step) for step in ("cut", "imbalance", "filling_and_draining", "latency", "memory",
                                                      "order", "communication", "overhead", "after")}  # fmt: skip
    for step, value in parts.items():
        if value < 0:
            yield f"{schedule.strategy}: the step {step} of its ladder is {float(value)!r}"
    if ladder.ideal - ladder.saved + sum(parts.values()) != exact_makespan(schedule):
        yield f"{schedule.strategy}: its ladder does not add up to {schedule.makespan!r}"
    if ladder.cut:
        unhindered = schedule.unhindered_makespan or exact_makespan(schedule)
        least = _least_of_all_cuts(model, schedule, "none", read_orders(schedule.orders))
        if least is not None and unhindered - ladder.cut < least * (1 - Fraction(1, 10**9)):
            yield (
                f"{schedule.strategy}: another cut is said to save {float(ladder.cut)!r} of {float(unhindered)!r}, "
                f"and the best of all takes {float(least)!r}"
            )


COST_DEPENDENT = ("zb-auto", "zb-v-auto", "interleaved-group", "pipeoffload")
"""Schedules whose order depends on the cut."""


def _plan(model: Model, draw: random.Random, tell: Tell) -> Faults:
    pipeline = ppopt.Pipeline.from_mapping(model.mapping)
    options: dict[str, Any] = {
        "stages_per_device": model.stages // 2,
        "recompute": draw.choice(
            [None, "per-stage", "per-stage", "uniform-k"] if _may_recompute(model) else [None, "none"]
        ),
        "time_limit": 2.5 * SECONDS,
        "workers": 1,
        "raise_infeasible": draw.random() < 0.5,
    }
    of_one = ["1f1b", "gpipe", "zb-h1", "zb1p", "eager-1f1b", "1f1b-overlap", "zb-auto", "chimera", "dualpipe"]
    of_two = ["interleaved", "looped-bfs", "zb-v", "v-half", "dualpipe-v", "1f1b-v", "interleaved-overlap", "zb-v-auto"]
    usual, others = (of_one[0], of_one[1:]) if model.stages == 2 else (of_two[0], of_two[1:])
    names = [usual, *draw.sample(others, 2)]
    if draw.random() < 0.3 and model.mapping["microbatches"] == 2:
        options |= {"free": True, "placement": "linear" if model.stages == 2 else draw.choice(["interleaved", "v"])}
        options["split_backward"] = model.stages == 2 and draw.random() < 0.5
    tell(f"ppopt.plan(ppopt.Pipeline.from_mapping(mapping), {names}, **{options})")
    try:
        found = ppopt.plan(pipeline, names, **options)
    except ppopt.InfeasibleError as error:
        yield from _unplanned_faults(model, names, "per-stage", str(error))
        raise
    for plan in found:
        yield from faults_of(model.mapping, plan.schedule)
        yield from _plan_faults(model, plan)
    proven = [each.name.split(" ")[0].partition(":")[0] for each in found.unplanned if each.is_proven]
    yield from _unplanned_faults(model, proven, _how(model, options["recompute"]), "unplanned")
    if not found.plans:
        reasons = [f"{each.name}: {each.reason}" for each in found.unplanned]
        raise ppopt.TimeTooShortError("; ".join([*reasons, *(f"{name}: {why}" for name, why in found.left_out)]))


def _how(model: Model, recompute: str | None) -> str:
    """Return the recomputation mode, with the command's default filled in."""
    limited = "limit" in model.mapping.get("memory", {})
    return recompute or ("per-stage" if _may_recompute(model) and limited else "none")


def _may_recompute(model: Model) -> bool:
    return any("recompute" in row for row in model.mapping.get("layers", ()))


def _plan_faults(model: Model, plan: ppopt.Plan) -> Faults:
    label = f"plan {plan.label}"
    if plan.bound > plan.exact_makespan:
        yield f"{label}: {plan.makespan!r} is below its bound {float(plan.bound)!r}"
    if plan.status == "optimal" and plan.bound != plan.exact_makespan:
        yield f"{label}: optimal at {plan.makespan!r}, with a bound of {float(plan.bound)!r}"
    if not plan.schedule.fits:
        yield f"{label}: does not fit"
    for note in plan.notes:
        if plan.status == "optimal" and "without a proof" in note:
            yield f"{label}: optimal, with the note: {note}"
    orders = read_orders(plan.schedule.orders)
    if plan.is_free:
        yield from _free_plan_faults(model, plan)
    else:
        for cut, again, makespan in _every_plan(model, plan.recomputation, orders, plan.pipeline.stages or 0):
            if makespan < as_bound(plan.bound):
                yield (
                    f"{label}: the bound {float(plan.bound)!r} is above {float(makespan)!r}, which takes "
                    f"layers_per_stage {cut}, recomputed_per_stage {again}"
                )
                break
    yield from _reason_faults(model, plan, orders)


def _free_plan_faults(model: Model, plan: ppopt.Plan) -> Faults:
    split = any("I" in action for order in plan.schedule.orders for action in order)
    freedom = Freedom(plan.schedule.placement, split, False)
    for cut, again in _every_choice(model, plan.recomputation, plan.pipeline.stages or 0):
        costs = costs_of(model.mapping, len(cut), cut, again)
        found = shorter(costs, freedom, as_bound(plan.bound))
        if isinstance(found, Shorter):
            yield (
                f"plan {plan.label}: the bound {float(plan.bound)!r} is above {float(found.makespan)!r} with "
                f"layers_per_stage {cut}, recomputed_per_stage {again}: {written(found)}"
            )
            return


def _every_choice(model: Model, how: str, stages: int) -> Iterator[tuple[Counts, tuple[Counts, ...]]]:
    rows = model.mapping["layers"]
    for cut in every_cut(rows, stages):
        for again in every_recomputation(rows, cut, how):
            yield cut, again


def _every_plan(
    model: Model, how: str, orders: Sequence[Sequence[Action]], stages: int
) -> Iterator[tuple[Counts, tuple[Counts, ...], Fraction]]:
    """Yield all cuts and recomputations with which an order fits, with its makespan if no transfer waits."""
    for cut, again in _every_choice(model, how, stages):
        makespan = order_fits(costs_of(model.mapping, stages, cut, again), orders)
        if makespan is not None:
            yield cut, again, makespan


def _least_of_all_cuts(
    model: Model, schedule: ppopt.Schedule, how: str, orders: Sequence[Sequence[Action]]
) -> Fraction | None:
    return min((each[2] for each in _every_plan(model, how, orders, schedule.pipeline.stages or 0)), default=None)


def _unplanned_faults(model: Model, names: Sequence[str], how: str, said: str) -> Faults:
    """Find cuts with which an order fits, though the plan says that it fits with none."""
    if "layers" not in model.mapping:
        return
    unlimited = {**model.mapping, "memory": {}}
    for name in names:
        for cut, again in _every_choice(model, how, model.stages):
            try:
                made = ppopt.evaluate(_with_cut(unlimited, cut, again), name, engine="graph")
            except ppopt.InputError:
                continue
            makespan = order_fits(costs_of(model.mapping, model.stages, cut, again), read_orders(made.orders))
            if makespan is not None:
                yield (
                    f"{said}: no cut is said to fit {name}, and layers_per_stage {cut}, recomputed_per_stage {again} "
                    f"does, in {float(makespan)!r}"
                )
                break


def _with_cut(mapping: Mapping[str, Any], cut: Counts, again: Sequence[Counts]) -> ppopt.Pipeline:
    recomputed = {"recomputed_per_stage": [list(counts) for counts in again]} if any(map(any, again)) else {}
    return ppopt.Pipeline.from_mapping({**mapping, "layers_per_stage": list(cut), **recomputed})


_KNOWN = (
    (r"Without the memory limit, a cut is known that takes ([\d.e+-]+)", False),
    (r"Without recomputation, the best cut found takes ([\d.e+-]+)", True),
)


def _reason_faults(model: Model, plan: ppopt.Plan, orders: Sequence[Sequence[Action]]) -> Faults:
    """Check a plan's claims about other cuts against all of them, under the same rules of waiting."""
    for (pattern, limited), reason in product(_KNOWN, plan.reasons):
        found = re.search(pattern, reason)
        if found is None or plan.is_free or plan.name.partition(":")[0] in COST_DEPENDENT:
            continue
        said = Fraction(found[1]) * (1 + Fraction(1, 10**5))
        mapping = model.mapping if limited else {**model.mapping, "memory": {}}
        other = model._replace(mapping=mapping)
        how = "none" if limited else plan.recomputation
        possible = [
            (cut, again)
            for cut, again, makespan in _every_plan(other, how, orders, plan.pipeline.stages or 0)
            if makespan <= said
        ]
        if not any(_takes_at_most(mapping, cut, again, plan.name, said) for cut, again in possible):
            yield f"plan {plan.label}: no cut is that short as it is run here: {reason}"
    even = re.search(r"The even cut takes ([\d.e+-]+)", " ".join(plan.reasons))
    if even is not None and not plan.is_free and plan.name.partition(":")[0] not in COST_DEPENDENT:
        given = {key: value for key, value in model.mapping.items() if key != "layers_per_stage"}
        pipeline = ppopt.Pipeline.from_mapping(given)
        expected = ppopt.evaluate(pipeline.recut(plan.pipeline.stages or 0), plan.name, engine="graph").makespan
        if abs(Fraction(even[1]) / Fraction(expected) - 1) > Fraction(1, 10**5):
            yield f"plan {plan.label}: the even cut takes {expected!r}, and is said to take {even[1]}"


def _takes_at_most(mapping: Mapping[str, Any], cut: Counts, again: Sequence[Counts], name: str, most: Fraction) -> bool:
    try:
        return exact_makespan(ppopt.evaluate(_with_cut(mapping, cut, again), name, engine="graph")) <= most
    except ppopt.InputError:
        return False


def _frontier(model: Model, draw: random.Random, tell: Tell) -> Faults:
    pipeline = ppopt.Pipeline.from_mapping(model.mapping)
    options: dict[str, Any] = {
        "placement": draw.choice(["linear", "all", *_fitting(model)]),
        "overlap": draw.random() < 0.3,
        "time_limit": SECONDS + 0.2,
        "workers": 1,
        "points": 4,
    }
    tell(f"ppopt.frontier(ppopt.Pipeline.from_mapping(mapping), **{options})")
    found = ppopt.frontier(pipeline, **options)
    said = [found.sentence, *found.notes]
    for before, after in zip(found.points, found.points[1:], strict=False):
        if after.makespan > before.makespan or after.bound > before.bound:
            yield f"the curve rises from the limit {before.limit!r} to {after.limit!r}"
    for point in found.points:
        yield from _point_faults(model, found, point, options, says_of_which_cut=any("cut" in text for text in said))
    for place, schedule in enumerate(found.published):
        yield from faults_of(model.mapping, schedule)
        memory = max(schedule.peak_memory)
        bound = next((bound for limit, bound in reversed(found.bounds) if limit <= memory), None)
        if place in found.comparable and bound is not None and schedule.makespan < bound:
            yield f"{schedule.strategy}, {schedule.makespan!r} within {memory!r}, is below the bound there, {bound!r}"
    if found.highest_bound > found.top.makespan:
        yield f"{found.highest_bound!r} is said to be beaten by nothing, and {found.top.makespan!r} is known"


def _point_faults(
    model: Model, found: ppopt.Frontier, point: ppopt.Point, options: Mapping[str, Any], *, says_of_which_cut: bool
) -> Faults:
    label = f"limit {point.limit!r}"
    schedule = point.schedule
    if point.bound > point.makespan:
        yield f"{label}: {point.makespan!r} is below its bound {point.bound!r}"
    if max(schedule.peak_memory) > point.limit:
        yield f"{label}: {schedule.strategy} takes {schedule.peak_memory}"
    yield from (f"{label}: {fault}" for fault in faults_of(model.mapping, schedule) if "over the limit" not in fault)
    limits = (exact(point.limit),) * 2
    if schedule.is_searched:
        freedom = Freedom(schedule.placement, True, options["overlap"])
        costs = costs_as_run(model.mapping, schedule)._replace(limits=limits)
        yield from bound_faults(f"{label}, on its own cut", costs, freedom, point.bound)
    if says_of_which_cut:
        return
    for placement in found.searched:
        freedom = Freedom(placement, True, options["overlap"])
        for costs in _every_costs(model, placement):
            faults = list(bound_faults(label, costs._replace(limits=limits), freedom, point.bound))
            if faults:
                yield f"{faults[0]}, {placement}, on a cut that costs {costs.stages}"
                return


def _every_costs(model: Model, placement: str) -> Iterator[Costs]:
    """Yield the costs of a model on a placement, for every cut of its layers unless a cut of that size is given."""
    per_device = 1 if placement in ("linear", "bidirectional") else 2
    stages = 2 * per_device
    if "layers" not in model.mapping:
        yield costs_of(model.mapping, stages)
        return
    given = model.mapping.get("layers_per_stage")
    again = None
    if given is not None and len(given) == stages:
        yield costs_of(model.mapping, stages, given, again)
        return
    for cut in every_cut(model.mapping["layers"], stages):
        yield costs_of(model.mapping, stages, cut, again)


def _sweep(model: Model, draw: random.Random, tell: Tell) -> Faults:
    placement = draw.choice(_fitting(model))
    overlap, split = draw.random() < 0.3, draw.random() < 0.7
    published = draw.sample(["1f1b", "zb-h1", "gpipe", "interleaved", "zb-v", "dualpipe-v", "zb-auto"], 3)
    runs: list[Any] = [
        *published,
        {"optimize": {"placement": placement, "overlap": overlap, "split_backward": split}},
    ]
    if "layers" in model.mapping:
        runs.append({"plan": {"strategy": "1f1b", "recompute": _how(model, None)}})
    microbatches = sorted({1 if placement != "bidirectional" else 2, model.mapping["microbatches"]})
    grid = {"base": model.mapping, "axes": {"microbatches": microbatches}, "run": runs, "time_limit": SECONDS / 2}
    tell(f"ppopt.sweep({ {**grid, 'base': '…'} }, jobs=1)  # with base: mapping")
    for row in ppopt.sweep(grid, jobs=1).to_dict("records"):
        yield from _row_faults(model, row, Freedom(placement, split, overlap))


def _row_faults(model: Model, row: Mapping[str, Any], freedom: Freedom) -> Faults:
    label = f"{row['strategy']} at {row['microbatches']}"
    here = model._replace(mapping={**model.mapping, "microbatches": int(row["microbatches"])})
    kind, status, bound = str(row["strategy"]).partition(":")[0], row["status"], row["bound"]
    if status == "failed":
        known = f"{REFUSALS['evaluate']}|{REFUSALS['optimize']}|no cut"
        if re.search("nternal|Error|Traceback|refuses", row["reason"]) or not re.search(known, row["reason"]):
            yield f"{label}: {row['reason']}"
    elif status == "infeasible":
        if kind == "optimize":
            yield from _infeasible_faults(here, [freedom.placement])
    else:
        if row["fits"] and bound > row["makespan"]:
            yield f"{label}: {row['makespan']!r} is below its bound {bound!r}"
        if status == "optimal" and bound != row["makespan"]:
            yield f"{label}: optimal at {row['makespan']!r}, with a bound of {bound!r}"
        judges = {"optimize": _searched_row_faults, "plan": _planned_row_faults}
        yield from judges.get(kind, _replayed_row_faults)(here, row, label, freedom)


def _searched_row_faults(here: Model, row: Mapping[str, Any], label: str, freedom: Freedom) -> Faults:
    faults = [
        list(bound_faults(label, costs, freedom, row["bound"])) for costs in _every_costs(here, freedom.placement)
    ]
    if all(faults):  # the row does not say which cut it belongs to
        yield faults[0][0]


def _planned_row_faults(here: Model, row: Mapping[str, Any], label: str, _freedom: Freedom) -> Faults:
    cut, again = next(_every_choice(here, "none", 2))
    orders = read_orders(ppopt.evaluate(_with_cut(here.mapping, cut, again), "1f1b", engine="graph").orders)
    for cut, again, makespan in _every_plan(here, _how(here, None), orders, 2):
        if makespan < as_bound(row["bound"]):
            yield (
                f"{label}: the bound {row['bound']!r} is above {float(makespan)!r}, which takes layers_per_stage "
                f"{cut}, recomputed_per_stage {again}"
            )
            return


def _replayed_row_faults(here: Model, row: Mapping[str, Any], label: str, _freedom: Freedom) -> Faults:
    made = ppopt.evaluate(ppopt.Pipeline.from_mapping(here.mapping), str(row["strategy"]), engine="graph")
    if made.pipeline.stages != row["stages"]:
        yield f"{label}: {row['stages']} stages, and evaluate takes {made.pipeline.stages}"
        return
    yield from faults_of(here.mapping, made)
    if made.pipeline.layers_per_stage is None and made.makespan != row["makespan"]:
        yield f"{label}: {row['makespan']!r}, and evaluate says {made.makespan!r}"


def _fitting(model: Model) -> list[str]:
    """List the placements that fit the model."""
    even = model.mapping["microbatches"] % 2 == 0
    small = model.mapping["microbatches"] == 2
    return ["linear", *(["bidirectional"] if even else []), *(["interleaved", "v"] if small else [])]


def _placements(wanted: str) -> Sequence[str]:
    return PLACEMENTS if wanted == "all" else [wanted]


COMMANDS: dict[str, Callable[[Model, random.Random, Tell], Faults]] = {
    "evaluate": _evaluate,
    "optimize": _optimize,
    "compare": _compare,
    "plan": _plan,
    "frontier": _frontier,
    "sweep": _sweep,
}
