"""Dates as people publish them: a year, a month, a quarter, a half year or a day."""

from __future__ import annotations

import re

_FORM = re.compile(r"(\d{4})(?:-(?:(\d{2})(?:-(\d{2}))?|Q([1-4])|H([12])))?")

ACCEPTED = "YYYY, YYYY-MM, YYYY-MM-DD, YYYY-Qn, YYYY-Hn"

Day = tuple[int, int, int]


def span(text: str) -> tuple[Day, Day] | None:
    """Return the first and the last possible day of a date such as 2026, 2026-07, 2026-Q3, 2026-H2 or 2026-07-31.

    None when the text is no such date.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    year, month, day, quarter, half = (int(group) if group else None for group in match.groups())
    if year is None or month not in (None, *range(1, 13)) or day not in (None, *range(1, 32)):
        return None
    if month is not None:
        return (year, month, day or 1), (year, month, day or 31)
    if quarter is not None:
        return (year, 3 * quarter - 2, 1), (year, 3 * quarter, 31)
    if half is not None:
        return (year, 6 * half - 5, 1), (year, 6 * half, 31)
    return (year, 1, 1), (year, 12, 31)


def surely_before(earlier: str, later: str) -> bool:
    """True when every day of the first date lies before every day of the second."""
    first, second = span(earlier), span(later)
    return first is not None and second is not None and first[1] < second[0]
