"""Builds the model of a ``config.json`` with transformers: on torch's ``meta`` device, which holds no data."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from solver.errors import InputError

ATTENTION = "ppopt"
"""The name under which transformers knows the attention that is counted."""


def build_model(
    config: Mapping[str, Any], dtype: str, *, device: str = "meta", attention: Callable[..., Any] | None = None
) -> Any:
    """Build a model for training.

    Parameters
    ----------
    config : mapping
        What `read_model_config` returns.
    dtype : str
        The name of torch's data type.
    device : str
        Where; ``meta`` holds no data.
    attention : callable or None
        In place of torch's own attention.

    Raises
    ------
    InputError
        If transformers has no such architecture, or cannot build it.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.modeling_utils import AttentionInterface

    kind = config["model_type"]
    described = _configuration(config)
    if attention is not None:
        AttentionInterface.register(ATTENTION, attention)  # without a mask: it knows that it is causal
    how = {"dtype": getattr(torch, dtype), "attn_implementation": "sdpa" if attention is None else ATTENTION}
    try:
        with torch.device(device):
            try:
                model = AutoModelForCausalLM.from_config(described, **how)
            except (ValueError, KeyError):  # an architecture that knows no attention but its own
                model = AutoModelForCausalLM.from_config(described, **how | {"attn_implementation": "eager"})
    except RecursionError:
        raise InputError(f"model_type: transformers cannot build this {kind}: it is nested too deeply") from None
    except Exception as error:
        raise refused(kind, "build", error) from None
    return model.train()


def knows_attention(model: Any) -> bool:
    """Return whether a model's attention is the one that was given."""
    return bool(model.config._attn_implementation == ATTENTION)


def _configuration(config: Mapping[str, Any]) -> Any:
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

    kind = config["model_type"]
    if kind not in CONFIG_MAPPING:
        near = difflib.get_close_matches(kind, list(CONFIG_MAPPING.keys()), n=1)
        known = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"model_type: transformers has no architecture {kind[:40]!r}{known}")
    try:
        described = CONFIG_MAPPING[kind].from_dict(dict(config))
        text = described.get_text_config(decoder=True)
    except Exception as error:
        raise refused(kind, "read", error) from None
    if type(text) in MODEL_FOR_CAUSAL_LM_MAPPING:
        described = text
    if type(described) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise InputError(f"model_type: {kind} is no decoder that predicts the next token, so it has no layers to count")
    return described


def refused(kind: str, what: str, error: Exception) -> InputError:
    """Make the one line that says why a library refused a model."""
    reason = " ".join(str(error).split())[:200] or "no reason given"
    return InputError(f"model_type: transformers cannot {what} this {kind[:40]}: {type(error).__name__}: {reason}")
