import json

import pytest

from suanli.catalog.files import read_documents
from suanli.catalog.schema import ApiPrice, Grid, Price
from suanli.economics.capex import Capex, capex_per_chip, given_capex, load_capex, newest
from suanli.economics.finance import EconomicsError
from suanli.economics.inputs import INPUTS, SYSTEM_KEYS
from suanli.economics.offers import api_usd_per_mtok, rent_per_chip_hour
from suanli.economics.price import HOURS_PER_YEAR
from suanli.economics.profile import DATA, load_profile, profile_at, profile_names, profile_of_study
from suanli.economics.quote import Machine, quote
from suanli.quantity import Quantity

OWNED = "hyperscaler-owned-2026"
H100 = Machine(("nvidia-hgx-h100-8", "nvidia-h100-sxm"), 8, "NVIDIA", (1_233.0, 1_370.0, 1_507.0))


def problems(name, overrides=None, **more):
    with pytest.raises(EconomicsError) as caught:
        load_profile(name, overrides, **more)
    return caught.value.problems


def price(**changes):
    data = {
        "id": "p",
        "subject": "some-chip",
        "what": "purchase",
        "edition": "2026-06",
        "seller": "market",
        "price": {
            "value": 10_000,
            "low": 8_000,
            "high": 12_000,
            "unit": "USD/chip",
            "kind": "third_party",
            "source": "study",
        },
    }
    return Price.model_validate(data | changes)


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_prices_a_machine(name):
    profile = load_profile(name)
    own = {"system.capex": "40000 USD/chip", "system.power": "2 kW/chip", "system.rent": "3 USD/chip/h"}
    keys = SYSTEM_KEYS[profile.structure]
    profile = load_profile(name, {key: own[key] for key in keys})
    answer = quote(profile, H100)
    assert 0.1 < answer.cost.total / (7.1 if profile.currency == "CNY" else 1.0) < 5.0
    assert answer.basis == "given"
    low, _, high = answer.interval(256)
    assert low <= answer.cost.total <= high


@pytest.mark.parametrize("name", profile_names())
def test_every_number_of_a_profile_has_a_reason_and_every_file_its_name(name):
    profile = load_profile(name)
    assert profile.id == name
    for key, quantity in profile.inputs.items():
        assert quantity.source, key
        assert quantity.known, key


def test_sources_of_the_economics_data_exist():
    known = {
        source["id"]
        for path in (DATA.parent / "sources").glob("*.yaml")
        for source in read_documents(path)[0]["sources"]
    }
    cited = {source for name in profile_names() for source in load_profile(name).sources()}
    cited |= {line.cost.source for bill in load_capex() for line in bill.lines}
    assert cited <= known
    mine = {source["id"] for source in read_documents(DATA.parent / "sources" / "economics.yaml")[0]["sources"]}
    assert all(name.startswith("econ-") for name in mine)


def test_all_problems_are_named_at_once():
    lines = problems(
        OWNED,
        {
            "energy.electricity": "-0.1 USD/kWh",
            "hardware.life": "0 year",
            "energy.load": "120 %",
            "energy.pue": "0.9 count",
        },
    )
    assert len(lines) == 4
    assert any("energy.electricity: -0.1 USD/kWh given, accepted: at least 0" in line for line in lines)
    assert any("hardware.life: 0 year given, accepted: above 0" in line for line in lines)
    assert any("energy.load: 1.2 given, accepted: at least 0 and at most 1" in line for line in lines)
    assert any("energy.pue: 0.9 given, accepted: at least 1" in line for line in lines)


def test_a_missing_tariff_is_named(tmp_path):
    text = (DATA / f"{OWNED}.yaml").read_text(encoding="utf-8")
    start = text.index("  energy.electricity:")
    file = tmp_path / "mine.yaml"
    file.write_text(text[:start] + text[text.index("  energy.demand_charge:") :], encoding="utf-8")
    (line,) = problems(file)
    assert "energy.electricity: missing" in line
    assert "USD/kWh" in line


def test_mixed_currencies_are_named_and_a_rate_heals_them():
    (line,) = problems("rented-3y-2026", {"rent.per_chip": "500 EUR/chip/year"})
    assert "given in EUR, accepted: USD, or exchange.EUR" in line
    profile = load_profile("rented-3y-2026", {"rent.per_chip": "500 EUR/chip/year", "exchange.EUR": "0.8 EUR/USD"})
    assert profile.values()["rent.per_chip"] == pytest.approx(625.0)
    assert profile.quantities()["rent.per_chip"].note.startswith("converted at 0.8 EUR/USD")


def test_unknown_inputs_profiles_and_units_are_named():
    assert "did you mean 'energy.electricity'?" in problems(OWNED, {"energy.electric": "1 USD/kWh"})[0]
    assert "did you mean 'hyperscaler-owned-2026'?" in problems("hyperscaler-owned-2020")[0]
    assert "no unit" in problems(OWNED, {"energy.electricity": 0.07})[0]
    assert "wrong dimension" in problems(OWNED, {"energy.electricity": "0.07 USD/chip"})[0]
    assert "unknown currency" in problems(OWNED, {"exchange.JPY": "150 JPY/USD"})[0]
    assert "accepted" in problems(OWNED, {"hardware.life": {"value": 5}})[0]


def test_overrides_carry_the_study_as_source_and_may_be_ranges():
    profile = load_profile(OWNED, {"energy.electricity": "0.05..0.09 USD/kWh", "finance.cost_of_capital": "9 %/year"})
    tariff = profile.inputs["energy.electricity"]
    assert (tariff.low, tariff.value, tariff.high) == pytest.approx((0.05, 0.07, 0.09))
    assert tariff.source == "study"
    assert tariff.kind == "third_party"
    assert profile.values()["finance.cost_of_capital"] == pytest.approx(0.09)


def test_a_study_names_a_profile_or_changes_one():
    assert profile_of_study(OWNED).id == OWNED
    changed = profile_of_study({"profile": OWNED, "hardware.life": "5 year"})
    assert changed.values()["hardware.life"] == 5.0
    with pytest.raises(EconomicsError, match=r"economics\.profile"):
        profile_of_study({"hardware.life": "5 year"})


def test_a_grid_replaces_tariff_pue_and_carbon():
    grid = Grid.model_validate(
        {
            "schema_version": 1,
            "id": "test",
            "name": "test",
            "region": "us",
            "electricity": {"value": 0.05, "unit": "USD/kWh", "kind": "third_party", "source": "study"},
            "pue": {"value": 1.3, "unit": "count", "kind": "third_party", "source": "study"},
        }
    )
    values = load_profile(OWNED, grid=grid).values()
    assert (values["energy.electricity"], values["energy.pue"]) == pytest.approx((0.05, 1.3))
    assert values["energy.carbon"] == pytest.approx(349.7)
    assert load_profile(OWNED, {"energy.pue": "1.2 count"}, grid).values()["energy.pue"] == pytest.approx(1.2)


def test_a_profile_extends_another_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "extends: hyperscaler-owned-2026\nid: mine\nname: mine\ninputs:\n"
        "  hardware.life: {value: 5, unit: year, kind: vendor, source: study}\n",
        encoding="utf-8",
    )
    profile = load_profile(file)
    assert profile.id == "mine"
    assert profile.values()["hardware.life"] == 5.0
    assert profile.values()["energy.pue"] == load_profile(OWNED).values()["energy.pue"]


def test_the_tariff_for_domestic_chips_is_only_for_them():
    profile = load_profile("china-west-owned-2026")
    assert profile.values("Huawei")["energy.electricity"] == pytest.approx(0.40)
    assert profile.values("huawei")["energy.electricity"] == pytest.approx(0.40)
    assert profile.values("NVIDIA")["energy.electricity"] == pytest.approx(0.60)
    assert profile.values()["energy.electricity"] == pytest.approx(0.60)


def test_rent_by_the_hour_pays_no_idle_time():
    assert not load_profile("rented-on-demand-2026").pays_idle
    assert load_profile("rented-3y-2026").pays_idle
    assert load_profile(OWNED).pays_idle


def test_dearer_offtakers_pay_more():
    own = {"system.capex": "40000 USD/chip", "system.power": "2 kW/chip"}
    prices = [
        quote(load_profile(f"neocloud-debt-2026-{rating}", own), H100).cost.total for rating in ("a3", "ba2", "unrated")
    ]
    assert prices == sorted(prices)
    assert prices[0] < prices[-1] * 0.95


@pytest.mark.parametrize("bill", load_capex(), ids=lambda bill: bill.id)
def test_bills_have_ranges_and_a_plausible_price(bill):
    assert all(line.cost.low < line.cost.high for line in bill.lines)
    per_chip = capex_per_chip(bill.subjects, bill.chips, load_profile(OWNED), buyer=bill.buyer)
    assert 15_000 < per_chip.total < 150_000


def test_a_bill_must_cover_every_category_once():
    data = load_capex()[0].model_dump()
    with pytest.raises(ValueError, match="neither covered nor left out: tax"):
        Capex.model_validate(data | {"left_out": {"spares": "no"}})
    with pytest.raises(ValueError, match="covered twice: accelerator"):
        Capex.model_validate(data | {"left_out": {**data["left_out"], "accelerator": "no"}})


def test_the_newest_fact_up_to_the_edition_counts():
    rows = [price(id="a", edition="2025-01"), price(id="b", edition="2026-01"), price(id="c", edition="2027-01")]
    assert newest(rows, "2026-07").id == "b"
    assert newest(rows, "2026-01").id == "b"
    assert newest(rows[2:], "2026-07").id == "c"
    assert newest([], "2026-07") is None


def test_without_a_bill_the_price_is_raised_by_the_cited_shares():
    profile = load_profile(OWNED)
    of_chip = capex_per_chip(("some-chip",), 8, profile, [price()])
    shares = profile.values()
    expected = 10_000 * (1 + shares["hardware.beyond_chip"]) * (1 + shares["hardware.beyond_server"])
    assert of_chip.basis == "chip price"
    assert of_chip.total == pytest.approx(expected)
    system = {"value": 800_000, "unit": "CNY/system", "kind": "third_party", "source": "study"}
    of_system = capex_per_chip(("some-system",), 8, profile, [price(subject="some-system", price=system)])
    assert of_system.basis == "system price"
    rate = profile.exchange["CNY"].value
    assert of_system.total == pytest.approx(100_000 / rate * (1 + shares["hardware.beyond_server"]))
    with pytest.raises(EconomicsError, match="other: no capex"):
        capex_per_chip(("other",), 8, profile, [price()])


def test_capex_of_a_study_per_system_or_per_chip():
    profile = load_profile(OWNED)
    per_system = Quantity(value=3.4, unit="MUSD/system", kind="third_party", source="study")
    assert given_capex(per_system, 72, profile).total == pytest.approx(3.4e6 / 72)


def test_rent_takes_the_newest_offers_of_the_term():
    def rent(name, edition, amount, unit="USD/chip/h", term="3y"):
        offer = {"value": amount, "unit": unit, "kind": "third_party", "source": "study"}
        return price(id=name, what="rent", term=term, edition=edition, price=offer)

    offers = [
        rent("old", "2025-01", 9.0),
        rent("one", "2026-06", 2.0),
        rent("two", "2026-06", 24.0, "USD/system/h"),
        rent("short", "2026-06", 8.0, term="on_demand"),
        rent("later", "2027-01", 1.0),
    ]
    span, _ = rent_per_chip_hour(("absent", "some-chip"), 8, offers, load_profile("rented-3y-2026"))
    assert span == pytest.approx((2.0, 2.5, 3.0))
    with pytest.raises(EconomicsError, match="no rent for the term 1y"):
        rent_per_chip_hour(("some-chip",), 8, offers, load_profile("rented-1y-2026"))


def test_api_prices_by_class():
    api = ApiPrice.model_validate(
        {
            "id": "a",
            "model": "m",
            "seller": "s",
            "as_of": "2026-11",
            "uncached_input": {"value": 1.25, "unit": "USD/Mtoken", "kind": "vendor", "source": "study"},
            "output": {"value": 10, "unit": "USD/Mtoken", "kind": "vendor", "source": "study"},
        }
    )
    assert api_usd_per_mtok(api, load_profile(OWNED)) == pytest.approx(
        {"uncached_input": 1.25, "cached_input": 1.25, "output": 10.0, "reasoning": 10.0}
    )


def test_a_quote_says_what_it_rests_on():
    answer = quote(load_profile(OWNED), H100)
    assert (answer.basis, answer.record) == ("breakdown", "nvidia-hgx-h100-hyperscaler")
    assert "econ-sa-inferencemax" in answer.sources
    assert sum(answer.waterfall().values()) == pytest.approx(answer.cost.total)
    assert set(answer.waterfall()) >= {
        "capital: server",
        "capital: cluster",
        "energy: tariff",
        "operations: staff",
        "operations: network",
    }
    assert answer.facility_power_w() == pytest.approx(1_370 * 0.8 * 1.12)
    assert quote(load_profile("rented-3y-2026", {"system.rent": "2 USD/chip/h"}), H100).facility_power_w() is None


def test_operations_by_line_or_as_one_number():
    own = quote(load_profile(OWNED), H100)
    staff, network = (own.waterfall()[f"operations: {name}"] * HOURS_PER_YEAR * 8 / 12 for name in ("staff", "network"))
    assert (staff, network) == (pytest.approx(131.0), pytest.approx(39.0))  # USD per server and month
    insured = quote(load_profile(OWNED, {"operations.of_capex": "1 %/year"}), H100)
    assert insured.waterfall()["operations: other"] == pytest.approx(insured.cost.opex - own.cost.opex)
    # One number for all stands in the place of the lines, it is not added to them.
    one = quote(load_profile(OWNED, {"operations.per_chip": "300 USD/chip/year"}), H100)
    assert one.cost.opex * HOURS_PER_YEAR == pytest.approx(300.0)
    assert one.waterfall()["operations"] == pytest.approx(one.cost.opex)
    # A line that the study adds comes on top.
    more = quote(load_profile(OWNED, {"operations.software": "100 USD/chip/year"}), H100)
    assert (more.cost.opex - own.cost.opex) * HOURS_PER_YEAR == pytest.approx(100.0)
    for answer in (own, insured, one, more):
        assert sum(answer.waterfall().values()) == pytest.approx(answer.cost.total)


def test_operations_must_be_given_in_one_way_or_the_other(tmp_path):
    (lease,) = read_documents(DATA / "lease-2026.yaml")
    inputs = {key: value for key, value in lease["inputs"].items() if not key.startswith("operations.")}
    inputs["operations.of_capex"] = lease["inputs"]["operations.of_capex"]
    inputs["operations.availability"] = lease["inputs"]["operations.availability"]
    (tmp_path / "mine.yaml").write_text(json.dumps(lease | {"inputs": inputs}, default=str), encoding="utf-8")
    (line,) = problems(tmp_path / "mine.yaml")
    assert "operations.per_chip: missing; accepted: it, or its lines operations.staff, operations.network" in line


def test_what_is_paid_to_a_lessor_is_called_a_lease():
    answer = quote(load_profile("lease-2026"), H100)
    lines = answer.waterfall()
    assert not any(name.startswith("capital") for name in lines)
    assert sum(value for name, value in lines.items() if name.startswith("lease")) == pytest.approx(answer.cost.rent)
    assert sum(lines.values()) == pytest.approx(answer.cost.total)


@pytest.mark.parametrize(
    ("key", "given", "words"),
    [
        ("facility.rent", "100 USD/kWh", "one per kW and month, like USD/kW/month"),
        ("energy.demand_charge", "0.1 USD/kWh", "one per kW and month, like USD/kW/month"),
        ("energy.electricity", "30 USD/kW/month", "one per kWh, like USD/kWh"),
        ("energy.electricity", {"value": 30, "unit": "USD/kW/month"}, "one per kWh, like USD/kWh"),
    ],
)
def test_price_of_power_is_not_taken_for_one_of_energy(key, given, words):
    """Both are money over energy to the unit registry."""
    with pytest.raises(EconomicsError, match=words):
        load_profile("neocloud-debt-2026", {key: given})


def test_price_of_energy_may_be_per_megawatt_hour():
    values = load_profile("neocloud-debt-2026", {"energy.electricity": "90 USD/MWh"}).values()
    assert values["energy.electricity"] == pytest.approx(0.09)


def test_what_is_possible_is_told_in_the_unit_that_people_write():
    assert INPUTS["finance.cost_of_capital"].accepted == "at least 0 and at most 100 %/year"
    assert INPUTS["hardware.life"].accepted == "above 0 year"
    assert INPUTS["energy.pue"].accepted == "at least 1"
    assert INPUTS["hardware.residual"].accepted == "at least 0 and at most 1"


def test_powered_shell_lies_between_a_large_buyers_colocation_and_retail():
    """Per provisioned kW and month: 11 billion USD for 400 MW over 15 years, before electricity."""
    rent = load_profile("neocloud-powered-shell-2026").values()["facility.rent"]
    assert rent == pytest.approx(11e9 / 400e3 / 15 / 12, rel=0.005)
    assert rent < load_profile("neocloud-colo-2026").values()["facility.rent"]


def test_every_input_has_a_meaning():
    assert all(entry.meaning and entry.unit for entry in INPUTS.values())


def test_an_edition_picks_the_profile_of_its_date():
    assert profile_at(OWNED, "2026-11") == OWNED
    assert profile_at(OWNED, "2025-08") == "hyperscaler-owned-2025-08"
    assert profile_at("hyperscaler-owned-2025-08", "2026-07") == OWNED
    assert profile_at("neocloud-debt-2026-a3", "2026-11") == "neocloud-debt-2026-a3"
    assert profile_at("lease-2026", "2025-08") == "lease-2025-08"
    assert profile_at("neocloud-debt-2026-unrated", "2025-08") == "neocloud-debt-2025-08-unrated"
    # Loans against a rated customer came in 2026.
    with pytest.raises(
        EconomicsError, match=r"no profile like 'neocloud-debt-2026-a3' with facts of 2025-08"
    ) as caught:
        profile_at("neocloud-debt-2026-a3", "2025-08")
    accepted = str(caught.value).split("accepted: ")[1]
    assert "neocloud-debt-2025-08" in accepted
    assert "2026" not in accepted
    with pytest.raises(EconomicsError, match="accepted: an edition from 2025-08 on"):
        profile_at(OWNED, "2019-01")


def test_extending_in_a_circle_is_named(tmp_path):
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"extends: {base}.yaml\nid: {name}\n", encoding="utf-8")
    assert "extends this profile in turn" in problems(tmp_path / "a.yaml")[0]


def test_an_unreadable_profile_is_named(tmp_path):
    file = tmp_path / "list.yaml"
    file.write_text("- 1\n", encoding="utf-8")
    assert "accepted: one YAML mapping" in problems(file)[0]
    file.write_text("currency: JPY\n", encoding="utf-8")
    assert "accepted: USD, CNY, EUR" in problems(file)[0]
    assert "cannot be read" in problems(tmp_path / "absent.yaml")[0]
