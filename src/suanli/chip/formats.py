"""Number formats of matrix products: bytes per element and the peak that the multipliers run at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """Bytes per weight and per activation (with their scales), and the peaks to use, first one that a chip has."""

    weight_bytes: float
    activation_bytes: float
    peaks: tuple[str, ...]


# Scales: fp8 blocks of 128 x 128 with 4 B; int4 groups of 128 with 2 B; mxfp4 groups of 32 with 1 B (OCP MX 1.0);
# nvfp4 groups of 16 with 1 B (NVIDIA format description).
FORMATS: Mapping[str, Format] = {
    "bf16": Format(2.0, 2.0, ("bf16", "fp16")),
    "fp16": Format(2.0, 2.0, ("fp16", "bf16")),
    "fp8": Format(1.0, 1.0, ("fp8", "int8", "bf16")),
    "fp8_block": Format(1.0 + 4.0 / 16384, 1.0 + 4.0 / 128, ("fp8", "int8", "bf16")),
    "int8": Format(1.0, 1.0, ("int8", "fp8", "bf16")),
    "nvfp4": Format(0.5625, 0.5625, ("nvfp4", "fp4", "mxfp4", "fp8", "bf16")),
    "mxfp4": Format(0.53125, 1.03125, ("fp8", "mxfp4", "bf16")),  # 4-bit weights, 8-bit activations
    "w8a16": Format(1.0, 2.0, ("bf16", "fp16")),
    "w4a16": Format(0.515625, 2.0, ("bf16", "fp16")),
    "w4a16_mxfp4": Format(0.53125, 2.0, ("bf16", "fp16")),
    "w4a8": Format(0.515625, 1.0, ("fp8", "int8", "bf16")),
}


def peak_of(peaks: Mapping[str, float], name: str) -> float:
    """Dense peak [FLOP/s] that products of this format run at on a chip. Raises KeyError when it has none of them."""
    for dtype in FORMATS[name].peaks:
        if dtype in peaks:
            return peaks[dtype]
    raise KeyError(f"no peak for {name}; the chip has {', '.join(sorted(peaks)) or 'none'}")
