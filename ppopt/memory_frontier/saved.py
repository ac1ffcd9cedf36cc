"""Files that store results, so that a later run can continue from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ppopt.memory_frontier.curves import ONE_AT_A_TIME, Curves, Proof, Record
from ppopt.process.checksums import is_as_written, with_checksum
from ppopt.process.internal_error import InternalError
from ppopt.process.whole_files import written_whole
from ppopt.schedules.replaying import replay_orders
from ppopt.schedules.schedule import Schedule
from solver.bounds.bound import Bound
from solver.errors import InputError
from strategies.model.actions import parse_action
from strategies.model.cuts import Counts
from strategies.model.numbers import in_one_line
from strategies.model.pipeline import Pipeline
from strategies.problem.search_problem import Allowed

FORMAT = "ppopt-frontier-2"


@dataclass(frozen=True)
class Saved:
    """The contents of a file.

    Attributes
    ----------
    placements : mapping
        For each placement, its schedules and bounds as written.
    limits : sequence of Fraction
        The limits shown, in increasing order.
    """

    placements: Mapping[str, Any] = field(default_factory=dict)
    limits: Sequence[Fraction] = ()

    @property
    def cuts(self) -> dict[str, list[Counts]]:
        """For each placement, the cuts of the layers that were searched separately."""
        cuts = {name: [tuple(each["cut"] or ()) for each in said["bounds"]] for name, said in self.placements.items()}
        return {name: list(dict.fromkeys(filter(None, each))) for name, each in cuts.items()}


def save(
    path: str | Path,
    version: str,
    model: Pipeline,
    curves: Curves,
    allowed: Allowed,
    limits: Sequence[Fraction],
    before: Saved,
) -> None:
    """Write all known schedules and bounds.

    Parameters
    ----------
    path : str or path
        The file; it appears only when it is complete.
    version : str
        The version of ppopt; proofs of another version are not accepted.
    model : Pipeline
        The model, without a memory limit.
    curves : Curves
        The known schedules and bounds.
    allowed : Allowed
        What the searches may use.
    limits : sequence of Fraction
        The limits shown.
    before : Saved
        The result of `read_saved`; its entries for other placements are kept.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": version,
        "pipeline": _written(model),
        "allowed": allowed._asdict(),
        "limits": [str(limit) for limit in limits],
        "placements": {**before.placements, **_lanes_written(curves.records)},
    }
    with written_whole(path) as file:
        file.write(json.dumps(with_checksum(content), allow_nan=False))


def _written(model: Pipeline) -> str:
    """Write a pipeline so that equal numbers always give equal texts."""
    return json.dumps(model.to_mapping(), sort_keys=True)


def _lanes_written(records: Sequence[Record]) -> dict[str, Any]:
    """Write the schedules and bounds of each placement, each with its cut of the layers."""
    written: dict[str, Any] = {record.layout.name: {"schedules": [], "bounds": []} for record in records}
    for record in records:
        written[record.layout.name]["schedules"] += [_schedule_written(each.schedule) for each in record.found]
        written[record.layout.name]["bounds"] += [_proof_written(record, proof) for proof in record.proofs]
    return written


def _schedule_written(schedule: Schedule) -> dict[str, Any]:
    cut = schedule.pipeline.layers_per_stage
    return {
        "name": schedule.strategy,
        "searched": schedule.is_searched,
        "orders": schedule.orders,
        "cut": None if cut is None else list(cut),
    }


def _proof_written(record: Record, proof: Proof) -> dict[str, Any]:
    held = proof.bound
    return {
        "limit": None if proof.limit is None else str(proof.limit),
        "value": str(proof.value),
        "piece": None if held is None else held.piece,
        "device": None if held is None else held.device,
        "cut": _cut_of_bounds(record),
    }


def _cut_of_bounds(record: Record) -> list[int] | None:
    """Return the cut that a placement's bounds hold for; None if they hold for all cuts, or nothing was cut."""
    cut = record.pipeline.layers_per_stage
    return None if record.over_cuts or cut is None else list(cut)


def read_saved(path: str | Path, version: str, model: Pipeline, allowed: Allowed) -> Saved:
    """Read a file written by `save`; a missing file counts as empty.

    Returns
    -------
    Saved
        Its contents.

    Raises
    ------
    InputError
        If it is not such a file, is damaged, or is of another version or pipeline; in one line, with the cure.
    """
    name = in_one_line(path)
    cure = "name another file, or delete it"
    content = _read_json(path)
    if content is None:
        return Saved()
    if not isinstance(content, dict) or not str(content.get("format", "")).startswith("ppopt-frontier"):
        raise InputError(f"{name}: was not written by `ppopt frontier --save`; {cure}")
    if (content["format"], content.get("version")) != (FORMAT, version):
        found = in_one_line(content.get("version"))[:40]
        raise InputError(f"{name}: was written by ppopt {found}, and this is {version}; {cure}")
    if not is_as_written(content):
        raise InputError(f"{name}: is damaged: its checksum does not match its content; {cure}")
    if content["pipeline"] != _written(model):
        raise InputError(f"{name}: belongs to another pipeline{_difference(content['pipeline'], model)}; {cure}")
    if content["allowed"] != allowed._asdict():
        used = "with" if content["allowed"]["overlap"] else "without"
        raise InputError(f"{name}: was searched {used} --overlap; {cure}")
    return Saved(content["placements"], [Fraction(limit) for limit in content["limits"]])


def _read_json(path: str | Path) -> Any:
    name = in_one_line(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
        return json.loads(text) if text else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{name}: is damaged: it is not JSON; name another file, or delete it") from None


def _difference(written: str, model: Pipeline) -> str:
    """Name the first key in which two pipelines differ."""
    there, here = json.loads(written), json.loads(_written(model))
    keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
    return f" ({keys[0]} differs)" if keys else ""


def restore(curves: Curves, saved: Saved, allowed: Allowed) -> None:
    """Restore schedules, which are replayed and checked again, and bounds, each for its own cut.

    Raises
    ------
    InternalError
        If a schedule is wrong, which the file's checksum should have detected.
    """
    for record in curves.records:
        written = saved.placements.get(record.layout.name, {"schedules": [], "bounds": []})
        for each in written["schedules"]:
            if record.over_cuts or each["cut"] == _cut_of_bounds(record):
                record.add_each(_restored(record, each, allowed))
        for each in written["bounds"]:
            if each["cut"] == _cut_of_bounds(record):
                _prove(record, each)
        record.refuse_contradictions()


def _prove(record: Record, written: Mapping[str, Any]) -> None:
    value = Fraction(written["value"])
    limit = None if written["limit"] is None else Fraction(written["limit"])
    ticks = (value - record.pipeline.after) * record.problem.ticks_per_unit
    if written["piece"] is None:
        record.prove_for_cuts(value, limit)
    elif ticks.denominator == 1:
        record.prove(Bound(int(ticks), written["piece"], written["device"]), limit)
    else:
        raise InternalError(f"{record.name}: the saved bound {written['value']} is no whole number of ticks")


def _restored(record: Record, written: dict[str, Any], allowed: Allowed) -> Schedule:
    orders = [[parse_action(action) for action in order] for order in written["orders"]]
    pipeline = record.pipeline.with_cut(written["cut"]) if record.over_cuts else record.pipeline
    by_time = written["searched"] or written["name"] == ONE_AT_A_TIME
    made = replay_orders(written["name"], pipeline, record.layout, orders, "graph", searched=by_time)
    return replace(made, allowed=allowed, status="feasible" if written["searched"] else "replayed")
