"""80 % intervals from left-out residuals, by class of evidence."""

from __future__ import annotations


def write_intervals(rows, table) -> None:  # noqa: ANN001
    """Placeholder until the classes are settled."""
