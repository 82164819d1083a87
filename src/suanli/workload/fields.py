"""Reading a Hugging Face config: every field is checked, every problem is kept, all are reported together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ModelError(ValueError):
    """A config cannot become a graph. One line per problem: the field, what was given, what is accepted."""

    def __init__(self, model_id: str, problems: tuple[str, ...]) -> None:
        self.problems = tuple(f"model '{model_id}': {problem}" for problem in problems)
        super().__init__("\n".join(self.problems))


class Fields:
    """Typed access to the text part of a config.

    A wrong or missing field is remembered and answered with a harmless 1, so that one pass finds every problem;
    :meth:`raise_problems` ends the pass.
    """

    def __init__(self, config: Mapping[str, Any], model_id: str) -> None:
        inner = config.get("text_config")
        self._outer = config
        self._data: Mapping[str, Any] = inner if isinstance(inner, Mapping) else config
        self._model_id = model_id
        self._problems: list[str] = []

    def refuse(self, field: str, given: object, accepted: str) -> None:
        """Remember a problem."""
        self._problems.append(f"{field}: {_shown(given)} given, accepted: {accepted}")

    def refused(self, field: str) -> bool:
        """Whether this field has a problem."""
        return any(problem.startswith(f"{field}: ") for problem in self._problems)

    def raise_problems(self) -> None:
        """Raise ModelError when anything was refused."""
        if self._problems:
            raise ModelError(self._model_id, tuple(dict.fromkeys(self._problems)))

    def get(self, *names: str) -> Any:  # noqa: ANN401 (JSON)
        """First of `names` that is present and not null, in the text part, then outside of it."""
        for data in (self._data, self._outer):
            for name in names:
                value = data.get(name)
                if value is not None:
                    return value
        return None

    def integer(self, *names: str, default: int | None = None, least: int = 1) -> int:
        """A whole number >= `least` from the first of `names` that is present."""
        value = self.get(*names)
        if value is None:
            if default is not None:
                return default
            self.refuse(" or ".join(names), None, f"a whole number >= {least}")
            return 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.refuse(" or ".join(names), value, f"a whole number >= {least}")
            return 1
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.refuse(name, value, "true or false")
            return default
        return value

    def words(
        self, name: str, length: int, accepted: Mapping[Any, str] | tuple[str, ...], *, longer: bool = False
    ) -> tuple[str, ...] | None:
        """One word per layer, out of `accepted` or translated by it; None when the field is absent.

        `longer` allows more entries than layers.
        """
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not (len(value) == length or (longer and len(value) > length)):
            size = f"{len(value)} entries" if isinstance(value, list) else value
            self.refuse(name, size, f"a list with one entry per layer ({length})")
            return None
        unknown = [word for word in value if not isinstance(word, str | int) or word not in accepted]
        if unknown:
            given = ", ".join(sorted({str(word) for word in unknown}))
            self.refuse(name, given, ", ".join(str(word) for word in accepted))
            return None
        return tuple(accepted[word] for word in value) if isinstance(accepted, Mapping) else tuple(value)

    def must_be_off(self, *names: str) -> None:
        """Refuse structure that has no operator yet; null, false, 0 and [] mean that it is not used."""
        for name in names:
            value = self.get(name)
            if value:
                self.refuse(name, value, "null, false or 0 (this structure has no operator yet)")


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
