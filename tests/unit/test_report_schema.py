"""plan.json keeps to its published format."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from report_samples import deployment, plan, small_plan

from suanli.report.files import json_text, plan_json
from suanli.report.plan_schema import PAGE_FILE, SCHEMA_FILE, plan_schema, schema_page

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
REFRESH = "stale: run `python -m suanli.report.plan_schema docs/reference`"
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def problems(value, schema, root, where="plan"):
    """Everything in which a value departs from a schema: the part of JSON Schema that the schema uses."""
    if "$ref" in schema:
        return problems(value, root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root, where)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, TYPES[kind]) and (kind == "boolean" or value is not True) for kind in kinds):
        return [f"{where}: {value!r} is not {kinds}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is not one of {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: {value!r} is not {schema['const']}")
    if isinstance(value, dict):
        found += object_problems(value, schema, root, where)
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += problems(item, schema["items"], root, f"{where}[{index}]")
    return found


def object_problems(value, schema, root, where):
    fields, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    found = [f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value]
    for name, inner in value.items():
        if name in fields:
            found += problems(inner, fields[name], root, f"{where}.{name}")
        elif others is False:
            found.append(f"{where}: {name} is not in the schema")
        elif isinstance(others, dict):
            found += problems(inner, others, root, f"{where}.{name}")
    return found


def check(content):
    return problems(content, plan_schema(), plan_schema())


@pytest.mark.parametrize("one", [small_plan(), plan(), plan(deployment(1, None))])
def test_plans_keep_the_schema(one):
    assert check(json.loads(plan_json(one))) == []


def test_the_check_finds_departures():
    content = json.loads(plan_json(small_plan()))
    for change in (
        lambda bad: bad.pop("excuses"),
        lambda bad: bad["deployments"][0].update(rank="first"),
        lambda bad: bad["deployments"][0]["pools"][0].update(role="idle"),
        lambda bad: bad["deployments"][0]["metrics"].update(extra=1),
        lambda bad: bad["excuses"][0].update(kind="mood"),
        lambda bad: bad.update(schema_version=0),
    ):
        bad = copy.deepcopy(content)
        change(bad)
        assert check(bad) != []


def test_reference_is_up_to_date():
    assert (REFERENCE / SCHEMA_FILE).read_text(encoding="utf-8") == json_text(plan_schema()), REFRESH
    assert (REFERENCE / PAGE_FILE).read_text(encoding="utf-8") == schema_page(), REFRESH


def test_every_reference_is_defined():
    text = json.dumps(plan_schema())
    for name in {part.split('"')[0] for part in text.split("#/$defs/")[1:]}:
        assert name in plan_schema()["$defs"]
