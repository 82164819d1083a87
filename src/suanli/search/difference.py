"""Why two plans differ: how much of the change of a price came from inputs, from the model, and from the plan.

The price of the best deployment is a function of three states. *Inputs* are the prices and the way of paying. The
*model* is what is predicted of a layout: requests per second of an instance, and the traffic that it is predicted for.
The *plan* is what was chosen: layouts and numbers of chips. Each gets its Shapley share of the change; they add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from suanli.economics.change import split_change
from suanli.economics.inputs import CAPEX_LINE
from suanli.economics.price import SECONDS_PER_HOUR, TOKENS_PER_MTOK
from suanli.search.plan_file import PlanFile, key_of, priced

GROUPS = ("inputs", "model", "plan")
TRAFFIC = (
    "workload",
    "serving",
    "slo",
    "model",
    "weights",
    "kv_cache",
    "activations",
)  # keys of a study behind the model
SAME = 1e-12
ROUNDING = 1e-12  # sums of the shares carry rounding; below this share of the price there is no change


@dataclass(frozen=True)
class Change:
    """One value in both plans; `effect` is what it does alone to the price of the first plan's best [USD/Mtok]."""

    key: str
    before: object
    after: object
    effect: float | None = None


@dataclass(frozen=True)
class Place:
    """Where the best deployment on some systems stands in both plans; None where it is missing, with the reason."""

    systems: str
    rank: tuple[int | None, int | None]
    usd_per_mtok: tuple[float | None, float | None]
    reason: str = ""


@dataclass(frozen=True)
class Difference:
    """Two plans side by side."""

    before: PlanFile
    after: PlanFile
    split: Mapping[str, float] | None  # USD/Mtok by group; None where one of the plans has no price
    because: str
    inputs: tuple[Change, ...]
    facts: tuple[Change, ...]
    study: tuple[Change, ...]
    places: tuple[Place, ...]
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "before": _end(self.before),
            "after": _end(self.after),
            "metric": "usd_per_mtok",
            "split": None if self.split is None else dict(self.split),
            "because": self.because,
            "inputs": [dict(one.__dict__) for one in self.inputs],
            "facts": [{key: value for key, value in one.__dict__.items() if key != "effect"} for one in self.facts],
            "study": [{key: value for key, value in one.__dict__.items() if key != "effect"} for one in self.study],
            "ranking": [
                {
                    "systems": one.systems,
                    "rank_before": one.rank[0],
                    "rank_after": one.rank[1],
                    "usd_per_mtok_before": one.usd_per_mtok[0],
                    "usd_per_mtok_after": one.usd_per_mtok[1],
                    "reason": one.reason,
                }
                for one in self.places
            ],
            "notes": list(self.notes),
        }


def difference(before: PlanFile, after: PlanFile) -> Difference:
    """Compare two plans."""
    notes: list[str] = []
    missing = [one.path for one in (before, after) if one.price_of_best is None or one.money is None]
    split = None if missing else _split(before, after, notes)
    study = tuple(_changes(before.content["study"], after.content["study"]))
    if any(change.key.split(".")[0] in TRAFFIC for change in study):
        notes.append("the two studies ask different questions; the effect of the traffic and the SLO is in 'model'")
    return Difference(
        before=before,
        after=after,
        split=split,
        because=f"no price in {' and '.join(missing)}" if missing else "",
        inputs=() if missing else tuple(_input_changes(before, after)),
        facts=tuple(_fact_changes(before, after)),
        study=study,
        places=tuple(_places(before, after)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _end(plan: PlanFile) -> dict[str, Any]:
    price = plan.price_of_best or {}
    return {
        "file": plan.path,
        "edition": plan.content.get("edition"),
        "best": plan.best["name"] if plan.best else None,
        "usd_per_mtok": {key: price[key] for key in ("value", "low", "high")} if price else None,
    }


def _split(before: PlanFile, after: PlanFile, notes: list[str]) -> dict[str, float]:
    def answer(states: Mapping[str, PlanFile]) -> float:
        return _usd_per_mtok(states["inputs"], states["model"], states["plan"], notes)

    shares = split_change(dict.fromkeys(GROUPS, before), dict.fromkeys(GROUPS, after), answer)
    price = _usd_per_mtok(before, before, before, notes)
    return {name: 0.0 if abs(share) < ROUNDING * price else share for name, share in shares.items()}


def _usd_per_mtok(inputs: PlanFile, model: PlanFile, plan: PlanFile, notes: list[str]) -> float:
    """Price of the best deployment of `plan` by the inputs of one plan and the predictions of another."""
    one, money = _best(plan)
    pools = list(zip(one["pools"], money["pools"], strict=True))
    rate = model.served(_best(model)[0])
    hourly = 0.0
    for pool, paid in pools:
        chips = paid["chips"] * _more(pool, model, plan, notes)
        price = inputs.price(pool["system"], paid["power_load"])
        if price is None:
            notes.append(f"{inputs.path} has no price of {pool['system']}; that part of the change is in 'plan'")
            price = plan.price(pool["system"], paid["power_load"]) or 0.0
        hourly += price * chips
    return hourly / SECONDS_PER_HOUR / (rate * model.tokens) * TOKENS_PER_MTOK


def _more(pool: Mapping[str, Any], model: PlanFile, plan: PlanFile, notes: list[str]) -> float:
    """Chips that a pool needs by the predictions of `model`, over those that it has."""
    if model is plan:
        return 1.0
    traffic = model.served(_best(model)[0]) / plan.served(_best(plan)[0])
    own, other = plan.rates[key_of(pool)], model.rates.get(key_of(pool))
    if other is None:
        notes.append(f"{model.path} has no prediction for {_words(pool)}; that part of the change is in 'plan'")
        other = own
    return traffic * own / other


def _best(plan: PlanFile) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Best deployment and its money."""
    one, money = plan.best, plan.money
    if one is None or money is None:
        raise ValueError(f"{plan.path}: no priced deployment")  # excluded by the caller
    return one, next(entry for entry in money["deployments"] if entry["rank"] == one["rank"])


def _words(pool: Mapping[str, Any]) -> str:
    degrees = " ".join(f"{name.upper()}{pool[name]}" for name in ("tp", "pp", "dp", "ep") if pool[name] > 1)
    return f"{pool['role']} on {pool['system']} {degrees}".rstrip()


def _input_changes(before: PlanFile, after: PlanFile) -> list[Change]:
    """Inputs of the first plan's best price that differ, the widest effect first."""
    found: dict[str, Change] = {}
    for change in (change for system in _systems(before) for change in _machine_changes(before, after, system)):
        same = found.get(change.key)  # an input of the market, which moves the price of every pool
        effect = change.effect if same is None else (same.effect or 0.0) + (change.effect or 0.0)
        found[change.key] = replace(change, effect=effect)
    return sorted(found.values(), key=lambda change: -abs(change.effect or 0.0))


def _systems(plan: PlanFile) -> list[str]:
    return list(dict.fromkeys(pool["system"] for pool in _best(plan)[1]["pools"]))


def _machine_changes(before: PlanFile, after: PlanFile, system: str) -> Iterator[Change]:
    old, new = (_inputs(plan, system) for plan in (before, after))
    if new is None or old is None:
        return
    if old[0]["structure"] != new[0]["structure"]:
        yield Change(f"way of paying for {system}", old[0]["structure"], new[0]["structure"])
        return
    one, money = _best(before)
    tokens = before.served(one) * before.tokens * SECONDS_PER_HOUR / TOKENS_PER_MTOK
    for name, keys in _groups(old[1], new[1]):
        first, second = ({key: side[key] for key in keys if key in side} for side in (old[1], new[1]))
        if _same(first, second):
            continue
        changed = {key: value for key, value in old[1].items() if key not in keys} | second
        effect = sum(
            (priced(old[0] | {"values": {}}, changed, pool["power_load"]) - _price(before, pool))
            * pool["chips"]
            / tokens
            for pool in money["pools"]
            if pool["system"] == system
        )
        own = name.startswith((CAPEX_LINE.removesuffix("."), "system."))
        yield Change(f"{system}: {name}" if own else name, sum(first.values()), sum(second.values()), effect)


def _groups(before: Mapping[str, float], after: Mapping[str, float]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Inputs that are compared together: each alone, but capex as a whole where two bills have different lines."""
    lines = [tuple(sorted(key for key in side if key.startswith(CAPEX_LINE))) for side in (before, after)]
    whole = lines[0] != lines[1]
    if whole:
        yield "capex", tuple(dict.fromkeys((*lines[0], *lines[1])))
    for key in sorted({*before, *after}):
        if not (whole and key.startswith(CAPEX_LINE)):
            yield key, (key,)


def _same(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    return first.keys() == second.keys() and all(
        abs(value - second[key]) <= SAME * abs(value) for key, value in first.items()
    )


def _price(plan: PlanFile, pool: Mapping[str, Any]) -> float:
    return plan.price(pool["system"], pool["power_load"]) or 0.0


def _inputs(plan: PlanFile, system: str) -> tuple[dict[str, Any], dict[str, float]] | None:
    """The way of paying for a system in a plan, and all inputs by key."""
    money = plan.money
    if money is None or system not in money["machines"]:
        return None
    machine = money["machines"][system]
    profile = money["profiles"][machine["profile"]]
    return profile, {**profile["values"], **machine["values"]}


def _fact_changes(before: PlanFile, after: PlanFile) -> Iterator[Change]:
    """Numbers of the catalog that both plans used and that differ."""
    old, new = (
        {(row["subject"], row["name"]): row for row in plan.content.get("inputs", ())} for plan in (before, after)
    )
    for key in sorted(old.keys() & new.keys()):
        first, second = ((row[key]["value"], row[key]["low"], row[key]["high"]) for row in (old, new))
        if first != second:
            yield Change(": ".join(key), _shown(old[key]), _shown(new[key]))


def _shown(row: Mapping[str, Any]) -> str:
    ends = f" ({row['low']:g} to {row['high']:g})" if row["low"] is not None and row["high"] is not None else ""
    value = "unknown" if row["value"] is None else f"{row['value']:g}"
    return f"{value}{ends} {row['unit']}"


def _changes(before: object, after: object, key: str = "") -> Iterator[Change]:
    """Keys of two nested mappings whose values differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            yield from _changes(before.get(name), after.get(name), f"{key}.{name}" if key else str(name))
    elif before != after:
        yield Change(key, before, after)


def _places(before: PlanFile, after: PlanFile) -> Iterator[Place]:
    old, new = ({" + ".join(one["systems"]): one for one in reversed(_ranked(plan))} for plan in (before, after))
    reasons = [{item["system"]: item["reason"] for item in plan.content["excuses"]} for plan in (before, after)]
    for name in dict.fromkeys((*reversed(list(new)), *reversed(list(old)))):
        first, second = old.get(name), new.get(name)
        why = "" if first and second else reasons[0 if second else 1].get(name, "")
        yield Place(
            name,
            (first["rank"] if first else None, second["rank"] if second else None),
            (_usd(first), _usd(second)),
            why,
        )


def _ranked(plan: PlanFile) -> Sequence[Mapping[str, Any]]:
    return list(plan.content["deployments"])


def _usd(one: Mapping[str, Any] | None) -> float | None:
    price = one["metrics"].get("usd_per_mtok") if one else None
    return None if price is None else float(price["value"])
