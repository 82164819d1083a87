"""A study: the question a user asks, read strictly from YAML.

Every problem of a file is reported at once, each in one line: file, key, what was given, what is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from suanli.catalog.files import CatalogError, read_documents
from suanli.catalog.schema import Dtype
from suanli.search.amounts import Duration, Money, Power, Rate, Strict
from suanli.search.study_serving import Arrivals, Autoscale, Outage, Serving, Sessions
from suanli.workload.requests import PRIORITIES

Objective = Literal["usd_per_mtok", "tokens_per_joule", "chips", "ttft"]
TraceFormat = Literal["azure", "mooncake", "burstgpt", "servegen", "agentic"]
SHARES_OFF = 1e-6  # that shares written in decimals may miss one by
PERCENTILES = ("p50", "p90", "p95", "p99")


class StudyError(CatalogError):
    """A study cannot be used; `problems` lists every reason, one line each."""


def _month(value: str) -> str:
    if not re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", value):
        raise ValueError(f"'{value}' given, accepted: a year and a month, such as 2025-08")
    return value


Edition = Annotated[str, AfterValidator(_month)]


MOST_TOKENS, MOST_USERS = 1e8, 1e8  # of a prompt or an answer; of a closed loop


class TraceFile(Strict):
    """A request trace on disk."""

    path: Path
    format: TraceFormat


class Workload(Strict):
    """What arrives. One of: `trace`; `profile` at a rate; fixed lengths at a rate or with a number of users."""

    trace: TraceFile | None = None
    profile: str | None = None
    rate: Rate | None = None  # request/s
    input_tokens: Annotated[float, Field(gt=0, le=MOST_TOKENS)] | None = None
    output_tokens: Annotated[float, Field(gt=0, le=MOST_TOKENS)] | None = None
    concurrency: Annotated[float, Field(gt=0, le=MOST_USERS)] | None = None  # users in a closed loop
    prefix_hit_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of input tokens
    arrivals: Arrivals = Arrivals()  # of a profile or of fixed lengths
    sessions: Sessions | None = None  # conversations; input_tokens is the prompt of the first turn
    priorities: tuple[Annotated[float, Field(ge=0)], ...] = ()  # share of the requests of each class, 0 first

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        lengths = self.input_tokens is not None and self.output_tokens is not None
        half = (self.input_tokens is None) != (self.output_tokens is None)
        kinds = [self.trace is not None, self.profile is not None, lengths]
        if half:
            raise ValueError("input_tokens and output_tokens go together")
        if sum(kinds) != 1:
            raise ValueError("give exactly one of: trace, profile, input_tokens with output_tokens")
        if self.trace is None and (self.rate is None) == (self.concurrency is None):
            raise ValueError("give rate (open loop) or concurrency (closed loop), one of them")
        if self.trace is not None and self.concurrency is not None:
            raise ValueError("a trace comes with its arrivals: no concurrency beside it")
        if len(self.priorities) > PRIORITIES:
            raise ValueError(f"priorities: at most {PRIORITIES} classes")
        if self.priorities and abs(sum(self.priorities) - 1.0) > SHARES_OFF:
            raise ValueError(f"priorities: shares of the classes that add up to 1, not {sum(self.priorities):g}")
        return self._drawn()

    def _drawn(self) -> Self:
        """Keys that say how requests are drawn need requests that are drawn."""
        fixed = self.input_tokens is not None
        if self.sessions is not None and (not fixed or self.rate is None or self.prefix_hit_rate > 0.0):
            raise ValueError("sessions need input_tokens, output_tokens and a rate, and share their own prefixes")
        if self.arrivals != Arrivals() and (self.trace is not None or self.rate is None):
            raise ValueError("arrivals need a rate, and a trace has its own")
        if self.sessions is not None and self.arrivals.process not in (None, "poisson"):
            raise ValueError("sessions begin as a Poisson process: no other arrivals beside them")
        return self


class Slo(Strict):
    """Latency limits [s]; what is not given is not limited."""

    ttft_p50: Duration | None = None
    ttft_p90: Duration | None = None
    ttft_p95: Duration | None = None
    ttft_p99: Duration | None = None
    tpot_p50: Duration | None = None
    tpot_p90: Duration | None = None
    tpot_p95: Duration | None = None
    tpot_p99: Duration | None = None

    def limits(self, metric: Literal["ttft", "tpot"]) -> dict[str, float]:
        """Limits of one metric by percentile [s]."""
        named = {p: getattr(self, f"{metric}_{p}") for p in PERCENTILES}
        return {p: limit for p, limit in named.items() if limit is not None}


class Limits(Strict):
    """Hard limits of a plan."""

    power: Power | None = None  # W, provisioned IT power: chips with their share of host, switches and network
    site_power: Power | None = None  # W from the grid: IT power times the PUE of the study
    rack_power: Power | None = None  # W of IT power in one rack
    chip_power: Power | None = None  # W of one chip
    chips: Annotated[int, Field(gt=0)] | None = None
    capex: Money | None = None  # USD
    region: str | None = None  # where it must be sold


class Study(Strict):
    """One planning question."""

    schema_version: Literal[1]
    model: str
    weights: Dtype | None = None
    activations: Dtype | None = None
    kv_cache: Literal["bf16", "fp8"] | None = None
    workload: Workload
    serving: Serving = Serving()
    slo: Slo = Slo()
    systems: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"
    include_roadmap: bool = False
    limits: Limits = Limits()
    economics: str | dict[str, str] = "hyperscaler-owned-2026"
    edition: Edition | None = None  # facts of a date: nothing newer is looked at
    grid: str | None = None  # region whose tariff, PUE and carbon replace those of `economics`
    scenarios: dict[str, dict[str, str]] = Field(default={})  # name -> inputs of the cost model
    revenue: str | dict[str, str] | None = None  # price of a token: '0.5 USD/Mtoken', by class, or 'api'
    objective: Objective = "usd_per_mtok"
    overlays: tuple[Path, ...] = ()

    @staticmethod
    def from_yaml(path: str | Path) -> Study:
        """Read a study file; relative paths in it are relative to the file. Raises StudyError."""
        file = Path(path)
        try:
            documents = read_documents(file)
        except CatalogError as error:
            raise StudyError(error.problems) from None
        if len(documents) != 1 or not isinstance(documents[0], Mapping):
            raise StudyError([f"{file}: a study is one mapping of keys; see `suanli init`"])
        study = Study.from_mapping(documents[0], str(file))
        return study.relative_to(file.parent)

    @staticmethod
    def from_mapping(content: Mapping[str, Any], where: str) -> Study:
        """Check a mapping; `where` names its origin in messages. Raises StudyError with all problems."""
        try:
            return Study.model_validate(dict(content))
        except ValidationError as error:
            raise StudyError([_sentence(where, item) for item in error.errors() if not _other_form(item)]) from None

    def relative_to(self, folder: Path) -> Study:
        """The same with file paths taken from `folder`."""
        overlays = tuple(folder / path for path in self.overlays)
        model = str(folder / self.model) if self.model.endswith(".json") else self.model
        economics = self._economics_in(folder)
        trace = self.workload.trace
        workload = self.workload
        if trace is not None:
            located = trace.model_copy(update={"path": folder / trace.path})
            workload = workload.model_copy(update={"trace": located})
        changed = {"overlays": overlays, "model": model, "workload": workload, "economics": economics}
        return self.model_copy(update=changed)

    def plain(self) -> dict[str, Any]:
        """The study as plain data in SI; what is not given of the simulator's settings is left out."""
        found = self.model_dump(mode="json", exclude_none=True)
        for section, keys in (("workload", ("arrivals", "priorities")), ("", ("serving",))):
            inside: dict[str, Any] = found[section] if section else found
            given = self.workload if section else self
            for key in keys:
                if getattr(given, key) == type(given).model_fields[key].default:
                    del inside[key]
        return found

    def _economics_in(self, folder: Path) -> str | dict[str, str]:
        """The way of paying with the path of a profile taken from `folder`."""
        given = self.economics
        name = given if isinstance(given, str) else given.get("profile", "")
        if Path(name).suffix not in {".yaml", ".yml"}:
            return given
        return str(folder / name) if isinstance(given, str) else {**given, "profile": str(folder / name)}


ACCEPTED = {
    "objective": ", ".join(get_args(Objective)),
    "weights": ", ".join(get_args(Dtype)),
    "activations": ", ".join(get_args(Dtype)),
}


INNER: dict[str, type[BaseModel]] = {
    "arrivals": Arrivals,
    "sessions": Sessions,
    "trace": TraceFile,
    "outages": Outage,
    "autoscale": Autoscale,
}


def _section(place: tuple[str | int, ...], outer: type[BaseModel]) -> type[BaseModel]:
    """Section that holds the last key of a place."""
    return next((INNER[part] for part in reversed(place[1:-1]) if isinstance(part, str) and part in INNER), outer)


MONEY = ("economics", "scenarios", "revenue")  # sections whose values are amounts with units


def _other_form(error: Any) -> bool:  # noqa: ANN401 (pydantic's ErrorDetails)
    """Whether an error only says that a section is not given in the other of its two forms, a text or a mapping."""
    form, given = error["loc"][-1], error.get("input")
    return (form == "str" and isinstance(given, Mapping)) or (
        form == "dict[str,str]" and not isinstance(given, Mapping)
    )


def _sentence(where: str, error: Any) -> str:  # noqa: ANN401 (pydantic's ErrorDetails)
    """One line from one pydantic error."""
    key = ".".join(str(part) for part in error["loc"] if part not in ("tuple[str, ...]", "literal['all']")) or "study"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        parent = error["loc"][0] if len(error["loc"]) > 1 else ""
        sections: dict[str, type[BaseModel]] = {"workload": Workload, "slo": Slo, "limits": Limits, "serving": Serving}
        fields = _section(error["loc"], sections.get(str(parent), Study)).model_fields
        return f"{where}: {key}: unknown key; accepted: {', '.join(fields)}"
    if error["type"] == "missing":
        return f"{where}: {key}: missing"
    given = error.get("input")
    if error["type"] == "string_type" and key.split(".")[0] in MONEY and isinstance(given, int | float):
        key = key.replace("dict[str,str].", "").removesuffix(".str")
        return f"{where}: {key}: {given:g} has no unit; accepted: an amount such as 5 year, 30 % or 0.07 USD/kWh"
    shown = f" (given {given!r})" if not isinstance(given, Mapping) and "'" not in message[:2] else ""
    return f"{where}: {key}: {message}{shown}"
