"""The documentation as a site: `make docs`. Sphinx reads the same Markdown that the repository's page shows.

The source folder is the repository, so that every link holds in both places. The index is docs/README.md; its three
sections become the three parts of the navigation.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

project = "mddns"
author = "the authors of mddns"
root_doc = "docs/README"
include_patterns = ["*.md", "docs/*.md", "docs/clients/*.md", "bench/README.md", "tailnet/README.md"]
exclude_patterns = [".*", "site", "build"]
extensions = ["myst_parser"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "mddns"
html_extra_path = ["index.html"]  # the site begins at docs/README.html
suppress_warnings = ["misc.highlighting_failure"]  # blocks of hex, conf and zone are shown as they are


def navigation(_app: Any, docname: str, source: list[str]) -> None:
    """Gives the index a hidden table of contents for each of its sections, made from the links in it."""
    if docname != root_doc:
        return
    text = source[0] + "\n```{toctree}\n:hidden:\n\n../README\n```\n"
    for section in source[0].split("\n## ")[1:]:
        links = re.findall(r"\]\(([\w./-]+)\.md\)", section)
        text += "\n```{toctree}\n:hidden:\n:caption: " + section.splitlines()[0] + "\n\n" + "\n".join(links) + "\n```\n"
    source[0] = text


def setup(app: Any) -> None:
    """What Sphinx calls first."""
    app.connect("source-read", navigation)
