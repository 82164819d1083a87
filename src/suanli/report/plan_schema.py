"""The format of plan.json: a JSON Schema, and the reference page made from it.

`python -m suanli.report.plan_schema docs/reference` writes both; a test compares the files with this module and a real
plan with the schema.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from suanli.report.files import json_text, write_text
from suanli.report.metrics import METRICS
from suanli.report.wording import COST_PARTS, EVIDENCE, EXCUSES, KINDS, STEP_PARTS
from suanli.search.result import PLAN_SCHEMA_VERSION

Schema = dict[str, Any]
SCHEMA_FILE, PAGE_FILE = "plan.schema.json", "plan-json.md"


def _of(kind: str | list[str], words: str) -> Schema:
    return {"type": kind, "description": words}


def _text(words: str, *choices: str) -> Schema:
    return _of("string", words) | ({"enum": list(choices)} if choices else {})


def _number(words: str) -> Schema:
    return _of("number", words)


def _count(words: str) -> Schema:
    return _of("integer", words)


def _list(items: Schema, words: str) -> Schema:
    return _of("array", words) | {"items": items}


def _map(values: Schema, words: str) -> Schema:
    return _of("object", words) | {"additionalProperties": values}


def _record(words: str, fields: Mapping[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in fields if name not in optional]
    return _of("object", words) | {"properties": dict(fields), "required": required, "additionalProperties": False}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def plan_schema() -> Schema:
    """JSON Schema (2020-12) of plan.json."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"suanli plan, version {PLAN_SCHEMA_VERSION}",
    }
    return head | _plan() | {"$defs": _definitions()}


def _plan() -> Schema:
    return _record(
        "A plan: ranked deployments of a study and what was not chosen.",
        {
            "schema_version": _count("version of this format") | {"const": PLAN_SCHEMA_VERSION},
            "study": _of("object", "the study as understood, in SI: times in s, power in W, rate in request/s"),
            "model": _ref("model"),
            "workload": _ref("workload"),
            "objective": _text("what the ranking sorts by", "usd_per_mtok", "tokens_per_joule", "chips", "ttft"),
            "evaluated_deployments": _count("deployments computed before the best were kept"),
            "deployments": _list(_ref("deployment"), "ranked, best first; empty when nothing answers the study"),
            "alternatives": _list(_ref("deployment"), "further deployments of ranked systems; rank 0"),
            "excuses": _list(_ref("excuse"), "every system without a deployment, and why"),
            "fronts": _map(_list(_ref("point"), "points of one system"), "trade-off curves by system"),
            "inputs": _list(_ref("input"), "every catalog number behind the answers"),
            "citations": _map(_ref("citation"), "sources by id"),
        },
    )


def _definitions() -> Schema:
    return {
        "model": _model(),
        "workload": _workload(),
        "deployment": _deployment(),
        "pool": _pool(),
        "metrics": _metrics(),
        "estimate": _estimate(),
        "excuse": _excuse(),
        "point": _point(),
        "input": _input(),
        "citation": _citation(),
    }


def _model() -> Schema:
    return _record(
        "The model.",
        {
            "id": _text("catalog id, or the folder of a config.json"),
            "name": _text("name"),
            "layers": _count("transformer layers"),
            "parameters": _count("all parameters"),
            "active_parameters": _count("parameters that one token uses"),
            "weights": _text("format of the weights"),
        },
    )


def _workload() -> Schema:
    return _record(
        "What arrives.",
        {
            "input_tokens": _number("mean input tokens per request"),
            "output_tokens": _number("mean output tokens per request"),
            "input_cv": _number("coefficient of variation of the input lengths"),
            "output_cv": _number("coefficient of variation of the output lengths"),
            "arrival_cv": _number("coefficient of variation between arrivals; 1 is Poisson"),
            "hit_rate": _number("share of input tokens served from a prefix cache"),
            "rate": _of(["number", "null"], "request/s, null in a closed loop"),
            "concurrency": _of(["number", "null"], "users in a closed loop, null with a rate"),
        },
    )


def _deployment() -> Schema:
    return _record(
        "One answer.",
        {
            "rank": _count("place in the ranking, from 1"),
            "name": _text("instances, system and parallelism of every pool"),
            "mode": _text("prefill and decode on the same or on separate chips", "aggregated", "disaggregated"),
            "systems": _list(_text("system id"), "systems used"),
            "also_on": _list(_text("system id"), "other systems of the same chip with the same answer"),
            "precision": _text("format of weights and arithmetic"),
            "kv_cache": _text("format of the KV cache"),
            "pools": _list(_ref("pool"), "one pool, or a prefill and a decode pool"),
            "metrics": _ref("metrics"),
            "time_shares": _map(_number("share"), f"of a step of the last pool, by kind: {', '.join(STEP_PARTS)}"),
            "cost_parts_usd_per_hour": _map(_number("USD/h"), f"by part: {', '.join(COST_PARTS)}; empty without price"),
            "cost_basis": _text("owned, leased or rented, and what the capex rests on; empty without price"),
            "bottleneck": _text("what takes most of a step"),
            "evidence": _text("class of evidence behind the intervals", *EVIDENCE),
            "tie_with_best": _of("boolean", "cannot be told apart from the first"),
            "p_beats_best": _number("probability of being better than the first, errors independent"),
            "assumptions": _list(_text("assumption"), "what was assumed"),
            "sources": _list(_text("source id"), "sources behind this deployment"),
        },
    )


def _pool() -> Schema:
    memory = {f"{name}_gb": _number("GB per chip") for name in ("weights", "kv_cache", "reserve", "capacity")}
    return _record(
        "Identical engine instances on one system.",
        {
            "role": _text("role", "aggregated", "prefill", "decode"),
            "system": _text("system id"),
            "chip": _text("chip id"),
            "engine": _text("engine profile"),
            "tp": _count("tensor-parallel degree"),
            "pp": _count("pipeline stages"),
            "dp": _count("data-parallel ranks of attention"),
            "ep": _count("expert-parallel degree"),
            "instances": _count("engine instances"),
            "chips": _count("chips at work"),
            "chips_provisioned": _count("chips paid for: rounded up to what is sold"),
            "token_budget": _count("tokens per step at most"),
            "batch": _number("decoding requests per instance at the offered load; 0 in a prefill pool"),
            "load": _number("offered rate over the highest rate that keeps the SLO"),
            "memory": _record("Memory of a chip.", memory),
        },
    )


def _metrics() -> Schema:
    fields = {metric.key: _ref("estimate") | {"description": _meaning(metric.key)} for metric in METRICS}
    priced = tuple(metric.key for metric in METRICS if metric.key.startswith(("usd", "capex")))
    return _record("Metrics of a deployment; those of money are missing without a price.", fields, priced)


def _meaning(key: str) -> str:
    metric = next(one for one in METRICS if one.key == key)
    return f"{metric.definition} [{metric.unit}]"


def _estimate() -> Schema:
    end = _of(["number", "null"], "end of the 80 % interval, null where it is not bounded")
    return _record(
        "A number with its 80 % interval.",
        {"value": _number("best value"), "low": end, "high": end, "basis": _text("what the width was earned on")},
    )


def _excuse() -> Schema:
    return _record(
        "Why a system has no deployment.",
        {"system": _text("system id"), "reason": _text("one sentence"), "kind": _text("kind", *EXCUSES)},
    )


def _point() -> Schema:
    return _record(
        "A point of a trade-off curve: every chip busy, prefill and decode on the same chips, memory the only limit.",
        {
            "output_tok_s_per_user": _number("output tokens/s of one request"),
            "total_tok_s_per_chip": _number("input and output tokens/s per chip"),
            "tp": _count("tensor-parallel degree"),
            "dp": _count("data-parallel ranks"),
            "pp": _count("pipeline stages"),
            "ep": _count("expert-parallel degree"),
            "usd_per_mtok": _number("USD per million tokens"),
        },
        ("usd_per_mtok",),
    )


def _input() -> Schema:
    end = _of(["number", "null"], "end of the range, null without one")
    return _record(
        "A number of the catalog.",
        {
            "subject": _text("chip or system id"),
            "name": _text("which number"),
            "value": _of(["number", "null"], "best value, null where only a range is known"),
            "low": end,
            "high": end,
            "unit": _text("unit of value and range"),
            "kind": _text("where it comes from", *KINDS),
            "source": _text("source id"),
        },
    )


def _citation() -> Schema:
    fields = {
        "title": _text("title"),
        "publisher": _text("publisher"),
        "date": _text("date of the document"),
        "locator": _text("where it is found"),
        "read_as": _text("what was read: the document itself, or something that quotes it"),
    }
    return _record("A source.", fields, ("publisher", "date", "locator", "read_as"))


def schema_page() -> str:
    """Reference page of plan.json in Markdown."""
    schema = plan_schema()
    lines = [
        "# plan.json",
        "",
        f"Version {PLAN_SCHEMA_VERSION}. Written by `suanli plan --out DIR`, printed by `suanli plan --format json`. "
        f"The same as JSON Schema: [{SCHEMA_FILE}]({SCHEMA_FILE}).",
        "",
        "The unit stands at the end of a name where it is not SI. Numbers are rounded to five significant digits. "
        "A change that breaks a reader raises `schema_version`; a new key does not.",
        "",
        "This page is made from `suanli.report.plan_schema`.",
    ]
    lines += _table("plan", schema)
    for name, definition in schema["$defs"].items():
        lines += _table(name, definition)
    return "\n".join(lines) + "\n"


def _table(name: str, record: Schema) -> Iterator[str]:
    yield from ("", f"## {name}", "", record["description"], "", "| key | type | meaning |", "|---|---|---|")
    for key, field in record["properties"].items():
        optional = "" if key in record["required"] else " (optional)"
        yield f"| `{key}`{optional} | {_type(field)} | {_words(field)} |"


def _type(field: Schema) -> str:
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name})"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if isinstance(field.get("additionalProperties"), dict):
        return f"map to {_type(field['additionalProperties'])}"
    kinds = field["type"]
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def _words(field: Schema) -> str:
    words = str(field.get("description", ""))
    choices = ", ".join(f"`{choice}`" for choice in field.get("enum", ()))
    inner = ", ".join(f"`{key}`" for key in field.get("properties", ()))
    return "; ".join(part for part in (words, choices, inner) if part)


def main(folder: Path) -> None:
    """Write the schema and the page into a folder."""
    write_text(folder / SCHEMA_FILE, json_text(plan_schema()))
    write_text(folder / PAGE_FILE, schema_page())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
