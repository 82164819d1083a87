"""Reading a file: every problem at once, with file, key, what was given and what is accepted."""

from pathlib import Path

import pytest

from suanli.catalog.files import CatalogError, near_matches, read_documents, read_yaml, validate
from suanli.catalog.schema import Chip, Grid, SourceFile

GRID = """
schema_version: 1
id: here
name: Here
region: us
electricity: {value: 0.09, unit: USD/kWh, kind: vendor, source: s}
pue: {value: 1.2, unit: count, kind: vendor, source: s}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        read_yaml(written(folder, text), Grid)
    assert str(caught.value).splitlines() == list(caught.value.problems)
    return list(caught.value.problems)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    grid = read_yaml(written(tmp_path, GRID), Grid)
    assert grid.electricity.si == pytest.approx(0.09 / 3.6e6)


def test_every_problem_has_one_line_with_file_and_key(tmp_path: Path) -> None:
    text = (
        GRID.replace("region: us", "regoin: us").replace("unit: count", "unit: W").replace("value: 0.09", "value: much")
    )
    problems = problems_of(tmp_path, text)
    assert len(problems) == 4
    assert all(problem.startswith(str(tmp_path / "file.yaml")) for problem in problems)
    assert any(": region: missing" in problem for problem in problems)
    assert any("regoin: unknown key; did you mean 'region'? accepted: " in problem for problem in problems)
    assert any("electricity.value: 'much' given; accepted number" in problem for problem in problems)
    assert any("pue: unit 'W' has the wrong dimension" in problem for problem in problems)


def test_a_missing_number_says_which_keys_it_needs(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, GRID.replace("pue:", "carbon:"))
    assert any("pue: missing; a mapping is required with the keys kind, source, unit, value" in one for one in problems)


def test_dates_stay_text(tmp_path: Path) -> None:
    text = "schema_version: 1\nsources: [{id: a, title: t, publisher: p, date: 2026-11-23, locator: l, read_as: press}]"
    assert read_yaml(written(tmp_path, text), SourceFile).sources[0].date == "2026-11-23"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GRID + "region: eu\n", "key 'region' is given twice (line 8, column 1)"),
        ("a: [1, 2\n", "not valid YAML"),
        ("- 1\n- 2\n", "a mapping of Grid keys is accepted"),
        (GRID + "---\n" + GRID, "2 YAML documents given, exactly one is accepted"),
        ("", "0 YAML documents given"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
def test_files_that_are_no_record_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    assert any(reason in problem for problem in problems_of(tmp_path, text))


def test_a_missing_file_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="cannot be read"):
        read_documents(tmp_path / "nowhere.yaml")


def test_bytes_that_are_no_text_are_a_problem_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CatalogError, match="cannot be read"):
        read_documents(path)


def test_key_path_goes_through_lists_and_mappings() -> None:
    peak = {"dtype": "bf16", "rate": {"value": 1, "unit": "GB", "kind": "vendor", "source": "s"}}
    given = {"peaks": [peak, {"dtype": "bf17"}], "facts": {"size": {"value": 1}}}
    with pytest.raises(CatalogError) as caught:
        validate(given, Chip, "chip.yaml")
    problems = caught.value.problems
    assert any(problem.startswith("chip.yaml: peaks[0].rate: unit 'GB'") for problem in problems)
    assert any(problem.startswith("chip.yaml: peaks[1].dtype: 'bf17' given; accepted 'fp64'") for problem in problems)
    assert any(problem.startswith("chip.yaml: facts.size.unit: missing") for problem in problems)


def test_near_matches_come_best_first() -> None:
    assert near_matches("hgx-h10", ["hgx-h100-8", "tpu-v4", "hgx-a100-8"], 2)[0] == "hgx-h100-8"
    assert near_matches("zzz", ["hgx-h100-8"]) == []
