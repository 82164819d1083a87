"""Write the files of a plan; either all of them appear whole, or none."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suanli.report.csv_text import csv_text
from suanli.report.html import html_text
from suanli.search.result import Plan


def json_text(content: Mapping[str, Any]) -> str:
    """JSON without NaN or infinity: an end that is not finite becomes null."""
    return json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def plan_json(plan: Plan, top: int | None = None) -> str:
    """The content of plan.json, or of its first `top` deployments."""
    content = plan.to_dict()
    return json_text(content | {"deployments": content["deployments"][:top]})


def _finite(value: Any) -> Any:  # noqa: ANN401 (any JSON)
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_plan(plan: Plan, folder: Path) -> list[Path]:
    """Write plan.json, plan.csv and report.html into `folder` and return their paths. Raises OSError.

    Everything is made before the first byte is written, and every file is moved into place only when complete.
    """
    texts = {"plan.json": plan_json(plan), "plan.csv": csv_text(plan), "report.html": html_text(plan)}
    folder.mkdir(parents=True, exist_ok=True)
    return [write_text(folder / name, text) for name, text in texts.items()]


def write_text(path: Path, text: str) -> Path:
    """Write a file under a temporary name beside it, then move it into place. Raises OSError with its own name."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        draft.unlink(missing_ok=True)
    return path
