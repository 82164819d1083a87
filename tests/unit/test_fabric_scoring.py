"""Rows of collective tables: what is predicted, what is refused and why."""

import pytest

from suanli.validation.operators import score_operators

REDUCE = {
    "id": "c1",
    "source": "somebody",
    "kind": "measurement",
    "system": "8x H200 node",
    "chip": "H200",
    "ranks": "8",
    "nodes": "1",
    "fabric": "NVSwitch",
    "library": "nccl-tests",
    "collective": "all_reduce",
    "payload_bytes": str(1 << 30),
    "metric": "busbw",
    "value": "470",
    "unit": "GB/s",
    "notes": "",
}


def predicted(**changes):
    return score_operators([{**REDUCE, **changes}], "collective").pairs[0].predicted


def test_a_reduction_is_predicted_from_the_lanes_of_its_chip():
    assert predicted() == pytest.approx(470, rel=0.05)


def test_a_reduction_kept_to_rings_is_slower():
    assert predicted(notes="NCCL_NVLS_ENABLE=0 (ring)") < 0.85 * predicted()


def test_a_call_from_the_host_costs_more_when_small():
    small = {"payload_bytes": "65536", "metric": "latency", "unit": "us"}
    host = predicted(**small, source="stas00/ml-engineering network", library="NCCL 2.27")
    assert host - predicted(**small) == pytest.approx(19, abs=0.5)


def test_time_and_bandwidth_of_one_call_agree():
    seconds = predicted(metric="latency", unit="us") * 1e-6
    assert predicted() * 1e9 == pytest.approx(2 * 7 / 8 * (1 << 30) / seconds)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "spec"}, "a specification"),
        ({"payload_bytes": ""}, "payload_bytes '' is not a number"),
        ({"ranks": "see file"}, "ranks 'see file' is not a number"),
        ({"collective": "p2p"}, "no model of collective 'p2p'"),
        ({"metric": "hops", "unit": "count"}, "metric 'hops' in 'count' is not scored"),
        ({"chip": "Unheard Of 9", "system": "elsewhere"}, "no sweep of all_reduce"),
    ],
)
def test_refusals_say_why(changes, reason):
    found = score_operators([{**REDUCE, **changes}], "collective")
    assert reason in found.refused["c1"]
