"""The options that describe a pipeline, and the configuration they override."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from solver.errors import InputError

if TYPE_CHECKING:
    from strategies.pipeline import Pipeline

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("-c", "--config", metavar="FILE", help="Configuration, YAML or JSON (see docs/configuration.md)."),
    click.option("--devices", type=int, metavar="N", help="Pipeline ranks.  [default: 4]"),
    click.option("--stages", type=int, metavar="N", help="Slices of the model.  [default: as the schedule needs]"),
    click.option("--microbatches", type=int, metavar="N", help="Per iteration.  [default: twice the devices]"),
    click.option(
        "--time",
        "times",
        multiple=True,
        metavar="KEY=VALUE",
        help="forward=1.5, backward_input=[1,1,2,1], or forward.3=2 for one stage.  [default: F = I = W = 1]",
    ),
    click.option("--p2p-latency", metavar="X", help="Time for a result to reach another device.  [default: 0]"),
    click.option("--memory-limit", metavar="X", help="What a device holds at most: a number, or a list."),
)

OPTION_NAMES = ("config", "devices", "stages", "microbatches", "times", "p2p_latency", "memory_limit")
"""The parameters that `pipeline_options` adds, as `read_pipeline` takes them."""


def pipeline_options(command: Command) -> Command:
    """Add the options that describe a pipeline to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_pipeline(
    config: str | None,
    devices: int | None,
    stages: int | None,
    microbatches: int | None,
    times: tuple[str, ...],
    p2p_latency: str | None,
    memory_limit: str | None,
) -> tuple[Pipeline, str | None]:
    """Make the pipeline from the configuration file and the options, which override it.

    Returns
    -------
    pipeline : Pipeline
        The pipeline.
    strategy : str or None
        The strategy that the configuration names, if any.
    """
    from strategies.configuration import read_configuration, split_strategy
    from strategies.pipeline import Pipeline

    mapping, strategy = split_strategy({} if config is None else read_configuration(config))
    sizes = {"devices": devices, "stages": stages, "microbatches": microbatches}
    mapping |= {key: value for key, value in sizes.items() if value is not None}
    if p2p_latency is not None:
        mapping["p2p_latency"] = _value(p2p_latency)
    if memory_limit is not None:
        memory = mapping.get("memory") or {}
        mapping["memory"] = {**memory, "limit": _value(memory_limit)} if isinstance(memory, Mapping) else memory
    if config is None:
        mapping = {"devices": 4, "microbatches": max(2, 2 * mapping.get("devices", 4)), **mapping}
    for time in times:
        _override_time(mapping, time)
    if config is None:
        _fill_in_times(mapping)
    return Pipeline.from_mapping(mapping), strategy


def _value(text: str) -> Any:
    """Read a number or a list of numbers; what is neither stays text and is refused with its key."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _override_time(mapping: dict[str, Any], text: str) -> None:
    """Apply ``forward=1.5`` or ``forward.3=2``."""
    key, equals, written = text.partition("=")
    if not equals:
        raise InputError(f"--time: must be KEY=VALUE, e.g. forward=1.5; found {text[:40]!r}")
    key, dot, stage = key.strip().partition(".")
    times = mapping.setdefault("times", {})
    if not isinstance(times, dict):
        return  # refused when the whole is read
    key = {"backward_D": "backward_input", "backward_W": "backward_weight"}.get(key, key)
    times[key] = _with_stage(mapping, key, stage, _value(written)) if dot else _value(written)


def _with_stage(mapping: Mapping[str, Any], key: str, stage: str, value: object) -> Any:
    """Change one stage of what a key says."""
    if not (stage.isascii() and stage.isdecimal() and len(stage) < 10):
        raise InputError(f"times.{key}.{stage[:40]}: must name a stage by a whole number from 0")
    current = mapping["times"].get(key, 1 if not mapping["times"] else None)
    if current is None:
        raise InputError(f"times.{key}.{stage}: the other stages have no {key}; give {key} as well")
    if isinstance(current, Mapping):
        return {**current, next((each for each in current if str(each) == str(int(stage))), int(stage)): value}
    entries = list(current) if isinstance(current, (list, tuple)) else [current] * _count_stages(mapping)
    if int(stage) >= len(entries):
        raise InputError(f"times.{key}.{stage}: there are only {len(entries)} stages, 0 to {len(entries) - 1}")
    entries[int(stage)] = value
    return entries


def _count_stages(mapping: Mapping[str, Any]) -> int:
    """Tell how many stages a configuration means, from its numbers or its lists."""
    parts = [part for part in (mapping.get("times"), mapping.get("memory")) if isinstance(part, Mapping)]
    lengths = [
        len(value) for part in parts for key, value in part.items() if key != "limit" and hasattr(value, "__len__")
    ]
    stages = mapping.get("stages") or next(iter(lengths), None) or mapping.get("devices")
    return min(stages, 1_000_000) if isinstance(stages, int) and stages > 0 else 1


def _fill_in_times(mapping: dict[str, Any]) -> None:
    """Where no file was given, every time that no option gives is 1."""
    times = mapping.setdefault("times", {})
    times.setdefault("forward", 1)
    if "backward" not in times:
        times.setdefault("backward_input", 1)
        times.setdefault("backward_weight", 1)
