"""How many chips have to be bought or rented to place a number of instances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from suanli.catalog.schema import System

Array = NDArray[np.float64]


def largest_instance(system: System) -> int:
    """Most chips that one instance can use [-]: the scale-up domain."""
    return system.chips


def provisioned_chips(system: System, instance_chips: Array, instances: Array) -> Array:
    """Chips paid for: instances packed into the smallest slice (or whole nodes) that holds one, rounded up."""
    sizes = np.array(sorted(system.slices) or [0], dtype=float)
    if not system.slices:
        node = float(system.chips_per_node)
        # Instances smaller than a node share it; larger ones take whole nodes.
        per_node = np.floor(node / np.minimum(instance_chips, node))
        small = np.ceil(instances / np.maximum(per_node, 1.0)) * node
        large = np.ceil(instance_chips / node) * node * instances
        return np.where(instance_chips <= node, small, large)
    index = np.minimum(np.searchsorted(sizes, instance_chips), len(sizes) - 1)
    size = np.maximum(sizes[index], instance_chips)
    return np.asarray(np.ceil(instances / np.floor(size / instance_chips)) * size)
