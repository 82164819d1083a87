"""Number formats: bytes of an element and the matrix rate it runs at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

# Bytes per weight including block scales: nvfp4 has one fp8 scale per 16 elements, mxfp4 one 8-bit scale per 32 (OCP
# Microscaling v1.0), int4 one 16-bit scale per 128 (usual group size), fp8 blocks of 128 x 128 are negligible.
BYTES = {
    "fp32": 4.0,
    "tf32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "fp6": 0.75,
    "int4": 0.5 + 2.0 / 128.0,
    "mxfp4": 0.5 + 1.0 / 32.0,
    "nvfp4": 0.5 + 1.0 / 16.0,
    "fp4": 0.5 + 1.0 / 32.0,
}

# Formats whose matrix rate serves a format that the datasheet does not name, in order of preference.
STAND_INS = {
    "bf16": ("bf16", "fp16"),
    "fp16": ("fp16", "bf16"),
    "fp8": ("fp8",),
    "int8": ("int8",),
    "nvfp4": ("nvfp4", "fp4"),
    "mxfp4": ("mxfp4", "fp4", "nvfp4"),
    "fp4": ("fp4", "mxfp4", "nvfp4"),
    "int4": (),  # weight-only in every engine that serves it
}

ROLES = ("attention", "ffn", "expert", "router", "head")
FOUR_BIT = frozenset({"nvfp4", "mxfp4", "fp4", "int4"})


@dataclass(frozen=True)
class Format:
    """How one role is stored and multiplied: weight and activation bytes per element, and the peak that applies."""

    weight: str
    activation: str
    rate: str

    @property
    def weight_bytes(self) -> float:
        """Bytes per weight [B]."""
        return BYTES[self.weight]

    @property
    def activation_bytes(self) -> float:
        """Bytes per activation element [B]."""
        return BYTES[self.activation]


@dataclass(frozen=True)
class Precision:
    """Formats of every role plus the KV cache; `notes` says what was assumed."""

    roles: Mapping[str, Format]
    kv: str
    label: str
    notes: tuple[str, ...] = ()

    @property
    def kv_bytes(self) -> float:
        """Bytes per cached element [B]."""
        return BYTES[self.kv]

    def with_kv(self, kv: str) -> Precision:
        """The same with another KV-cache format."""
        return replace(self, kv=kv)


def _format(weight: str, activation: str, peaks: Mapping[str, float]) -> tuple[Format, str | None]:
    """Format that a chip with these dense peaks runs, and a note when it cannot multiply in the stored format."""
    for candidate in STAND_INS[activation]:
        if candidate in peaks:
            return Format(weight, activation, candidate), None
    for candidate in STAND_INS["bf16"]:
        if candidate in peaks:
            note = f"{weight} weights are expanded to {candidate}: the chip publishes no {activation} rate"
            return Format(weight, candidate, candidate), note if weight != candidate else None
    has = ", ".join(sorted(peaks)) or "none"
    raise ValueError(f"no dense bf16 or fp16 rate is published (rates: {has}); 16-bit parts cannot be computed")


def precision_of(
    weights: str,
    peaks: Mapping[str, float],
    *,
    activations: str | None,
    kv: str,
    latent_attention: bool,
    published: Mapping[str, str],
) -> Precision:
    """Formats per role for checkpoint format `weights` on a chip with dense `peaks` [FLOP/s by dtype].

    Four-bit checkpoints keep latent (MLA) attention in 16 bit, as the published DeepSeek FP4 checkpoints do. Router and
    LM head stay in 16 bit. `published` overrides single roles (gpt-oss: experts mxfp4, the rest bf16).
    """
    notes: list[str] = []
    roles: dict[str, Format] = {}
    for role in ROLES:
        weight = "bf16" if role in ("router", "head") else weights
        if weights in FOUR_BIT and latent_attention and role == "attention":
            weight = "bf16"
            notes.append(f"attention weights in bf16 beside {weights} experts")
        if role in published:
            weight = published[role]
        activation = activations if activations and weight not in ("bf16", "fp16") else weight
        roles[role], note = _format(weight, activation, peaks)
        if note:
            notes.append(note)
    label = weights if not activations or activations == weights else f"{weights}/{activations}"
    return Precision(roles, kv, label, tuple(dict.fromkeys(notes)))
