"""What went wrong, for people: one line per problem on stderr, exit status 2, no traceback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

from suanli.catalog.files import CatalogError


def fail(*problems: str) -> NoReturn:
    """Say what is wrong and exit with status 2."""
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    raise typer.Exit(2)


def folders_there(*paths: Path | None) -> None:
    """Say which files to be written have no folder, before anything is computed, and exit with status 2."""
    lost = [f"{path}: no folder {path.parent}" for path in paths if path and not path.parent.is_dir()]
    if lost:
        fail(*lost)


@contextmanager
def problems_reported(names: Mapping[str, str] | None = None) -> Iterator[None]:
    """Turn the problems of a study, of the catalog and of the disk into messages.

    `names` translates the start of a problem into what the user typed, such as the name of an option.
    """
    try:
        yield
    except CatalogError as error:
        fail(*(_translated(problem, names or {}) for problem in error.problems))
    except OSError as error:
        fail(f"{error.filename or 'file'}: {error.strerror or error}")


def _translated(problem: str, names: Mapping[str, str]) -> str:
    for start, name in names.items():
        if problem.startswith(start):
            return name + problem.removeprefix(start)
    return problem
