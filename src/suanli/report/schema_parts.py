"""The few forms of JSON Schema that plan.json needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def of(kind: str | list[str], words: str) -> Schema:
    """Return a value of a JSON type."""
    return {"type": kind, "description": words}


def text(words: str, *choices: str) -> Schema:
    """Text, free or one of some choices."""
    return of("string", words) | ({"enum": list(choices)} if choices else {})


def number(words: str) -> Schema:
    """A number."""
    return of("number", words)


def perhaps(words: str) -> Schema:
    """A number or null."""
    return of(["number", "null"], words)


def count(words: str) -> Schema:
    """A whole number."""
    return of("integer", words)


def listed(items: Schema, words: str) -> Schema:
    """A list."""
    return of("array", words) | {"items": items}


def mapped(values: Schema, words: str) -> Schema:
    """Values by free names."""
    return of("object", words) | {"additionalProperties": values}


def record(words: str, fields: Mapping[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """Values by fixed names."""
    required = [name for name in fields if name not in optional]
    return of("object", words) | {"properties": dict(fields), "required": required, "additionalProperties": False}


def ref(name: str) -> Schema:
    """Return another definition of the schema."""
    return {"$ref": f"#/$defs/{name}"}
