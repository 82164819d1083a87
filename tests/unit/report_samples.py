"""A small plan made by hand: numbers that can be checked by eye."""

from __future__ import annotations

from dataclasses import replace

from suanli.search.account import OperatorTime, StepAccount
from suanli.search.estimate import Estimate, spread
from suanli.search.result import Deployment, Excuse, Plan, Pool

TIMES = {
    "ttft_p50_ms": 100.0,
    "ttft_p90_ms": 150.0,
    "ttft_p95_ms": 170.0,
    "ttft_p99_ms": 200.0,
    "tpot_p50_ms": 20.0,
    "tpot_p90_ms": 22.0,
    "tpot_p95_ms": 23.0,
    "tpot_p99_ms": 25.0,
}


def pool(system: str = "a-8", role: str = "aggregated", instances: int = 2) -> Pool:
    return Pool(
        role=role,
        system=system,
        chip="a",
        engine="generic",
        tp=4,
        pp=1,
        dp=1,
        ep=1,
        instances=instances,
        chips=4 * instances,
        chips_provisioned=4 * instances,
        token_budget=8192,
        batch=0.0 if role == "prefill" else 32.0,
        load=0.5,
        memory={"weights_gb": 20.0, "kv_cache_gb": 30.0, "reserve_gb": 5.0, "capacity_gb": 80.0},
    )


def step(system: str = "a-8", role: str = "aggregated") -> StepAccount:
    operators = (
        OperatorTime("experts", "experts", 0.010, 0.001, 0.002, 0.007),
        OperatorTime("exchange", "collective", 0.004),
        OperatorTime("host", "host", 0.003),
        OperatorTime("norm", "pointwise", 0.00005, 0.0, 0.0, 0.00004),
    )
    return StepAccount(role, system, 32.0, 0.0, operators)


def metrics(price: float | None, width: float = 1.5) -> dict[str, Estimate]:
    values = TIMES | {
        "max_request_s": 50.0,
        "max_total_tok_s_per_chip": 8000.0,
        "max_output_tok_s_per_chip": 1000.0,
        "output_tok_s_per_user": 50.0,
        "joules_per_output_token": 1.0,
        "tokens_per_joule": 8.0,
    }
    found = {key: spread(value, width, width, "pooled") for key, value in values.items()}
    found |= {"chips": spread(8.0, 1.0, 1.0, "counted"), "power_kw": spread(12.0, 1.0, 1.0, "catalog")}
    if price is not None:
        money = {"usd_per_hour": 16.0, "usd_per_mtok": price, "usd_per_mtok_blended_output": price * 8.0}
        money |= {"usd_per_mtok_uncached_input": price / 2.0, "usd_per_mtok_cached_input": price / 20.0}
        money |= {"usd_per_mtok_output": price * 4.0, "capex_musd": 0.3}
        found |= {key: spread(value, width, width, "pooled") for key, value in money.items()}
    return found


def deployment(rank: int = 1, price: float | None = 0.05, *pools: Pool, **changes: object) -> Deployment:
    used = pools or (pool(),)
    one = Deployment(
        pools=used,
        precision="fp8",
        kv_cache="bf16",
        metrics=metrics(price),
        time_shares={"experts": 0.7, "collective": 0.3},
        cost_parts={} if price is None else {"capital": 12.0, "energy": 4.0},
        cost_basis="" if price is None else "owned, purchase price",
        bottleneck="memory bandwidth, mostly experts (55% of a step)",
        evidence="pooled",
        assumptions=("KV cache in bf16", f"KV transfer {rank / 2} ms per request, not hidden"),
        sources=("s1",),
        steps=tuple(step(one.system, one.role) for one in used),
        rank=rank,
    )
    return replace(one, **changes)


def plan(*deployments: Deployment, excuses: tuple[Excuse, ...] = (), **changes: object) -> Plan:
    curve = [
        {"output_tok_s_per_user": speed, "total_tok_s_per_chip": rate, "tp": 4, "dp": 1, "pp": 1, "ep": 1}
        | {"usd_per_mtok": cost}
        for speed, rate, cost in ((20.0, 9000.0, 0.02), (50.0, 5000.0, 0.04), (90.0, 1000.0, 0.2))
    ]
    one = Plan(
        study={
            "schema_version": 1,
            "model": "m",
            "workload": {"profile": "chat", "rate": 40.0, "prefix_hit_rate": 0.0},
            "slo": {"ttft_p99": 2.0, "tpot_p99": 0.03},
            "systems": "all",
            "limits": {},
            "objective": "usd_per_mtok",
        },
        model={"id": "m", "name": "M 1B", "layers": 2, "parameters": 10, "active_parameters": 5, "weights": "fp8"},
        workload={
            "input_tokens": 1000.0,
            "output_tokens": 200.0,
            "input_cv": 1.0,
            "output_cv": 1.0,
            "arrival_cv": 1.0,
            "hit_rate": 0.0,
            "rate": 40.0,
            "concurrency": None,
        },
        objective="usd_per_mtok",
        deployments=deployments,
        alternatives=(),
        excuses=excuses,
        evaluated=1234,
        citations={"s1": {"title": "A <datasheet>", "publisher": "A", "date": "2026", "locator": "page 1"}},
        inputs=(
            {
                "subject": "a",
                "name": "memory bandwidth",
                "value": 3.35,
                "low": None,
                "high": None,
                "unit": "TB/s",
                "kind": "vendor",
                "source": "s1",
            },
        ),
        fronts={"a-8": curve},
    )
    return replace(one, **changes)


def small_plan() -> Plan:
    """Two priced rows, the second tied and on two systems, and excuses of two kinds."""
    pair = (pool("a-8", "prefill", 3), pool("b-8", "decode", 1))
    second = deployment(2, 0.055, *pair, tie_with_best=True, p_beats_best=0.4)
    excuses = (
        Excuse("c-8", "TPOT floor 61 ms > 30 ms (tpot p99)", "slo"),
        Excuse("d-64", "announced, not on sale", "roadmap"),
    )
    return plan(deployment(1), second, excuses=excuses)
