"""Costs from traces: the result of `ppopt.profile`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ppopt.profiling.costs import Spread, Spreads, make_times, measure_spreads, spread_rows
from ppopt.profiling.gaps import OVERHEAD_KEYS, measure_gaps
from ppopt.profiling.held_memory import divide_memory, listed_memory
from ppopt.profiling.measurement import MeasuredAction, Measurement
from ppopt.profiling.once_per_step import measure_once
from ppopt.profiling.placement import layout_of, placement_of, stages_of
from ppopt.profiling.read import Paths, read_measurement
from ppopt.profiling.timeline import actions_that_count, orders_of, representative_step
from reports.numbers import milliseconds
from solver.counted import counted
from strategies.language.orders import actions_as_text
from strategies.model.pipeline import Pipeline


@dataclass(frozen=True)
class Profile:
    """Measured costs, in milliseconds.

    Attributes
    ----------
    pipeline : Pipeline
        The costs, as `ppopt.evaluate`, `ppopt.optimize` and `ppopt.compare` take them; from a trace of ppopt those that
        it was made from, in their own unit.
    measurement : Measurement
        The measurement they come from.
    placement : str
        The name of a placement; ``custom`` if it is none of those with a name.
    spreads : dict
        By the configuration's key (``forward`` …) and by stage: p10, median, p90 and the number of times.
    latency : Spread or None
        The same for the transfer between devices; None if nothing waited for a transfer.
    overhead : dict
        By the configuration's key: the same for the time before an operation in which its device did nothing although
        the data was there. Only kinds of operation that show it.
    notes : tuple of str
        Notes for the reader.
    """

    pipeline: Pipeline
    measurement: Measurement
    placement: str
    spreads: Spreads
    latency: Spread | None
    overhead: dict[str, Spread]
    notes: tuple[str, ...]

    @cached_property
    def step(self) -> list[MeasuredAction]:
        """The actions of the step of median duration."""
        return representative_step(self.measurement)

    @cached_property
    def orders(self) -> list[list[str]]:
        """The actions of each device in that step, in PyTorch's grammar."""
        return actions_as_text(orders_of(self.step, self.measurement.devices))

    @property
    def step_time(self) -> float:
        """The duration of that step, from its first start to its last end."""
        return max(action.end for action in self.step) - min(action.start for action in self.step)

    @property
    def overhead_by_key(self) -> dict[str, float]:
        """The overhead in the configuration, for each kind of operation that ran; empty if there is none."""
        taken = self.pipeline.overhead
        return {} if taken is None else {key: float(getattr(taken, key)) for key in self.overhead}

    @property
    def steps(self) -> list[int]:
        """The steps that count."""
        return sorted({action.step for action in actions_that_count(self.measurement)})

    def to_yaml(self) -> str:
        """Write the configuration, with remarks in comments."""
        about = ("".join(letter if letter.isprintable() else "?" for letter in line) for line in self._about())
        lines = _yaml(self) if self.measurement.configured is None else _configured_yaml(self.pipeline)
        return "\n".join([*about, *lines, ""])

    def _about(self) -> Iterator[str]:
        measured = self.measurement
        if measured.configured is not None:
            yield f"# Placement: {self.placement}."
            yield from (f"# {note}" for note in self.notes)
            return
        yield f"# Measured: all times are in milliseconds, the medians of {counted(len(self.steps), 'step')}."
        yield f"# Placement: {self.placement}."
        for device, stages in enumerate(stages_of(self.step, measured.devices)):
            actions = len(self.orders[device])
            stages_held = f"stage{'s' if len(stages) > 1 else ''} {', '.join(map(str, stages))}"
            yield f"#   device {device}: {counted(actions, 'action')} per step, {stages_held}"
        yield f"# A step took {milliseconds(self.step_time)} ms."
        yield from (f"# Step {step} does not count: {why}." for step, why in sorted(measured.skipped.items()))
        yield from (f"# {note}" for note in self.notes)
        if self.pipeline.memory.static is None:
            yield "# Memory of stages was not measured: add memory.activation and memory.limit where it matters."
        else:
            yield "# Memory is in GiB: add memory.limit, that of a GPU."

    def spread_csv(self) -> str:
        """Write how the times vary, as CSV."""
        self.pipeline.refuse_unequal("a spread")
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("key", "stage", *Spread._fields))
        writer.writerows(tuple(row.values()) for row in spread_rows(self.spreads, self.latency))
        return text.getvalue()

    def spread_yaml(self) -> str:
        """Write how the times vary, as YAML."""
        import yaml

        self.pipeline.refuse_unequal("a spread")
        return yaml.safe_dump(list(spread_rows(self.spreads, self.latency)), sort_keys=False)

    def order_csv(self) -> str:
        """Write the order of a step in PyTorch's format: one row per device."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(self.orders)
        return text.getvalue()

    def __repr__(self) -> str:
        sizes = self.measurement
        return (
            f"<Profile: {counted(sizes.devices, 'device')}, {counted(sizes.stages, 'stage')}, "
            f"{counted(sizes.microbatches, 'microbatch')}, {self.placement}, {counted(len(self.steps), 'step')}>"
        )


def profile(paths: Paths, *, skip: int | None = None) -> Profile:
    """Derive costs from traces of a real run.

    Parameters
    ----------
    paths : path or iterable of paths
        Files, or folders of files, for all ranks: traces of torch.profiler, Megatron timer logs, logs of Primus,
        the output of ``ppopt rehearse``, or a trace of ppopt.
    skip : int or None
        The number of warm-up steps at the start, which do not count; None for one, if others are left.

    Returns
    -------
    Profile
        The costs and the measurement they come from.

    Raises
    ------
    InputError
        If a file cannot be read or is of another kind, or something is missing.
    """
    return profile_of(read_measurement(paths, skip=skip))


def profile_of(measurement: Measurement) -> Profile:
    """Take costs from a measurement.

    Raises
    ------
    InputError
        If a stage has no forward or no backward, or no step counts.
    """
    actions = actions_that_count(measurement)
    spreads = measure_spreads(actions)
    if measurement.configured is not None:
        placement = placement_of(measurement)
        return Profile(measurement.configured, measurement, placement, spreads, None, {}, measurement.notes)
    gaps = measure_gaps(actions)
    latency = gaps.latency
    times, notes = make_times(spreads, measurement.stages)
    notes += gaps.notes
    if latency is None and measurement.devices > 1:
        notes.append("no device waited for another, so the latency could not be measured; 0 was taken")
    mapping: dict[str, Any] = {
        "devices": measurement.devices,
        "stages": measurement.stages,
        "microbatches": measurement.microbatches,
        "unit": "ms",
        "times": times,
        "p2p_latency": _rounded(latency.median) if latency else 0,
    }
    if gaps.taken:
        mapping["overhead"] = {key: _rounded(each) for key, each in gaps.taken.items()}
    more, more_notes = _from_whole_steps(measurement, actions, Pipeline.from_mapping(mapping))
    return Profile(
        pipeline=Pipeline.from_mapping(mapping | more),
        measurement=measurement,
        placement=placement_of(measurement),
        spreads=spreads,
        latency=latency,
        overhead=gaps.overhead,
        notes=(*measurement.notes, *notes, *more_notes),
    )


def _from_whole_steps(
    measurement: Measurement, actions: Sequence[MeasuredAction], pipeline: Pipeline
) -> tuple[dict[str, Any], list[str]]:
    """Measure what only the order of a step shows: costs that come once a step, and memory."""
    step, placement = representative_step(measurement), layout_of(measurement)
    orders = orders_of(step, measurement.devices)
    found: dict[str, Any] = {}
    notes: list[str] = []
    once = None if placement is None else measure_once(actions, pipeline, placement, orders)
    if once is not None:
        found["step"] = {"after": _rounded(once.lasting)}
        notes.append(once.note)
    memory = measurement.memory
    held = divide_memory(memory, step, stages_of(step, measurement.devices)) if memory else None
    if held is not None:
        found["memory"] = {"activation": _rounded(held.activation), "static": [_rounded(each) for each in held.static]}
        notes.append(
            f"devices reserved {listed_memory(memory)} GiB at most; those between the first and the last differ by "
            f"{milliseconds(held.activation)} GiB for each microbatch that they hold at a time, which was taken as "
            "memory.activation, and the rest as memory.static"
        )
    elif memory:
        notes.append(
            f"devices reserved {listed_memory(memory)} GiB at most, which does not tell how much of it a "
            "microbatch takes"
        )
    return found, notes


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _yaml(profile: Profile) -> Iterator[str]:
    mapping = profile.pipeline.to_mapping()
    yield from (f"{key}: {mapping[key]}" for key in ("devices", "stages", "microbatches", "unit"))
    yield "times:"
    for key, values in mapping["times"].items():
        yield f"  {key}:"
        for stage, value in enumerate(values):
            found = profile.spreads.get(key, {}).get(stage)
            yield f"    - {value!r}  # stage {stage}: {found or 'not measured, see above'}"
    yield from _overhead_yaml(mapping.get("overhead"), profile.overhead)
    if profile.pipeline.step is not None:
        yield f"step: {{after: {mapping['step']['after']!r}}}  # first and last operations that are slow in every step"
    yield f"p2p_latency: {mapping['p2p_latency']!r}" + (f"  # {profile.latency}" if profile.latency else "")
    if profile.pipeline.memory.static is not None:
        yield "memory:"
        yield from (f"  {key}: {mapping['memory'][key]!r}" for key in ("activation", "static"))


def _configured_yaml(pipeline: Pipeline) -> list[str]:
    import yaml

    return yaml.safe_dump(pipeline.to_mapping(), sort_keys=False, default_flow_style=None, width=100).splitlines()


def _overhead_yaml(overhead: object, found: Mapping[str, Spread]) -> Iterator[str]:
    if overhead is None:
        return
    values = overhead if isinstance(overhead, Mapping) else dict.fromkeys(OVERHEAD_KEYS, overhead)
    yield "overhead:"
    for key, value in values.items():
        told = (
            f"the middle half of gaps with {found[key]}" if key in found else "not measured: that of other operations"
        )
        yield f"  {key}: {value!r}  # {told}"
