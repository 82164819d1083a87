"""What a power cap costs, in words."""

from __future__ import annotations

from suanli.report.wording import compact, plain
from suanli.search.megawatt import PowerPrice

MUSD = 1e6


def power_words(power: PowerPrice) -> str:
    """What a power cap costs, in a sentence or two."""
    cap, needed = f"{plain(power.cap_kw)} kW", f"{compact(power.needed_kw)} kW"
    if not power.binding:
        return f"Power: the cap of {cap} does not bind, {needed} are needed; one more MW is worth nothing."
    uses = [f"{compact(one.chips)} chips of {one.name} ({compact(one.request_s)} request/s)" for one in power.running]
    words = [f"Power: the cheapest answer needs {needed}, the cap is {cap}. Best use of it: {', '.join(uses)}."]
    if power.served < 1.0 - 1e-6:
        more = f"one more MW would serve {compact(power.request_s_per_mw)} request/s more"
        words.append(f"That serves {power.served:.0%} of the traffic; {more}.")
    if power.usd_per_mw_year is None:
        words.append("Its worth needs a price of the tokens: give `revenue` in the study.")
    else:
        words.append(f"One more MW is worth ${compact(power.usd_per_mw_year / MUSD)} million a year.")
    return " ".join([*words, f"Of the cheapest answer's chips, {power.dark_chips:,} would stay dark."])
