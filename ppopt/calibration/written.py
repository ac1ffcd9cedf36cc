"""Writes a calibrated configuration: the user's file with the costs found, its other keys and comments untouched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from ppopt.calibration.measured_steps import FoundCosts
from solver.errors import InputError
from strategies.model.configuration import parse_yaml, read_configuration
from strategies.model.pipeline import Pipeline


def configuration_text(path: str | None, calibrated: Pipeline, found: FoundCosts, *, as_json: bool) -> str:
    """Write a configuration with the costs found.

    Parameters
    ----------
    path : str or None
        The user's configuration, if its keys are kept; else everything is written from the pipeline.
    calibrated : Pipeline
        The pipeline with the costs found.
    found : FoundCosts
        The costs.
    as_json : bool
        Whether to write JSON instead of YAML.
    """
    written = calibrated.to_mapping()
    if path is None:
        return _dumped(written, as_json=as_json)
    given = read_configuration(path)
    changes = _changes(given, written, found)
    expected = {key: value for key, value in given.items() if key not in changes} | {
        key: value for key, value in changes.items() if value is not None
    }
    if as_json or path.lower().endswith(".json"):
        return _dumped(expected, as_json=as_json)
    edited = _edited(Path(path).read_text(encoding="utf-8-sig"), changes)
    return edited if _says(edited, expected) else _dumped(expected, as_json=False)


def _changes(given: Mapping[str, Any], written: Mapping[str, Any], found: FoundCosts) -> dict[str, Any]:
    """Return the keys that change, with their new values; None for a key that is left out."""
    changes: dict[str, Any] = {"overhead": written["overhead"]}
    if found.transfer:
        changes["communication"] = dict(given.get("communication") or {}) | {"transfer": float(found.transfer)}
        if "p2p_latency" in given:
            changes["communication"] = {"latency": given["p2p_latency"]} | changes["communication"]
            changes["p2p_latency"] = None
    if "step" in written or "step" in given:
        changes["step"] = written.get("step")
    return changes


def _dumped(mapping: Mapping[str, Any], *, as_json: bool) -> str:
    plain = _plain(mapping)
    if as_json:
        return json.dumps(plain, indent=2) + "\n"
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    """Turn exact decimals into floats, which YAML and JSON write with all their digits."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return float(value) if isinstance(value, Decimal) else value


def _edited(text: str, changes: Mapping[str, Any]) -> str:
    """Replace the lines of keys in a YAML text, or add them at its end."""
    root = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return text
    spans = {key.value: (key.start_mark.index, _end(value)) for key, value in root.value}
    added = [_line(key, value) for key, value in changes.items() if key not in spans and value is not None]
    for key in sorted(changes.keys() & spans.keys(), key=lambda key: -spans[key][0]):
        first, last = spans[key]
        if changes[key] is None:
            text = text[:first] + text[last:].split("\n", 1)[-1]
        else:
            text = text[:first] + _line(key, changes[key]) + text[last:]
    return "\n".join([text.rstrip("\n"), *added, ""])


def _end(node: yaml.Node) -> int:
    """Return where a value ends: a block ends with its last line, not with the comments behind it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    assert node.end_mark is not None
    return node.end_mark.index


def _line(key: str, value: Any) -> str:
    return f"{key}: {json.dumps(_plain(value))}".replace('"', "")


def _says(text: str, expected: Mapping[str, Any]) -> bool:
    """Return whether a YAML text reads as a mapping."""
    try:
        return bool(_plain(parse_yaml(text)) == _plain(expected))
    except (yaml.YAMLError, InputError, ValueError):
        return False
