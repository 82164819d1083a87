"""The definitions behind the keys `money` and `power` of plan.json."""

from __future__ import annotations

from suanli.report.schema_parts import Schema, count, listed, mapped, number, of, perhaps, record, ref, text

LINES = ("purchase", "resale", "rent", "facility", "energy", "operations", "revenue")


def money_definitions() -> dict[str, Schema]:
    """Definitions by name."""
    return {
        "money": _money(),
        "fleet_money": _fleet(),
        "quantiles": _quantiles(),
        "class_price": _class(),
        "swing": _swing(),
        "regret": _regret(),
        "ways": _ways(),
        "way": _way(),
        "cash_flow": _cash(),
        "cost_profile": _profile(),
        "machine": _machine(),
        "power": _power(),
    }


def _money() -> Schema:
    return record(
        "The money of a plan. All of it is in USD, whatever the currency of the way of paying.",
        {
            "profile": text("id of the way of paying"),
            "currency": text("currency of every amount here", "USD"),
            "samples": count("quasi-random draws of all inputs and of the prediction error together"),
            "deployments": listed(ref("fleet_money"), "the first 20 with a price, in the order of the plan"),
            "tornado": listed(ref("swing"), "what each input of the best deployment does alone, widest first"),
            "regret": ref("regret"),
            "ways": ref("ways"),
            "cash_flow": ref("cash_flow"),
            "profiles": mapped(ref("cost_profile"), "ways of paying that are used, by id"),
            "machines": mapped(ref("machine"), "inputs of the price of every system, by id"),
        },
    )


def _fleet() -> Schema:
    pool = {
        "system": text("system id"),
        "chips": count("chips paid for"),
        "power_load": number("mean IT power over provisioned IT power"),
    }
    bill = {
        "busy": number("USD/h of work: price of each pool times its load"),
        "idle": number("USD/h of waiting"),
        "unavailable": number("USD/h of broken chips, by the availability of the way of paying"),
        "undeployed": number("USD/h of chips in no instance, bought because machines are sold whole"),
        "spare_enough": of("boolean", "the other chips carry the traffic while some are broken"),
    }
    return record(
        "One deployment in money.",
        {
            "rank": count("rank in the plan"),
            "name": text("name of the deployment"),
            "headlines": mapped(ref("quantiles"), "by name, the unit in the name; power and CO2 only where owned"),
            "p_cheapest": number("probability of being the cheapest of these"),
            "p_cheaper_than_next": perhaps("probability of costing less than the next one; null for the last"),
            "bill_usd_per_hour": record("What the hours are paid for; adds up to the price of an hour.", bill),
            "classes": mapped(
                ref("class_price"), "uncached_input, cached_input, output; reasoning costs what output does"
            ),
            "lines_usd_per_hour": mapped(number("USD/h"), "cost by line; adds up to the price of an hour"),
            "pools": listed(record("Chips of one pool.", pool), "pools in the order of the deployment"),
        },
    )


def _quantiles() -> Schema:
    return record("Where 10, 50 and 90 % of the belief lie below.", {name: number(name) for name in _P})


_P = ("p10", "p50", "p90")


def _class() -> Schema:
    return record(
        "One class of token; full price times tokens, over all classes, is the bill.",
        {
            "tokens_per_s": number("tokens per second"),
            "direct_usd_per_mtok": number("busy machine time only; 0 for cached input, whose time is not told apart"),
            "full_usd_per_mtok": number("with its share of waiting and broken chips"),
        },
    )


def _swing() -> Schema:
    return record(
        "One input at both ends of its range, everything else at its best value.",
        {
            "key": text("input of the cost model, or prediction.factor"),
            "subject": text("bill, price or system that it belongs to; empty for the market"),
            "low": number("low end"),
            "high": number("high end"),
            "unit": text("unit of the ends"),
            "usd_per_mtok_at_low": number("USD per million tokens at the low end"),
            "usd_per_mtok_at_high": number("USD per million tokens at the high end"),
        },
    )


def _regret() -> Schema:
    return record(
        "The deployment whose worst excess over the cheapest of a scenario is smallest.",
        {
            "choice": text("name of the deployment"),
            "worst_usd_per_mtok": mapped(number("USD/Mtok"), "worst excess of each deployment"),
            "usd_per_mtok": mapped(mapped(number("USD/Mtok"), "by deployment"), "cost by scenario"),
        },
    )


def _ways() -> Schema:
    curve = {
        "utilisation": listed(number("share"), "utilisations"),
        "usd_per_mtok": mapped(listed(number("USD/Mtok"), "at each utilisation"), "by way"),
    }
    return record(
        "The machines of the best deployment paid for in every way, at one utilisation.",
        {
            "utilisation": number("offered rate over the highest rate that keeps the SLO"),
            "tokens_per_s": number("tokens/s at full utilisation"),
            "ways": listed(ref("way"), "the plan's own first"),
            "missing": mapped(text("reason"), "ways without a price"),
            "curve": record("Cost against utilisation.", curve),
        },
    )


def _way() -> Schema:
    return record(
        "One way of paying: fixed / utilisation + variable per useful hour.",
        {
            "name": text("name"),
            "basis": text("what the price rests on"),
            "fixed_usd_per_hour": number("paid in every hour"),
            "variable_usd_per_busy_hour": number("paid in hours with work"),
            "usd_per_mtok": number("USD per million tokens at the utilisation of the plan"),
            "break_even_utilisation": perhaps(
                "where it costs the same as the plan's own way; null where it never does"
            ),
            "cheaper_above": of(["string", "null"], "the way that is cheaper above that utilisation"),
        },
    )


def _cash() -> Schema:
    columns = {"year": number("years after the purchase")} | {name: number("USD") for name in (*LINES, "net")}
    return record(
        "Cash flow of the best deployment; outlays are negative, `net` is the sum of the lines.",
        {
            "discount_rate": perhaps("cost of capital per year; null for a rent that states none"),
            "revenue_usd_per_mtok": of(["object", "null"], "price of each class of token, where the study gives one"),
            "rows_usd": listed(record("One year.", columns), "years"),
            "totals_usd": mapped(number("USD"), "sum of each line"),
            "npv_usd": perhaps("net present value; without a revenue, of the costs"),
            "irr": perhaps("internal rate of return; null without a revenue or where there is none"),
            "owners_irr": perhaps("internal rate of return on the owners' money, after the loan of the way of paying"),
            "payback_years": perhaps("years until the purchase is repaid; null without a revenue or if never"),
        },
    )


def _profile() -> Schema:
    return record(
        "A way of paying: its inputs at their best values.",
        {
            "structure": text("structure", "owned", "leased", "rented"),
            "term": of(["string", "null"], "term of the rent"),
            "currency": text("currency of its inputs"),
            "usd_per_unit": number("USD per unit of that currency"),
            "values": mapped(number("in the unit of the input"), "by key"),
        },
    )


def _machine() -> Schema:
    return record(
        "What a system brings to the cost model.",
        {
            "profile": text("id of the way of paying"),
            "basis": text("what the price rests on"),
            "record": text("bill or price that was used"),
            "values": mapped(number("in the unit of the input"), "by key"),
        },
    )


def _power() -> Schema:
    running = {
        "name": text("name of the deployment"),
        "request_s": number("requests/s that it serves"),
        "chips": number("chips, not rounded to whole machines"),
        "power_kw": number("IT power"),
    }
    return record(
        "What a power cap costs.",
        {
            "cap_kw": number("cap on the IT power"),
            "needed_kw": number("IT power of the cheapest deployment without the cap"),
            "cheapest": text("that deployment"),
            "binding": of("boolean", "the cap is below it"),
            "usd_per_mw_year": perhaps(
                "worth of one more megawatt; null where tokens that are not served have no price"
            ),
            "served": number("share of the traffic that the best use of the cap serves"),
            "request_s_per_mw": number("requests/s more that one more megawatt serves; 0 where all are served"),
            "running": listed(record("One system in the best use of the cap.", running), "best use of the cap"),
            "dark_chips": count("chips of the cheapest deployment that the cap cannot feed"),
        },
    )
