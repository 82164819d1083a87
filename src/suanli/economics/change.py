"""Why two answers differ: the share of each group of inputs in the change.

Facts of an edition, the model and the plan all move a price, and they interact. Each group gets its Shapley value: its
effect averaged over every order in which the groups could have been changed. The shares add up to the change exactly.
"""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING, TypeVar

from suanli.economics.finance import EconomicsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_GROUPS = 10  # 2^10 evaluations

State = TypeVar("State")


def split_change(
    before: Mapping[str, State], after: Mapping[str, State], answer: Callable[[Mapping[str, State]], float]
) -> dict[str, float]:
    """Share of each group in ``answer(after) - answer(before)``.

    Parameters
    ----------
    before, after : state of each group (inputs, model, plan ...), the same names in both
    answer : number for any mixture of old and new states
    """
    names = list(before)
    if set(names) != set(after):
        raise EconomicsError(f"groups differ: {', '.join(sorted(set(names) ^ set(after)))}")
    if len(names) > MAX_GROUPS:
        raise EconomicsError(f"{len(names)} groups given, accepted: up to {MAX_GROUPS}")
    known: dict[frozenset[str], float] = {}

    def value(changed: frozenset[str]) -> float:
        if changed not in known:
            known[changed] = answer({name: (after if name in changed else before)[name] for name in names})
        return known[changed]

    count = len(names)
    shares = {}
    for name in names:
        others = [other for other in names if other != name]
        share = 0.0
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for chosen in combinations(others, size):
                first = frozenset(chosen)
                share += weight * (value(first | {name}) - value(first))
        shares[name] = share
    return shares
