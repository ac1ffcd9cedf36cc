"""Where costs come from: a verdict on estimates says that it is one."""

from __future__ import annotations

import re

_ORDINARY = re.compile("No |The |From |At |Of |Along |Offload ")
"""How sentences begin that do not begin with a name or a number."""


def on_costs(sentence: str, source: str | None) -> str:
    """Say of a verdict on which costs it rests, if they are estimated.

    Parameters
    ----------
    sentence : str
        The verdict.
    source : str or None
        What a configuration says of its costs.
    """
    if source != "estimated" or not sentence:
        return sentence
    first = sentence[0].lower() if _ORDINARY.match(sentence) else sentence[0]
    return f"On estimated costs, {first}{sentence[1:]}"
