"""A study from a file, from options, or from a file with some keys replaced by options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suanli.catalog.files import CatalogError, read_documents
from suanli.search.study import Study, StudyError

ORIGIN = "command line"
# Key of a study -> option that gives it
OPTIONS = {
    "model": "--model",
    "weights": "--weights",
    "workload.input_tokens": "--input",
    "workload.output_tokens": "--output",
    "workload.rate": "--rate",
    "workload.concurrency": "--concurrency",
    "workload.profile": "--profile",
    "slo.ttft_p99": "--ttft",
    "slo.tpot_p99": "--tpot",
    "systems": "--systems",
    "objective": "--objective",
    "limits.region": "--region",
    "limits.power": "--power",
    "limits.chips": "--chips",
    "economics": "--economics",
    "edition": "--edition",
    "include_roadmap": "--include-roadmap",
    "overlays": "--overlay",
}


# Key of a workload -> keys that cannot stand beside it
CONTRADICTED = {
    "profile": ("trace", "input_tokens", "output_tokens"),
    "input_tokens": ("trace", "profile"),
    "output_tokens": ("trace", "profile"),
    "rate": ("concurrency",),
    "concurrency": ("rate",),
}


@dataclass(frozen=True)
class Given:
    """Values of the options by study key; what was not given is absent."""

    values: Mapping[str, Any]

    def sections(self) -> dict[str, Any]:
        """The values as a study mapping."""
        found: dict[str, Any] = {}
        for key, value in self.values.items():
            section, _, name = key.rpartition(".")
            (found.setdefault(section, {}) if section else found)[name] = value
        return found

    def names(self, file: Path | None) -> dict[str, str]:
        """Starts of messages about keys of the study, and what the user knows them by: an option, or the file."""
        options = {key: OPTIONS[key] for key in (self.values if file else OPTIONS)}
        found = {f"{ORIGIN}: {key}:": f"{option}:" for key, option in options.items()}
        found |= {f"{key}:": f"{option}:" for key, option in options.items()}
        if file is None:
            return found | {f"{ORIGIN}: ": ""}
        found |= {f"{file}: {key}:": f"{option}:" for key, option in options.items()}
        for start in (f"{key}{end}" for key in Study.model_fields for end in (":", ".")):
            found.setdefault(start, f"{file}: {start}")
        return found


def systems_of(given: Iterable[str]) -> list[str] | str | None:
    """Systems from repeated options and comma lists; 'all' alone is everything."""
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    return "all" if names == ["all"] else names or None


def study_of(file: Path | None, given: Given) -> Study:
    """Read the study of a file with the given keys replaced, or of the options alone. Raises StudyError.

    An option replaces its key, and the keys of the workload that contradict it.
    """
    sections = given.sections()
    if str(sections.get("model", "")).endswith(".json"):
        sections["model"] = str(Path(sections["model"]).resolve())
    if file is None:
        return Study.from_mapping({"schema_version": 1, "workload": {}} | sections, ORIGIN)
    if not sections:
        return Study.from_yaml(file)
    content = _content(file)
    for key in ("workload", "slo", "limits", "serving"):
        inside = content.get(key)
        if key in sections and isinstance(inside, Mapping):
            gone = {other for name in sections[key] for other in CONTRADICTED.get(name, ())}
            sections[key] = {name: value for name, value in inside.items() if name not in gone} | sections[key]
    return Study.from_mapping({**content, **sections}, str(file)).relative_to(file.parent)


def _content(file: Path) -> Mapping[str, Any]:
    try:
        documents = read_documents(file)
    except CatalogError as error:
        raise StudyError(error.problems) from None
    if len(documents) != 1 or not isinstance(documents[0], Mapping):
        raise StudyError([f"{file}: a study is one mapping of keys; see `suanli init`"])
    return documents[0]
