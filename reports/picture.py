"""Renders charts as pictures, without a browser."""

from __future__ import annotations

from typing import Any

WIDTH = 760
"""Width in pixels of charts that would fill their container."""

GROUND = "white"
"""The colour of the ground."""

_CONFIG: dict[str, Any] = {
    "background": GROUND,
    "font": "Arial, Liberation Sans, Helvetica, sans-serif",  # equally wide, so texts stand as they were laid out
    "view": {"stroke": None},
    "axis": {"labelLimit": 240, "labelOverlap": True},
}


def picture(chart: Any, form: str) -> bytes:
    """Render a chart.

    Parameters
    ----------
    chart : altair.Chart
        Any kind of chart. If it fills its container, it becomes `WIDTH` pixels wide.
    form : {"png", "svg"}
        The format; a PNG has twice as many pixels in each direction, for print.

    Returns
    -------
    bytes
        The file's content.
    """
    import vl_convert

    specification = _with_width(chart.to_dict())
    given = specification.get("config", {})
    specification["config"] = _CONFIG | given | {part: _CONFIG[part] | given.get(part, {}) for part in ("view", "axis")}
    if "params" in specification:  # of charts with the same menu, which a picture lacks
        specification["params"] = list({each["name"]: each for each in specification["params"]}.values())
    if form == "svg":
        return str(vl_convert.vegalite_to_svg(specification)).encode()
    return bytes(vl_convert.vegalite_to_png(specification, scale=2))


def _with_width(part: dict[str, Any]) -> dict[str, Any]:
    inner = {"vconcat": [_with_width(each) for each in part["vconcat"]]} if "vconcat" in part else {}
    return part | inner | ({"width": WIDTH} if part.get("width") == "container" else {})
