"""What no system can answer: requests longer than the model takes, places where nothing is sold."""

from __future__ import annotations

from suanli.catalog.loader import Catalog
from suanli.search.study import Study
from suanli.serving.steady import Demand
from suanli.workload.ops import ModelGraph


def too_long(demand: Demand, graph: ModelGraph) -> list[str]:
    """The problem that a mean request does not fit into the context that the model's config.json allows, if so."""
    length = demand.input_tokens + demand.output_tokens
    if length <= graph.context:
        return []
    return [
        f"workload: {length:,.0f} tokens in and out on average, {graph.id} takes {graph.context:,} "
        "(max_position_embeddings); accepted: shorter requests, or a config.json with a longer context"
    ]


def unknown_region(study: Study, catalog: Catalog) -> list[str]:
    """The problem that no record of the catalog knows the study's region, if so."""
    region = study.limits.region
    sold = [one.availability for one in catalog.systems.values()]
    sold += [one.availability for one in catalog.chips.values()]
    known = {name for one in sold for name in one.regions}
    known |= {price.region for price in catalog.prices.values() if price.region}
    if region is None or region in known:
        return []
    return [f"limits.region: unknown region '{region}'; accepted: {', '.join(sorted(known))}"]
