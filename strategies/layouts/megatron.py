"""Megatron-Core's ``--pipeline-model-parallel-layout``, with the options that belong to it.

The grammar: `E`, `t`, `m` and `L` are layers, `|` ends a stage, and commas mean nothing. The text is first expanded in
two passes, each once from left to right: `(X)*n` becomes n copies of X, where X holds no `)`; then `c*n` becomes n
copies of the single character c. Stage k lies on rank k mod p.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby

from solver.errors import InputError
from strategies.layouts.units import counts_from_letters, stage_letters
from strategies.model.cuts import ByKind, Counts, counts_by_kind
from strategies.model.layers import LETTERS, Layers
from strategies.model.numbers import shown

LONGEST = 1_000_000
"""The most characters that a layout may expand to."""

_GROUP, _CHARACTER = re.compile(r"\(([^)]+)\)\*(\d+)"), re.compile(r"(.)\*(\d+)")
_NAMES = {"embedding": "E", "decoder": "t", "mtp": "m", "loss": "L"}


def expand(layout: str) -> list[str]:
    """Expand a layout into the letters of each stage.

    Raises
    ------
    InputError
        If it is too long, or a remaining character is no layer; the message names the stage.
    """
    text = layout.replace(",", "")
    for pattern in (_GROUP, _CHARACTER):
        text = _repeat(pattern, text)
    stages = text.split("|")
    for stage, letters in enumerate(stages):
        for letter in letters:
            if letter not in LETTERS:
                raise InputError(f"layout: stage {stage}: {_strange(letter)}; allowed are {', '.join(LETTERS)} and |")
    return stages


def _repeat(pattern: re.Pattern[str], text: str) -> str:
    length = len(text)
    for found in pattern.finditer(text):
        times = int(found[2]) if len(found[2]) < 10 else LONGEST + 1
        length += len(found[1]) * times
        if length > LONGEST + len(text):
            raise InputError(f"layout: {shown(found[0])} makes it longer than {LONGEST:,} characters")
    return pattern.sub(lambda found: found[1] * int(found[2]), text)


def _strange(letter: str) -> str:
    if letter in "()*" or letter.isdigit():
        return f"{letter!r} is left; write (…)*n with n decimal, not one group in another, and n only once"
    return f"{shown(letter)} is no layer"


def stages_of_lists(layout: Sequence[object]) -> list[str]:
    """Read a layout given as a list of lists of names, as in Megatron's Python configuration.

    Raises
    ------
    InputError
        If it is not such a list, or a name is no layer.
    """
    stages: list[str] = []
    for stage, names in enumerate(layout):
        if not isinstance(names, (list, tuple)):
            raise InputError(f"layout: stage {stage}: must be a list of layers; found {shown(names)}")
        letters = ""
        for name in names:
            letter = _NAMES.get(name.strip().lower()) if isinstance(name, str) else None
            if letter is None:
                raise InputError(f"layout: stage {stage}: {shown(name)} is no layer; allowed are {', '.join(_NAMES)}")
            letters += letter
        stages.append(letters)
    return stages


def check_layout(stages: Sequence[str], devices: int, decoder_layers: int, mtp_layers: int) -> None:
    """Refuse a layout that Megatron refuses for these numbers of layers and ranks.

    Parameters
    ----------
    stages : sequence of str
        The letters of each stage.
    devices : int
        ``--pipeline-model-parallel-size``.
    decoder_layers, mtp_layers : int
        ``--num-layers`` and ``--mtp-num-layers``.

    Raises
    ------
    InputError
        If the layout breaks a rule; the message names the rule and the place.
    """
    _refuse_without_ends(stages)
    if len(stages) % devices:
        raise InputError(
            f"layout: must have {devices} stages or a multiple of it, with | between two of them; found {len(stages)}"
        )
    _check_ends(stages)
    for letter, count in (("t", decoder_layers), ("m", mtp_layers)):
        found = sum(stage.count(letter) for stage in stages)
        if found != count:
            raise InputError(
                f"layout: must have {count} {letter} ({LETTERS[letter]}), as many as the model; found {found}"
            )
    _check_mtp(stages, devices)


def _refuse_without_ends(stages: Sequence[str]) -> None:
    """Refuse a layout without E or L, such as ``tt|tt``; Megatron requires both even for a model without them."""
    letters = "".join(stages)
    cures = {"E": "put E at the beginning of the first stage", "L": "put L at the end of the last stage"}
    missing = [letter for letter in cures if letter not in letters]
    if missing:
        what = " and no ".join(f"{letter} ({LETTERS[letter]})" for letter in missing)
        raise InputError(f"layout: has no {what}; {' and '.join(cures[letter] for letter in missing)}")


def _check_ends(stages: Sequence[str]) -> None:
    letters = "".join(stages)
    first = next(stage for stage, text in enumerate(stages) if text)
    last = next(stage for stage in reversed(range(len(stages))) if stages[stage])
    for letter, end, found, stage in (("E", "begin", letters[:1], first), ("L", "end", letters[-1:], last)):
        if found != letter:
            raise InputError(f"layout: must {end} with {letter} ({LETTERS[letter]}); found {found} on stage {stage}")
        places = [stage for stage, text in enumerate(stages) for each in text if each == letter]
        if len(places) > 1:
            where = " and ".join(map(str, places))
            raise InputError(f"layout: must have {letter} ({LETTERS[letter]}) once; found on stages {where}")


def _check_mtp(stages: Sequence[str], devices: int) -> None:
    places = [stage for stage, text in enumerate(stages) if "m" in text]
    letters = "".join(stages)
    if "t" in letters[letters.find("m") :] and places:
        stage = next(stage for stage, end in enumerate(accumulate(map(len, stages))) if end > letters.rfind("t"))
        raise InputError(f"layout: must have no t after the first m (on stage {places[0]}); found on stage {stage}")
    last_chunk = len(stages) - devices
    if places and places[0] < last_chunk:
        raise InputError(
            f"layout: must have m in the last chunk of a rank, on stages {last_chunk} to {len(stages) - 1}; "
            f"found on stage {places[0]}"
        )
    if len(places) > 1:
        where = " and ".join(map(str, places))
        raise InputError(f"layout: must have all m on one stage; found on stages {where}")


def read_megatron_layout(layout: str | Sequence[object], layers: Layers, devices: int) -> Counts:
    """Return how many of the model's layers a layout puts on each stage.

    Parameters
    ----------
    layout : str or sequence
        The text, or a list of lists of names.
    layers : Layers
        The model.
    devices : int
        ``--pipeline-model-parallel-size``.

    Raises
    ------
    InputError
        If the text is malformed, or Megatron would refuse the layout for this model.
    """
    stages = expand(layout) if isinstance(layout, str) else stages_of_lists(layout)
    check_layout(stages, devices, layers.letters.count("t"), layers.letters.count("m"))
    return counts_from_letters(layers, stages, "Megatron")


def write_megatron_layout(layers: Layers, layers_per_stage: Sequence[int], devices: int) -> str:
    """Write a cut as a layout.

    Raises
    ------
    InputError
        If Megatron cannot run this cut.
    """
    stages = stage_letters(layers, layers_per_stage, "Megatron")
    check_layout(stages, devices, layers.letters.count("t"), layers.letters.count("m"))
    *others, last = [_short(letters) for letters in stages]
    rows = [(text, len(list(row))) for text, row in groupby(others)]
    return "".join(f"({text}|)*{times}" if times > 1 else f"{text}|" for text, times in rows) + last


def _short(letters: str) -> str:
    rows = [(letter, len(list(row))) for letter, row in groupby(letters)]
    return "".join(f"{letter}*{count}" if count > 2 else letter * count for letter, count in rows)


def recomputation_options(layers: Layers, layers_per_stage: Sequence[int], recomputed: ByKind) -> list[str]:
    """Write what is recomputed as Megatron's options, which take one number of layers for all stages.

    ``uniform`` recomputes every decoder and MTP layer; ``block`` the first k decoder layers of every (virtual) stage.

    Raises
    ------
    InputError
        If Megatron cannot recompute just these layers.
    """
    held = counts_by_kind(layers, layers_per_stage)
    if not any(map(any, recomputed)):
        return []
    method = _recomputation(layers, held, recomputed)
    if method is None:
        raise InputError(
            "recomputed_per_stage: Megatron recomputes the first k decoder layers of every stage with one k, or all "
            f"layers; found {[sum(counts) for counts in recomputed]}"
        )
    name, number = method
    return [
        "--recompute-granularity full",
        f"--recompute-method {name}",
        f"--recompute-num-layers {number}",
    ]


def _recomputation(layers: Layers, held: ByKind, recomputed: ByKind) -> tuple[str, int] | None:
    letters = [kind.megatron_letter for kind in layers.kinds]
    if recomputed == _recomputable_part(held, letters, "tm"):
        return "uniform", 1
    decoders = _recomputable_part(held, letters, "t")
    most = max(map(sum, recomputed))
    first_ones = tuple(tuple(_first(counts, most)) for counts in decoders)
    return ("block", most) if recomputed == first_ones else None


def _recomputable_part(held: ByKind, letters: Sequence[str], which: str) -> ByKind:
    return tuple(
        tuple(count if letter in which else 0 for letter, count in zip(letters, counts, strict=True)) for counts in held
    )


def _first(counts: Counts, most: int) -> Iterator[int]:
    """Yield how many layers of each kind are among the first ``most`` layers."""
    for count in counts:
        yield min(count, most)
        most -= min(count, most)


def group_size_options(group_size: int | None, devices: int, stages: int, microbatches: int) -> list[str]:
    """Write the group size of an interleaved schedule as Megatron's option.

    Parameters
    ----------
    group_size : int or None
        The number of microbatches in a group; None for the number of devices.
    devices, stages, microbatches : int
        The pipeline's sizes.

    Raises
    ------
    InputError
        If Megatron refuses it.
    """
    if stages == devices:
        return []
    group = devices if group_size is None else group_size
    if not devices <= group <= microbatches:
        raise InputError(
            f"group_size: Megatron takes {devices} (the devices) to {microbatches} (the microbatches); found {group}"
        )
    rest = microbatches % group
    if 0 < rest < devices:
        raise InputError(
            f"group_size: Megatron takes no last group of fewer microbatches than devices, {devices}; "
            f"{microbatches} in groups of {group} leave {rest}"
        )
    return [] if group == devices else [f"--microbatch-group-size-per-virtual-pipeline-stage {group}"]


def megatron_options(
    layers: Layers, layers_per_stage: Sequence[int], devices: int, recomputed: ByKind | None = None
) -> list[str]:
    """Write a cut as Megatron's options.

    Raises
    ------
    InputError
        If Megatron cannot run this cut, or cannot recompute just these layers.
    """
    mtp = layers.letters.count("m")
    return [
        f"--pipeline-model-parallel-size {devices}",
        f"--pipeline-model-parallel-layout '{write_megatron_layout(layers, layers_per_stage, devices)}'",
        f"--num-layers {layers.letters.count('t')}",
        *([f"--mtp-num-layers {mtp}"] if mtp else []),
        *(recomputation_options(layers, layers_per_stage, recomputed) if recomputed else []),
    ]
