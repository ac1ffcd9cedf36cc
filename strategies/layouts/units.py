"""The layers of a model as frameworks count them: an embedding, decoder layers, MTP layers, and a head."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, pairwise

from solver.errors import InputError
from strategies.model.layers import LETTERS, Layers

_ORDER = re.compile("E*t*m*L*")


def stage_letters(layers: Layers, layers_per_stage: Sequence[int], framework: str) -> list[str]:
    """Write the layers of each stage as Megatron's letters, with one E for the whole embedding and one L for the head.

    If the model has no such layer, E stands on the first stage and L on the last.

    Parameters
    ----------
    layers : Layers
        The model.
    layers_per_stage : sequence of int
        Its cut.
    framework : str
        The framework, for messages.

    Raises
    ------
    InputError
        If the model is not an embedding, decoder layers, MTP layers and a head in this order; if the embedding is not
        on the first stage, or the head not on the last.
    """
    _check_order(layers, framework)
    stages: list[str] = []
    start = 0
    for count in layers_per_stage:
        stages.append(re.sub("E+", "E", re.sub("L+", "L", layers.letters[start : start + count])))
        start += count
    if "E" not in layers.letters:
        stages[0] = "E" + stages[0]
    if "L" not in layers.letters:
        stages[-1] += "L"
    for stage, letters in enumerate(stages):
        if ("E" in letters and stage > 0) or ("L" in letters and stage < len(stages) - 1):
            letter, place = ("E", "first") if "E" in letters else ("L", "last")
            raise InputError(
                f"layers_per_stage: {framework} needs {letter} ({LETTERS[letter]}) on the {place} stage; "
                f"found on stage {stage}"
            )
    return stages


def counts_from_letters(layers: Layers, stages: Sequence[str], framework: str) -> tuple[int, ...]:
    """Count the model's layers on each stage from Megatron's letters; the inverse of `stage_letters`.

    Parameters
    ----------
    layers : Layers
        The model.
    stages : sequence of str
        The letters of each stage; put together, one E, every t, every m, and one L.
    framework : str
        The framework, for messages.

    Raises
    ------
    InputError
        If the model is not an embedding, decoder layers, MTP layers and a head in this order.
    """
    _check_order(layers, framework)
    size = dict.fromkeys("tm", 1) | {letter: layers.letters.count(letter) for letter in "EL"}
    return tuple(sum(size[letter] for letter in letters) for letters in stages)


def _check_order(layers: Layers, framework: str) -> None:
    if _ORDER.fullmatch(layers.letters):
        return
    kinds = [(letter, kind.name) for kind in layers.kinds for letter in kind.megatron_letter]
    rows = [next(iter(row)) for _, row in groupby(kinds, key=lambda each: each[0])]
    one, two = next((a, b) for a, b in pairwise(rows) if "EtmL".index(a[0]) > "EtmL".index(b[0]))
    raise InputError(
        f"layers: {framework} takes E, t, m, L in this order; found {two[1]} ({two[0]}) after {one[1]} ({one[0]}); "
        "give them a letter"
    )
