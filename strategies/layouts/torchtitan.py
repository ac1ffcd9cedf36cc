"""torchtitan's ``module_fqns_per_model_part``: the names of the modules of each stage, in the order of the model.

The names are ``tok_embeddings``, ``layers.0`` and so on, ``norm`` and ``lm_head`` (``output`` in older versions); the
first list may hold a ``vision_encoder``. Torchtitan silently drops modules that are not listed, so this file checks
that all are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from solver.counted import counted
from solver.errors import InputError
from strategies.layouts.units import counts_from_letters, stage_letters
from strategies.model.cuts import Counts
from strategies.model.layers import Layers
from strategies.model.numbers import shown

HEADS = ("lm_head", "output")
"""torchtitan's names of the head, in newer and in older versions."""

_LAYER = re.compile(r"layers\.(0|[1-9][0-9]{0,8})", re.ASCII)


def write_torchtitan_parts(
    layers: Layers, layers_per_stage: Sequence[int], devices: int, *, head: str = "lm_head", empty: bool = False
) -> list[list[str]]:
    """Write a cut as lists of names.

    Parameters
    ----------
    layers : Layers
        The model.
    layers_per_stage : sequence of int
        Its cut.
    devices : int
        The number of pipeline ranks.
    head : {"lm_head", "output"}
        The name of the head.
    empty : bool
        Whether stages may be empty. torchtitan's own splitter makes no empty stages, and we have not tried one without
        parameters.

    Raises
    ------
    InputError
        If torchtitan cannot express this cut.
    """
    _check_number(len(layers_per_stage), devices)
    _refuse_mtp(layers)
    parts: list[list[str]] = []
    number = 0
    for stage, letters in enumerate(stage_letters(layers, layers_per_stage, "torchtitan")):
        if not letters and not empty:
            raise InputError(f"layers_per_stage: torchtitan needs layers on every stage; stage {stage} is empty")
        names: list[str] = []
        for letter in letters:
            names += {"E": ["tok_embeddings"], "L": ["norm", head]}.get(letter, [f"layers.{number}"])
            number += letter == "t"
        parts.append(names)
    return parts


def read_torchtitan_parts(parts: Sequence[object], layers: Layers, devices: int) -> Counts:
    """Return how many of the model's layers lists of names put on each stage.

    Parameters
    ----------
    parts : sequence of sequence of str
        One list for each stage.
    layers : Layers
        The model.
    devices : int
        The number of pipeline ranks.

    Raises
    ------
    InputError
        If a name is unknown, missing, repeated or out of order; or if the number of lists does not fit.
    """
    _refuse_mtp(layers)
    _check_number(len(parts), devices)
    number = layers.letters.count("t")
    expected = ["tok_embeddings", *(f"layers.{place}" for place in range(number)), "norm", "head"]
    places = {name: place for place, name in enumerate(expected)}
    stages: list[str] = []
    found: dict[str, int] = {}
    for stage, names in enumerate(parts):
        letters = ""
        for name in _names(stage, names):
            if name == "vision_encoder" and stage == 0:
                continue
            known = "head" if name in HEADS else name
            if known not in places:
                raise InputError(f"layout: stage {stage}: {shown(name)} {_unknown(name, number)}")
            if known in found:
                raise InputError(f"layout: {name} appears twice, on stages {found[known]} and {stage}")
            if (before := len(found)) != places[known]:
                raise InputError(f"layout: stage {stage}: must have {_written(expected[before])} next; found {name}")
            found[known] = stage
            letters += {"tok_embeddings": "E", "norm": "", "head": "L"}.get(known, "t")
        stages.append(letters)
    if len(found) < len(expected):
        raise InputError(f"layout: {_written(expected[len(found)])} is on no stage; torchtitan would drop it")
    _check_ends(found, len(parts))
    return counts_from_letters(layers, stages, "torchtitan")


def _names(stage: int, names: object) -> Sequence[str]:
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise InputError(f"layout: stage {stage}: must be a list of names; found {shown(names)}")
    return names


def _unknown(name: str, number: int) -> str:
    if _LAYER.fullmatch(name):
        return f"is not there: the model has {counted(number, 'layer')}, layers.0 to layers.{number - 1}"
    return f"is not known; allowed are tok_embeddings, layers.0 to layers.{number - 1}, norm and lm_head"


def _written(name: str) -> str:
    return "lm_head" if name == "head" else name


def _check_ends(found: dict[str, int], stages: int) -> None:
    for name, place in (("tok_embeddings", 0), ("norm", stages - 1), ("head", stages - 1)):
        if found[name] != place:
            end = "first" if place == 0 else "last"
            raise InputError(f"layout: must have {_written(name)} on the {end} stage; found on stage {found[name]}")


def _refuse_mtp(layers: Layers) -> None:
    if "m" in layers.letters:
        name = next(kind.name for kind in layers.kinds if kind.megatron_letter == "m")
        raise InputError(f"layers: torchtitan has no name for MTP layers; found {name}")


def _check_number(stages: int, devices: int) -> None:
    if stages % devices or not stages:
        raise InputError(f"layout: must have {devices} stages or a multiple of it; found {stages}")
