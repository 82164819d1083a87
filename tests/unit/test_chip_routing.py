"""Distinct experts against counting: popularity drawn, tokens routed, experts counted."""

import numpy as np
import pytest

from suanli.chip import busiest_touched, experts_touched, largest_of

EXPERTS, PICKS = 256, 8


def counted(tokens: int, spread: float, groups: int) -> tuple[float, float]:
    """Mean of the distinct experts over 300 draws, of all chips and of the busiest of `groups`."""
    rng = np.random.default_rng(7)
    everywhere, busiest = [], []
    for _ in range(300):
        popularity = rng.gamma(spread**-2.0, size=EXPERTS) if spread else np.ones(EXPERTS)
        # the k largest of log popularity + Gumbel noise are k different experts, drawn by popularity
        noise = rng.gumbel(size=(tokens, EXPERTS))
        chosen = np.argpartition(-(np.log(popularity + 1e-300) + noise), PICKS, axis=1)[:, :PICKS]
        used = np.zeros(EXPERTS, dtype=bool)
        used[chosen.ravel()] = True
        everywhere.append(used.sum())
        busiest.append(used.reshape(groups, -1).sum(axis=1).max())
    return float(np.mean(everywhere)), float(np.mean(busiest))


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("tokens", [1, 4, 16, 64, 256])
def test_distinct_experts_as_counted(tokens: int, spread: float) -> None:
    everywhere, busiest = counted(tokens, spread, groups=8)
    touched = experts_touched(tokens, PICKS, EXPERTS, spread=spread)
    assert float(touched) == pytest.approx(everywhere, rel=0.03)
    assert float(busiest_touched(touched, EXPERTS, 8)) == pytest.approx(busiest, rel=0.1)


def test_one_token_uses_what_it_picks_however_popular() -> None:
    assert float(experts_touched(1.0, PICKS, EXPERTS, spread=2.0)) == pytest.approx(PICKS)


@pytest.mark.parametrize(("groups", "value"), [(1, 0.0), (2, 0.564), (8, 1.424), (32, 2.070), (72, 2.38)])
def test_largest_of_normal_variables(groups: int, value: float) -> None:
    """Expected extremes of normal samples, as tabulated (Harter 1961)."""
    assert float(largest_of(groups)) == pytest.approx(value, abs=0.03)
