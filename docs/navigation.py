"""Navigation of the site: the folders in reading order, every page of a folder by its title.

A page that is put into a folder appears by itself.
"""

from __future__ import annotations

from pathlib import Path

SECTIONS = {
    "tutorial": "Tutorial",
    "how-to": "How to",
    "theory": "Theory",
    "reference": "Reference",
    "design": "Design",
}


def on_config(config):  # noqa: ANN001, ANN201 (mkdocs calls it)
    """Fill in `nav`."""
    docs = Path(config["docs_dir"])
    nav = [{"Home": "index.md"}]
    for folder, title in SECTIONS.items():
        pages = sorted(path.relative_to(docs).as_posix() for path in (docs / folder).glob("*.md"))
        if pages:
            nav.append({title: pages})
    config["nav"] = nav
    return config
