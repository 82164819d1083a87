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
EXPERT_FORMATS = {"fp4": "mxfp4", "fp8": "fp8"}  # `expert_dtype` (DeepSeek-V4; fp4 means MXFP4 in vLLM's loader)
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
    excluded = _Exclusions(quantisation.get("modules_to_not_convert") or quantisation.get("ignore") or [])
    has_experts = fields.get("num_local_experts", "num_experts", "n_routed_experts") is not None
    experts_only = weights == "mxfp4"  # this method converts the experts alone
    expert_format = _expert_format(fields)
    layer = str(fields.integer("num_hidden_layers") // 2)
    formats = []
    for role, modules in ROLE_MODULES.items():
        if (role == "expert" and not has_experts) or (experts_only and role != "expert"):
            continue
        names = [module.format(layer) for module in modules]
        if role == "expert" and expert_format is not None:
            formats.append((role, expert_format))
        elif not any(excluded.cover(name) for name in names):
            formats.append((role, weights))
    return tuple(formats)


def _expert_format(fields: Fields) -> str | None:
    given = fields.get("expert_dtype")
    if given is None:
        return None
    if given not in EXPERT_FORMATS:
        fields.refuse("expert_dtype", given, ", ".join(EXPERT_FORMATS))
        return None
    return EXPERT_FORMATS[given]


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


class _Exclusions:
    """Modules that a checkpoint leaves in 16 bits: regular expressions (`re:`), globs, and parts of dotted names.

    Some checkpoints list a thousand plain names; those are looked up, not scanned.
    """

    def __init__(self, entries: list[Any]) -> None:
        texts = [str(entry) for entry in entries]
        self._expressions = [text[3:] for text in texts if text.startswith("re:")]
        self._globs = [text for text in texts if "*" in text and not text.startswith("re:")]
        self._names = {text for text in texts if "*" not in text}

    def cover(self, name: str) -> bool:
        """Whether the module `name` or one that contains it is excluded."""
        words = name.split(".")
        parts = {".".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
        return (
            not parts.isdisjoint(self._names)
            or any(fnmatchcase(name, text.replace("language_model.", "", 1)) for text in self._globs)
            or any(re.match(text, name) for text in self._expressions)
        )
