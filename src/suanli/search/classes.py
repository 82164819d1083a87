"""What a million tokens of each class cost, by the machine time that the step model gives to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from suanli.economics.tokens import TokenClass, class_seconds, token_costs
from suanli.mapping.ledger import StepLoad
from suanli.mapping.step import StepModel
from suanli.serving.steady import Demand


@dataclass(frozen=True)
class PoolTime:
    """How the chips of one pool spend an hour; every field is a share [-].

    price : of the bill. busy : of the hour. prefill : of the busy time that prompts take, the rest decodes. cached : of
    that prefill time in which new tokens attend to KV that a prefix cache kept.
    """

    price: float
    busy: float
    prefill: float
    cached: float


def cached_share(model: StepModel, load: StepLoad, demand: Demand) -> float:
    """Share of the prefill time of a step that is spent on cached KV [-], `load` of shape (1, 1).

    A cached token is not computed again, but every new token of the prompt reads its key and value and multiplies with
    them. The time of that is the step as it is, less the same step without the query-key pairs of cached tokens.
    """
    cached = demand.input_tokens * demand.hit_rate
    if cached <= 0.0:
        return 0.0
    nothing = load.prefill_tokens * 0.0
    fresh = replace(load, prefill_pairs=load.prefill_pairs - load.prefill_tokens * cached)
    whole, without = _seconds(model, load), _seconds(model, fresh)
    decode = 0.0
    if float(load.decode_requests.max()) > 0.0:
        alone = replace(load, prefill_tokens=nothing, prefill_pairs=nothing, prefill_requests=nothing)
        decode = _seconds(model, alone)
    return (whole - without) / (whole - decode) if whole > decode else 0.0


def _seconds(model: StepModel, load: StepLoad) -> float:
    return float(model.cost(load).time[0, 0])


def class_prices(pools: Sequence[PoolTime], usd_per_hour: float, rate: float, demand: Demand) -> dict[str, float]:
    """Full cost per million tokens of each class that `rate` requests/s contain [USD/Mtok], as metrics."""
    tokens: dict[TokenClass, float] = {
        "uncached_input": rate * demand.new_tokens,
        "cached_input": rate * (demand.input_tokens - demand.new_tokens),
        "output": rate * demand.output_tokens,
    }
    times = [(pool.price * pool.busy * pool.prefill, pool) for pool in pools]
    cached = sum(prefill * pool.cached for prefill, pool in times)
    prefill = sum(prefill for prefill, _ in times) - cached
    decode = sum(pool.price * pool.busy * (1.0 - pool.prefill) for pool in pools)
    prefill = min(prefill, 1.0 - cached)
    busy_s = class_seconds(
        tokens=tokens, prefill_s=prefill, decode_s=min(decode, 1.0 - prefill - cached), cached_load_s=cached
    )
    costs = token_costs(usd_per_hour=usd_per_hour, duration_s=1.0, tokens=tokens, busy_s=busy_s)
    full = {name: costs.classes[name].full_usd_per_mtok for name in tokens}
    return {f"usd_per_mtok_{name}": float(price) for name, price in full.items() if price is not None}
