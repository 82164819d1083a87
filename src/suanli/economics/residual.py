"""What a machine is still worth, and what its life costs per year.

Books write off in a straight line; markets fall by about the same share each year. Brokers of used accelerators
disagree by a factor of two, so a residual is a range and never a point.
"""

from __future__ import annotations

import numpy as np

from suanli.economics.finance import Numbers, refuse
from suanli.economics.price import payment_usd_per_chip_year


def straight_line_residual(age_years: Numbers, life_years: Numbers, salvage_fraction: Numbers = 0.0) -> Numbers:
    """Book value over capex [-]: linear from 1 to `salvage_fraction` at the end of the life, constant after it."""
    _check_age(age_years)
    refuse(~(np.asarray(life_years) > 0), "life must be above 0 years", life_years)
    share = np.minimum(np.asarray(age_years, dtype=float) / life_years, 1.0)
    return _plain(1.0 - share * (1.0 - np.asarray(salvage_fraction)))


def geometric_residual(age_years: Numbers, quoted_fraction: Numbers, quoted_age_years: Numbers) -> Numbers:
    """Market value over capex [-] when the same share is lost each year, through one quotation.

    `quoted_fraction` of the capex was left after `quoted_age_years`: an H100 kept 0.3 (0.25 to 0.65) after 3 years.
    """
    _check_age(age_years)
    quoted = np.asarray(quoted_fraction, dtype=float)
    refuse(~((quoted > 0) & (quoted <= 1)), "residual must be above 0 and at most 1", quoted_fraction)
    refuse(~(np.asarray(quoted_age_years) > 0), "quoted age must be above 0 years", quoted_age_years)
    return _plain(np.power(quoted, np.asarray(age_years, dtype=float) / quoted_age_years))


def capital_cost_by_age(
    capex_usd: float, rate_per_year: float, ages_years: Numbers, quoted_fraction: float, quoted_age_years: float
) -> Numbers:
    """Yearly capital cost [USD/year] of buying new and selling at each age on the geometric curve."""
    residual = geometric_residual(ages_years, quoted_fraction, quoted_age_years)
    return payment_usd_per_chip_year(
        capex_usd_per_chip=capex_usd, residual_fraction=residual, life_years=ages_years, rate_per_year=rate_per_year
    )


def _check_age(age_years: Numbers) -> None:
    refuse(~(np.asarray(age_years) >= 0), "age must be at least 0 years", age_years)


def _plain(result: np.ndarray) -> Numbers:
    return float(result) if np.ndim(result) == 0 else result
