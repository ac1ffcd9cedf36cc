"""Settings of the site that `make docs` builds from these pages with Sphinx."""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx

from ppopt.process.version import __version__

HERE = Path(__file__).parent
NOTEBOOK, TOUR = "../../examples/tour.ipynb", "start/tour"

project = "ppopt"
author = "The ppopt developers"
copyright = "the ppopt developers"
release = version = __version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_click",
]
exclude_patterns = ["_build", "reference/generated/*.txt"]

# Pages. Anchors are those of a code host, so that every link works there, too.
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]

# Notebooks are committed with their outputs, which a test compares with a run: a build runs nothing.
nb_execution_mode = "off"

# The API, from docstrings. References to other projects would need their inventories from the network.
autosummary_generate = True
templates_path = ["_templates"]
default_role = "autolink"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
nitpick_ignore_regex = [("py:.*", r"(?!ppopt\.\w+$).*")]

html_theme = "pydata_sphinx_theme"
html_title = "ppopt"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "show_toc_level": 2,
    "navbar_align": "left",
    "show_prev_next": False,
}
html_copy_source = False
html_show_sourcelink = False


def link_within_the_site(_app: Sphinx, page: str, source: list[str]) -> None:
    """Lead links to and from the notebook among the examples to pages."""
    source[0] = (
        source[0].replace("](../docs/", "](../") if page == TOUR else source[0].replace(NOTEBOOK, f"/{TOUR}.ipynb")
    )


def setup(app: Sphinx) -> None:
    """Show the notebook among the examples as a page."""
    shutil.copyfile(HERE.parent / "examples" / "tour.ipynb", HERE / f"{TOUR}.ipynb")
    app.connect("source-read", link_within_the_site)
