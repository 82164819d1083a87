"""Which lane is taken, and what happens where none was measured."""

from dataclasses import replace

import numpy as np
import pytest

from suanli.catalog.loader import DATA, load
from suanli.chip.efficiency import calibration_folder, efficiency_of
from suanli.chip.kernels import kernels_of, lane_dtype
from suanli.chip.packs import load_pack, measured_name, packs_of
from suanli.mapping.calibration import calibration_of, engine_calibration, evidence_class
from suanli.search.records import load_profiles

FOLDER = calibration_folder(DATA)
PEAKS = {"bf16": 989.4e12, "fp8": 1978.9e12}


def kernels(engine="vllm", chip="nvidia-h100-sxm", family="hopper", pooled="pooled-gpu", **more):
    profiles = load_profiles().efficiencies
    packs, shared = packs_of(FOLDER, chip), packs_of(FOLDER, pooled)
    return kernels_of(PEAKS, 3.35e12, engine, packs, shared, profiles[family], **more)


def test_own_engine_then_other_engine_then_pool_then_family():
    assert kernels().chosen("matmul", "bf16").evidence == "measured_operators"
    assert kernels("trtllm").chosen("sparse", "bf16").evidence == "measured_other_engine"
    assert kernels(chip="amd-mi300x", family="cdna3").chosen("matmul", "bf16").evidence == "pooled"
    nothing = kernels(chip="google-tpu-v6e", family="systolic", pooled="pooled-systolic")
    assert nothing.chosen("matmul", "bf16").evidence == "family"


def test_a_missing_format_takes_the_nearest_one():
    vllm = kernels()
    assert vllm.chosen("matmul", "int8").lane.compute == vllm.chosen("matmul", "fp8").lane.compute
    assert vllm.matmul(64.0, 4096.0, 4096.0, "w4a16") < vllm.matmul(64.0, 4096.0, 4096.0, "bf16")


@pytest.mark.parametrize(
    ("weight", "activation", "lane"),
    [
        ("fp16", "fp16", "bf16"),
        ("fp8", "fp8", "fp8"),
        ("fp8", "bf16", "w8a16"),
        ("int4", "bf16", "w4a16"),
        ("int4", "fp8", "w4a8"),
        ("mxfp4", "bf16", "w4a16_mxfp4"),
        ("mxfp4", "fp8", "mxfp4"),
        ("nvfp4", "nvfp4", "nvfp4"),
    ],
)
def test_lane_of_a_pair_of_formats(weight, activation, lane):
    assert lane_dtype(weight, activation) == lane


def test_block_scales_have_their_own_lane():
    assert lane_dtype("fp8", "fp8", block_scales=True) == "fp8_block"


def test_an_engine_with_two_kernels_of_a_kind_runs_the_faster_one():
    """TensorRT-LLM on Blackwell: its own experts in 8 bit with block scales, and those measured under SGLang."""
    catalog, profiles = load(), load_profiles()
    chip = catalog.chip("nvidia-b200-sxm")
    family = efficiency_of(chip, dict(profiles.efficiencies))
    both = engine_calibration(chip, profiles.engines["trtllm"], family)
    alone = {engine: calibration_of(chip, engine, family) for engine in ("trtllm", "sglang")}

    def time(found, tokens):
        lanes = replace(found.kernels, peaks={"bf16": 2.25e15, "fp8": 4.5e15}, bandwidth=7.7e12)
        touched = min(8.0 * tokens, 256.0)
        return float(lanes.experts(8.0 * tokens, touched, hidden=7168.0, inner=2048.0, dtype="fp8_block"))

    for tokens in (4.0, 64.0, 8192.0):
        assert time(both, tokens) == min(time(one, tokens) for one in alone.values())
    first = [min(alone, key=lambda engine: time(alone[engine], tokens)) for tokens in (64.0, 8192.0)]
    assert first == ["sglang", "trtllm"]


def test_a_sibling_runs_on_the_lanes_of_the_same_die():
    assert measured_name(FOLDER, "nvidia-h800-sxm") == "nvidia-h100-sxm"
    assert packs_of(FOLDER, "nvidia-gh200-96gb")["vllm"].chip == "nvidia-h100-sxm"
    assert packs_of(FOLDER, "amd-mi300x") == {}


def test_pooled_lanes_are_brought_to_what_the_family_reaches():
    slow = kernels(chip="amd-mi300x", family="cdna3")
    size = (16384.0, 8192.0, 8192.0)
    reached = 2.0 * np.prod(size) / float(slow.matmul(*size)) / PEAKS["bf16"]
    assert reached == pytest.approx(slow.family.matmul.si, rel=0.15)


def test_a_pooled_launch_takes_fewer_seconds_at_a_faster_clock():
    slow, fast, unknown = (kernels(chip="x", clock=clock) for clock in (1.0e9, 2.0e9, None))
    small = (1.0, 256.0, 256.0)
    assert fast.chosen("matmul", "bf16").lane.launch == pytest.approx(slow.chosen("matmul", "bf16").lane.launch / 2)
    assert fast.matmul(*small) < 0.7 * slow.matmul(*small)
    assert fast.matmul(*small) <= unknown.matmul(*small) <= slow.matmul(*small)
    measured = kernels(clock=2.0e9), kernels(clock=None)
    assert measured[0].matmul(*small) == measured[1].matmul(*small)


def test_pooled_lanes_are_of_the_engine_in_families_that_were_measured():
    hopper = [kernels(engine, chip="x").chosen("prefill", "bf16_kv_bf16").lane for engine in ("vllm", "trtllm")]
    assert hopper[0].launch != hopper[1].launch
    other = [
        kernels(engine, chip="x", family="cdna3").chosen("prefill", "bf16_kv_bf16").lane
        for engine in ("vllm", "trtllm")
    ]
    assert other[0].launch == other[1].launch


def test_the_interval_of_a_chip_without_lanes_is_the_error_of_leaving_chips_out():
    for engine, family, pack in (("vllm", "hopper", "vllm"), ("vllm", "cdna3", "pooled"), ("sglang", "gpu", "pooled")):
        record = load_pack(FOLDER / "pooled-gpu" / f"{pack}.json").by_name()["matmul", "bf16"]
        chosen = kernels(engine, chip="x", family=family).chosen("matmul", "bf16")
        assert (chosen.evidence, chosen.spread) == ("pooled", record.spread)
        assert record.spread > 1.0 + record.median_error


def test_a_chip_of_a_measured_family_without_lanes_of_its_own_counts_as_pooled():
    catalog, profiles = load(), dict(load_profiles().efficiencies)
    found = {}
    for name in ("nvidia-h20", "nvidia-h100-sxm", "nvidia-h800-sxm", "amd-mi300x"):
        chip = catalog.chip(name)
        family = efficiency_of(chip, profiles)
        found[name] = evidence_class(family, calibration_of(chip, "vllm", family))
    assert found["nvidia-h20"] == "pooled"
    assert found["nvidia-h100-sxm"] == found["nvidia-h800-sxm"] == "measured_operators"
    assert found["amd-mi300x"] != "measured_operators"


def test_a_wider_array_wastes_more_on_odd_widths():
    narrow = kernels(chip="x", family="systolic", pooled="x", array=(128, 128))
    wide = kernels(chip="x", family="systolic", pooled="x", array=(256, 256))
    assert wide.matmul(8192.0, 640.0, 640.0) > 1.2 * narrow.matmul(8192.0, 640.0, 640.0)


def test_screening_leaves_the_surface_out():
    exact = kernels()
    rough = replace(exact, exact=False)
    assert rough.matmul(1.0, 256.0, 256.0) != exact.matmul(1.0, 256.0, 256.0)


def test_a_broken_pack_is_named(tmp_path):
    broken = tmp_path / "vllm.json"
    broken.write_text("{}")
    with pytest.raises(ValueError, match=r"vllm\.json: cannot be read as a calibration pack"):
        load_pack(broken)
