"""Files that keep what was found, so that a later run goes on from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ppopt.evaluation.replaying import replay_orders
from ppopt.internal_error import InternalError
from ppopt.memory_frontier.curves import ONE_AT_A_TIME, Curves, Found, Lane
from ppopt.result import Schedule
from ppopt.whole_files import written_whole
from solver.bounds.bound import Bound
from solver.errors import InputError
from strategies.actions import parse_action
from strategies.numbers import in_one_line
from strategies.pipeline import Pipeline
from strategies.search_problem import Allowed

FORMAT = "ppopt-frontier-1"


@dataclass(frozen=True)
class Saved:
    """What a file says.

    Attributes
    ----------
    placements : mapping
        For each placement its schedules and bounds, as they are written.
    limits : sequence of Fraction
        The limits that were shown, by rising size.
    """

    placements: Mapping[str, Any] = field(default_factory=dict)
    limits: Sequence[Fraction] = ()


def save(
    path: str | Path,
    version: str,
    model: Pipeline,
    curves: Curves,
    allowed: Allowed,
    limits: Sequence[Fraction],
    before: Saved,
) -> None:
    """Write all schedules and bounds that are known.

    Parameters
    ----------
    path : str or path
        The file; it appears when all of it is written.
    version : str
        ppopt's: what another version has proven is not taken over.
    model : Pipeline
        The model, without a memory limit.
    curves : Curves
        What is known.
    allowed : Allowed
        What the searches might use.
    limits : sequence of Fraction
        The limits that were shown.
    before : Saved
        What `read_saved` has read: what it says of other placements stays.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": version,
        "pipeline": _written(model),
        "allowed": allowed._asdict(),
        "limits": [str(limit) for limit in limits],
        "placements": {**before.placements, **{lane.name: _lane_written(lane) for lane in curves.lanes}},
    }
    with written_whole(path) as file:
        file.write(json.dumps({**content, "checksum": _checksum(content)}, allow_nan=False))


def _written(model: Pipeline) -> str:
    """Write a pipeline so that every two with the same numbers are the same text."""
    return json.dumps(model.to_mapping(), sort_keys=True)


def _lane_written(lane: Lane) -> dict[str, Any]:
    return {
        "schedules": [
            {"name": each.schedule.strategy, "searched": each.schedule.is_searched, "orders": each.schedule.orders}
            for each in lane.found
        ],
        "bounds": [
            {
                "limit": None if proof.limit is None else str(proof.limit),
                "value": str(proof.value),
                "piece": proof.bound.piece,
                "device": proof.bound.device,
            }
            for proof in lane.proofs
        ],
    }


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_saved(path: str | Path, version: str, model: Pipeline, allowed: Allowed) -> Saved:
    """Read a file that `save` has written; a file that is not there yet is empty.

    Returns
    -------
    Saved
        What it says.

    Raises
    ------
    InputError
        If it is no such file, damaged, of another version or of another pipeline; in one line, with the cure.
    """
    name = in_one_line(path)
    cure = "name another file, or delete it"
    content = _read_json(path)
    if content is None:
        return Saved()
    if not isinstance(content, dict) or not str(content.get("format", "")).startswith("ppopt-frontier"):
        raise InputError(f"{name}: is not a file that `ppopt frontier --save` has written; {cure}")
    if (content["format"], content.get("version")) != (FORMAT, version):
        found = in_one_line(content.get("version"))[:40]
        raise InputError(f"{name}: was written by ppopt {found}, and this is {version}; {cure}")
    if content.pop("checksum", None) != _checksum(content):
        raise InputError(f"{name}: is damaged: its checksum is not that of what it says; {cure}")
    if content["pipeline"] != _written(model):
        raise InputError(f"{name}: is of another pipeline{_difference(content['pipeline'], model)}; {cure}")
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
    """Take over schedules, replayed and checked anew, and bounds.

    Raises
    ------
    InternalError
        If a schedule is found at fault, which its file's checksum should have told.
    """
    for lane in curves.lanes:
        written = saved.placements.get(lane.name, {"schedules": [], "bounds": []})
        for each in written["schedules"]:
            lane.add(Found.of(_restored(lane, each, allowed)))
        for each in written["bounds"]:
            limit = None if each["limit"] is None else Fraction(each["limit"])
            ticks = Fraction(each["value"]) * lane.problem.ticks_per_unit
            if ticks.denominator > 1:
                raise InternalError(f"{lane.name}: the saved bound {each['value']} is no whole number of ticks")
            lane.prove(Bound(int(ticks), each["piece"], each["device"]), limit)


def _restored(lane: Lane, written: dict[str, Any], allowed: Allowed) -> Schedule:
    orders = [[parse_action(action) for action in order] for order in written["orders"]]
    by_time = written["searched"] or written["name"] == ONE_AT_A_TIME
    made = replay_orders(written["name"], lane.pipeline, lane.layout, orders, "graph", searched=by_time)
    return replace(made, allowed=allowed, status="feasible" if written["searched"] else "replayed")
