"""What stands between the residual stream and a block: norms, and the mixing of several streams where configured."""

from __future__ import annotations

from suanli.workload.fields import Fields
from suanli.workload.ops import Block, Linear, Operator, Pointwise


def block_entry(fields: Fields, name: str, hidden: int, block: Block, norms: int = 1) -> tuple[Operator, ...]:
    """Operators at the entry of a block: `norms` norms, each fused with the residual addition.

    One fused kernel reads input and residual and writes both (4 x hidden elements). With `hc_mult` residual streams
    (manifold-constrained hyper-connections, DeepSeek-V4) a small projection of all streams gives the mixing weights;
    the streams are read for it, collapsed into the block's input, and read and written again behind the block.
    """
    streams = fields.integer("hc_mult", default=1)
    if streams == 1:
        return (Pointwise(name, 4 * hidden * norms, norms, block, norms * hidden),)
    width = streams * hidden
    mix = Linear(f"{name}_mix", width, (2 + streams) * streams, "replicated", block, "router", bias=True)
    scales = 3  # one learned scale each for collapsing, expanding and mixing
    return mix, Pointwise(name, 4 * width + 2 * hidden, 3, block, hidden + scales)


def head_entry(fields: Fields, hidden: int) -> tuple[Operator, ...]:
    """Operators before the LM head: final norm, and the collapse of the residual streams where there are several."""
    streams = fields.integer("hc_mult", default=1)
    if streams == 1:
        return (Pointwise("final_norm", 4 * hidden, 1, "head", hidden),)
    width = streams * hidden
    collapse = Linear("head_mix", width, streams, "replicated", "head", "router", bias=True)
    return collapse, Pointwise("final_norm", width + 2 * hidden, 2, "head", hidden + 1)
