"""Interval widths from left-out residuals."""

from __future__ import annotations

import numpy as np
import pytest
from validation.widths import CLASSES, LEAST, NARROWEST, Residual, crossed, rank, widths

from suanli.search.records import load_profiles, ttft_kind


def residual(error: float, group: str = "sweep 0", name: str = "measured_operators") -> Residual:
    return Residual("row", "output_tok_s_per_chip", name, "throughput", group, error)


def test_a_width_holds_four_fifths_of_its_residuals() -> None:
    errors = np.random.default_rng(1).exponential(0.3, 500)
    factor = widths(residual(error) for error in errors)["measured_operators"]["throughput"]
    assert np.mean(errors <= np.log(factor)) == pytest.approx(0.8, abs=0.01)


def test_few_residuals_ask_for_a_higher_rank() -> None:
    assert rank(15) == pytest.approx(0.8 * 16 / 15)
    assert rank(2) == 1.0


def test_a_class_with_few_residuals_takes_those_of_all_classes_and_is_not_narrower_than_stronger_evidence() -> None:
    strong = [residual(0.5) for _ in range(50)]
    weak = [residual(0.01, name="fitted_serving") for _ in range(LEAST - 1)]
    table = widths([*strong, *weak])
    assert table["fitted_serving"]["throughput"] >= table["measured_operators"]["throughput"] > 1.6


def test_no_width_is_below_the_noise_of_repeated_runs() -> None:
    assert widths(residual(0.0) for _ in range(50))["measured_operators"]["throughput"] == NARROWEST


def test_coverage_of_a_group_does_not_use_its_own_residuals() -> None:
    """A group with errors ten times larger than all others must fall outside, however many rows it has."""
    usual = [residual(0.1, f"sweep {i % 3}") for i in range(60)]
    odd = [residual(1.0, "sweep 3") for _ in range(200)]
    inside = [ok for one, ok in crossed([*usual, *odd]) if one.group == "sweep 3"]
    assert not any(inside)


def test_shipped_widths_never_shrink_with_weaker_evidence() -> None:
    shipped = load_profiles().widths
    for kind in ("throughput", "tpot", "ttft", "ttft_loaded", "ttft_split", "ttft_p99"):
        factors = [shipped[name].of(kind) for name in CLASSES]
        assert factors == sorted(factors)
        assert factors[0] >= NARROWEST


@pytest.mark.parametrize(
    ("users", "attention_dp", "pools", "kind"),
    [(64, 1, 1, "ttft"), (65, 1, 1, "ttft_loaded"), (1, 8, 1, "ttft_loaded"), (1, 1, 2, "ttft_split")],
)
def test_kind_of_the_first_token(users: float, attention_dp: int, pools: int, kind: str) -> None:
    assert ttft_kind(users, attention_dp, pools) == kind


def test_a_tail_is_not_known_better_than_the_median() -> None:
    for one in load_profiles().widths.values():
        assert one.first_token("ttft", tail=True) >= one.first_token("ttft", tail=False)
