"""Fit one lane: three physical numbers by quantiles, then a smooth correction surface by robust least squares."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags, vstack
from scipy.sparse.linalg import spsolve

from suanli.chip.lane import Lane
from suanli.chip.work import Work
from suanli.surface import Surface, corners

Array = NDArray[np.float64]

RIDGE = 1e-3
ENOUGH = 60  # rows bound by arithmetic (or traffic) before the best of them says what can be reached
MONOTONE = 1e3  # weight of a squared violation of monotony between neighbouring knots
ROUNDS = 6


def physical(work: Work, seconds: Array, rate: float, bandwidth: float) -> Lane:
    """Launch and the two efficiencies of a lane from the ends of its rows.

    Launch: shortest times. Efficiencies: what the best tenth of the largest arithmetic-bound and of the largest
    traffic-bound rows reach.
    """
    launch = 0.9 * float(np.quantile(seconds, 0.01))
    arithmetic, traffic = work.steps / rate, work.bytes / bandwidth
    compute = _achieved(arithmetic, seconds, arithmetic > traffic)
    memory = _achieved(traffic, seconds, traffic > arithmetic)
    return Lane(launch, compute, memory)


def _achieved(bound: Array, seconds: Array, select: NDArray[np.bool_]) -> float:
    """Fraction of a bound that large rows reach; 0.7 where a lane has no row that the bound could limit."""
    if select.sum() < 30:
        return 0.7
    large = select & (bound >= np.quantile(bound[select], 0.8))
    return float(np.clip(np.quantile((bound / seconds)[large], 0.9), 0.02, 1.0))


def best_seen(work: Work, seconds: Array, rates: tuple[float, float], *, reads: bool = False) -> tuple[float, float]:
    """Shares of peak arithmetic and of bandwidth that the best rows reach; 1 where too few rows are bound by it.

    Bandwidth only with `reads`: elsewhere what traffic reaches still grows at the largest sizes measured.
    """
    arithmetic, traffic = work.flops / rates[0], work.bytes / rates[1]

    def best(bound: Array, other: Array) -> float:
        here = bound > other
        return min(float(np.max(bound[here] / seconds[here])), 1.0) if here.sum() >= ENOUGH else 1.0

    return best(arithmetic, traffic), best(traffic, arithmetic) if reads else 1.0


def not_better(
    surface: Surface, lane: Lane, at: Work, rates: tuple[float, float], best: tuple[float, float]
) -> Surface:
    """The surface with knots lifted so that none reaches more than the shares `best` of peak arithmetic and bandwidth.

    Beyond the rows a surface goes on as it bends, which would end at the datasheet. `at` is the work of the knots.
    """
    rate, bandwidth = rates
    floor = np.maximum(at.flops / (best[0] * rate), at.bytes / (best[1] * bandwidth))
    least = np.log(floor / lane.base(at, rate, bandwidth)).reshape(surface.values.shape)
    return Surface(surface.knots, np.maximum(surface.values, least))


def not_falling(surface: Surface, log_base: Array, rising: Sequence[int]) -> Surface:
    """The surface with knots lifted so that no time falls along `rising` axes; `log_base`: of its base time there."""
    total = log_base.reshape(surface.values.shape) + surface.values
    for axis in rising:
        total = np.maximum.accumulate(total, axis)
    return Surface(surface.knots, total - log_base.reshape(surface.values.shape))


def matrix(knots: Sequence[Array], coordinates: Sequence[Array]) -> csr_matrix:
    """Rows of interpolation weights: surface at each point = matrix @ values."""
    count = len(coordinates[0])
    rows = np.arange(count)
    found = corners(knots, coordinates)
    index = np.concatenate([np.broadcast_to(place, count) for place, _ in found])
    weight = np.concatenate([np.broadcast_to(share, count) for _, share in found])
    width = int(np.prod([len(axis) for axis in knots]))
    return coo_matrix((weight, (np.tile(rows, len(found)), index)), shape=(count, width)).tocsr()


def differences(knots: Sequence[Array], order: int, along: Sequence[int]) -> csr_matrix:
    """First or second differences of the table along some axes (second ones of slopes, so uneven knots count)."""
    shape = tuple(len(axis) for axis in knots)
    number = np.arange(int(np.prod(shape))).reshape(shape)
    blocks = []
    for axis in along:
        places = knots[axis]
        if len(places) <= order:
            continue
        line = np.moveaxis(number, axis, 0)
        step = np.diff(places)
        if order == 1:
            terms = [(line[:-1], -np.ones(len(step))), (line[1:], np.ones(len(step)))]
        else:
            left, right = 2.0 / step[:-1], 2.0 / step[1:]
            terms = [(line[:-2], left), (line[1:-1], -(left + right)), (line[2:], right)]
        count = terms[0][0].size
        rest = count // len(terms[0][1])
        rows = np.tile(np.arange(count), len(terms))
        columns = np.concatenate([term[0].ravel() for term in terms])
        values = np.concatenate([np.repeat(term[1], rest) for term in terms])
        blocks.append(coo_matrix((values, (rows, columns)), shape=(count, number.size)))
    return vstack(blocks).tocsr() if blocks else coo_matrix((0, number.size)).tocsr()


def surface_of(
    knots: Sequence[Array],
    coordinates: Sequence[Array],
    target: Array,
    log_base_at: Callable[[Sequence[Array]], Array],
    rising: Sequence[int],
    *,
    smoothness: float = 0.1,
    tolerance: float = 0.02,
) -> Surface:
    """Surface whose values follow `target` (log of measured over physical time), robust against outliers.

    Least absolute deviations by reweighting, of residuals above `tolerance`. `smoothness` weighs squared second
    differences. Knots are pushed so that the time does not fall along `rising` axes.
    """
    every = range(len(knots))
    rows, smooth = matrix(knots, coordinates), differences(knots, 2, every)
    slope = differences(knots, 1, rising)
    grid = np.meshgrid(*[2.0**axis for axis in knots], indexing="ij")
    floor = -(slope @ log_base_at([axis.ravel() for axis in grid]))
    base = smoothness * (smooth.T @ smooth) + RIDGE * diags(np.ones(rows.shape[1]))
    weight, values, broken = np.ones(len(target)), np.zeros(rows.shape[1]), np.zeros(len(floor))
    for _ in range(ROUNDS):
        left = rows.T @ diags(weight) @ rows + base + slope.T @ diags(broken) @ slope
        values = spsolve(left.tocsc(), rows.T @ (weight * target) + slope.T @ (broken * floor))
        weight = 1.0 / np.maximum(np.abs(target - rows @ values), tolerance)
        weight /= weight.mean()
        broken = np.maximum(broken, MONOTONE * (slope @ values < floor - 1e-6))
    return Surface(tuple(knots), values.reshape([len(axis) for axis in knots]))


def fit(
    work: Work,
    seconds: Array,
    rates: tuple[float, float],
    knots: Sequence[Sequence[float]],
    at: Callable[[Sequence[Array]], Work],
    *,
    rising: Sequence[int],
    launch: float | None = None,
    smoothness: float = 0.1,
    tolerance: float = 0.02,
    reads: bool = False,
) -> Lane:
    """Fit a lane to rows; `rates` are peak and bandwidth.

    `launch` [s] replaces the shortest time where that is an artefact; `rising` are axes along which time must not fall;
    `reads`: the largest rows show the bandwidth that can be reached.
    """
    rate, bandwidth = rates
    lane = physical(work, seconds, rate, bandwidth)
    if launch is not None:
        lane = Lane(launch, lane.compute, lane.memory)
    axes = [np.asarray(axis, dtype=float) for axis in knots]

    def log_base_at(sizes: Sequence[Array]) -> Array:
        return np.asarray(np.log(lane.base(at(sizes), rate, bandwidth)))

    target = np.log(seconds / lane.base(work, rate, bandwidth))
    surface = surface_of(
        axes, work.coordinates, target, log_base_at, rising, smoothness=smoothness, tolerance=tolerance
    )
    knot_sizes = [2.0 ** axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    capped = not_better(surface, lane, at(knot_sizes), rates, best_seen(work, seconds, rates, reads=reads))
    return Lane(lane.launch, lane.compute, lane.memory, capped)


def factor_errors(predicted: Array, measured: Array) -> Array:
    """max(pred/meas, meas/pred) - 1 of each row."""
    return np.asarray(np.exp(np.abs(np.log(predicted / measured))) - 1.0)
