"""Configuration files: YAML or JSON, read safely, in ppopt's words or PP-Emulation's."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from solver.errors import InputError
from strategies.numbers import shown

LARGEST_FILE = 4_000_000
"""Bytes; a configuration is a page of text, and one number for each of many stages is still far below."""

_RENAMED = {"num_devices": "devices", "num_stages": "stages", "num_batches": "microbatches", "op_times": "times"}
_RENAMED_TIMES = {"backward_D": "backward_input", "backward_W": "backward_weight"}
_OF_NO_CONCERN = ("visualization_port",)


class _Loader(yaml.SafeLoader):
    """YAML without aliases (they can grow without bound) and without duplicate keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML's stubs
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in keys:
                problem = f"the key {shown(key)} is there twice" if isinstance(key, Hashable) else "a key is not a name"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.1 takes 1e3 for text
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def read_configuration(path: str | Path) -> Any:
    """Read a YAML file, or a JSON file where the name ends in ``.json``.

    Raises
    ------
    InputError
        If it cannot be read or is not well formed; the message names the file and the place.
    """
    text = _read_text(Path(path))
    try:
        if str(path).lower().endswith(".json"):
            return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
        return yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader that allows less
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{where}: {_one_line(error.problem or error)}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: {_one_line(error)}") from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply") from None


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{path}: cannot be read: {reason}") from None
    if len(content) > LARGEST_FILE:
        raise InputError(f"{path}: is larger than a configuration can be ({LARGEST_FILE:,} bytes)")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text (UTF-8)") from None
    if not text.strip():
        raise InputError(f"{path}: is empty; it must at least name devices and microbatches")
    return text


def _one_line(message: object) -> str:
    return " ".join(str(message).split())[:300]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a finite number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise ValueError(f"the key {shown(key)} is there twice")
        mapping[key] = value
    return mapping


def split_strategy(configuration: object) -> tuple[dict[str, Any], str | None]:
    """Translate PP-Emulation's names and take the strategy out of a configuration.

    Parameters
    ----------
    configuration : mapping
        In ppopt's words, or PP-Emulation's (``num_devices``, ``op_times``, ``backward_D``, ``strategy`` …).

    Returns
    -------
    mapping : dict
        The pipeline in ppopt's words.
    strategy : str or None
        The strategy it names, with PP-Emulation's group size as an option.
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
    group_size = mapping.pop("microbatch_group_size_per_vp_stage", None)
    if group_size is not None and strategy is not None and "interleave" in strategy:
        strategy = f"{strategy}:group_size={group_size}"
    return mapping, strategy


def _rename(mapping: Mapping[str, Any], names: Mapping[str, str], prefix: str) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for key, value in mapping.items():
        new = names.get(key, key) if isinstance(key, str) else key
        if new in renamed:
            other = next(old for old, name in names.items() if name == new)
            raise InputError(f"{prefix}{new}: is given twice, as {new} and as {other}")
        renamed[new] = value
    return renamed
