"""Time of one collective or transfer: pure functions of sizes, ranks and links."""

from suanli.fabric.collectives import (
    all_gather_time,
    all_reduce_time,
    all_to_all_time,
    broadcast_time,
    expert_exchange_time,
    reduce_scatter_time,
    transfer_time,
)
from suanli.fabric.lane import CollectiveLane, CollectivePack, collectives_of
from suanli.fabric.topology import Network, NetworkLevel

__all__ = [
    "CollectiveLane",
    "CollectivePack",
    "Network",
    "NetworkLevel",
    "all_gather_time",
    "all_reduce_time",
    "all_to_all_time",
    "broadcast_time",
    "collectives_of",
    "expert_exchange_time",
    "reduce_scatter_time",
    "transfer_time",
]
