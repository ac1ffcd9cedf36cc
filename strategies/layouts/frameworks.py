"""Writes a cut for each framework, and says which parts of it the framework cannot express."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from solver.errors import InputError
from strategies.language.registry import PYTORCHS_PREFIX, Strategy, all_strategies
from strategies.layouts.deepspeed import is_uniform, write_deepspeed_parts
from strategies.layouts.megatron import (
    group_size_options,
    megatron_options,
    recomputation_options,
    write_megatron_layout,
)
from strategies.layouts.runs_in import find_framework
from strategies.layouts.torchtitan import write_torchtitan_parts
from strategies.model.cuts import ByKind
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement

_MEGATRONS = tuple(find_framework("megatron").schedules)
_V_OF_TORCHTITAN = ("zb-v", "zb-v-auto", "dualpipe-v")


@dataclass(frozen=True)
class Export:
    """A cut as one framework takes it.

    Attributes
    ----------
    framework : str
        Its name.
    value : str, list or None
        The layout in the framework's grammar; None if the framework cannot run the cut.
    lines : tuple of str
        The lines for its command line or configuration; empty if it cannot run the cut.
    cannot : tuple of str
        The parts of the plan that it cannot express, and why.
    """

    framework: str
    value: Any
    lines: tuple[str, ...]
    cannot: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the framework can run the whole plan."""
        return self.value is not None and not self.cannot


@dataclass(frozen=True)
class Planned:
    """A plan to export.

    Attributes
    ----------
    pipeline : Pipeline
        The pipeline, with layers and their cut.
    placement : Placement
        Which device holds which stage.
    strategy : Strategy or None
        The published schedule; None for the user's own order.
    options : dict of str to int
        The schedule's options.
    """

    pipeline: Pipeline
    placement: Placement
    strategy: Strategy | None
    options: dict[str, int]

    @property
    def name(self) -> str:
        """The name of the order in messages."""
        return "the order" if self.strategy is None else self.strategy.name

    @property
    def recomputed(self) -> ByKind | None:
        """The number of recomputed layers for each stage and kind; None if no layer is."""
        counts = self.pipeline.recomputed_per_stage
        return counts if counts is not None and any(map(any, counts)) else None


def planned_for(framework: str) -> str:
    """Write the options of ``ppopt plan`` that restrict it to plans that a framework can run."""
    if framework == "Megatron-Core":
        return f"--strategies {','.join(_MEGATRONS)} --recompute uniform-k"
    names = (
        ["1f1b"] if framework == "DeepSpeed" else [name for name, each in all_strategies().items() if _class_of(each)]
    )
    return f"--strategies {','.join(names)} --recompute none"


def _class_of(strategy: Strategy) -> str | None:
    """Return the name of PyTorch's class for a schedule, if it has one."""
    return next((name for name in strategy.aliases if name.startswith(PYTORCHS_PREFIX)), None)


def exports(planned: Planned) -> tuple[Export, ...]:
    """Write a cut for Megatron-Core, torchtitan and DeepSpeed.

    Parameters
    ----------
    planned : Planned
        The plan; its pipeline has layers and a cut.
    """
    return tuple(_written(name, write, planned) for name, write in _WRITERS.items())


def _written(framework: str, write: Callable[[Planned], Export], planned: Planned) -> Export:
    try:
        return write(planned)
    except InputError as error:
        return Export(framework, None, (), (str(error),))


def _cut_of(planned: Planned) -> tuple[int, ...]:
    cut = planned.pipeline.layers_per_stage
    assert cut is not None
    return cut


def _megatron(planned: Planned) -> Export:
    pipeline, layers, cut = planned.pipeline, planned.pipeline.layers, _cut_of(planned)
    assert layers is not None
    devices = pipeline.devices
    if not planned.placement.is_loop:
        raise InputError(f"Megatron-Core lays stage k on rank k mod {devices}, and has no {planned.placement.name}")
    lines = megatron_options(layers, cut, devices)
    cannot: list[str] = []
    if planned.recomputed is not None:
        _try(lines, cannot, lambda: recomputation_options(layers, cut, planned.recomputed or ()))
    group = planned.options.get("group_size")
    _try(lines, cannot, lambda: group_size_options(group, devices, len(cut), pipeline.microbatches))
    if planned.strategy is None or planned.strategy.name not in _MEGATRONS:
        cannot.append(f"Megatron-Core runs 1F1B, plain or interleaved, and not {planned.name}")
    return Export("Megatron-Core", write_megatron_layout(layers, cut, devices), tuple(lines), tuple(cannot))


def _try(lines: list[str], cannot: list[str], write: Callable[[], Iterable[str]]) -> None:
    try:
        lines += write()
    except InputError as error:
        cannot.append(str(error))


def _torchtitan(planned: Planned) -> Export:
    pipeline, layers = planned.pipeline, planned.pipeline.layers
    assert layers is not None
    is_v = planned.strategy is not None and planned.strategy.name in _V_OF_TORCHTITAN
    if not planned.placement.is_loop and not is_v:
        raise InputError(
            "torchtitan lays stages out in a loop, or as a V for ZBVZeroBubble and DualPipeV; "
            f"it has no {planned.placement.name} for {planned.name}"
        )
    parts = write_torchtitan_parts(layers, _cut_of(planned), pipeline.devices)
    called = planned.strategy and _class_of(planned.strategy)
    lines = [f"pipeline_parallel_degree = {pipeline.devices}"]
    cannot: list[str] = []
    if called:
        lines.append(f'pipeline_parallel_schedule = "{called.removeprefix(PYTORCHS_PREFIX)}"')
    else:
        cannot.append(f"PyTorch has no class for {planned.name}: export the order as CSV, see docs/how-to/run-it.md")
    lines.append(f"module_fqns_per_model_part = {json.dumps(parts)}")
    if planned.recomputed is not None:
        cannot.append("torchtitan recomputes the same layers on every stage, not a number for each")
    return Export("torchtitan", parts, tuple(lines), tuple(cannot))


def _deepspeed(planned: Planned) -> Export:
    pipeline, layers = planned.pipeline, planned.pipeline.layers
    assert layers is not None
    if planned.placement.name != "linear":
        raise InputError(f"DeepSpeed has one stage per rank, stage s on rank s, and has no {planned.placement.name}")
    parts = write_deepspeed_parts(layers, _cut_of(planned), pipeline.devices)
    how = 'partition_method="uniform"' if is_uniform(parts) else f"self.parts = {parts}  # in _partition_layers"
    cannot: list[str] = []
    if planned.strategy is None or planned.strategy.name != "1f1b":
        cannot.append(f"DeepSpeed runs 1F1B, and not {planned.name}")
    if planned.recomputed is not None:
        cannot.append("DeepSpeed recomputes with one activation_checkpoint_interval for all stages")
    return Export("DeepSpeed", parts, (f"num_stages={pipeline.devices}", how), tuple(cannot))


_WRITERS = {"Megatron-Core": _megatron, "torchtitan": _torchtitan, "DeepSpeed": _deepspeed}

FRAMEWORKS = tuple(_WRITERS)
"""The frameworks for which a cut is written."""
