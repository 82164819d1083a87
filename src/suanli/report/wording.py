"""Words and number formats that every output shares: a fact is named and rounded the same way everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from suanli.search.estimate import Estimate
from suanli.search.result import Deployment, Plan

TIMES, DASH = "\u00d7", "\u2013"

# Class of evidence -> short label, and what stands behind it; strongest first.
EVIDENCE: Mapping[str, tuple[str, str]] = {
    "measured_operators": ("measured operators", "operator times of this chip were measured"),
    "fitted_serving": ("fitted on the chip", "fitted on published serving runs of this chip"),
    "pooled": ("family", "operators measured on the chip or its architecture, engine not fitted on the family"),
    "datasheet": ("datasheet", "datasheet rates, efficiencies carried over from other architectures"),
    "datasheet_incomplete": (
        "datasheet, gaps",
        "as datasheet; needed numbers are estimates, their range is inside",
    ),
}

# Kind of excuse -> heading, and what the user can do about it; nearest miss first.
EXCUSES: Mapping[str, tuple[str, str]] = {
    "slo": ("too slow for the SLO", "loosen the SLO"),
    "limit": ("over a limit of the study", "raise the limit"),
    "memory": ("memory does not fit", "try a smaller format of weights or KV cache"),
    "price": ("no price", "rank by another objective, or give a price in an overlay"),
    "data": ("needed number unknown", "give it in an overlay"),
    "region": ("not for sale", "name it to plan on it all the same"),
    "roadmap": ("announced or planned", "name it, or include_roadmap: true"),
}

# Part of a step -> label, in the order of the bars.
STEP_PARTS: Mapping[str, str] = {
    "experts": "experts",
    "matmul": "matrix products",
    "attention": "attention",
    "pointwise": "pointwise",
    "collective": "collectives",
    "launch": "kernel launches",
    "host": "host",
}

# Part of the cost -> label, in the order of the bars.
COST_PARTS: Mapping[str, str] = {
    "capital": "capital",
    "rent": "rent",
    "facility": "building",
    "energy": "energy",
    "opex": "operations",
}

# Power limit of a study -> of what
POWERS: Mapping[str, str] = {
    "power": "of IT power",
    "site_power": "from the grid",
    "rack_power": "in a rack",
    "chip_power": "in a chip",
}

KINDS: Mapping[str, str] = {
    "vendor": "vendor's own figure",
    "measured": "measured",
    "third_party": "third party",
    "estimate": "estimate, with a range and a reason",
    "derived": "computed from other figures",
    "guess": "guess, with a range and a reason",
}


def compact(value: float | None, digits: int = 3) -> str:
    """Significant digits without an exponent, thousands separated: 0.0651, 1.09, 27.1, 7,988; a dash for nothing."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0.0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    decimals = max(digits - 1 - math.floor(math.log10(abs(rounded))), 0)
    return f"{rounded:,.{decimals}f}"


def plain(value: float) -> str:
    """A number as a person typed it: 40, 2.5, 1,024."""
    return f"{value:,.6g}" if value < 1e6 else f"{value:,.0f}"


def span(estimate: Estimate, digits: int = 2) -> str:
    """The interval in short: 0.045-0.095 with a dash."""
    return f"{compact(estimate.low, digits)}{DASH}{compact(estimate.high, digits)}"


def counted(number: int, noun: str) -> str:
    """Return '1 system', '24 systems'."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def width(estimate: Estimate) -> float:
    """Factor of the interval: the ends lie that factor below and above the middle [-]."""
    return math.sqrt(estimate.high / estimate.low) if estimate.low > 0.0 else math.inf


def evidence_label(name: str) -> str:
    """Short label of an evidence class."""
    return EVIDENCE.get(name, (name, ""))[0]


def payment(deployment: Deployment) -> str:
    """How its chips are paid for, in one word each: owned, leased, rented; empty without a price."""
    bases = deployment.cost_basis.split("; ")
    return " and ".join(dict.fromkeys(basis.split()[0].rstrip(",") for basis in bases if basis))


def milliseconds(seconds: float) -> str:
    """Time in the unit that reads best: 50 ms, 2 s."""
    return f"{plain(seconds)} s" if seconds >= 1.0 else f"{plain(seconds * 1e3)} ms"


def workload_words(plan: Plan) -> str:
    """What arrives, in words."""
    study: Mapping[str, Any] = plan.study["workload"]
    lengths = f"{plan.workload['input_tokens']:,.0f} tokens in, {plan.workload['output_tokens']:,.0f} out"
    what = f"{study['profile']} ({lengths})" if study.get("profile") else lengths
    if study.get("concurrency"):
        return f"{what}, {study['concurrency']:,.0f} users in a closed loop"
    rate = plan.workload.get("rate")
    return f"{what} at {plain(rate)} request/s" if rate else what


def slo_words(plan: Plan) -> str:
    """The latency limits, in words."""
    limits = [f"{_metric(key)} ≤ {milliseconds(value)}" for key, value in plan.study["slo"].items()]
    return ", ".join(limits) or "no latency limit"


def _metric(key: str) -> str:
    name, percentile = key.split("_")
    return f"{name.upper()} {percentile}"


def limit_words(plan: Plan) -> str:
    """The hard limits, in words; empty without any."""
    limits: Mapping[str, Any] = plan.study["limits"]
    words = []
    for key, where in POWERS.items():
        if key in limits:
            words.append(f"at most {plain(limits[key] / 1e3)} kW {where}")
    if "chips" in limits:
        words.append(f"at most {limits['chips']:,} chips")
    if "capex" in limits:
        words.append(f"at most {plain(limits['capex'] / 1e6)} MUSD of capex")
    if "region" in limits:
        words.append(f"sold in {limits['region']}")
    return ", ".join(words)
