"""Every metric of a deployment: unit and definition, in the order in which tables show them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One number of a deployment, as named in plan.json."""

    key: str
    label: str
    unit: str
    definition: str


_QUANTILES = ("p50", "p90", "p95", "p99")

METRICS: tuple[Metric, ...] = (
    *(
        Metric(f"ttft_{q}_ms", f"TTFT {q}", "ms", f"time from arrival to the first token, {q} of the requests")
        for q in _QUANTILES
    ),
    *(
        Metric(f"tpot_{q}_ms", f"TPOT {q}", "ms", f"mean time between later tokens, {q} of the requests")
        for q in _QUANTILES
    ),
    Metric("chips", "chips", "chip", "chips bought or rented, rounded up to what is sold"),
    Metric("max_request_s", "capacity", "request/s", "highest rate at which the SLO still holds"),
    Metric("max_total_tok_s_per_chip", "tokens/s/chip", "token/s", "input and output tokens per chip at that rate"),
    Metric("max_output_tok_s_per_chip", "output tokens/s/chip", "token/s", "output tokens per chip at that rate"),
    Metric("output_tok_s_per_user", "tokens/s/user", "token/s", "output speed of one request, 1 / TPOT p50"),
    Metric("power_kw", "power", "kW", "provisioned IT power: chips with their share of host, switches and network"),
    Metric("joules_per_output_token", "J/output token", "J", "mean IT energy over output tokens at the offered rate"),
    Metric("tokens_per_joule", "tokens/J", "token/J", "all tokens over mean IT energy at the offered rate"),
    Metric("usd_per_hour", "cost per hour", "USD/h", "all provisioned chips, used or not"),
    Metric("usd_per_mtok", "$/M tokens", "USD", "hourly cost over input and output tokens at the offered rate"),
    Metric("usd_per_mtok_blended_output", "$/M output, all in", "USD", "hourly cost over output tokens alone"),
    Metric("usd_per_mtok_uncached_input", "$/M input", "USD", "input tokens at the machine time that they take"),
    Metric(
        "usd_per_mtok_cached_input", "$/M cached input", "USD", "cached input tokens at the time of reading their KV"
    ),
    Metric("usd_per_mtok_output", "$/M output", "USD", "output tokens at the machine time that they take"),
    Metric("capex_musd", "capex", "MUSD", "purchase of all provisioned chips with their systems"),
)
