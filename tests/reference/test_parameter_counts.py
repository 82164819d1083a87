"""Parameter counts and KV sizes of every catalogued model against what others have counted or published."""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path

import pytest

from suanli.catalog.loader import Catalog, load
from suanli.quantity import Quantity
from suanli.workload.counts import (
    active_parameters,
    flops_per_token,
    kv_bytes,
    kv_bytes_per_token,
    total_parameters,
    windowed_kv_bytes_per_token,
)
from suanli.workload.from_config import graph_from_config
from suanli.workload.ops import Attention, Linear, ModelGraph

# Parameters of the transformers 5.23.0 model built from the same config on the meta device (text model only).
TRANSFORMERS_COUNTS = {
    "codellama-13b": 13016028160,
    "deepseek-r1": 671026404352,
    "deepseek-v3": 671026404352,
    "deepseek-v3.2": 671877929216,
    "deepseek-v4-flash": 284332230231,
    "deepseek-v4-pro": 1572997179491,
    "gemma-4-31b": 30697345280,
    "glm-4.5": 352797814784,
    "glm-4.5-air": 106852245504,
    "glm-4.6": 352797814784,
    "glm-4.7": 352797814784,
    "glm-5": 743911199232,
    "glm-5.2": 743377000704,
    "gpt-oss-120b": 116829156672,
    "gpt-oss-20b": 20914757184,
    "kimi-k2": 1026408209408,
    "kimi-k2.5": 1026408209408,
    "llama-2-13b": 13015864320,
    "llama-2-70b": 68976648192,
    "llama-2-7b": 6738415616,
    "llama-3-70b": 70553706496,
    "llama-3-8b": 8030261248,
    "llama-3.1-405b": 405853388800,
    "llama-3.1-70b": 70553706496,
    "llama-3.1-8b": 8030261248,
    "llama-3.3-70b": 70553706496,
    "llama-4-maverick": 400711848960,
    "llama-4-scout": 107769861120,
    "minimax-m2": 228689748992,
    "minimax-m2.5": 228689748992,
    "mistral-7b": 7248023552,
    "mixtral-8x7b": 46702792704,
    "qwen3-14b": 14768307200,
    "qwen3-235b-a22b": 235093634560,
    "qwen3-30b-a3b": 30532122624,
    "qwen3-32b": 32762123264,
    "qwen3-8b": 8190735360,
    "qwen3.5-35b-a3b": 34660610688,
    "qwen3.5-397b-a17b": 396346350336,
    "qwen3.5-9b": 8953803264,
}

# Vision encoder and projector of Llama 4, which its published total includes: transformers 5.23.0, meta device,
# 34 layers of 1,408, projector 4,096. The sum is the safetensors total of both checkpoints, to the parameter.
LLAMA4_VISION = 871932416

# What the publisher counts as active besides the layers. Not stated by all; where it is not, the one that fits.
WITH_EMBEDDING = {"llama-4-scout", "llama-4-maverick", "mixtral-8x7b", "qwen3-30b-a3b", "qwen3-235b-a22b"} | {
    "qwen3.5-35b-a3b",
    "qwen3.5-397b-a17b",
}
WITHOUT_HEAD = {"glm-4.5", "glm-4.5-air", "glm-4.6", "glm-4.7", "glm-5"}  # arXiv:2508.06471, Table 1


@cache
def catalog() -> Catalog:
    return load()


@cache
def graph(model: str) -> ModelGraph:
    return graph_from_config(catalog().model_config(model), model)


def correction_biases(model: ModelGraph, *, with_mtp: bool = False) -> int:
    """Router biases: parameters here, buffers in transformers."""
    groups = model.groups + model.mtp if with_mtp else model.groups
    return sum(
        group.count * operator.n
        for group in groups
        for operator in group.operators
        if isinstance(operator, Linear) and operator.name == "router" and operator.bias
    )


def last_digit(quantity: Quantity) -> float:
    """One unit of the last digit that was published, from the note 'published as 46.7B'."""
    found = re.match(r"published as (\d+)(?:\.(\d+))?([BT])", quantity.note or "")
    assert found, quantity
    return {"B": 1e9, "T": 1e12}[found[3]] * 10.0 ** -len(found[2] or "")


def test_every_model_is_counted() -> None:
    assert set(catalog().models) == set(TRANSFORMERS_COUNTS)


@pytest.mark.parametrize("model", TRANSFORMERS_COUNTS)
def test_total_is_that_of_transformers_to_the_parameter(model: str) -> None:
    difference = total_parameters(graph(model)) - TRANSFORMERS_COUNTS[model]
    assert difference in (0, correction_biases(graph(model)))


@pytest.mark.parametrize("model", TRANSFORMERS_COUNTS)
def test_total_is_that_of_the_card(model: str) -> None:
    published = catalog().models[model].total_parameters
    counted = total_parameters(graph(model))
    if model.startswith("llama-4"):
        counted += LLAMA4_VISION
    if model == "llama-2-70b":  # a name, not a count: the checkpoint holds 68.98B
        published = published.alternatives[0]
        assert published.source == "model-safetensors-count"
        assert counted == published.si
        return
    assert counted == pytest.approx(published.si, abs=max(0.01 * published.si, 0.5 * last_digit(published)))


@pytest.mark.parametrize("model", TRANSFORMERS_COUNTS)
def test_active_is_that_of_the_card(model: str) -> None:
    published = catalog().models[model].active_parameters
    this = graph(model)
    counted = active_parameters(this)
    if this.embedding.parameters + counted == total_parameters(this) or this.embedding.tied:
        return  # dense: the card gives the total
    if model in WITH_EMBEDDING:
        counted += this.embedding.parameters
    if model in WITHOUT_HEAD:
        counted -= this.vocabulary * this.hidden
    unit = last_digit(published)
    slack = 0.01 * published.si
    # Publishers round or cut the last digit.
    assert min(-0.5 * unit, -slack) <= counted - published.si < max(unit, slack)


# Totals in the safetensors metadata of checkpoints that hold the prediction layer, BF16 weights only.
@pytest.mark.parametrize(("model", "weights"), [("glm-5", 753864139008), ("glm-5.2", 753329940480)])
def test_total_with_prediction_layer_is_that_of_the_checkpoint(model: str, weights: int) -> None:
    assert total_parameters(graph(model), with_mtp=True) == weights


def test_deepseek_v3_checkpoint_to_the_parameter() -> None:
    # safetensors metadata of deepseek-ai/DeepSeek-V3: BF16 3,918,786,560 and F8_E4M3 680,571,043,840; the prediction
    # layer brings copies of embedding and head; correction biases are F32 and not in these two sums.
    this = graph("deepseek-v3")
    counted = total_parameters(this, with_mtp=True) + 2 * this.embedding.parameters
    assert counted - correction_biases(this, with_mtp=True) == 3918786560 + 680571043840


def test_llama4_checkpoints_to_the_parameter() -> None:
    assert total_parameters(graph("llama-4-scout")) + LLAMA4_VISION == 108641793536
    assert total_parameters(graph("llama-4-maverick")) + LLAMA4_VISION == 401583781376


# (model, bytes per token of unlimited layers, of windowed layers), BF16 cache: layers x 2 x KV heads x width x 2 B,
# MLA layers x (latent + rope) x 2 B; indexer keys 128 x 1 B + 4 B of scale.
CLOSED_FORMS = [
    ("llama-2-7b", 32 * 2 * 32 * 128 * 2, 0),
    ("llama-2-70b", 80 * 2 * 8 * 128 * 2, 0),
    ("codellama-13b", 40 * 2 * 40 * 128 * 2, 0),
    ("llama-3-8b", 32 * 2 * 8 * 128 * 2, 0),
    ("llama-3.1-70b", 80 * 2 * 8 * 128 * 2, 0),
    ("llama-3.1-405b", 126 * 2 * 8 * 128 * 2, 0),
    ("llama-4-maverick", 12 * 2 * 8 * 128 * 2, 36 * 2 * 8 * 128 * 2),
    ("mistral-7b", 32 * 2 * 8 * 128 * 2, 0),
    ("mixtral-8x7b", 32 * 2 * 8 * 128 * 2, 0),
    ("qwen3-14b", 40 * 2 * 8 * 128 * 2, 0),
    ("qwen3-32b", 64 * 2 * 8 * 128 * 2, 0),
    ("qwen3-30b-a3b", 48 * 2 * 4 * 128 * 2, 0),
    ("qwen3-235b-a22b", 94 * 2 * 4 * 128 * 2, 0),
    ("qwen3.5-9b", 8 * 2 * 4 * 256 * 2, 0),
    ("qwen3.5-35b-a3b", 10 * 2 * 2 * 256 * 2, 0),
    ("qwen3.5-397b-a17b", 15 * 2 * 2 * 256 * 2, 0),
    ("deepseek-v3", 61 * (512 + 64) * 2, 0),
    ("deepseek-v3.2", 61 * ((512 + 64) * 2 + 132), 0),
    ("deepseek-v4-pro", 30 * (512 * 2 + 132) / 4 + 31 * 512 * 2 / 128, 61 * 512 * 2),
    ("deepseek-v4-flash", 21 * (512 * 2 + 132) / 4 + 20 * 512 * 2 / 128, 43 * 512 * 2),
    ("kimi-k2", 61 * (512 + 64) * 2, 0),
    ("glm-4.5", 92 * 2 * 8 * 128 * 2, 0),
    ("glm-4.5-air", 46 * 2 * 8 * 128 * 2, 0),
    ("glm-5", 78 * ((512 + 64) * 2 + 132), 0),
    ("glm-5.2", 78 * (512 + 64) * 2 + 21 * 132, 0),
    ("minimax-m2.5", 62 * 2 * 8 * 128 * 2, 0),
    ("gpt-oss-20b", 12 * 2 * 8 * 64 * 2, 12 * 2 * 8 * 64 * 2),
    ("gpt-oss-120b", 18 * 2 * 8 * 64 * 2, 18 * 2 * 8 * 64 * 2),
    ("gemma-4-31b", 10 * 2 * 4 * 512 * 2, 50 * 2 * 16 * 256 * 2),
]


@pytest.mark.parametrize(("model", "unlimited", "windowed"), CLOSED_FORMS)
def test_kv_bytes_per_token(model: str, unlimited: float, windowed: float) -> None:
    assert kv_bytes_per_token(graph(model), 2.0) == pytest.approx(unlimited, rel=1e-12)
    assert windowed_kv_bytes_per_token(graph(model), 2.0) == pytest.approx(windowed, rel=1e-12)


# KV cache per token in BF16 as published: arXiv:2505.09343 (DeepSeek-V3 on hardware), Table 1, KB = 1000 B.
@pytest.mark.parametrize(("model", "published"), [("deepseek-v3", 70.272e3), ("llama-3.1-405b", 516.096e3)])
def test_published_kv_bytes_per_token(model: str, published: float) -> None:
    assert kv_bytes_per_token(graph(model), 2.0) == pytest.approx(published, rel=1e-12)


# KV cache of one request of 1 Mi tokens with everything in BF16, indexer keys too: vLLM's article on DeepSeek-V4.
@pytest.mark.parametrize(("model", "gib"), [("deepseek-v4-pro", 9.62), ("deepseek-v3.2", 83.9)])
def test_published_kv_bytes_of_a_million_tokens(model: str, gib: float) -> None:
    assert kv_bytes(graph(model), 2**20, 2.0, 2.0) / 2**30 == pytest.approx(gib, rel=0.005)


def test_training_flops_of_llama_405b() -> None:
    # arXiv:2505.09343, Table 2: 2,448 GFLOP per token of training at 4,096 tokens; forward x 3, causal mean 2,048.
    assert 3.0 * flops_per_token(graph("llama-3.1-405b"), 2048) == pytest.approx(2448e9, rel=0.02)


def test_training_flops_of_deepseek_v3() -> None:
    # As above: 250 GFLOP. Training expands the latent, so attention works on 192-wide keys and 128-wide values.
    this = graph("deepseek-v3")
    attention = [(g.count, op) for g in this.groups for op in g.operators if isinstance(op, Attention)]
    expanded = sum(count * 2.0 * op.query_heads * (op.qk_dim + op.v_dim) * 2048 for count, op in attention)
    assert 3.0 * (2.0 * active_parameters(this) + expanded) == pytest.approx(250e9, rel=0.02)


def measured_models() -> list[str]:
    """Model names of the measurements beside the checkout, where they are there."""
    for folder in Path(__file__).resolve().parents:
        rows = folder / "shared" / "ground_truth" / "inference.csv"
        if rows.is_file():
            with rows.open(encoding="utf-8", newline="") as file:
                return sorted({row["model"] for row in csv.DictReader(file)})
    return []


@pytest.mark.skipif(not measured_models(), reason="needs the measurements, which are not shipped")
def test_every_measured_model_is_catalogued() -> None:
    for name in measured_models():
        assert total_parameters(graph(catalog().model(name).id)) > 0, name
