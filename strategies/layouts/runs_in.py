"""Which training framework runs which schedule, and which orders it loads from outside.

Read in the frameworks' sources, which each entry names; what was only read, not run, may have changed since.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from solver.errors import InputError
from strategies.language.orders import parse_strategy
from strategies.language.registry import all_strategies, plain
from strategies.layouts.megatron import group_size_options
from strategies.model.numbers import shown
from strategies.model.placements import PLACEMENTS, Placement

Options: TypeAlias = Mapping[str, int]
WhyNot: TypeAlias = Callable[[Placement, Options], str]
"""``why_not(placement, options)`` says why a framework does not run its schedule so; empty if it does."""


@dataclass(frozen=True)
class Framework:
    """A training framework.

    Attributes
    ----------
    name : str
        As users write it.
    title : str
        Its name in sentences.
    letter : str
        Its letter in tables.
    schedules : mapping of str to callable or None
        Its own schedules, by our names, with the conditions under which they are its own.
    loads : bool
        Whether it loads any order from a file, on any placement with one copy of each stage.
    recompute : {"per-stage", "uniform-k", "none"}
        What it recomputes: any number of layers of each stage, the first k of every stage, or nothing that a plan can
        choose.
    sources : tuple of str
        Where that is written.
    """

    name: str
    title: str
    letter: str
    schedules: Mapping[str, WhyNot | None] = field(hash=False)
    loads: bool = False
    recompute: Literal["per-stage", "uniform-k", "none"] = "per-stage"
    sources: tuple[str, ...] = ()

    @property
    def placements(self) -> list[str]:
        """The placements on which it loads any order."""
        return [name for name in PLACEMENTS if name != "bidirectional"] if self.loads else []

    @property
    def loads_only(self) -> str:
        """On which placements it loads an order, in words."""
        if not self.loads:
            return f"{self.title} loads no order from outside, so none is searched for it"
        return f"{self.title} loads orders on {', '.join(self.placements)}"

    def why_not(self, label: str, placement: Placement) -> str:
        """Say why it does not run a schedule; empty if it does.

        Parameters
        ----------
        label : str
            A published schedule with its options, or the name of another order.
        placement : Placement
            Which device holds which stage.
        """
        name = label.partition(":")[0]
        if self.loads:
            known = all_strategies().get(name)
            if known is not None and known.requirements.takes_slices:
                return f"{self.title} runs whole microbatches, and not slices of them"
            return "" if len(set(placement.homes)) == 1 else f"{self.title} keeps one copy of each stage, and not two"
        if name not in self.schedules:
            return f"{self.title} does not run it; it runs {', '.join(self.schedules)}"
        condition = self.schedules[name]
        return condition(placement, parse_strategy(label)[1]) if condition else ""


def _chunked(placement: Placement, options: Options) -> str:
    """Megatron's interleaving: several chunks, and groups that it accepts."""
    stages = len(placement.homes[0])
    if stages == placement.devices > 1:
        return "Megatron interleaves two or more stages per device"
    try:
        group_size_options(options.get("group_size"), placement.devices, stages, placement.microbatches)
    except InputError as error:
        return str(error)
    return ""


def _whole_groups(placement: Placement, options: Options) -> str:
    devices, microbatches = placement.devices, placement.microbatches
    if options.get("group_size", devices) != devices or microbatches % devices:
        return f"its interleaving takes groups of {devices}, as many as devices; found {microbatches} microbatches"
    return _chunked(placement, options)


def _at_least(per_device: int, less: int = 0) -> WhyNot:
    def why_not(placement: Placement, _options: Options) -> str:
        needed = per_device * placement.devices - less
        if placement.microbatches >= needed:
            return ""
        return f"it needs at least {needed} microbatches; found {placement.microbatches}"

    return why_not


_MEGATRON: dict[str, WhyNot | None] = {"1f1b": None, "interleaved": _chunked, "interleaved-overlap": _chunked}
_SAIL_SG: dict[str, WhyNot | None] = dict.fromkeys(
    ("1f1b-v", "interleaved-group", "pipeoffload", "v-half", "v-min", "zb-auto", "zb-v-auto")
)
_SLICES: dict[str, WhyNot | None] = {"seq1f1b": None}
_PRIMUS: dict[str, WhyNot | None] = {
    "v-half-primus": None,
    "v-min-primus": None,
    "zb-h1": _at_least(1),
    "zb-v": _at_least(2, 1),
}

FRAMEWORKS = (
    Framework(
        "megatron",
        "Megatron-Core",
        "M",
        _MEGATRON,
        recompute="uniform-k",
        sources=(
            "NVIDIA/Megatron-LM: megatron/core/pipeline_parallel/schedules.py",
            "NVIDIA/Megatron-LM: megatron/core/pipeline_parallel/combined_1f1b.py",
        ),
    ),
    Framework(
        "pytorch",
        "PyTorch",
        "P",
        dict.fromkeys(("gpipe", "1f1b", "interleaved", "looped-bfs", "zb-interleaved", "zb-v", "dualpipe-v")),
        loads=True,
        sources=(
            "pytorch/pytorch: torch/distributed/pipelining/schedules.py",
            "pytorch/torchtitan: torchtitan/distributed/pipeline_parallel.py",
        ),
    ),
    Framework(
        "deepspeed",
        "DeepSpeed",
        "D",
        {"1f1b": None},
        recompute="none",
        sources=("microsoft/DeepSpeed: deepspeed/runtime/pipe/schedule.py",),
    ),
    Framework(
        "zero-bubble",
        "sail-sg's zero-bubble",
        "Z",
        {"1f1b": None, "interleaved": _whole_groups, **_SAIL_SG, **_SLICES},
        recompute="uniform-k",
        sources=(
            "sail-sg/zero-bubble-pipeline-parallelism: megatron/core/pipeline_parallel/zerobubble/runtime.py",
            "sail-sg/zero-bubble-pipeline-parallelism: megatron/core/pipeline_parallel/zerobubble/scheduler/",
        ),
    ),
    Framework(
        "primus",
        "Primus",
        "R",
        {**_MEGATRON, **_SAIL_SG, **_PRIMUS},
        recompute="uniform-k",
        sources=(
            "AMD-AGI/Primus: primus/core/pipeline_parallel/scheduler/schedule_table_factory.py",
            "AMD-AGI/Primus: primus/backends/megatron/core/pipeline_parallel/zerobubble/runtime.py",
        ),
    ),
    Framework(
        "dualpipe",
        "DualPipe's code",
        "U",
        {"dualpipe": _at_least(2), "dualpipe-v": _at_least(2)},
        sources=("deepseek-ai/DualPipe: dualpipe/dualpipe.py", "deepseek-ai/DualPipe: dualpipe/dualpipev.py"),
    ),
)
"""The frameworks, in the order in which they are listed."""

_ALSO = {"megatroncore": "megatron", "megatronlm": "megatron", "torchtitan": "pytorch", "torch": "pytorch"}


def find_framework(name: object) -> Framework:
    """Find a framework by its name or title, ignoring case, ``-``, ``_`` and spaces.

    Raises
    ------
    InputError
        If there is none; the message names the nearest one and lists all.
    """
    by_name = {plain(each): known for known in FRAMEWORKS for each in (known.name, known.title)}
    by_name |= {also: by_name[known] for also, known in _ALSO.items()}
    wanted = plain(name) if isinstance(name, str) else ""
    if wanted in by_name:
        return by_name[wanted]
    near = difflib.get_close_matches(wanted, by_name, n=1, cutoff=0.5)
    hint = f"did you mean {by_name[near[0]].name}? " if near else ""
    known = ", ".join(each.name for each in FRAMEWORKS)
    raise InputError(f"framework: {shown(name)} is not known; {hint}Known are {known}")


def runs_in(labels: Sequence[str], placement: Placement) -> tuple[Framework, ...]:
    """List the frameworks that run an order.

    Parameters
    ----------
    labels : sequence of str
        Its names: published schedules with their options that are this order, or another name.
    placement : Placement
        Which device holds which stage.
    """
    return tuple(each for each in FRAMEWORKS if any(not each.why_not(label, placement) for label in labels))


def run_by(framework: str | None) -> list[str]:
    """List the published schedules that a framework runs at sizes that suit them; all without one."""
    wanted = None if framework is None else find_framework(framework).name
    return [name for name in all_strategies() if wanted is None or wanted in frameworks_of(name)]


def frameworks_of(name: str) -> list[str]:
    """List the frameworks that run a published schedule at sizes that suit them."""
    strategy = all_strategies()[name]
    loads = not strategy.requirements.takes_slices
    return [
        each.name
        for each in FRAMEWORKS
        if name in each.schedules or (loads and each.loads and strategy.placement in each.placements)
    ]
