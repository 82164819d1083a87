"""Where a model lies: parallel degrees of an engine instance, many at once.

An instance has pp stages of tp * dp chips. Attention runs tensor-parallel over tp chips in dp data-parallel groups;
the experts of a layer are spread over all tp * dp chips of the stage: ep groups of experts, each expert cut into
moe_tp = tp * dp / ep pieces. dp > 1 ("attention data parallelism") only makes sense with experts; dense models use
replicas instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from suanli.workload.ops import Attention, Experts, Linear, LinearAttention, ModelGraph

Array = NDArray[np.float64]

DEFAULT_BUDGET = 8192.0  # tokens per step, where no engine says otherwise: vLLM's and TensorRT-LLM's on large chips


@dataclass(frozen=True)
class Placements:
    """Parallel degrees of n instances, and tokens per step and data-parallel rank, as float columns of shape (n,)."""

    tp: Array
    pp: Array
    dp: Array
    ep: Array
    token_budget: Array

    @property
    def stage_chips(self) -> Array:
        """Chips of one pipeline stage [-]."""
        return self.tp * self.dp

    @property
    def chips(self) -> Array:
        """Chips of one instance [-]."""
        return self.tp * self.dp * self.pp

    @property
    def moe_tp(self) -> Array:
        """Pieces that one expert is cut into [-]."""
        return self.tp * self.dp / self.ep

    def __len__(self) -> int:
        return len(self.tp)

    def column(self) -> Placements:
        """Shape (n, 1), to broadcast against a grid of loads."""
        return self._map(lambda column: column[:, None])

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Placements:
        """Rows `index`."""
        return self._map(lambda column: column[index])

    def with_budgets(self, budgets: Sequence[float]) -> Placements:
        """Every row once per token budget: shape (n x len(budgets),)."""
        repeated = self._map(lambda column: np.tile(column, len(budgets)))
        return replace(repeated, token_budget=np.repeat(np.asarray(budgets, dtype=float), len(self)))

    def _map(self, function: Callable[[Array], Array]) -> Placements:
        return Placements(
            function(self.tp), function(self.pp), function(self.dp), function(self.ep), function(self.token_budget)
        )

    @staticmethod
    def of(rows: list[tuple[int, int, int, int]], token_budget: float = DEFAULT_BUDGET) -> Placements:
        """Columns from rows of (tp, pp, dp, ep)."""
        table = np.array(rows, dtype=float).reshape(-1, 4)
        tp, pp, dp, ep = table.T.copy()
        return Placements(tp, pp, dp, ep, np.full(len(table), token_budget))


def linear_shard(operator: Linear, tp: Array) -> tuple[Array, Array]:
    """Rows k and columns n of a linear operator on one chip [-]; pieces below the grain are replicated."""
    k, n = np.full_like(tp, operator.k), np.full_like(tp, operator.n)
    if operator.split == "column":
        n = np.minimum(np.ceil(operator.n / operator.grain / tp) * operator.grain, n)
    elif operator.split == "row":
        k = np.ceil(operator.k / tp)
    return k, n


def _doublings(limit: int) -> list[int]:
    return [1 << power for power in range(limit.bit_length()) if 1 << power <= limit]


def _group_sizes(limit: int) -> list[int]:
    """Sizes of a stage that are tried: powers of two, the whole domain, and its half and quarter (72, 36, 18)."""
    sizes = set(_doublings(limit))
    for part in (1, 2, 4):
        if limit % part == 0:
            sizes.add(limit // part)
    return sorted(sizes)


def heads_of(graph: ModelGraph) -> list[int]:
    """Head counts that a tensor-parallel degree has to divide."""
    heads: set[int] = set()
    for group in graph.groups:
        for operator in group.operators:
            if isinstance(operator, Attention):
                heads.add(operator.query_heads)
            elif isinstance(operator, LinearAttention):
                heads.add(operator.heads)
    return sorted(heads)


def experts_of(graph: ModelGraph) -> int:
    """Routed experts per layer [-]; 0 for a dense model."""
    counts = [op.count for group in graph.groups for op in group.operators if isinstance(op, Experts)]
    return max(counts, default=0)


def _rows(graph: ModelGraph, domain: int, instance_limit: int, max_stages: int) -> Iterator[tuple[int, int, int, int]]:
    heads, experts = heads_of(graph), experts_of(graph)
    stages = [pp for pp in _doublings(max_stages) if pp <= graph.layers]
    for stage in _group_sizes(domain):
        for tp in _doublings(stage):
            if stage % tp or any(count % tp for count in heads):
                continue
            dp = stage // tp
            if dp > 1 and not experts:
                continue
            for ep in _expert_degrees(stage, experts):
                for pp in stages:
                    if stage * pp <= instance_limit:
                        yield tp, pp, dp, ep


def _expert_degrees(stage: int, experts: int) -> list[int]:
    """Expert-parallel degrees: none, all of the stage, and powers of two between, never more than experts."""
    if not experts:
        return [1]
    return [ep for ep in sorted({*_doublings(stage), stage}) if stage % ep == 0 and ep <= experts]


def enumerate_placements(graph: ModelGraph, domain: int, instance_limit: int, max_stages: int = 8) -> Placements:
    """All placements of `graph` whose stages fit a scale-up domain of `domain` chips, instances <= `instance_limit`."""
    return Placements.of(list(_rows(graph, domain, instance_limit, max_stages)))
