"""Owning cost per accelerator-hour, bottom up, beside the published rows.

Run: python examples/economics/owning_cost.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from suanli.catalog.files import read_documents
from suanli.economics.money import range_in
from suanli.economics.profile import load_profile
from suanli.economics.quote import Machine, Quote, quote
from suanli.quantity import Quantity

HERE = Path(__file__).parent


def read(path: Path) -> tuple[Quote, float]:
    """Price of the machine in a study file, and the published figure [USD/chip/h]."""
    (study,) = read_documents(path)
    machine = study["machine"]
    priced = quote(
        load_profile(study["economics"]),
        Machine(
            subjects=tuple(machine["subjects"]),
            chips=machine["chips"],
            vendor=machine["vendor"],
            power_w=range_in(Quantity.model_validate(machine["power"]), "W/chip"),
        ),
        buyer=study.get("buyer"),
    )
    return priced, range_in(Quantity.model_validate(study["published"]), "USD/chip/h")[1]


def main() -> None:
    """Print one row per study file."""
    out = sys.stdout.write
    columns = ("published", "ours", "off", "p10", "p50", "p90", "capital", "facility", "energy", "opex")
    out(f"{'study [USD/chip/h]':<26}" + "".join(f"{name:>10}" for name in columns) + "\n")
    for path in sorted(HERE.glob("owning-cost-*.yaml")):
        priced, published = read(path)
        cost = priced.cost
        numbers = (*priced.interval(), cost.capital, cost.facility, cost.energy, cost.opex)
        out(f"{path.stem:<26}{published:>10.2f}{cost.total:>10.2f}{cost.total / published - 1:>+10.1%}")
        out("".join(f"{number:>10.3f}" for number in numbers) + "\n")


if __name__ == "__main__":
    main()
