"""Finding records: ids, aliases, near matches, patterns; the cache behind `load`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suanli.catalog import cache, loader
from suanli.catalog.files import CatalogError
from suanli.catalog.folder import DATA, data_files
from suanli.catalog.loader import Catalog, load

SYSTEMS = [
    "nvidia-hgx-h100-8",
    "nvidia-hgx-h200-8",
    "nvidia-dgx-b200",
    "nvidia-gb200-nvl72",
    "nvidia-gb300-nvl72",
    "amd-mi300x-platform",
    "amd-mi355x-platform",
    "google-tpu-v6e-pod",
    "google-ironwood-pod",
    "aws-trn2-ultraserver",
    "aws-trn3-gen2",
]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def test_names_are_found_in_any_case_and_by_alias(catalog: Catalog) -> None:
    system = catalog.system("GB200-NVL72")
    assert system.id == "nvidia-gb200-nvl72"
    assert catalog.chip_of(system).id == "nvidia-gb200"
    assert catalog.find("source", "us-mleng").publisher == "Stas Bekman"
    assert catalog.model("deepseek-ai/DeepSeek-R1").id == "deepseek-r1"


def test_a_model_has_its_config(catalog: Catalog) -> None:
    assert catalog.model_config("deepseek-r1")["num_hidden_layers"] == 61


@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_that_plans_rest_on_are_there(catalog: Catalog, name: str) -> None:
    system = catalog.system(name)
    chip = catalog.chip_of(system)
    assert chip.memory.capacity.si > 1e10
    assert chip.memory.bandwidth.si > 1e12
    assert any(peak.dtype == "bf16" and peak.rate.known for peak in chip.peaks)
    assert system.power.all_in_per_chip.si > chip.power.si * 0.9


def test_unknown_names_get_near_matches(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="unknown system 'nvidia-gb20-nvl72'; did you mean nvidia-gb200-nvl72"):
        catalog.system("nvidia-gb20-nvl72")
    with pytest.raises(CatalogError, match="unknown chip 'qqqqqqq'; accepted: one of"):
        catalog.chip("qqqqqqq")


def test_patterns_match_ids_and_vendors(catalog: Catalog) -> None:
    by_id = {system.id for system in catalog.match_systems(["nvidia-*"])}
    by_vendor = {system.id for system in catalog.match_systems(["NVIDIA"])}
    assert by_id == by_vendor == {system.id for system in catalog.systems.values() if system.vendor == "NVIDIA"}
    assert [system.id for system in catalog.match_systems(["trn3-gen2", "aws-trn3-gen2"])] == ["aws-trn3-gen2"]


def test_patterns_that_match_nothing_are_all_refused(catalog: Catalog) -> None:
    with pytest.raises(CatalogError) as caught:
        catalog.match_systems(["nvidia-*", "intell", "ammd-*"])
    assert len(caught.value.problems) == 2


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "suanli"


def test_second_load_reads_the_cache_and_gives_the_same(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load()
    assert len(list(own_cache.glob("catalog-*.json"))) == 1

    def refuse(_: Path) -> None:
        raise AssertionError("the files were read again")

    monkeypatch.setattr(loader, "read_folder", refuse)
    assert load() == first


def test_broken_cache_is_rebuilt(own_cache: Path) -> None:
    first = load()
    (file,) = own_cache.glob("catalog-*.json")
    for broken in (b"", b"{}", b"\xff\xff", file.read_bytes()[:-2000], b"{}\n{}x"):
        file.write_bytes(broken)
        assert load() == first
        assert len(file.read_bytes()) > 100_000


def test_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert len(load().systems) > 40


def test_cache_follows_the_files(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n")
    before = cache.fingerprint([path])
    assert cache.fingerprint([path]) == before
    path.write_text("a: 12\n")
    assert cache.fingerprint([path]) != before


def test_old_cache_files_are_removed(own_cache: Path) -> None:
    own_cache.mkdir()
    for number in range(6):
        (own_cache / f"catalog-{number}.json").write_text("old")
    load()
    assert len(list(own_cache.glob("catalog-*.json"))) == cache.KEPT


def test_warm_start_needs_neither_yaml_nor_pint(own_cache: Path) -> None:
    load()
    code = (
        "import sys, json; from suanli.catalog.loader import load; c = load();"
        "c.system('nvidia-gb200-nvl72').levels[0].bandwidth.si;"
        "print(json.dumps([len(c.systems), 'pint' in sys.modules, 'yaml' in sys.modules]))"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(own_cache.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    systems, pint, yaml = json.loads(done.stdout)
    assert systems > 40
    assert not pint
    assert not yaml


def test_every_file_is_read_once() -> None:
    files = data_files(DATA)
    assert len(files) == len(set(files))
    assert {path.suffix for path in files} == {".yaml"}
