"""Profiles come back from their cache file as they were read, and a broken file is read anew."""

from pathlib import Path

import pytest

from suanli.search import records


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "suanli"


def test_the_file_holds_what_was_read(folder: Path) -> None:
    read = records._read()
    first = records.load_profiles.__wrapped__()
    kept = list(folder.glob("profiles-*.json"))
    assert len(kept) == 1
    second = records.load_profiles.__wrapped__()
    for found in (first, second):
        assert (found.engines, found.efficiencies, found.widths) == (read.engines, read.efficiencies, read.widths)
    kept[0].write_text("{}\n{broken")
    assert records.load_profiles.__wrapped__().engines == read.engines
    assert kept[0].read_text() != "{}\n{broken"
