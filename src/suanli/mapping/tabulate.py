"""Turn the step model of one deployment into the small table that the simulator runs on.

The table is per attention data-parallel rank: its tokens, requests and cached tokens are those of one rank. The other
ranks are taken to decode as much; of a prompt's tokens, which not every rank has in the same step, only some ranks are
taken to have as many (experts and their exchange serve all ranks together). It is exact on its grid of tokens for steps
without attention work; attention, LM head and host time are slopes taken at the load the deployment is planned for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from suanli.mapping.ledger import StepCost, StepLoad
from suanli.mapping.step import StepModel
from suanli.mapping.step_table import StepTable

Array = NDArray[np.float64]

GRID = 48  # points of the token grid, geometric: steps of a quarter up to 10,000 tokens


def ranks_with_prompts(ranks: float, often: float) -> float:
    """Mean number of `ranks` with a prompt chunk, given that one has; each has one in a share `often` of steps [-]."""
    some = 1.0 - (1.0 - min(often, 1.0)) ** ranks
    return ranks * min(often, 1.0) / some if some > 0.0 else 1.0


def step_table_of(
    model: StepModel,
    *,
    requests: float,
    kv_tokens: float,
    chunk: float,
    max_tokens: float,
    together: float | None = None,
) -> StepTable:
    """Table of one rank of a deployment, from a step model of exactly one placement.

    requests : decoding requests per rank at the planned load [-]. kv_tokens : mean KV length of one [token].
    chunk : prompt tokens of a step that has some, per rank [token]. max_tokens : longest step of a rank [token].
    together : ranks that have a chunk in such a step (`ranks_with_prompts`), all by default.
    """
    place = model.placements
    if place.tp.shape != (1, 1):
        raise ValueError(f"a table describes one placement, not {place.tp.size}")
    ranks, chips = float(place.dp[0, 0]), float(place.chips[0, 0])
    grid = np.unique(np.round(np.geomspace(1.0, max(max_tokens, 2.0), GRID)))
    zero = np.zeros_like(grid)
    several = ranks if together is None else min(max(together, 1.0), ranks)

    def cost(tokens: Array, pairs: Array, ended: Array, decode: Array, kv: Array) -> StepCost:
        own = StepLoad(*(column[None, :] for column in (tokens, pairs, ended, decode, kv)))
        usual = np.minimum(own.tokens, max(requests, 1.0))  # what every rank brings
        prompts = (usual * ranks + (own.tokens - usual) * several) - own.decode_requests * ranks
        whole = replace(own.scaled(np.array(ranks)), prefill_tokens=np.maximum(prompts, 0.0))
        return model.cost(whole, busiest=own.scaled(1.0 / place.pp))

    base = cost(grid, zero, zero, zero, zero)
    host = model.engine.host_s.si * float(place.pp[0, 0])
    idle = model.hardware.idle_power * model.hardware.chip_power * chips / ranks
    # One point per slope: with the work in question, and without it.
    many = max(requests, 1.0)
    tokens = np.array([many, many, many, chunk, chunk])
    pairs = np.array([0.0, 0.0, 0.0, 0.0, chunk * max(kv_tokens, 1.0)])
    decode = np.array([0.0, many, many, 0.0, 0.0])
    kv = np.array([0.0, 0.0, many * kv_tokens, 0.0, 0.0])
    probe = cost(np.where(decode > 0.0, 0.0, tokens), pairs, np.zeros(5), decode, kv)
    seconds, joules = probe.time[0], _above_idle(probe, model, chips / ranks)
    host_per_request = model.engine.host_per_request_s.si

    def slope(values: Array, first: int, second: int, amount: float) -> float:
        return max(float(values[second] - values[first]), 0.0) / max(amount, 1e-9)

    return StepTable(
        tokens=grid,
        base_s=np.maximum(base.time[0] - host, 0.0),
        base_j=_above_idle(base, model, chips / ranks),
        per_request_s=max(slope(seconds, 0, 1, many) - host_per_request, 0.0),
        per_kv_token_s=slope(seconds, 1, 2, many * kv_tokens),
        per_pair_s=slope(seconds, 3, 4, float(pairs[4])),
        host_s=host,
        host_per_request_s=host_per_request,
        idle_w=idle,
        per_request_j=slope(joules, 0, 1, many),
        per_kv_token_j=slope(joules, 1, 2, many * kv_tokens),
        per_pair_j=slope(joules, 3, 4, float(pairs[4])),
    )


def _above_idle(cost: StepCost, model: StepModel, chips: float) -> Array:
    """Energy of the chips of one rank above their idle power [J]."""
    idle = model.hardware.idle_power * model.hardware.chip_power * cost.time[0]
    return np.asarray(np.maximum(cost.energy_per_chip[0] - idle, 0.0) * chips)
