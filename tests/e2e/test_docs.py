"""README, tutorial and how-to pages are true: their commands run, and the README prints what it says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for folder in ("tutorial", "how-to") for path in (ROOT / "docs" / folder).glob("*.md"))


@pytest.fixture(scope="module")
def refresh():
    """The script that renews the pages."""
    spec = importlib.util.spec_from_file_location("refresh", ROOT / "docs" / "refresh.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["refresh"] = module
    spec.loader.exec_module(module)
    return module


def test_readme_prints_what_the_command_prints(refresh):
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert refresh.renewed(page) == page, "stale: run `python docs/refresh.py`"


@pytest.mark.parametrize("name", [path.name for path in PAGES if path.name != "add-a-chip.md"])
def test_pages_run(refresh, name):
    """Every block runs without an error."""
    path = next(path for path in PAGES if path.name == name)
    page = path.read_text(encoding="utf-8")
    fresh = refresh.renewed(page)
    assert page.count("```") == fresh.count("```")
    for printed in re.findall(r"```console\n(.*?)```", fresh, re.S):
        assert len(printed.splitlines()) > printed.count("$ suanli")


def test_every_how_to_page_is_linked_from_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for path in PAGES:
        assert f"{path.parent.name}/{path.name}" in index


def test_a_failing_command_is_noticed(refresh):
    with pytest.raises(RuntimeError, match="unknown model"):
        refresh.renewed("```console\n$ suanli plan --model nothing --input 1 --output 1 --rate 1/s\n```\n")
