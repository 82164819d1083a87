"""`suanli validate --kind kernel|collective` from the command line."""

from __future__ import annotations

import json

import pytest

KERNELS = """id,source,chip,kernel,precision,m,n,k,groups,batch,heads,seq_len,head_dim,causal,metric,value,unit
a,one,NVIDIA H100 SXM,gemm_best_shape,bf16,8192,8192,8192,,,,,,,tflops,730,TFLOP/s
b,one,NVIDIA H100 SXM,gemm_best_shape,bf16,,8192,8192,,,,,,,tflops,730,TFLOP/s
c,two,No Such Chip,gemm_best_shape,bf16,8192,8192,8192,,,,,,,tflops,730,TFLOP/s
"""
COLLECTIVES = """id,source,system,chip,ranks,nodes,fabric,library,collective,payload_bytes,metric,value,unit,kind,notes
d,one,some node,NVIDIA H200 SXM,8,1,NVLink,NCCL,all_reduce,1073741824,busbw,460,GB/s,,
"""


def validate(run, folder, text, *options):
    (folder / "rows.csv").write_text(text)
    return run("validate", "--data", "rows.csv", *options)


def test_kernels_are_predicted_or_refused_with_a_reason(run, folder):
    result = validate(run, folder, KERNELS, "--kind", "kernel", "--by", "source", "--format", "json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    score = found["metric"]["gemm_best_shape"]
    assert (score["rows"], score["predicted"]) == (3, 1)
    assert score["median_error"] < 0.2
    assert {one["config_id"] for one in found["refused"]} == {"b", "c"}
    assert set(found["by"]) == {"one", "two"}
    row = found["rows"][0]
    assert row["low"] < row["predicted"] < row["high"]


def test_collectives_are_scored_by_size(run, folder):
    result = validate(run, folder, COLLECTIVES, "--kind", "collective", "--format", "json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["metric"]["all_reduce >= 1 MiB"]["median_error"] < 0.1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--kind", "collective"), "no column 'ranks'"),
        (("--kind", "kernel", "--by", "engine"), "accepted: chip, source"),
        (("--kind", "kernels"), "kernels"),
    ],
)
def test_what_does_not_fit_is_refused(run, folder, options, told):
    result = validate(run, folder, KERNELS, *options)
    assert result.code == 2
    assert told in result.err
    assert "Traceback" not in result.err
