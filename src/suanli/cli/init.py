"""`suanli init`: a commented study file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suanli.cli.problems import fail, problems_reported

TEMPLATE = """\
# A study: which system, how many, in which parallelism, to serve this traffic within this SLO, and at what price.
#   suanli plan FILE --out out      ranks the answers and writes out/report.html
# Every number carries its unit. What is commented out is optional.
schema_version: 1

model: qwen3-235b-a22b              # `suanli catalog list --kind models`, or the path of a config.json
weights: fp8                        # format of the weights; without it that of the published checkpoint
# kv_cache: fp8                     # bf16 or fp8; without it what the engine does
# activations: bf16

workload:                           # one of the three
  profile: azure-conversation-2023  # 1. a catalogued traffic profile at a rate
  rate: 40 request/s
  # input_tokens: 8192              # 2. fixed lengths, at a rate or with a number of users in a closed loop
  # output_tokens: 1024
  # concurrency: 64
  # trace: {path: requests.jsonl, format: mooncake}   # 3. a recorded trace
  # prefix_hit_rate: 0.3            # share of the input tokens that a prefix cache serves
  # arrivals: {process: gamma, cv: 2}                     # or poisson, diurnal, bursts
  # sessions: {turns: 4, new_tokens: 100, think: 10 s}    # conversations, with 2.
  # priorities: [0.1, 0.9]          # share of the requests of class 0, 1 ...

# serving:                          # of the replays, see docs/how-to/simulate.md
#   router: least_outstanding       # round_robin, least_kv, prefix_aware, session
#   max_queue: 200
#   outages: [{replica: 0, start: 60 s, end: 120 s}]

slo:                                # p50, p90, p95 or p99 of each; what is not given is not limited
  ttft_p99: 2 s                     # time to the first token
  tpot_p99: 50 ms                   # time per later token

systems: all                        # or a list of ids and patterns: [nvidia-*, amd-mi355x-platform]
# include_roadmap: true             # also what is announced or planned

# limits:
#   power: 1 MW                     # IT power: chips with their share of host, switches and network
#   site_power: 1.2 MW              # from the grid: IT power times PUE
#   rack_power: 130 kW
#   chip_power: 1 kW
#   chips: 2048
#   capex: 50 MUSD
#   region: us                      # only what is sold there

economics: hyperscaler-owned-2026   # a named way of paying; or {profile: ID, energy.electricity: 0.07 USD/kWh}
# edition: 2026-06                  # facts of that date, nothing newer
# grid: us-texas                    # tariff, PUE and carbon of a region; `suanli catalog list --kind grids`
# revenue: 0.5 USD/Mtoken           # price of a token, or 'api'
objective: usd_per_mtok             # or tokens_per_joule, chips, ttft
# overlays: [my-chip.yaml]          # your own facts, same format as the catalog
"""

init_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@init_app.command()
def init_command(
    file: Annotated[Path, typer.Argument(help="study file to write")] = Path("study.yaml"),
) -> None:
    """Write a commented study file; an existing file is left alone."""
    with problems_reported():
        try:
            with file.open("x", encoding="utf-8") as handle:
                handle.write(TEMPLATE)
        except FileExistsError:
            fail(f"{file}: exists already; give another name")
    typer.echo(f"wrote {file}; next: suanli plan {file}", err=True)
