"""The part of plan.json about replays."""

from __future__ import annotations

from suanli.report.schema_parts import Schema, count, listed, of, perhaps, record, ref, text
from suanli.search.replayed import COLUMNS

TIMES = {
    "ttft": "time to first token",
    "tpot": "mean time per later token of a request",
    "itl": "gap between two tokens of a request",
    "e2e": "whole request",
    "queue": "wait before the first step",
}


def replay_definitions() -> dict[str, Schema]:
    """Definitions of a replay and of what is in it."""
    return {
        "replay": record(
            "A deployment under the requests of the study, served one by one in the simulator.",
            {
                "keeps_slo": of("boolean", "every limit holds, and requests are served as fast as they come"),
                "missed": listed(text("reason"), "limits that it misses, and whether it falls behind"),
                "planned_instances": listed(count("instances"), "of each pool by the closed form"),
                "max_request_s": perhaps("highest rate of these requests within the SLO; null in a closed loop"),
                "utilisation": perhaps("offered rate over that rate"),
                "seconds": perhaps("simulated time until the last request ended"),
                "requests": count("requests sent"),
                "done": count("requests that got all their tokens"),
                "preemptions": count("times that KV was given up and computed again"),
                "good_share": perhaps("share of the requests within every limit"),
                "goodput_request_per_s": perhaps("requests/s within every limit"),
                "request_per_s": perhaps("requests/s done"),
                "output_token_per_s": perhaps("output tokens/s"),
                "cached_share": perhaps("share of prompt tokens found in the prefix cache"),
                "power_w": perhaps("mean power of the chips at work"),
                "energy_per_output_token_j": perhaps("energy of those chips over output tokens"),
                "latencies_ms": ref("latencies"),
                "pools": listed(ref("replayed_pool"), "load of each pool"),
            },
        ),
        "latencies": record("Times as a client sees them.", {key: ref("spread") for key in TIMES}),
        "spread": record(
            f"Mean and percentiles in ms: {'; '.join(f'{key}: {words}' for key, words in TIMES.items())}.",
            {name: perhaps("ms; null where there is none") for name in COLUMNS},
        ),
        "replayed_pool": record(
            "Load of the ranks of one pool.",
            {
                "role": text("role", "aggregated", "prefill", "decode"),
                "kv_blocks": count("KV blocks of a rank"),
                "max_num_seqs": count("sequences that a rank runs at most"),
                "busy_share": perhaps("share of the time with a step running"),
                "batch_mean": perhaps("sequences in a step"),
                "kv_mean_share": perhaps("mean share of the KV blocks in use while steps run"),
                "kv_peak_share": perhaps("highest share of the KV blocks in use"),
            },
        ),
    }
