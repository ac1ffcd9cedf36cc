"""The options that describe a pipeline, and the configuration they override."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from solver.counted import counted
from solver.errors import InputError

if TYPE_CHECKING:
    from strategies.model.configuration import Split
    from strategies.model.pipeline import Pipeline
    from strategies.order_files.given_order import GivenOrder, Named

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("-c", "--config", metavar="FILE", help="YAML or JSON file: docs/reference/configuration.md."),
    click.option("--devices", type=int, metavar="N", help="Pipeline ranks.  [default: 4]"),
    click.option("--stages", type=int, metavar="N", help="Slices of the model.  [default: as the schedule needs]"),
    click.option(
        "--microbatches", type=int, metavar="N", help="Microbatches of one step.  [default: twice the devices]"
    ),
    click.option(
        "--lengths",
        metavar="FILE",
        help="Microbatches that differ: a file with the tokens of the documents of each, one microbatch a line.",
    ),
    click.option("--tokens", type=int, metavar="N", help="The length of sequences for which times are given."),
    click.option(
        "--time",
        "times",
        multiple=True,
        metavar="KEY=VALUE",
        help="forward=1.5, backward_input=[1,1,2,1], or forward.3=2 for one stage.  [default: F = I = W = 1]",
    ),
    click.option("--p2p-latency", metavar="X", help="Time for a result to reach another device.  [default: 0]"),
    click.option(
        "--overhead",
        metavar="X",
        help="Time before each operation in which its device is not working.  [default: 0]",
    ),
    click.option(
        "--slowdown",
        "slowdowns",
        multiple=True,
        metavar="D=X",
        help="Device D takes X times as long for everything it computes, such as 3=1.08.",
    ),
    click.option(
        "--framework",
        metavar="NAME",
        help="Whose communication to follow: pytorch, … (docs/reference/communication.md).  [default: none waits]",
    ),
    click.option("--memory-limit", metavar="X", help="The most memory that a device may hold: a number, or a list."),
    click.option(
        "--recut",
        is_flag=True,
        help="Re-partition the model into --stages, or into as many stages as a schedule file has.",
    ),
)

OPTION_NAMES = (
    "config",
    "devices",
    "stages",
    "microbatches",
    "lengths",
    "tokens",
    "times",
    "p2p_latency",
    "overhead",
    "slowdowns",
    "framework",
    "memory_limit",
    "recut",
)
"""The parameters that `pipeline_options` adds, as `read_pipeline` takes them."""


_CUT_OPTIONS = (
    click.option(
        "--cut",
        type=click.Choice(["plan", "even"]),
        default="plan",
        show_default=True,
        help="How to cut layers without layers_per_stage: for each schedule, or evenly.",
    ),
    click.option(
        "--layout",
        metavar="TEXT",
        help="Cut of the layers, in the notation of Megatron, torchtitan or DeepSpeed (see docs/how-to/plan.md).",
    ),
)


def _framework(_ctx: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """Read ``--for``, a framework."""
    if name is None:
        return None
    from strategies.layouts.runs_in import find_framework

    try:
        return find_framework(name).name
    except InputError as error:
        raise InputError(f"--for: {str(error).removeprefix('framework: ')}") from None


FOR = click.option(
    "--for",
    "runs_for",  # `framework` is the one whose communication is followed
    metavar="FRAMEWORK",
    callback=_framework,
    help="Only what this framework runs: megatron, pytorch, deepspeed, zero-bubble, primus or dualpipe.",
)


def cut_options(command: Command) -> Command:
    """Add the options for how the layers of a model are cut."""
    for option in reversed(_CUT_OPTIONS):
        command = option(command)
    return command


def with_layout(pipeline: Pipeline, layout: str | None) -> Pipeline:
    """Assign the layers of a model to stages as ``--layout`` says, if given.

    Parameters
    ----------
    pipeline : Pipeline
        The model.
    layout : str or None
        The option.

    Raises
    ------
    InputError
        If the layout is wrong, or the model is not given as its layers.
    """
    if layout is None:
        return pipeline
    from strategies.layouts.reading import cut_by_layout

    return cut_by_layout(pipeline, layout)


def pipeline_options(command: Command) -> Command:
    """Add the options that describe a pipeline to a command."""
    return _OPTIONS[0](overriding_options(command))


def overriding_options(command: Command) -> Command:
    """Add the options that describe a pipeline, except the configuration that they override."""
    for option in reversed(_OPTIONS[1:]):
        command = option(command)
    return command


def read_pipeline(config: str | None, **options: Any) -> tuple[Pipeline, str | None]:
    """Make the pipeline from the configuration file and the options, which override it.

    Parameters
    ----------
    config : str or None
        The configuration file.
    **options
        The other parameters that `pipeline_options` adds.

    Returns
    -------
    pipeline : Pipeline
        The pipeline.
    strategy : str or None
        The strategy that the configuration names, if any.
    """
    split = _read_split(config)
    return _make_pipeline(split.mapping, config, (), **options), split.strategy


def read_with_strategies(
    strategies: Sequence[Named], config: str | None, **options: Any
) -> tuple[Pipeline, tuple[Named, ...]]:
    """Make the pipeline as `read_pipeline` does, together with the strategies to run on it.

    Schedule files among them fix the sizes that are left open.

    Parameters
    ----------
    strategies : sequence of str or GivenOrder
        The ones named on the command line; schedule files may be read already.
    config : str or None
        The configuration file.
    **options
        The other parameters that `pipeline_options` adds.

    Returns
    -------
    pipeline : Pipeline
        The pipeline.
    strategies : tuple of str or GivenOrder
        The ones named, or else the one in the configuration, if any; with the configuration's group size.
    """
    from ppopt.schedules.order_files import read_each
    from strategies.language.orders import with_group_size

    named = read_each(strategies)
    split = _read_split(config)
    if not named and split.strategy is not None:
        named = read_each([split.strategy])
    names = tuple(with_group_size(name, split.group_size) if isinstance(name, str) else name for name in named)
    return _make_pipeline(split.mapping, config, names, **options), names


def pipelines_for_files(
    config: str | None, memory_limit: str | None, *, recut: bool = False
) -> Callable[[GivenOrder], Pipeline]:
    """Read the configuration that schedule files are checked against.

    Parameters
    ----------
    config, memory_limit : str or None
        The configuration file, and the option that overrides its memory limit.
    recut : bool
        Whether the model is re-partitioned into the file's number of stages.

    Returns
    -------
    callable
        Returns the pipeline for a file; the file fixes the sizes that the configuration leaves open.
    """
    mapping = _read_split(config).mapping
    unset: dict[str, Any] = dict.fromkeys(OPTION_NAMES[1:]) | {
        "times": (),
        "slowdowns": (),
        "memory_limit": memory_limit,
        "recut": recut,
    }

    def pipeline_for(given: GivenOrder) -> Pipeline:
        return _make_pipeline(mapping, config, (given,), **unset)

    return pipeline_for


def _read_split(config: str | None) -> Split:
    from strategies.model.configuration import read_configuration, split_strategy

    split = split_strategy({} if config is None else read_configuration(config))
    beside = _beside(config, split.strategy)
    return split if beside is None else split._replace(strategy=beside)


def _beside(config: str | None, strategy: str | None) -> str | None:
    """Find the schedule file named by a configuration, first in the configuration's own folder."""
    if config is None or strategy is None or not strategy.lower().endswith(".csv"):
        return None
    path = Path(config).parent / strategy
    return str(path) if path.is_file() else None


def _make_pipeline(
    mapping: dict[str, Any],
    config: str | None,
    strategies: tuple[Named, ...],
    *,
    devices: int | None,
    stages: int | None,
    microbatches: int | None,
    lengths: str | None,
    tokens: int | None,
    times: tuple[str, ...],
    p2p_latency: str | None,
    overhead: str | None,
    slowdowns: tuple[str, ...],
    framework: str | None,
    memory_limit: str | None,
    recut: bool,
) -> Pipeline:
    """Apply the options to a configuration and read the result."""
    from strategies.model.pipeline import Pipeline

    files = [name for name in strategies if not isinstance(name, str)]
    if recut and (placed := next((each for each in files if each.lowered is not None), None)):
        raise InputError(
            f"--recut: {placed.name} holds communication that was placed for its own stages; give a model with as "
            "many stages, or an order of computations"
        )
    as_given = None if recut and not files else stages  # otherwise --stages does not describe the model as given
    sizes = {"devices": devices, "stages": as_given, "microbatches": microbatches}
    given = {key: value for key, value in sizes.items() if value is not None}
    mapping = mapping | given | ({} if tokens is None else {"tokens": tokens})
    if lengths is not None:
        mapping["microbatches"] = _listed(lengths, microbatches)
    if strategies:
        from strategies.given_model.stages import settle_sizes

        sources = {"": config or "the options"} | {key: f"--{key}" for key in given}
        mapping = settle_sizes(mapping, sources, strategies, recut=recut)
    keys = {"p2p_latency": ("--p2p-latency", p2p_latency), "overhead": ("--overhead", overhead)}
    mapping |= {key: _value(option, text) for key, (option, text) in keys.items() if text is not None}
    if slowdowns:
        mapping["slowdown"] = _slowdown(slowdowns)
    if framework is not None:
        mapping["framework"] = framework
    if memory_limit is not None:
        limit = {"limit": _value("--memory-limit", memory_limit)}
        memory = mapping.get("memory") or {}
        mapping["memory"] = {**memory, **limit} if isinstance(memory, Mapping) else memory
    if config is None:
        mapping = {"devices": 4, "microbatches": max(2, 2 * mapping.get("devices", 4)), **mapping}
    open_times = "times" not in mapping and "layers" not in mapping
    overrides = _TimeOverrides(mapping, strategies, open_times)
    for time in times:
        overrides.apply(time)
    if open_times:
        _fill_in_times(mapping)
    pipeline = Pipeline.from_mapping(mapping)
    return _recut(pipeline, stages, files) if recut else pipeline


def _listed(lengths: str, microbatches: int | None) -> list[dict[str, Any]]:
    """Read ``--lengths``."""
    from strategies.model.lengths_file import read_lengths

    if microbatches is not None:
        raise InputError(f"--lengths: lists the microbatches, so --microbatches {microbatches} cannot be given as well")
    return read_lengths(lengths)


def _recut(pipeline: Pipeline, stages: int | None, files: Sequence[GivenOrder]) -> Pipeline:
    from strategies.given_model.stages import recut_as_asked

    cut, notes = recut_as_asked(pipeline, stages, files)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    return cut


def _slowdown(texts: Sequence[str]) -> dict[int, Any]:
    """Read ``3=1.08``, once for each device."""
    found: dict[int, Any] = {}
    for text in texts:
        device, equals, factor = text.partition("=")
        if not equals or not (device.isascii() and device.isdecimal() and len(device) < 8):
            raise InputError(f"--slowdown: must be DEVICE=FACTOR, such as 3=1.08; found {text[:40]!r}")
        if int(device) in found:
            raise InputError(f"--slowdown: device {device} is given twice")
        found[int(device)] = _value("--slowdown", factor)
    return found


def _value(option: str, text: str) -> Any:
    """Read a number or a list of numbers; anything else stays text, to be refused with its key."""
    from strategies.model.configuration import parse_json

    try:
        return parse_json(text)
    except InputError as error:
        raise InputError(f"{option}: {error}") from None
    except (ValueError, RecursionError):
        return text


_PP_EMULATIONS = {"backward_D": "backward_input", "backward_W": "backward_weight"}


@dataclass
class _TimeOverrides:
    """The ``--time`` options in order; no later one may undo an earlier one."""

    mapping: dict[str, Any]
    strategies: tuple[Named, ...]
    open_times: bool
    given: dict[tuple[str, int | None], str] = field(default_factory=dict)

    def apply(self, text: str) -> None:
        """Apply ``forward=1.5`` or ``forward.3=2``."""
        text = " ".join(text.splitlines())
        written, equals, value = text.partition("=")
        name, dot, place = written.strip().partition(".")
        if not equals or not name:
            raise InputError(f"--time: must be KEY=VALUE, e.g. forward=1.5; found {text[:40]!r}")
        times = self.mapping.setdefault("times", {})
        if not isinstance(times, dict):
            return  # refused later, when the whole configuration is read
        key = _PP_EMULATIONS.get(name, name)
        stage = _stage(key, place) if dot else None
        self._take(key, stage, written.strip())
        read = _value(f"--time {written.strip()}", value)
        times[key] = read if stage is None else self._with_stage(key, stage, read)

    def _take(self, key: str, stage: int | None, written: str) -> None:
        if other := self.given.get((key, stage)):
            names = f", as {other} and as {written}" if other != written else ""
            raise InputError(f"--time: {written} is given twice{names}")
        single = next((name for (given, place), name in self.given.items() if given == key and place is not None), None)
        if stage is None and single:
            raise InputError(f"--time: {written} would overwrite {single}; give {written} first")
        self.given[key, stage] = written

    def _with_stage(self, key: str, stage: int, value: object) -> Any:
        """Change one stage of a key's value."""
        if "layers" in self.mapping:
            raise InputError(f"times.{key}.{stage}: cannot be given beside layers, which have their own")
        current = self.mapping["times"].get(key, self._default(key))
        if current is None:
            raise InputError(f"times.{key}.{stage}: the other stages have no {key}; give {key} as well")
        if isinstance(current, Mapping):
            return {**current, next((each for each in current if str(each) == str(stage)), stage): value}
        entries = list(current) if isinstance(current, (list, tuple)) else [current] * self._count_stages()
        if stage >= len(entries):
            there = counted(len(entries), "stage")
            raise InputError(f"times.{key}.{stage}: there are only {there}, 0 to {len(entries) - 1}")
        entries[stage] = value
        return entries

    def _default(self, key: str) -> int | None:
        """Return the value that `_fill_in_times` will set for a key."""
        whole = "backward" in self.mapping["times"]
        filled_in = ("forward",) if whole else ("forward", "backward_input", "backward_weight")
        return 1 if self.open_times and key in filled_in else None

    def _count_stages(self) -> int:
        from strategies.given_model.stages import count_stages

        return count_stages(self.mapping, self.strategies)


def _stage(key: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InputError(f"times.{key}.{text[:40]}: must name a stage by a whole number from 0")
    return int(text)


def _fill_in_times(mapping: dict[str, Any]) -> None:
    """Without a file of times, set every time that no option gives to 1."""
    times = mapping.setdefault("times", {})
    times.setdefault("forward", 1)
    if "backward" not in times:
        times.setdefault("backward_input", 1)
        times.setdefault("backward_weight", 1)
