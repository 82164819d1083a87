"""The model of a study: a catalog id, a config.json on disk, or a Hugging Face id that the catalog knows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from suanli.catalog.files import CatalogError, reason_of
from suanli.catalog.loader import Catalog
from suanli.catalog.schema import ModelCard
from suanli.search.study import StudyError
from suanli.workload.counts import active_parameters, total_parameters
from suanli.workload.fields import ModelError
from suanli.workload.from_config import graph_from_config
from suanli.workload.ops import ModelGraph


@dataclass(frozen=True)
class StudyModel:
    """Graph of the model and the format of its weights; `card` is missing for a user's own config.json."""

    graph: ModelGraph
    weights: str
    card: ModelCard | None

    def describe(self) -> dict[str, object]:
        """Plain facts for the plan."""
        return {
            "id": self.graph.id,
            "name": self.card.name if self.card else self.graph.id,
            "layers": self.graph.layers,
            "parameters": total_parameters(self.graph),
            "active_parameters": active_parameters(self.graph),
            "weights": self.weights,
        }


def read_model(name: str, weights: str | None, catalog: Catalog) -> StudyModel:
    """Model by catalog id, alias, or path of a config.json. Raises StudyError."""
    try:
        if name.endswith(".json"):
            path = Path(name)
            config = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(config, dict):
                raise StudyError([f"{name}: a model config is one JSON object"])
            return StudyModel(graph_from_config(config, path.parent.name or path.stem), weights or "bf16", None)
        card = catalog.model(name)
        graph = graph_from_config(catalog.model_config(card.id), card.id)
    except (OSError, ValueError) as error:
        if isinstance(error, CatalogError):
            raise StudyError([f"model: {line}" for line in error.problems]) from None
        if isinstance(error, ModelError):
            raise StudyError([f"model: {error}"]) from None
        raise StudyError(
            [f"model: {name}: cannot be read ({reason_of(error)}); accepted: a catalog id or a config.json"]
        ) from None
    return StudyModel(graph, weights or card.weights, card)
