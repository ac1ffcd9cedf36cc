"""Layouts that others wrote or computed, against the best cut that a plan finds and proves for the same order.

``python -m benchmarks.plan_layouts [nvidia|pytorch|known] [seconds] [part of a name]``

``nvidia``: the layouts in NVIDIA's recipes, replayed on the costs of tests/data/planned_models.json. These costs only
resemble those of the models, so a difference shows the value of balance alone. ``pytorch``: the cuts that the heuristic
of PyTorch's pull request 179212 finds on these instances. ``known``: every instance with the best result known before.
``seconds`` is the time limit of each plan (20 by default).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from time import perf_counter, process_time
from typing import Any

import ppopt
from strategies.layouts.reading import read_layout
from tests.planned_models import everything, instances, nvidias_model, pipeline, pipeline_of


def qwens_model() -> ppopt.Pipeline:
    """Make a model like Qwen3-Next: 48 equal layers, one for multi-token prediction, a head of 0.7 layers."""

    def layer(name: str, forward: int, **more: Any) -> dict[str, Any]:
        return {"name": name, "forward": forward, "backward": 2 * forward, **more}

    layers = [
        layer("embedding", 4, latest_stage=0),
        layer("decoder", 100, count=48),
        layer("mtp", 115, earliest_stage=-1),
        layer("head", 70, earliest_stage=-1),
    ]
    return pipeline(layers, 2, 16)


def plan_of(model: ppopt.Pipeline, strategy: str, per_device: int, seconds: float, **options: Any) -> ppopt.Plan | None:
    found = ppopt.plan(
        model, [strategy], stages_per_device=per_device, time_limit=seconds, raise_infeasible=False, **options
    )
    return found.best


def said(plan: ppopt.Plan | None) -> str:
    if plan is None:
        return "none"
    return "proven" if plan.status == "optimal" else f"gap {plan.gap:.2%}"


def nvidia(seconds: float, part: str) -> Iterator[str]:
    yield f"{'instance':38} {'theirs':>9} {'plan':>9} {'':12} {'shorter':>8} {'CPU s':>6}  layout"
    for entry in everything()["nvidia_layouts"]:
        if part not in entry["instance"]:
            continue
        model = qwens_model() if entry["instance"].startswith("qwen") else nvidias_model(entry)
        assert model.layers is not None
        strategy = "1f1b" if entry["vpp"] == 1 else "interleaved"
        cut = read_layout(entry["layout"], model.layers, model.devices)
        theirs = ppopt.evaluate(model.with_cut(cut), strategy, "graph").makespan
        began = process_time()
        plan = plan_of(model, strategy, entry["vpp"], seconds)
        assert plan is not None
        shorter = 1 - plan.makespan / theirs
        spent = process_time() - began
        yield (
            f"{entry['instance']:38} {theirs:9.0f} {plan.makespan:9.0f} {said(plan):12} {shorter:8.2%} {spent:6.1f}  "
            f"{entry['layout'][:40]}"
        )


def pytorch(seconds: float, part: str) -> Iterator[str]:
    yield f"{'instance':38} {'theirs':>9} {'plan':>9} {'':12} {'shorter':>8} {'CPU s':>6}"
    shorter: list[float] = []
    for entry in everything()["pytorch_partition"]:
        known = instances().get(entry["name"])
        if known is None or part not in entry["name"]:
            continue
        model, began = pipeline_of(known), process_time()
        theirs = ppopt.evaluate(model.with_cut(entry["search"]), known["strategy"], "graph").makespan
        plan = plan_of(model, known["strategy"], known["stages_per_device"], seconds)
        assert plan is not None
        shorter.append(1 - plan.makespan / theirs)
        spent = process_time() - began
        yield f"{entry['name']:38} {theirs:9.0f} {plan.makespan:9.0f} {said(plan):12} {shorter[-1]:8.2%} {spent:6.1f}"
    if shorter:
        worse = sum(each < 0 for each in shorter)
        yield f"{len(shorter)} instances: {sum(shorter) / len(shorter):.2%} shorter on average, {worse} longer"


def known(seconds: float, part: str) -> Iterator[str]:
    yield f"{'instance':48} {'known':>9} {'bound':>9} {'plan':>9} {'':12} {'s':>6}"
    for name, each in instances().items():
        if part not in name:
            continue
        free = each["strategy"] == "free"
        options: dict[str, Any] = {"empty_stages": each.get("empty_stages", True)}
        if free:
            options |= {"free": True, "placement": each["placement"], "split_backward": each["split_backward"]}
        else:
            options["recompute"] = "per-stage" if each["recompute_allowed"] else "none"
        began = perf_counter()
        plan = plan_of(
            pipeline_of(each), "1f1b" if free else each["strategy"], each["stages_per_device"], seconds, **options
        )
        value = None if each["value"] is None else Fraction(str(each["value"]))
        wrong = "" if value is None or plan is None or plan.bound <= value else "  BOUND ABOVE A KNOWN VALUE"
        worse = "" if value is None or (plan is not None and plan.exact_makespan <= value) else "  worse"
        yield (
            f"{name:48} {each['value'] or 'none':>9} {each['bound'] or '':>9} "
            f"{plan.makespan if plan else 'none':>9} {said(plan):12} {perf_counter() - began:6.1f}{worse}{wrong}"
        )


if __name__ == "__main__":
    what, limit, name_part = [*sys.argv[1:], *["nvidia", "20", ""][len(sys.argv) - 1 :]]
    for line in {"nvidia": nvidia, "pytorch": pytorch, "known": known}[what](float(limit), name_part):
        print(line, flush=True)
