"""Import, plausibility filter and fit of measured operators on made-up tables with known faults."""

import numpy as np
import pytest
from validation.operators import plausibility, pool, solve
from validation.operators.kinds import OPERATORS
from validation.operators.rows import hold_out
from validation.operators.tables import Table, data_folder, version_key

from suanli.chip.formats import FORMATS
from suanli.chip.lane import Lane
from suanli.chip.work import matmul_work

RATE, BANDWIDTH = 989e12, 3.35e12
TRUE = Lane(2e-6, 0.8, 0.9)
CHIP = plausibility.Limits(RATE, BANDWIDTH, 50e6)


def table(m, n, k, seconds, engine="vllm", kernels=None):
    m, n, k, seconds = (np.asarray(values, dtype=float) for values in (m, n, k, seconds))
    columns = {"m": m.astype(int), "n": n.astype(int), "k": k.astype(int)}
    names = np.array(["gemm"] * len(m) if kernels is None else kernels)
    return Table("h100_sxm", engine, "1.0", "matmul", "bf16", columns, names, seconds)


def grid():
    sizes = [2.0**power for power in range(0, 15, 2)], [256.0, 1024.0, 4096.0, 16384.0]
    m, n, k = (axis.ravel() for axis in np.meshgrid(sizes[0], sizes[1], sizes[1], indexing="ij"))
    work = matmul_work(m, n, k, weight_bytes=2.0, activation_bytes=2.0)
    return m, n, k, work, TRUE.time(work, RATE, BANDWIDTH)


def test_versions_sort_by_number_and_candidates_come_before_releases():
    names = ["0.5.9", "0.5.14", "1.3.0rc20", "1.3.0", "0.5.6.post2", "0.5.6"]
    assert sorted(names, key=version_key) == ["0.5.6", "0.5.6.post2", "0.5.9", "0.5.14", "1.3.0rc20", "1.3.0"]


def test_a_missing_wheel_says_what_to_install(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"aiconfigurator-core==0\.12\.0"):
        data_folder(tmp_path)


def test_repeated_shapes_keep_their_median():
    repeated = table([1, 1, 1, 2], [8, 8, 8, 8], [8, 8, 8, 8], [3.0, 1.0, 2.0, 9.0])
    kept, dropped = plausibility.without_duplicates(repeated)
    assert dropped == 2
    assert sorted(kept.seconds.tolist()) == [2.0, 9.0]


def test_filter_drops_each_fault_for_its_reason():
    m, n, k, work, seconds = grid()
    wrong = seconds.copy()
    biggest, small = int(np.argmax(seconds)), int(np.argmin(seconds))
    wrong[biggest] /= 3.0  # faster than the peak
    wrong[small] = seconds.max() * 2.0  # a shape that is small in every dimension, slower than all larger ones
    wrong[5] = 0.0
    rows = table(m, n, k, wrong)
    sizes = [m, n, k]
    spikes = plausibility.dominated(sizes, wrong, np.zeros(len(m), dtype=np.int64))
    floor = plausibility.floor_of(seconds)
    keep, dropped = plausibility.filter_rows(rows, work, CHIP, floor=floor, reference=floor, spikes=spikes)
    assert not keep[[biggest, small, 5]].any()
    assert dropped["above arithmetic peak"] == 1
    assert dropped["not positive"] == 1
    assert dropped["slower than a larger shape"] >= 1
    assert keep.sum() >= len(m) - 12


def test_a_floor_far_above_that_of_another_engine_is_a_host_in_the_loop():
    m, n, k, work, seconds = grid()
    late = np.maximum(seconds, 150e-6)
    nothing = np.zeros(len(m), dtype=bool)
    keep, dropped = plausibility.filter_rows(
        table(m, n, k, late), work, CHIP, floor=150e-6, reference=3e-6, spikes=nothing
    )
    assert dropped["host in the loop (floor)"] > 50
    assert (late[keep] >= 450e-6).all()
    assert keep.any()


def test_reads_that_stayed_in_the_cache_are_dropped_and_other_rows_kept():
    """A cache four times as fast as the memory: its rows go, launches, large reads and arithmetic stay."""
    m, n, k, work, seconds = grid()
    nothing, floor = np.zeros(len(m), dtype=bool), plausibility.floor_of(seconds)
    fits = work.bytes < 40e6
    warm = np.where(fits, TRUE.base(work, RATE, 4.0 * BANDWIDTH), seconds)
    keep, dropped = plausibility.filter_rows(
        table(m, n, k, warm), work, CHIP, floor=floor, reference=floor, spikes=nothing
    )
    reading = work.bytes / BANDWIDTH
    wrong = fits & (reading > warm)
    assert wrong.any()
    assert not keep[wrong].any()
    assert keep[work.bytes > 75e6].all()
    assert keep[reading < 0.5 * floor].all()
    assert keep[work.flops / RATE > reading].all()
    assert dropped["above memory bandwidth"] + dropped["in the cache between repeats"] == (~keep).sum()
    _, cold = plausibility.filter_rows(
        table(m, n, k, seconds), work, CHIP, floor=floor, reference=floor, spikes=nothing
    )
    assert not cold


def test_a_chip_with_the_host_in_the_loop_does_not_set_the_launch_of_a_pool():
    *_, work, _ = grid()

    def part(chip, launch):
        lane = Lane(launch, 0.8, 0.9)
        return pool.Part(
            chip, "x", "vllm", "bf16", OPERATORS["matmul"], work, lane.base(work, RATE, BANDWIDTH), RATE, BANDWIDTH,
            pool.CLOCK, lane,
        )  # fmt: skip

    parts = [part("a", 2e-6), part("b", 2.2e-6), part("c", 2.1e-6), part("d", 27e-6)]
    kept = pool.without_host(parts)
    assert {"a", "b", "c"} <= {one.chip for one in kept}
    for one in kept:
        assert one.lane.launch < 3e-6
        assert one.chip != "d" or (one.seconds > 81e-6).all()


def test_a_pooled_launch_is_a_number_of_cycles():
    """Chips that differ in clock only are predicted from each other."""
    *_, work, _ = grid()
    parts = []
    for chip, clock in (("a", 1.41e9), ("b", 1.83e9), ("c", 2.5e9), ("d", 2.0e9)):
        seconds = Lane(2e-6 * pool.CLOCK / clock, 0.8, 0.9).base(work, RATE, BANDWIDTH)
        parts.append(
            pool.Part(
                chip,
                "x",
                "vllm",
                "bf16",
                OPERATORS["matmul"],
                work,
                seconds,
                RATE,
                BANDWIDTH,
                clock,
                Lane(2e-6, 0.8, 0.9),
            )
        )
    for errors in pool.judge(parts, "chip").values():
        assert np.median(errors) < 0.02


def test_whole_shape_families_are_held_out():
    m, n, k, _, seconds = grid()
    rows = table(m, n, k, seconds)
    left_out = hold_out(rows, OPERATORS["matmul"])
    families = {(a, b) for a, b in zip(n[left_out], k[left_out], strict=True)}
    assert 0 < left_out.sum() < len(m) / 2
    assert not families & {(a, b) for a, b in zip(n[~left_out], k[~left_out], strict=True)}


def test_fit_finds_what_the_rows_were_made_of():
    *_, work, seconds = grid()
    noisy = seconds * np.exp(np.random.default_rng(1).normal(0.0, 0.02, len(seconds)))
    operator = OPERATORS["matmul"]
    lane = solve.fit(
        work, noisy, (RATE, BANDWIDTH), operator.knots, lambda sizes: operator.at("bf16", sizes), rising=(0,)
    )
    assert lane.compute == pytest.approx(TRUE.compute, rel=0.15)
    assert lane.memory == pytest.approx(TRUE.memory, rel=0.15)
    unseen = matmul_work(700.0, 5000.0, 3000.0, weight_bytes=2.0, activation_bytes=2.0)
    assert float(lane.time(unseen, RATE, BANDWIDTH)) == pytest.approx(
        float(TRUE.time(unseen, RATE, BANDWIDTH)), rel=0.1
    )


def test_fit_is_not_drawn_by_a_tenth_of_wild_rows():
    *_, work, seconds = grid()
    wild = seconds.copy()
    wild[::10] *= 3.0
    operator = OPERATORS["matmul"]
    lane = solve.fit(
        work, wild, (RATE, BANDWIDTH), operator.knots, lambda sizes: operator.at("bf16", sizes), rising=(0,)
    )
    errors = solve.factor_errors(lane.time(work, RATE, BANDWIDTH), seconds)
    assert np.median(errors) < 0.03


def test_time_does_not_fall_at_knots_along_rising_axes():
    """Rows that get faster with size are flattened out, not followed."""
    m, *_, work, seconds = grid()
    falling = seconds * np.exp(-0.5 * np.log2(m) / 14.0 * (m < 300))
    operator = OPERATORS["matmul"]
    lane = solve.fit(
        work, falling, (RATE, BANDWIDTH), operator.knots, lambda sizes: operator.at("bf16", sizes), rising=(0,)
    )
    rows = 2.0 ** np.array(operator.knots[0])
    form = FORMATS["bf16"]
    ladder = matmul_work(rows, 4096.0, 4096.0, weight_bytes=form.weight_bytes, activation_bytes=form.activation_bytes)
    assert (np.diff(lane.time(ladder, RATE, BANDWIDTH)) >= -1e-8).all()


def test_products_beyond_the_fitted_ones_reach_no_more_than_the_best_row():
    """Efficiency still rises with size at the edge of the rows; a fit without limit would go on to the datasheet."""
    sizes = 2.0 ** np.arange(6.0, 12.5, 0.5)
    m, n, k = (axis.ravel() for axis in np.meshgrid(sizes, sizes[7:], sizes[7:], indexing="ij"))
    rows = matmul_work(m, n, k, weight_bytes=2.0, activation_bytes=2.0)
    seconds = Lane(2e-6, 0.95, 0.9).base(rows, RATE, BANDWIDTH) * (8192.0 / m) ** 0.4

    def at(sizes):
        return matmul_work(*sizes, weight_bytes=2.0, activation_bytes=2.0)

    how = OPERATORS["matmul"]
    lane = solve.fit(rows, seconds, (RATE, BANDWIDTH), how.knots, at, rising=how.rising)
    best, _ = solve.best_seen(rows, seconds, (RATE, BANDWIDTH))
    assert 0.5 < best < 0.8
    knot = matmul_work(65536.0, 4096.0, 4096.0, weight_bytes=2.0, activation_bytes=2.0)
    reached = float(knot.flops / RATE / lane.time(knot, RATE, BANDWIDTH))
    assert reached <= best * 1.001


def test_few_rows_bound_by_arithmetic_say_nothing_about_the_best():
    work = matmul_work(np.full(10, 8192.0), 8192.0, 8192.0, weight_bytes=2.0, activation_bytes=2.0)
    assert solve.best_seen(work, np.full(10, 1.0), (RATE, BANDWIDTH), reads=True) == (1.0, 1.0)
