"""Vega, Vega-Lite and Vega-Embed as one script, taken from vl-convert once per version and cached."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import platformdirs

from reports.atomic_write import atomic_write

_COMPLETE = "/* complete */"
_EXPORTS = "window.vegaEmbed = vegaEmbed;"


def vega_script() -> str:
    """Return the script that defines ``window.vegaEmbed``, safe to embed in an HTML page.

    The script is kept in the user's cache folder, since making it takes a second. If that folder cannot be written, it
    is made each time.
    """
    cached = _cache_file()
    with suppress(OSError, UnicodeDecodeError):
        text = cached.read_text(encoding="utf-8")
        if text.endswith(_COMPLETE):
            return text
    text = _bundled()
    with suppress(OSError):
        _keep(cached, text)
    return text


def _cache_file() -> Path:
    folder = platformdirs.user_cache_path("ppopt", appauthor=False)
    return folder / f"vega-{version('vl-convert-python')}.js"


def _bundled() -> str:
    import vl_convert

    script = vl_convert.javascript_bundle(_EXPORTS).replace("</script", "<\\/script").replace("<!--", "<\\!--")
    return f"(function () {{\n{script}\n}})();\n{_COMPLETE}"  # a scope of its own keeps its names apart from the page's


def _keep(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as part:
        part.write(text.encode())
