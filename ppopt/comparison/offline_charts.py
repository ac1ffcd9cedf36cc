"""Charts for notebooks without a network: each carries the script that draws it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

RENDERER = "ppopt-offline"
"""The renderer's name in altair."""

_EMBED_OPTIONS: dict[str, Any] = {
    "mode": "vega-lite",
    "renderer": "canvas",  # a timeline has thousands of bars
    "actions": {"export": True, "source": False, "compiled": False, "editor": False},
}

_HTML = """<div id="{place}" style="width: 100%"></div>
<style>#{place}.vega-embed {{ width: 100%; }}</style>
<script>
(function () {{
if (!window.ppoptEmbed) {{
const before = window.vegaEmbed;
{script}
window.ppoptEmbed = window.vegaEmbed;
window.vegaEmbed = before;
}}
window.ppoptEmbed(document.getElementById("{place}"), {specification}, {options}).catch(console.error);
}}());
</script>
"""


def show_offline() -> None:
    """Show all Altair charts in notebooks without a network, from now on.

    By default Altair loads Vega from the network for every chart. After this call, every chart carries Vega, about
    0.9 MB, and works with its menus and tooltips without a network, also in saved notebooks.
    ``altair.renderers.enable("default")`` undoes this.
    """
    import altair as alt

    alt.renderers.register(RENDERER, offline_mimebundle)
    alt.renderers.enable(RENDERER)


def offline_mimebundle(specification: dict[str, Any], **options: Any) -> dict[str, str]:
    """Write a chart as self-contained HTML, in the form that Altair expects from a renderer.

    Parameters
    ----------
    specification : dict
        The chart, in Vega-Lite.
    **options
        The renderer's options as set by a user: ``embed_options`` go to Vega-Embed.

    Returns
    -------
    dict
        A MIME bundle.
    """
    from reports.page.bundle import vega_script
    from reports.page.page import embedded

    named = {key: value for key, value in specification.items() if key != "$schema"}  # need not be fetched
    html = _HTML.format(
        place=f"ppopt-{uuid4().hex}",
        script=vega_script(),
        specification=embedded(named),
        options=embedded(_EMBED_OPTIONS | options.get("embed_options", {})),
    )
    return {"text/html": html, "text/plain": "<Chart>"}
