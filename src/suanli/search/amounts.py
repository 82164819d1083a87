"""Numbers of a study: text with a unit, read into SI."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from suanli.quantity import QuantityError, parse_amount

MOST_RATE = 1e6  # request/s: more than all services of the world together


class Strict(BaseModel):
    """A section of a study: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _amount(unit: str, *, zero: bool = False) -> BeforeValidator:
    """Accept '2 s' style text in any unit of the dimension; a bare number has no unit and is refused."""

    def read(value: object) -> object:
        if value is None:
            return None
        text = str(value)
        if unit == "request/s" and text.rstrip().endswith("/s") and "request" not in text:
            text = text.replace("/s", " request/s")
        try:
            amount = parse_amount(text, unit)
        except QuantityError as error:
            raise ValueError(str(error)) from None
        if not math.isfinite(amount):
            raise ValueError(f"'{value}' must be finite")
        if unit == "request/s" and amount > MOST_RATE:
            raise ValueError(f"'{value}' is above {MOST_RATE:,.0f} request/s, the most that is planned for")
        if amount < 0.0 or (amount == 0.0 and not zero):
            raise ValueError(f"'{value}' must " + ("not be negative" if zero else "be above zero"))
        return amount

    return BeforeValidator(read)


Duration = Annotated[float, _amount("s")]
Moment = Annotated[float, _amount("s", zero=True)]
Rate = Annotated[float, _amount("request/s")]
Power = Annotated[float, _amount("W")]
Money = Annotated[float, _amount("USD")]
Memory = Annotated[float, _amount("B")]
Bandwidth = Annotated[float, _amount("B/s")]
