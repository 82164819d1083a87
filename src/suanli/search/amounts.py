"""Numbers of a study: text with a unit, read into SI."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from suanli.quantity import QuantityError, parse_amount


class Strict(BaseModel):
    """A section of a study: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
