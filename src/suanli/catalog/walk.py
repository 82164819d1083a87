"""Every fact of a record with the key path that leads to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from suanli.quantity import Quantity, Text


def facts(record: object, path: str = "") -> Iterator[tuple[str, Quantity | Text]]:
    """Yield key path and fact of every number and every sourced text of a record, without their alternatives."""
    if isinstance(record, Quantity | Text):
        yield path, record
    elif isinstance(record, BaseModel):
        for name in type(record).model_fields:
            yield from facts(getattr(record, name), f"{path}.{name}" if path else name)
    elif isinstance(record, Mapping):
        for key, value in record.items():
            yield from facts(value, f"{path}.{key}")
    elif isinstance(record, tuple):
        for place, value in enumerate(record):
            yield from facts(value, f"{path}[{_label(value, place)}]")


def _label(value: object, place: int) -> str:
    """What a list item is called: its format for a peak, its name for a level, else its place."""
    dtype, name = getattr(value, "dtype", None), getattr(value, "name", None)
    if dtype is not None:
        sparsity = getattr(value, "sparsity", "dense")
        return dtype if sparsity == "dense" else f"{dtype} {sparsity}"
    return str(name) if isinstance(name, str) else str(place)


def with_alternatives(fact: Quantity | Text) -> Iterator[Quantity | Text]:
    """Yield the fact and everything that other sources say instead."""
    yield fact
    for other in fact.alternatives:
        yield from with_alternatives(other)


def sources(record: object) -> set[str]:
    """Ids of all sources that a record names: of its facts, their alternatives, its availability and its files."""
    found = {one.source for _, fact in facts(record) for one in with_alternatives(fact)}
    availability = getattr(record, "availability", None)
    named = (getattr(availability, "source", None), getattr(record, "config_source", None))
    return found | {one for one in named if isinstance(one, str)}


def count(record: object) -> int:
    """Number of sourced values of a record: facts and alternatives that have a value, a range or a text."""
    found = (one for _, fact in facts(record) for one in with_alternatives(fact))
    return sum(one.known if isinstance(one, Quantity) else one.text is not None for one in found)
