"""Owning cost per accelerator-hour, bottom up, beside the published rows.

Run: python examples/economics/owning_cost.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from suanli.economics.machine_study import read_machine_study

HERE = Path(__file__).parent


def main() -> None:
    """Print one row per study file."""
    out = sys.stdout.write
    columns = ("published", "ours", "off", "p10", "p50", "p90", "capital", "facility", "energy", "opex")
    out(f"{'study [USD/chip/h]':<26}" + "".join(f"{name:>10}" for name in columns) + "\n")
    for path in sorted(HERE.glob("owning-cost-*.yaml")):
        study = read_machine_study(path)
        priced, published = study.quote(), study.published_usd or 0.0
        cost = priced.cost
        numbers = (*priced.interval(), cost.capital, cost.facility, cost.energy, cost.opex)
        out(f"{path.stem:<26}{published:>10.2f}{cost.total:>10.2f}{cost.total / published - 1:>+10.1%}")
        out("".join(f"{number:>10.3f}" for number in numbers) + "\n")


if __name__ == "__main__":
    main()
