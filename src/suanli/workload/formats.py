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
FLOAT_FORMATS = {"8 bit float": "fp8", "8 bit int": "int8", "4 bit int": "int4", "4 bit float": "nvfp4"}
EXPERT_FORMATS = {"fp4": "mxfp4", "fp8": "fp8"}  # `expert_dtype` (DeepSeek-V4; fp4 means MXFP4 in vLLM's loader)


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
    listed = quantisation.get("modules_to_not_convert") or quantisation.get("ignore") or []
    if not isinstance(listed, list):
        fields.refuse("quantization_config.modules_to_not_convert", listed, "a list of module names")
        return ()
    excluded = _Exclusions(fields, listed)
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
    found = EXPERT_FORMATS.get(str(given))
    if found is None:
        fields.refuse("expert_dtype", given, ", ".join(EXPERT_FORMATS))
    return found


def _format(fields: Fields, quantisation: dict[str, Any]) -> str | None:
    method = quantisation.get("quant_method")
    algorithm = quantisation.get("quant_algo")
    named = METHOD_FORMATS.get(str(method)) or ALGORITHM_FORMATS.get(str(algorithm))
    if named is not None:
        return named
    found = _group_formats(quantisation.get("config_groups"))
    if len(found) == 1 and None not in found:
        return found.pop()
    accepted = f"quant_method {', '.join(METHOD_FORMATS)}; quant_algo {', '.join(ALGORITHM_FORMATS)}; one config group"
    fields.refuse("quantization_config", f"{method}, {algorithm}, {len(found)} formats", accepted)
    return None


def _group_formats(groups: object) -> set[str | None]:
    """Formats of the weights in the groups of compressed-tensors and modelopt; None for an unknown one."""
    if not isinstance(groups, dict):
        return set()
    weights = [group.get("weights") if isinstance(group, dict) else None for group in groups.values()]
    return {
        FLOAT_FORMATS.get(f"{one.get('num_bits')} bit {one.get('type')}") if isinstance(one, dict) else None
        for one in weights
    }


class _Exclusions:
    """Modules that a checkpoint leaves in 16 bits: regular expressions (`re:`), globs, and parts of dotted names.

    Some checkpoints list a thousand plain names; those are looked up, not scanned.
    """

    def __init__(self, fields: Fields, entries: list[Any]) -> None:
        self._expressions: list[re.Pattern[str]] = []
        self._globs: list[str] = []
        self._names: set[str] = set()
        for text in map(str, entries):
            if text.startswith("re:"):
                try:
                    self._expressions.append(re.compile(text[3:]))
                except re.error:
                    fields.refuse("quantization_config.ignore", text, "a regular expression after 're:'")
            elif "*" in text:
                self._globs.append(text)
            else:
                self._names.add(text)

    def cover(self, name: str) -> bool:
        """Whether the module `name` or one that contains it is excluded."""
        words = name.split(".")
        parts = {".".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
        return (
            not parts.isdisjoint(self._names)
            or any(fnmatchcase(name, text.replace("language_model.", "", 1)) for text in self._globs)
            or any(expression.match(name) for expression in self._expressions)
        )
