"""Step times of one deployment as a small table over prompt tokens and decoding requests.

The table holds seconds by part of a step (`suanli.mapping.ledger.PARTS`), so an engine's factors can be changed without
computing the operators again. Between its points times are interpolated linearly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanli.chip import largest_of
from suanli.mapping.engine import Engine
from suanli.mapping.ledger import PARTS, StepLoad
from suanli.mapping.step import StepModel

Array = NDArray[np.float64]

BATCH_POINTS, TOKEN_POINTS = 20, 7


@dataclass(frozen=True)
class Traffic:
    """Requests of n deployments as a step sees them, arrays (n,).

    prompt : new prompt tokens per request. kv : mean cached tokens of a decoding request. pairs : query-key pairs per
    prompt token. kv_cv : coefficient of variation of the cached lengths. query : tokens that a decoding request brings
    into a step (more than 1 with speculation).
    """

    prompt: Array
    kv: Array
    pairs: Array
    kv_cv: Array
    query: Array


@dataclass(frozen=True)
class StepGrid:
    """One deployment. tokens (k,) and batch (b,) start at 0; parts (k, b, parts) [s] hold no host time.

    steps, requests (k, b): how often the host time per step and the host time per request are spent.
    drafted : whether decoding requests bring drafted tokens. blocks : whether experts are in 8 bit with block scales.
    """

    tokens: Array
    batch: Array
    parts: Array
    steps: Array
    requests: Array
    drafted: bool = False
    blocks: bool = False

    def seconds(self, engine: Engine) -> Array:
        """Time of a step (k, b) [s] under an engine's factors and host times."""
        factors = engine.factors(blocks=self.blocks)
        weights = np.array([factors.get(part, 1.0) for part in PARTS])
        device = self.parts @ weights
        host = engine.host_s.si * self.steps + engine.host_per_request_s.si * self.requests
        if self.drafted:
            host = host + engine.draft_host_s.si * self.steps * (self.batch > 0.0)
        return np.asarray(device + host)


def axis(top: float, points: int) -> Array:
    """0, then geometric steps from 1 to `top` (at least 1)."""
    return np.concatenate([[0.0], np.geomspace(1.0, max(top, 1.001), points - 1)])


def token_axis(prompt: float, budget: float, points: int) -> Array:
    """0, then geometric steps from a piece of a prompt to the budget of a step."""
    smallest = max(min(prompt, budget) / 8.0, 1.0)
    return np.concatenate([[0.0], np.geomspace(smallest, max(budget, smallest * 1.001), points - 1)])


def _busiest(model: StepModel, traffic: Traffic, load: StepLoad, batch: Array, budget: Array) -> StepLoad:
    """What the busiest lane does, one data-parallel rank of one micro-batch: prompts are not divided among lanes.

    Of `batch` requests it decodes at least one, and where lengths vary it has the longest.
    """
    place = model.placements
    lanes = place.dp * place.pp
    prompt, kv, pairs, query = (x[:, None] for x in (traffic.prompt, traffic.kv, traffic.pairs, traffic.query))
    busiest = np.minimum(load.prefill_tokens, np.minimum(prompt, budget / lanes))
    tokens = np.maximum(load.prefill_tokens / lanes, busiest)
    requests = np.maximum(batch / lanes, np.minimum(batch, 1.0))
    longest = 1.0 + traffic.kv_cv[:, None] * largest_of(place.dp) / np.sqrt(np.maximum(requests, 1.0))
    return StepLoad(
        tokens, tokens * pairs, tokens / np.maximum(prompt, 1.0), requests * query, requests * kv * longest, query
    )


@dataclass(frozen=True)
class Drafter:
    """What proposes `drafts` tokens per step, one after the other: a step model of its layers and head."""

    model: StepModel
    drafts: int


def step_grids(
    model: StepModel, traffic: Traffic, budget: Array, top: Array, drafter: Drafter | None = None
) -> list[StepGrid]:
    """Tables of the n placements of `model`, up to `budget` prompt tokens and `top` decoding requests, both (n,)."""
    tokens = np.stack([token_axis(p, b, TOKEN_POINTS) for p, b in zip(traffic.prompt, budget, strict=True)])
    batch = np.stack([axis(limit, BATCH_POINTS) for limit in top])
    t = np.repeat(tokens, BATCH_POINTS, axis=1)
    b = np.tile(batch, (1, TOKEN_POINTS))
    prompt, kv, pairs, query = (x[:, None] for x in (traffic.prompt, traffic.kv, traffic.pairs, traffic.query))
    load = StepLoad(t, t * pairs, t / np.maximum(prompt, 1.0), b * query, b * kv, query)
    busiest = _busiest(model, traffic, load, b, budget[:, None])
    cost = model.cost(load, busiest=busiest)
    shape = (len(tokens), TOKEN_POINTS, BATCH_POINTS)
    table = np.stack([cost.parts[part] * cost.stages for part in PARTS], axis=-1)
    if drafter is not None:
        one = drafter.model.cost(StepLoad(np.zeros_like(t), t, t, b, b * kv))
        table = table + drafter.drafts * np.stack([one.parts[part] for part in PARTS], axis=-1)
    parts = table.reshape((*shape, len(PARTS)))
    steps = (cost.stages * cost.busy).reshape(shape)
    requests = (busiest.last_tokens * cost.stages * cost.busy).reshape(shape)
    drafted = drafter is not None
    return [
        StepGrid(tokens[i], batch[i], parts[i], steps[i], requests[i], drafted, model.blocks)
        for i in range(len(tokens))
    ]
