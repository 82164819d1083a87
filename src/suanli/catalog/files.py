"""Read a data file into a record of the schema and say everything that is wrong with it, one line per problem.

Only the safe YAML loader is used. Two things differ from plain YAML: dates stay text (a date is a string of the schema,
not an object), and a key given twice is an error instead of a silent overwrite.
"""

from __future__ import annotations

import types
from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    import yaml
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)

UNION_TAGS = frozenset({"quantity", "text"})  # the branches of a Fact; they are not keys of the file
SHOWN = 60  # characters of a wrong value that a message repeats


class CatalogError(ValueError):
    """The facts cannot be used. `problems` has one line each: file, key, what was given, what is accepted."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@lru_cache(maxsize=1)
def reason_of(error: Exception) -> str:
    """Why a file cannot be read, for people: what the system says without its number and the path."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _loader() -> type[yaml.CSafeLoader]:
    """Safe loader that keeps dates as text and refuses a key given twice."""
    import yaml  # noqa: PLC0415 (start-up time: a warm start reads no YAML)

    class Loader(yaml.CSafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"key '{key.value}' is given twice", problem_mark=key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def read_documents(path: Path) -> list[Any]:
    """Return the YAML documents of a file as plain mappings and lists. Raises CatalogError when it cannot be read."""
    import yaml  # noqa: PLC0415 (start-up time: a warm start reads no YAML)

    try:
        return list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=_loader()))
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError([f"{path}: cannot be read ({reason_of(error)}); expected a YAML file"]) from None
    except yaml.YAMLError as error:
        raise CatalogError([f"{path}: not valid YAML: {_yaml_problem(error)}"]) from None


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else str(problem)


def read_yaml(path: Path, model: type[Model]) -> Model:
    """Read one file that holds one record of type `model`. Raises CatalogError with every problem of the file."""
    documents = read_documents(path)
    if len(documents) != 1:
        raise CatalogError([f"{path}: {len(documents)} YAML documents given, exactly one is accepted"])
    return validate(documents[0], model, str(path))


def validate(data: object, model: type[Model], where: str) -> Model:
    """Make a record of plain data. Raises CatalogError with every problem; `where` names the file."""
    if not isinstance(data, Mapping):
        raise CatalogError([f"{where}: {_shown(data)} given, a mapping of {model.__name__} keys is accepted"])
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise CatalogError(_problem(where, model, detail) for detail in error.errors()) from None


def _problem(where: str, model: type[BaseModel], detail: ErrorDetails) -> str:
    location = tuple(part for part in detail["loc"] if part not in UNION_TAGS)
    place = _key_path(location)
    prefix = f"{where}: {place}: " if place else f"{where}: "
    kind, given, message = detail["type"], detail.get("input"), detail["msg"]
    if kind == "extra_forbidden":
        accepted = sorted(_fields_at(model, location[:-1]))
        return f"{prefix}unknown key; {_accepted(str(location[-1]), accepted)}"
    if kind == "missing":
        return f"{prefix}missing; {_requirement(model, location)}"
    message = message.removeprefix("Value error, ")
    if message.startswith("Input should be"):
        message = "accepted" + message.removeprefix("Input should be").replace(" a valid", "", 1)
    given_text = "" if isinstance(given, Mapping) else f"{_shown(given)} given; "
    return f"{prefix}{given_text}{message}"


def _key_path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def near_matches(given: str, known: Iterable[str], count: int = 1) -> list[str]:
    """Return the known names that look most like the given one."""
    import difflib  # noqa: PLC0415 (start-up time: only needed for a message)

    return difflib.get_close_matches(given, list(known), n=count, cutoff=0.5)


def _accepted(given: str, accepted: list[str]) -> str:
    near = near_matches(given, accepted)
    return (f"did you mean '{near[0]}'? " if near else "") + "accepted: " + ", ".join(accepted)


def _requirement(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    found = _models_at(model, location)
    if not found:
        return "a value is required"
    return "a mapping is required with the keys " + ", ".join(
        sorted(name for name, field in found[0].model_fields.items() if field.is_required())
    )


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    return {name for found in _models_at(model, location) for name in found.model_fields}


def _models_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """Record types that the schema allows at a key path."""
    here: list[type[BaseModel]] = [model]
    for part in location:
        if isinstance(part, int):
            continue
        annotations = [found.model_fields[part].annotation for found in here if part in found.model_fields]
        if annotations:  # otherwise `part` is a key of a mapping: its values have the type that we already stand on
            here = [found for annotation in annotations for found in _models_in(annotation)]
    return here


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, types.UnionType, tuple, dict, list):
        return [found for inner in get_args(annotation) for found in _models_in(inner)]
    return []
