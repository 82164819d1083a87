"""suanli: what a token costs on which AI system, with sources and error bars.

The public names load on first use, so that ``import suanli`` itself costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suanli.catalog.files import CatalogError
    from suanli.search.plan import plan
    from suanli.search.result import Deployment, Excuse, Plan
    from suanli.search.study import Study, StudyError

__all__ = ["CatalogError", "Deployment", "Excuse", "Plan", "Study", "StudyError", "plan"]

_HOMES = {
    "CatalogError": "suanli.catalog.files",
    "Deployment": "suanli.search.result",
    "Excuse": "suanli.search.result",
    "Plan": "suanli.search.result",
    "Study": "suanli.search.study",
    "StudyError": "suanli.search.study",
    "plan": "suanli.search.plan",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module 'suanli' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Public names."""
    return __all__
