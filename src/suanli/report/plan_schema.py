"""The format of plan.json: a JSON Schema, and the reference page made from it.

`python -m suanli.report.plan_schema docs/reference` writes both; a test compares the files with this module and a real
plan with the schema.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from suanli.report.files import json_text, write_text
from suanli.report.metrics import METRICS
from suanli.report.money_schema import money_definitions
from suanli.report.replay_schema import replay_definitions
from suanli.report.schema_parts import Schema, count, listed, mapped, number, of, record, ref, text
from suanli.report.wording import COST_PARTS, EVIDENCE, EXCUSES, KINDS, STEP_PARTS
from suanli.search.result import PLAN_SCHEMA_VERSION

SCHEMA_FILE, PAGE_FILE = "plan.schema.json", "plan-json.md"


def plan_schema() -> Schema:
    """JSON Schema (2020-12) of plan.json."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"suanli plan, version {PLAN_SCHEMA_VERSION}",
    }
    return head | _plan() | {"$defs": _definitions()}


def _plan() -> Schema:
    return record(
        "A plan: ranked deployments of a study and what was not chosen.",
        {
            "schema_version": count("version of this format") | {"const": PLAN_SCHEMA_VERSION},
            "study": of("object", "the study as understood, in SI: times in s, power in W, rate in request/s"),
            "model": ref("model"),
            "workload": ref("workload"),
            "objective": text("what the ranking sorts by", "usd_per_mtok", "tokens_per_joule", "chips", "ttft"),
            "evaluated_deployments": count("deployments computed before the best were kept"),
            "deployments": listed(ref("deployment"), "ranked, best first; empty when nothing answers the study"),
            "alternatives": listed(ref("deployment"), "further deployments of ranked systems; rank 0"),
            "excuses": listed(ref("excuse"), "every system without a deployment, and why"),
            "fronts": mapped(listed(ref("point"), "points of one system"), "trade-off curves by system"),
            "inputs": listed(ref("input"), "every catalog number behind the answers"),
            "citations": mapped(ref("citation"), "sources by id"),
            "edition": text("year and month of the facts, where the study asks for one"),
            "money": ref("money") | {"description": "intervals, ways of paying and cash flow; missing without prices"},
            "power": ref("power") | {"description": "what a power cap costs; missing without one"},
        },
        ("edition", "money", "power"),
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
        **replay_definitions(),
        **money_definitions(),
    }


def _model() -> Schema:
    return record(
        "The model.",
        {
            "id": text("catalog id, or the folder of a config.json"),
            "name": text("name"),
            "layers": count("transformer layers"),
            "parameters": count("all parameters"),
            "active_parameters": count("parameters that one token uses"),
            "weights": text("format of the weights"),
        },
    )


def _workload() -> Schema:
    return record(
        "What arrives.",
        {
            "input_tokens": number("mean input tokens per request"),
            "output_tokens": number("mean output tokens per request"),
            "input_cv": number("coefficient of variation of the input lengths"),
            "output_cv": number("coefficient of variation of the output lengths"),
            "arrival_cv": number("coefficient of variation between arrivals; 1 is Poisson"),
            "hit_rate": number("share of input tokens served from a prefix cache"),
            "rate": of(["number", "null"], "request/s, null in a closed loop"),
            "concurrency": of(["number", "null"], "users in a closed loop, null with a rate"),
        },
    )


def _deployment() -> Schema:
    return record(
        "One answer.",
        {
            "rank": count("place in the ranking, from 1"),
            "name": text("instances, system and parallelism of every pool"),
            "mode": text("prefill and decode on the same or on separate chips", "aggregated", "disaggregated"),
            "systems": listed(text("system id"), "systems used"),
            "also_on": listed(text("system id"), "other systems of the same chip with the same answer"),
            "precision": text("format of weights and arithmetic"),
            "kv_cache": text("format of the KV cache"),
            "pools": listed(ref("pool"), "one pool, or a prefill and a decode pool"),
            "metrics": ref("metrics"),
            "time_shares": mapped(number("share"), f"of a step of the last pool, by kind: {', '.join(STEP_PARTS)}"),
            "cost_parts_usd_per_hour": mapped(
                number("USD/h"), f"by part: {', '.join(COST_PARTS)}; empty without price"
            ),
            "cost_basis": text("owned, leased or rented, and what the capex rests on; empty without price"),
            "bottleneck": text("what takes most of a step"),
            "evidence": text("class of evidence behind the intervals", *EVIDENCE),
            "tie_with_best": of("boolean", "cannot be told apart from the first"),
            "p_beats_best": number("probability of being better than the first; sampled for the first 20 by price"),
            "assumptions": listed(text("assumption"), "what was assumed"),
            "sources": listed(text("source id"), "sources behind this deployment"),
            "replay": ref("replay") | {"description": "what the simulator saw; missing where it was not replayed"},
        },
        ("replay",),
    )


def _pool() -> Schema:
    memory = {f"{name}_gb": number("GB per chip") for name in ("weights", "kv_cache", "reserve", "capacity")}
    return record(
        "Identical engine instances on one system.",
        {
            "role": text("role", "aggregated", "prefill", "decode"),
            "system": text("system id"),
            "chip": text("chip id"),
            "engine": text("engine profile"),
            "tp": count("tensor-parallel degree"),
            "pp": count("pipeline stages"),
            "dp": count("data-parallel ranks of attention"),
            "ep": count("expert-parallel degree"),
            "instances": count("engine instances"),
            "chips": count("chips at work"),
            "chips_provisioned": count("chips paid for: rounded up to what is sold"),
            "token_budget": count("tokens per step at most"),
            "batch": number("decoding requests per instance at the offered load; 0 in a prefill pool"),
            "load": number("offered rate over the highest rate that keeps the SLO"),
            "memory": record("Memory of a chip.", memory),
        },
    )


def _metrics() -> Schema:
    fields = {metric.key: ref("estimate") | {"description": _meaning(metric.key)} for metric in METRICS}
    priced = tuple(metric.key for metric in METRICS if metric.key.startswith(("usd", "capex")))
    return record("Metrics of a deployment; those of money are missing without a price.", fields, priced)


def _meaning(key: str) -> str:
    metric = next(one for one in METRICS if one.key == key)
    return f"{metric.definition} [{metric.unit}]"


def _estimate() -> Schema:
    end = of(["number", "null"], "end of the 80 % interval, null where it is not bounded")
    return record(
        "A number with its 80 % interval.",
        {"value": number("best value"), "low": end, "high": end, "basis": text("what the width was earned on")},
    )


def _excuse() -> Schema:
    return record(
        "Why a system has no deployment.",
        {"system": text("system id"), "reason": text("one sentence"), "kind": text("kind", *EXCUSES)},
    )


def _point() -> Schema:
    return record(
        "A point of a trade-off curve: every chip busy, prefill and decode on the same chips, memory the only limit.",
        {
            "output_tok_s_per_user": number("output tokens/s of one request"),
            "total_tok_s_per_chip": number("input and output tokens/s per chip"),
            "tp": count("tensor-parallel degree"),
            "dp": count("data-parallel ranks"),
            "pp": count("pipeline stages"),
            "ep": count("expert-parallel degree"),
            "usd_per_mtok": number("USD per million tokens"),
        },
        ("usd_per_mtok",),
    )


def _input() -> Schema:
    end = of(["number", "null"], "end of the range, null without one")
    return record(
        "A number of the catalog.",
        {
            "subject": text("chip or system id"),
            "name": text("which number"),
            "value": of(["number", "null"], "best value, null where only a range is known"),
            "low": end,
            "high": end,
            "unit": text("unit of value and range"),
            "kind": text("where it comes from", *KINDS),
            "source": text("source id"),
        },
    )


def _citation() -> Schema:
    fields = {
        "title": text("title"),
        "publisher": text("publisher"),
        "date": text("date of the document"),
        "locator": text("where it is found"),
        "read_as": text("what was read: the document itself, or something that quotes it"),
    }
    return record("A source.", fields, ("publisher", "date", "locator", "read_as"))


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
