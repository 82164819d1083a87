"""Rows of kernel tables: what is predicted, what is refused and why."""

import pytest

from suanli.catalog.loader import load
from suanli.chip.scoring import case_of, predict_kernel
from suanli.scoring import RefusedError
from suanli.validation.measured import MeasuredError
from suanli.validation.operators import chip_id, read_operator_rows, score_operators

GEMM = {
    "id": "x1",
    "source": "somebody",
    "chip": "H100",
    "kernel": "gemm",
    "precision": "bf16",
    "m": "4096",
    "n": "8192",
    "k": "8192",
    "metric": "tflops",
    "value": "788",
    "unit": "TFLOP/s",
}


def row(**changes):
    return {**GEMM, **changes}


def test_a_product_is_predicted_from_the_lanes_of_its_chip():
    found = score_operators([row()], "kernel")
    (pair,) = found.pairs
    assert pair.predicted == pytest.approx(788, rel=0.08)
    assert pair.low < pair.predicted < pair.high


def test_bandwidth_and_arithmetic_of_one_call_agree():
    shape = {"m": "64", "n": "24576", "k": "1536"}
    rows = [row(**shape), row(**shape, metric="mem_bw", unit="GB/s")]
    flops, size = (pair.predicted for pair in score_operators(rows, "kernel").pairs)
    work = case_of(rows[0]).work
    assert flops * 1e12 / (size * 1e9) == pytest.approx(float(work.flops) / float(work.bytes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"m": ""}, "no m in the row"),
        ({"m": "many"}, "m 'many' is not a number"),
        ({"kernel": "fft"}, "no model of kernel 'fft'"),
        ({"precision": "fp3"}, "precision 'fp3'; known"),
        ({"chip": "Unheard Of 9"}, "not in the catalog"),
    ],
)
def test_refusals_say_why(changes, reason):
    found = score_operators([row(**changes)], "kernel")
    assert reason in found.refused["x1"]
    assert found.coverage == 0


def test_a_chip_without_any_lane_is_refused_not_guessed():
    with pytest.raises(RefusedError, match="no kernel like this was measured"):
        predict_kernel(row(chip="Unheard Of 9"), [], None)


def test_names_of_tables_are_found_in_the_catalog():
    catalog = load()
    assert chip_id(catalog, "NVIDIA GB200 SXM") == "nvidia-gb200"
    assert chip_id(catalog, "AMD MI300X") == "amd-mi300x"
    assert chip_id(catalog, "Intel Gaudi 3") == "intel-gaudi-3"
    assert chip_id(catalog, "Abacus 1") is None


def test_a_file_that_cannot_be_scored_names_every_problem(tmp_path):
    path = tmp_path / "kernels.csv"
    path.write_text("id,chip,value\nx1,H100,fast\n")
    with pytest.raises(MeasuredError) as caught:
        read_operator_rows(path, "kernel")
    assert any("no column 'kernel'" in problem for problem in caught.value.problems)
    columns = list(GEMM)
    path.write_text(",".join(columns) + "\n" + ",".join(row(value="fast")[name] for name in columns) + "\n")
    with pytest.raises(MeasuredError, match="value 'fast' is not a positive number"):
        read_operator_rows(path, "kernel")
