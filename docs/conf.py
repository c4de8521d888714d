"""How the documentation is made: ``make docs`` writes build/docs."""

from __future__ import annotations

project = "buildlib"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "buildlib"
exclude_patterns: list[str] = []
myst_heading_anchors = 3
# Links to files of the repository that are no pages: they work where the repository is browsed.
suppress_warnings = ["myst.xref_missing"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": False}
add_module_names = False
