"""Where a number comes from."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

ReadAs = Literal[
    "vendor_document", "paper", "repository", "filing", "dataset", "press", "analyst", "survey", "secondary", "own"
]


class Source(BaseModel):
    """A document that numbers were taken from.

    `read_as` says what was actually read: the vendor's own document, or something that quotes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    id: str
    title: str
    publisher: str
    date: str
    locator: str
    read_as: ReadAs
    licence: str | None = None
    note: str | None = None
