"""What many tests share: the catalog, engine profiles, and one ready system."""

from __future__ import annotations

import logging

import pytest
from hypothesis import settings

from suanli.catalog.loader import Catalog, load
from suanli.search.records import Profiles, load_profiles
from suanli.search.study import Study
from suanli.search.systems import Ready, prepare
from suanli.serving.steady import Demand
from suanli.workload.from_config import graph_from_config

# Properties are about answers; how long an example takes on a busy machine is no part of them.
settings.register_profile("suanli", deadline=None)
settings.load_profile("suanli")

# Azure 2023 conversation, means and variations as in data/workloads/azure-conversation-2023.yaml.
CHAT = Demand(1155.0, 211.0, 0.9, 1.0, 1.0)


# Which test compiles the simulator first is chance; its message would stand in what a command prints.
logging.getLogger("suanli").addHandler(logging.NullHandler())


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load()


@pytest.fixture(scope="session")
def profiles() -> Profiles:
    return load_profiles()


@pytest.fixture(scope="session")
def ready(catalog: Catalog, profiles: Profiles):
    """Make a system ready to compute on: ready("nvidia-hgx-h100-8", "qwen3-32b", "fp8")."""

    def make(system: str, model: str, weights: str, demand: Demand = CHAT) -> Ready:
        record = catalog.system(system)
        study = Study.from_mapping(
            {"schema_version": 1, "model": model, "weights": weights, "workload": {"profile": "x", "rate": "1/s"}},
            "test",
        )
        found = prepare(
            record,
            catalog.chip_of(record),
            study=study,
            graph=graph_from_config(catalog.model_config(model), model),
            weights=weights,
            demand=demand,
            profiles=profiles,
        )
        assert isinstance(found, Ready), found
        return found

    return make
