"""Reads a layout in any of the supported grammars."""

from __future__ import annotations

import ast

from solver.errors import InputError
from strategies.layouts.deepspeed import read_deepspeed_parts
from strategies.layouts.megatron import read_megatron_layout
from strategies.layouts.torchtitan import read_torchtitan_parts
from strategies.model.cuts import Counts, check_cut
from strategies.model.layers import Layers
from strategies.model.numbers import shown
from strategies.model.pipeline import Pipeline

_MEGATRONS_NAMES = {"embedding", "decoder", "mtp", "loss"}


def read_layout(layout: object, layers: Layers, devices: int) -> Counts:
    """Return how many of the model's layers a layout puts on each stage.

    Parameters
    ----------
    layout : str or sequence
        Megatron's text or lists of layers, torchtitan's lists of names, or DeepSpeed's parts; lists may be given as
        text, too.
    layers : Layers
        The model.
    devices : int
        The number of pipeline ranks.

    Raises
    ------
    InputError
        If it is none of these, its framework would refuse it, or the model's pins and glue forbid it.
    """
    if isinstance(layout, str) and layout.lstrip().startswith("["):
        layout = _read_list(layout)
    counts = _read(layout, layers, devices)
    try:
        check_cut(layers, counts)
    except InputError as error:
        raise InputError(f"layout: {error}") from None
    return counts


def cut_by_layout(pipeline: Pipeline, layout: object) -> Pipeline:
    """Cut a pipeline's model as a layout says.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, with layers.
    layout : str or sequence
        As for `read_layout`.

    Raises
    ------
    InputError
        As `read_layout`, and if the pipeline has no layers.
    """
    if pipeline.layers is None:
        raise InputError("layout: needs layers, and this pipeline gives the times of its stages")
    return pipeline.with_cut(read_layout(layout, pipeline.layers, pipeline.devices))


def _read(layout: object, layers: Layers, devices: int) -> Counts:
    if isinstance(layout, str):
        return read_megatron_layout(layout.strip(), layers, devices)
    if not isinstance(layout, (list, tuple)) or not layout:
        raise InputError(f"layout: must be Megatron's text, or a list; found {shown(layout)}")
    if not any(isinstance(part, (list, tuple)) for part in layout):
        return read_deepspeed_parts(layout, layers, devices)
    names = [name for part in layout if isinstance(part, (list, tuple)) for name in part if isinstance(name, str)]
    if any(name.strip().lower() in _MEGATRONS_NAMES for name in names):
        return read_megatron_layout(layout, layers, devices)
    return read_torchtitan_parts(layout, layers, devices)


def _read_list(text: str) -> object:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise InputError(f"layout: is not a list as in Python or JSON; found {shown(text)}") from None
