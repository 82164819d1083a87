"""Server settings of public benchmarks: data that stands for what a row of measurements does not say."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from suanli.catalog.files import read_yaml
from suanli.catalog.loader import DATA
from suanli.catalog.schema import Chip, Record
from suanli.validation.measured import Row


class Settings(Record):
    """Settings of a server.

    token_budget, max_requests : per engine rank. memory_fraction : of chip memory. poll_steps : decode steps between
    two looks at new requests. wait_steps : steps that waiting prompts are held back while others decode, until they
    fill `wait_share` of the token budget or, with `wait_every_rank`, give one prompt to every attention rank.
    drafts : drafted tokens per step. prompts : requests of the run. graph_batches : batches of
    captured graphs. attention_dp : attention runs data-parallel on every chip of an instance of a
    mixture of experts, whatever the label says.
    """

    kv_cache: Literal["bf16", "fp8"] | None = None
    token_budget: int | None = None
    max_requests: int | None = None
    memory_fraction: float | None = None
    poll_steps: int | None = None
    wait_steps: int | None = None
    wait_share: float | None = None
    wait_every_rank: bool | None = None
    drafts: int | None = None
    prompts: int | None = None
    graph_batches: tuple[int, ...] | None = None
    attention_dp: bool | None = None


class Recipe(Record):
    """Settings and the rows that they hold for; a condition that is not named holds for all."""

    benchmarks: tuple[str, ...]
    engine: str
    source: str
    set: Settings
    families: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()
    modes: tuple[str, ...] = ()
    speculative: bool | None = None
    attention_dp: bool | None = None
    from_users: float = 0.0
    to_users: float = float("inf")
    versions: tuple[str, ...] = ()
    from_date: str = ""
    input_tokens: float | None = None
    output_tokens: float | None = None

    def holds(self, row: Row, chip: Chip) -> bool:
        """Whether the recipe is for this row."""
        width = row.number("tp")
        texts = (
            (self.benchmarks, row.text("source")),
            ((self.engine,), row.text("engine")),
            (self.families, chip.family),
            (self.chips, chip.id),
            (self.models, row.text("model")),
            (self.weights, row.text("weights_dtype")),
            (self.modes, row.text("mode")),
            (self.versions, row.text("engine_version")),
        )
        if any(accepted and given not in accepted for accepted, given in texts):
            return False
        numbers = ((self.input_tokens, "input_tokens_nominal"), (self.output_tokens, "output_tokens_nominal"))
        if any(wanted is not None and row.number(name) != wanted for wanted, name in numbers):
            return False
        if self.widths and (width is None or int(width) not in self.widths):
            return False
        split = max(row.number(name) or 1.0 for name in ("attn_dp", "decode_attn_dp")) > 1.0
        flags = ((self.speculative, row.speculative), (self.attention_dp, split))
        if any(wanted is not None and wanted != given for wanted, given in flags):
            return False
        return self.from_users <= (row.number("concurrency") or 0.0) <= self.to_users and (
            row.text("date") >= self.from_date
        )


class RecipeFile(Record):
    """Recipes; later ones win."""

    schema_version: Literal[1]
    recipes: tuple[Recipe, ...]


@lru_cache(maxsize=1)
def recipes() -> tuple[Recipe, ...]:
    """Recipes of the package. Raises CatalogError."""
    return read_yaml(DATA / "benchmarks" / "recipes.yaml", RecipeFile).recipes


def settings_of(row: Row, chip: Chip) -> tuple[Settings, tuple[str, ...]]:
    """Settings of a row from all recipes that hold, and the sources of those."""
    found: dict[str, object] = {}
    sources = []
    for recipe in recipes():
        if recipe.holds(row, chip):
            found |= recipe.set.model_dump(exclude_none=True)
            sources.append(recipe.source)
    return Settings.model_validate(found), tuple(dict.fromkeys(sources))
