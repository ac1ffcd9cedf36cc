"""A rehearsal in a few lines, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ppopt.rehearsal.outcome import Rehearsal


def summary(made: Rehearsal) -> str:
    """Write what a rehearsal shows."""
    return "\n".join(_lines(made))


def _lines(made: Rehearsal) -> Iterator[str]:
    pipeline, unit = made.predicted_nominal.pipeline, made.unit
    yield (
        f"{made.schedule.strategy}: {pipeline.devices} processes, {pipeline.stages} stages, "
        f"{pipeline.microbatches} microbatches, PyTorch {made.torch}"
    )
    steps = " ".join(f"{step:.4g}" for step in made.measured)
    yield f"{'step, ' + unit:<22}{'time':>10}{'error':>9}  starts off by (median, most)"
    yield f"{'measured':<22}{made.median:>10.4g}{'':>9}  steps {steps}"
    for name, predicted in (("nominal", made.predicted_nominal), ("calibrated", made.predicted_calibrated)):
        off = made.start_deviations[name]
        starts = f"{off.median:.2g}, {off.largest:.2g} ({off.action})"
        yield f"{'predicted, ' + name:<22}{predicted.makespan:>10.4g}{made.errors[name]:>+9.1%}  {starts}"
    yield f"latency calibrated to {float(made.calibrated.p2p_latency):.2g} {unit}"
    yield f"gradients: differ from a single process by {made.gradient_difference:.1e} at most"
    yield f"peak activations: {_numbers(made.peak_activations['measured'])} counted"
    yield f"                  {_numbers(made.peak_activations['predicted'])} predicted"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
