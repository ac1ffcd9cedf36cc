"""Configuration files: YAML or JSON, read safely, in ppopt's words or PP-Emulation's."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from solver.errors import InputError
from strategies.model.numbers import as_said, in_one_line, read_count, shown, written_number
from strategies.model.text_file import read_text_file

LARGEST_FILE = 4_000_000
"""Largest configuration file in bytes; even one with a number for each of many stages is far smaller."""

_RENAMED = {"num_devices": "devices", "num_stages": "stages", "num_batches": "microbatches", "op_times": "times"}
_RENAMED_TIMES = {"backward_D": "backward_input", "backward_W": "backward_weight"}
_OF_NO_CONCERN = ("visualization_port", "defaults", "hydra")  # keys of PP-Emulation's server and of Hydra


class _Loader(yaml.SafeLoader):
    """A YAML loader that refuses aliases, which can expand without bound, and duplicate keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML's stubs
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                problem = "merge keys (<<) are not allowed"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in keys:
                problem = f"the key {shown(key)} appears twice" if isinstance(key, Hashable) else "a key is not a name"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)

    def construct_exact_number(self, node: yaml.ScalarNode) -> Any:
        text = str(node.value).replace("_", "")
        return written_number(text) if _DECIMAL.fullmatch(text) else self.construct_yaml_float(node)


_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_exact_number)
_Loader.add_implicit_resolver(  # YAML 1.1 reads 1e3 as text
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def read_configuration(path: str | Path) -> Any:
    """Read a YAML file, or a JSON file if its name ends in ``.json``; decimals are read exactly.

    Raises
    ------
    InputError
        If the file cannot be read or is malformed; the message names the file and the place.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"configuration: must be the path of a file; found {shown(path)}")
    if not str(path):
        raise InputError(f"configuration: {str(path)!r} names no file")
    text = read_text_file(Path(path), "a configuration", LARGEST_FILE)
    path = in_one_line(path)
    if not text.strip():
        raise InputError(f"{path}: is empty; it must at least name devices and microbatches")
    try:
        if path.lower().endswith(".json"):
            return parse_json(text)
        return parse_yaml(text)
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{where}: {_yaml_problem(error)}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: {as_said(error)}") from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply") from None


def parse_yaml(text: str) -> Any:
    """Read YAML with exact decimals; refuse aliases, merge keys and duplicate keys.

    Raises
    ------
    yaml.YAMLError
        If it is malformed.
    """
    return yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader that allows less


def parse_json(text: str) -> Any:
    """Read JSON with exact decimals; refuse duplicate keys, NaN and infinities.

    Raises
    ------
    InputError
        If a key appears twice.
    ValueError
        If it is malformed in any other way.
    """
    return json.loads(
        text, parse_float=written_number, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates
    )


def _one_line(message: object) -> str:
    return " ".join(str(message).split())[:300]


def _yaml_problem(error: yaml.MarkedYAMLError) -> str:
    if error.problem == "but found another document":
        return "a second document (---) is not allowed"
    return _one_line(error.problem or error)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a finite number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise InputError(f"the key {shown(key)} appears twice")
        mapping[key] = value
    return mapping


class Split(NamedTuple):
    """A configuration, split into its parts.

    Attributes
    ----------
    mapping : dict
        The pipeline in ppopt's words.
    strategy : str or None
        The strategy that it names.
    group_size : int or None
        PP-Emulation's ``microbatch_group_size_per_vp_stage``, an option of the interleaved strategies.
    """

    mapping: dict[str, Any]
    strategy: str | None
    group_size: int | None


def split_strategy(configuration: object) -> Split:
    """Translate PP-Emulation's names and take the strategy out of a configuration.

    Parameters
    ----------
    configuration : mapping
        In ppopt's words, or PP-Emulation's (``num_devices``, ``op_times``, ``backward_D``, ``strategy`` …).

    Raises
    ------
    InputError
        If it is not a mapping, gives a value twice, or its strategy or group size is wrong.
    """
    if not isinstance(configuration, Mapping):
        raise InputError(f"configuration: must be a mapping of names to values; found {shown(configuration)}")
    mapping = _rename(configuration, _RENAMED, "")
    mapping = {key: value for key, value in mapping.items() if value is not None and key not in _OF_NO_CONCERN}
    if isinstance(mapping.get("times"), Mapping):
        mapping["times"] = _rename(mapping["times"], _RENAMED_TIMES, "times.")
    strategy = mapping.pop("strategy", None)
    if strategy is not None and not isinstance(strategy, str):
        raise InputError(f"strategy: must be a name; found {shown(strategy)}")
    return Split(mapping, strategy, _take_group_size(mapping))


def _take_group_size(mapping: dict[str, Any]) -> int | None:
    key = "microbatch_group_size_per_vp_stage"
    value = mapping.pop(key, None)
    try:
        return None if value is None else read_count(value)
    except ValueError as error:
        raise InputError(f"{key}: {error}") from None


def _rename(mapping: Mapping[str, Any], names: Mapping[str, str], prefix: str) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for key, value in mapping.items():
        new = names.get(key, key) if isinstance(key, str) else key
        if new in renamed:
            other = next(old for old, name in names.items() if name == new)
            raise InputError(f"{prefix}{new}: is given twice, as {new} and as {other}")
        renamed[new] = value
    return renamed
