"""A rehearsal in a few lines, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ppopt.rehearsal.outcome import Rehearsal
from solver.counted import counted


def summary(rehearsal: Rehearsal) -> str:
    """Summarize a rehearsal."""
    return "\n".join(_lines(rehearsal))


def _lines(rehearsal: Rehearsal) -> Iterator[str]:
    pipeline, unit = rehearsal.predicted_nominal.pipeline, rehearsal.unit
    yield (
        f"{rehearsal.schedule.strategy}: {counted(pipeline.devices, 'process')}, "
        f"{counted(pipeline.stages or 0, 'stage')}, {counted(pipeline.microbatches, 'microbatch')}, "
        f"PyTorch {rehearsal.torch}"
        + ("" if rehearsal.communicators == "async" else f", communicators: {rehearsal.communicators}")
    )
    steps = " ".join(f"{step:.4g}" for step in rehearsal.measured)
    yield f"{'step, ' + unit:<22}{'time':>10}{'error':>9}  starts off by (median, most)"
    yield f"{'measured':<22}{rehearsal.median:>10.4g}{'':>9}  steps {steps}"
    for name, predicted in (("nominal", rehearsal.predicted_nominal), ("calibrated", rehearsal.predicted_calibrated)):
        off = rehearsal.start_deviations[name]
        starts = f"{off.median:.2g}, {off.largest:.2g} ({off.action})"
        yield f"{'predicted, ' + name:<22}{predicted.makespan:>10.4g}{rehearsal.errors[name]:>+9.1%}  {starts}"
    yield f"latency calibrated to {float(rehearsal.calibrated.longest_lag):.2g} {unit}"
    yield f"gradients: differ from a single process by {rehearsal.gradient_difference:.1e} at most"
    yield f"peak activations: {_numbers(rehearsal.peak_activations['measured'])} counted"
    yield f"                  {_numbers(rehearsal.peak_activations['predicted'])} predicted"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
