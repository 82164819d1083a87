"""Number formats of a published checkpoint, per role, from `quantization_config`."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

from suanli.workload.fields import Fields

# Names of modules that stand for a role when the config lists modules that were left in 16 bits; {} is a layer number.
ROLE_MODULES: dict[str, tuple[str, ...]] = {
    "attention": ("model.layers.{}.self_attn.o_proj",),
    "ffn": ("model.layers.{}.mlp.gate_proj", "model.layers.{}.mlp.shared_experts.gate_proj"),
    "expert": ("model.layers.{}.mlp.experts.0.gate_proj",),
}
METHOD_FORMATS = {"fp8": "fp8", "fbgemm_fp8": "fp8", "mxfp4": "mxfp4", "awq": "int4", "gptq": "int4"}
ALGORITHM_FORMATS = {"NVFP4": "nvfp4", "FP8": "fp8"}  # modelopt
FLOAT_FORMATS = {(8, "float"): "fp8", (8, "int"): "int8", (4, "int"): "int4", (4, "float"): "nvfp4"}
QUANT_METHODS = (*METHOD_FORMATS, "compressed-tensors", "modelopt")


def published_formats(fields: Fields) -> tuple[tuple[str, str], ...]:
    """(role, format) for every role that the checkpoint stores quantised; the others are 16 bit.

    A role counts as quantised only if none of its representative modules is excluded.
    """
    quantisation = fields.get("quantization_config")
    if quantisation is None:
        return ()
    if not isinstance(quantisation, dict):
        fields.refuse("quantization_config", quantisation, "an object")
        return ()
    weights = _format(fields, quantisation)
    if weights is None:
        return ()
    excluded = quantisation.get("modules_to_not_convert") or quantisation.get("ignore") or []
    has_experts = fields.get("num_local_experts", "num_experts", "n_routed_experts") is not None
    dense_only = weights == "mxfp4"  # this method converts the experts alone
    layer = str(fields.integer("num_hidden_layers") // 2)
    formats = []
    for role, modules in ROLE_MODULES.items():
        if (role == "expert" and not has_experts) or (dense_only and role != "expert"):
            continue
        names = [module.format(layer) for module in modules]
        if not any(_excludes(str(pattern), name) for pattern in excluded for name in names):
            formats.append((role, weights))
    return tuple(formats)


def _format(fields: Fields, quantisation: dict[str, Any]) -> str | None:
    method = quantisation.get("quant_method")
    if method in METHOD_FORMATS:
        return METHOD_FORMATS[str(method)]
    algorithm = quantisation.get("quant_algo")
    if algorithm in ALGORITHM_FORMATS:
        return ALGORITHM_FORMATS[str(algorithm)]
    groups = quantisation.get("config_groups") or {}
    found = {
        FLOAT_FORMATS.get((group.get("weights", {}).get("num_bits"), group.get("weights", {}).get("type")))
        for group in groups.values()
    }
    if len(found) == 1 and None not in found:
        return found.pop()
    fields.refuse("quantization_config.quant_method", method, ", ".join(QUANT_METHODS))
    return None


def _excludes(pattern: str, name: str) -> bool:
    """Whether an entry of the exclusion list covers a module: regular expression, glob or part of the name."""
    if pattern.startswith("re:"):
        return re.match(pattern[3:], name) is not None
    if "*" in pattern:
        return fnmatchcase(name, pattern) or fnmatchcase(name, pattern.replace("language_model.", "", 1))
    parts = f".{name}."
    return f".{pattern}." in parts
