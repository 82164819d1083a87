"""The market of a study: its way of paying, the ways that stand in for it, and the prices that it may look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from suanli.catalog.files import near_matches
from suanli.catalog.loader import Catalog, load
from suanli.catalog.schema import ApiPrice, Grid, Price
from suanli.economics.capex import Capex, load_capex
from suanli.economics.finance import EconomicsError
from suanli.economics.profile import EconomicsProfile, load_profile, profile_at, profile_of_study
from suanli.search.study import Study

# What a system that is not sold costs instead, first match first, last a capacity block; the basis stands beside it.
RENTALS = ("rented-3y-2026", "rented-1y-2026", "rented-on-demand-2026")
# What a tenant is compared with.
OWNER = "hyperscaler-owned-2026"


@dataclass(frozen=True)
class Market:
    """What may be paid, and how. Prices and bills are not newer than `edition` where a study asks for one."""

    profile: EconomicsProfile
    rentals: tuple[EconomicsProfile, ...]  # ways of renting, longest term first
    prices: tuple[Price, ...]
    bills: tuple[Capex, ...]
    api_prices: tuple[ApiPrice, ...]
    region: str | None = None
    edition: str | None = None
    given: tuple[Price, ...] = ()  # by the overlays of the study: they come before everything shipped

    @property
    def stand_ins(self) -> tuple[EconomicsProfile, ...]:
        """Ways of paying for a system that the profile cannot price: none where the study rents anyway."""
        return () if self.profile.structure == "rented" else self.rentals

    @property
    def pue(self) -> float | None:
        """Facility power over IT power; None where the landlord knows it."""
        return self.profile.values().get("energy.pue")

    def near(self, subjects: Sequence[str]) -> list[Price]:
        """Prices of the subjects in the region of the study; none where the study names no region."""
        return [price for price in self.prices if price.subject in subjects and price.region == self.region]


def _given(study: Study, catalog: Catalog) -> tuple[Price, ...]:
    """Prices that the study's overlays brought or changed."""
    if not study.overlays:
        return ()
    shipped = load().prices
    return tuple(price for name, price in catalog.prices.items() if shipped.get(name) != price)


def market_of(study: Study, catalog: Catalog) -> Market:
    """Ways of paying and prices of a study. Raises EconomicsError with every problem."""
    problems = list(_negative(catalog))
    if problems:
        raise EconomicsError(*problems)
    edition = study.edition
    grid = _grid(study.grid, catalog) if study.grid else None
    profile = _dated(profile_of_study(_at(study.economics, edition), grid), edition)
    if profile.currency != "USD" and "USD" not in profile.exchange:
        accepted = f"USD per {profile.currency}, because a plan is told in USD"
        raise EconomicsError(f"{profile.id}: exchange.USD: missing; accepted: {accepted}")
    if study.limits.site_power is not None and "energy.pue" not in profile.inputs:
        raise EconomicsError(f"limits.site_power: needs energy.pue, which {profile.id} does not have; accepted: power")
    return Market(
        profile=profile,
        rentals=_rentals(edition),
        prices=tuple(_until(catalog.prices.values(), edition)),
        bills=tuple(bill for bill in load_capex() if edition is None or bill.edition <= edition),
        api_prices=tuple(one for one in catalog.api_prices.values() if edition is None or one.as_of[:7] <= edition),
        region=study.limits.region,
        edition=edition,
        given=_given(study, catalog),
    )


def owner_of(market: Market) -> EconomicsProfile | None:
    """The owner that a tenant is compared with, with the facts of the edition; None where there are none."""
    try:
        return _dated(load_profile(str(_named(OWNER, market.edition))), market.edition)
    except EconomicsError:
        return None


def _negative(catalog: Catalog) -> Iterator[str]:
    """Return a line for each price below zero, such as an overlay can bring."""
    sold = [(f"prices.{one.id}", one.price) for one in catalog.prices.values()]
    sold += [
        (f"api_prices.{one.id}", price)
        for one in catalog.api_prices.values()
        for price in (one.uncached_input, one.cached_input, one.output)
        if price is not None
    ]
    for where, price in sold:
        least = min((number for number in (price.low, price.value) if number is not None), default=0.0)
        if least < 0.0:
            yield f"{where}: {least:g} {price.unit} given, accepted: at least 0"


def _rentals(edition: str | None) -> tuple[EconomicsProfile, ...]:
    found = []
    for name in RENTALS:
        try:
            found.append(_dated(load_profile(str(_named(name, edition))), edition))
        except EconomicsError:
            continue  # no such facts at that date
    blocks = [
        one.model_copy(update={"term": "capacity_block", "id": one.id.replace("on-demand", "capacity-block")})
        for one in found
        if one.term == "on_demand"
    ]
    return (*found, *blocks)


def _until(prices: Iterable[Price], edition: str | None) -> Iterable[Price]:
    return (price for price in prices if edition is None or price.edition <= edition)


def _at(economics: str | Mapping[str, str], edition: str | None) -> str | Mapping[str, str]:
    """The economics of a study with the profile of an edition."""
    if isinstance(economics, str):
        return _named(economics, edition)
    name = economics.get("profile")
    return {**economics, "profile": _named(name, edition)} if name else economics


def _named(name: str, edition: str | None) -> str:
    """Id of the profile with the facts of an edition; a file of the user has whatever facts it has."""
    return name if edition is None or Path(name).suffix else profile_at(name, edition)


def _dated(profile: EconomicsProfile, edition: str | None) -> EconomicsProfile:
    """The profile looks for prices up to the edition of the study, also where its own facts are older."""
    return profile if edition is None else profile.model_copy(update={"edition": edition})


def _grid(name: str, catalog: Catalog) -> Grid:
    if name not in catalog.grids:
        near = near_matches(name, catalog.grids, 3)
        hint = f"did you mean {', '.join(near)}?" if near else f"accepted: {', '.join(sorted(catalog.grids))}"
        raise EconomicsError(f"grid: unknown grid '{name}'; {hint}")
    grid = catalog.grids[name]
    if grid.conditions:
        conditions = "; ".join(grid.conditions)
        raise EconomicsError(f"grid: '{name}' has conditions ({conditions}); accepted: a profile with `tariffs`")
    return grid
