"""Numbers that know their unit, their kind and their source.

This is the only module that converts units. Inside the program every number is an SI float (s, B, FLOP, FLOP/s, B/s,
W, J, and the currency as written); at every border (files, command line, JSON) the unit stands beside the number.
The unit table is closed (:data:`UNIT_TABLE`): a unit that is not in it is an error, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

if TYPE_CHECKING:
    import pint

Kind = Literal["vendor", "measured", "third_party", "estimate", "derived", "guess"]

# Kinds that are somebody's opinion: they must carry a range and a reason.
OPINION_KINDS: frozenset[str] = frozenset({"estimate", "guess"})

UNIT_TABLE = """
tera- = 1e12 = T-
peta- = 1e15 = P-
exa- = 1e18 = E-
giga- = 1e9 = G-
mega- = 1e6 = M-
kilo- = 1e3 = k-
milli- = 1e-3 = m-
micro- = 1e-6 = u-
nano- = 1e-9 = n-
gibi- = 2**30 = Gi-
mebi- = 2**20 = Mi-
kibi- = 2**10 = Ki-
tebi- = 2**40 = Ti-
second = [time] = s = sec
minute = 60 * second = min
hour = 3600 * second = h
day = 24 * hour = d
month = 730.5 * hour
year = 8766 * hour = y
hertz = 1 / second = Hz
byte = [information] = B
bit = byte / 8
FLOP = [operation] = OP
joule = [energy] = J
watt = joule / second = W
Wh = watt * hour
gram = [mass] = g
meter = [length] = m
kelvin = [temperature] = K
USD = [usd]
CNY = [cny]
EUR = [eur]
token = [token]
request = [request]
chip = [chip]
system = [system]
count = []
fraction = []
percent = 0.01
"""


class QuantityError(ValueError):
    """A number cannot be used: unknown unit, wrong dimension, or a value that nobody has published."""


@lru_cache(maxsize=1)
def registry() -> pint.UnitRegistry[float]:
    """The closed unit registry; pint is imported here because it costs a quarter of a second."""
    import pint  # noqa: PLC0415 (start-up time)

    units: pint.UnitRegistry[float] = pint.UnitRegistry(None)
    for line in UNIT_TABLE.strip().splitlines():
        units.define(line)
    return units


_known_units: dict[str, tuple[float, str]] = {}  # units that were already looked up


def parse_unit(unit: str) -> tuple[float, str]:
    """Factor from `unit` to SI [-] and the canonical name of its dimension.

    Raises QuantityError when the unit is not in the closed table.
    """
    if unit not in _known_units:
        if not any(letter.isalpha() for letter in unit):
            raise QuantityError(f"unknown unit '{unit}'")
        try:
            base = registry().Quantity(1.0, unit).to_root_units()
        except Exception as error:
            raise QuantityError(f"unknown unit '{unit}'") from error
        _known_units[unit] = float(base.magnitude), str(base.dimensionality)
    return _known_units[unit]


def known_units() -> dict[str, tuple[float, str]]:
    """Return factor and dimension of every unit that was looked up so far."""
    return dict(_known_units)


def remember_units(units: Mapping[str, tuple[float, str]]) -> None:
    """Take over units that an earlier run looked up with the same table; a warm start then needs no pint."""
    _known_units.update(units)


def parse_amount(text: str, unit: str) -> float:
    """Read a number with a unit such as ``"40 request/s"`` and return it in SI; `unit` gives the wanted dimension.

    A bare number is refused: its unit would be a guess. Raises QuantityError.
    """
    stripped = str(text).strip()
    number_end = len(stripped)
    for position, character in enumerate(stripped):
        follows_digit = position > 0 and stripped[position - 1] in "0123456789."
        if character.isalpha() and not (
            character in "eE" and follows_digit and stripped[position + 1 : position + 2] in [*"+-0123456789"]
        ):
            number_end = position
            break
        if character == "/":
            number_end = position
            break
    number, given = stripped[:number_end].strip(), stripped[number_end:].strip()
    try:
        value = float(number)
    except ValueError:
        raise QuantityError(f"'{text}' is not a number with a unit (expected something like '5 {unit}')") from None
    if not given:
        raise QuantityError(f"'{text}' has no unit (expected something like '{number} {unit}')")
    if given.startswith("/"):
        given = "1" + given
    factor, dimension = parse_unit(given)
    if dimension != parse_unit(unit)[1]:
        raise QuantityError(f"'{text}' has the wrong dimension (expected something like '5 {unit}')")
    if not math.isfinite(value):
        raise QuantityError(f"'{text}' is not finite")
    return value * factor


class Quantity(BaseModel):
    """One number of the catalog: value or range, unit, kind, source.

    `value` null means unknown and needs `because`; a range may stand without a value. `at` says where in the source,
    `as_of` the date the figure was true, `alternatives` what other sources say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    value: float | None
    unit: str
    kind: Kind
    source: str
    low: float | None = None
    high: float | None = None
    because: str | None = None
    at: str | None = None
    as_of: str | None = None
    note: str | None = None
    alternatives: tuple[Quantity, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        parse_unit(self.unit)
        if (self.low is None) != (self.high is None):
            raise ValueError("give both low and high, or neither")
        if self.value is None and not self.because:
            raise ValueError("a null value needs 'because'")
        if self.low is not None and self.high is not None:
            middle = self.low if self.value is None else self.value
            if not self.low <= middle <= self.high:
                raise ValueError(f"low <= value <= high does not hold ({self.low}, {self.value}, {self.high})")
        if self.value is not None and self.kind in OPINION_KINDS and (self.low is None or not self.because):
            raise ValueError(f"kind '{self.kind}' needs low, high and because")
        return self

    @property
    def si(self) -> float:
        """Best value in SI. The geometric middle of a range that has no value. Raises QuantityError when unknown."""
        factor = parse_unit(self.unit)[0]
        if self.value is not None:
            return self.value * factor
        if self.low is not None and self.high is not None:
            return math.sqrt(self.low * self.high) * factor
        raise QuantityError(self.because or "not published")

    @property
    def si_range(self) -> tuple[float, float]:
        """Low and high end in SI; both equal the value where no range is given. Raises QuantityError when unknown."""
        if self.low is not None and self.high is not None:
            factor = parse_unit(self.unit)[0]
            return self.low * factor, self.high * factor
        return self.si, self.si

    @property
    def known(self) -> bool:
        """True when there is a value or at least a range."""
        return self.value is not None or self.low is not None


def _dimension_check(unit: str) -> AfterValidator:
    def check(quantity: Quantity) -> Quantity:
        given, wanted = parse_unit(quantity.unit)[1], parse_unit(unit)[1]
        if given != wanted:
            raise ValueError(f"unit '{quantity.unit}' has the wrong dimension (expected one like '{unit}')")
        for other in quantity.alternatives:
            if parse_unit(other.unit)[1] != wanted:
                raise ValueError(
                    f"alternative unit '{other.unit}' has the wrong dimension (expected one like '{unit}')"
                )
        return quantity

    return AfterValidator(check)


Flops = Annotated[Quantity, _dimension_check("FLOP/s")]
Bytes = Annotated[Quantity, _dimension_check("B")]
ByteRate = Annotated[Quantity, _dimension_check("B/s")]
Seconds = Annotated[Quantity, _dimension_check("s")]
Watts = Annotated[Quantity, _dimension_check("W")]
Hertz = Annotated[Quantity, _dimension_check("Hz")]
Number = Annotated[Quantity, _dimension_check("count")]


class Text(BaseModel):
    """A fact that is words (a link type, a cooling method), with kind and source like any number."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    text: str | None
    kind: Kind
    source: str
    because: str | None = None
    at: str | None = None
    as_of: str | None = None
    note: str | None = None
    alternatives: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.text is None and not self.because:
            raise ValueError("a null text needs 'because'")
        return self


Fact = Quantity | Text
