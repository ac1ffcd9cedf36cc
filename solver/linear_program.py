"""HiGHS, as all linear programs here use it."""

from __future__ import annotations

from typing import Any


def quiet_highs() -> Any:
    """Make an empty linear program that is solved in one thread and prints nothing.

    `highspy.Highs` would print a banner as soon as it is made; some methods of the class behind it are missing in its
    types. Most problems need no linear program, so it is imported here.
    """
    from highspy._core import _Highs

    model = _Highs()
    model.setOptionValue("output_flag", False)
    model.setOptionValue("threads", 1)
    return model
