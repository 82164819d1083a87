"""Write the reference pages of the catalog: ``python -m suanli.catalog.docs docs/reference``.

`catalog.md` lists every system and chip with two pictures, `catalog-schema.md` the keys of every file, read from the
schema itself. A test compares the pages in the repository with what is written here.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from suanli import quantity, sources
from suanli.catalog import charts, schema, view, walk
from suanli.catalog.loader import Catalog, load
from suanli.catalog.schema import Chip, System

KINDS_SAID = {
    "vendor": "printed by the vendor; the source says whether the vendor's own document was read or one that quotes it",
    "measured": "measured or read from the device",
    "third_party": "printed by somebody else",
    "derived": "arithmetic on cited figures, shown in the note",
    "estimate": "somebody's estimate, with a range and a reason",
    "guess": "nobody has published anything; a wide range and a reason",
}
NOT_DESCRIBED = {"Record", "Contents", "Known", "KnownFile"}


def pages(catalog: Catalog) -> dict[str, str]:
    """File name and text of every generated page and picture."""
    return {
        "catalog.md": catalog_page(catalog),
        "catalog-schema.md": schema_page(),
        "catalog-roofline.svg": charts.roofline(catalog),
        "catalog-domains.svg": charts.domains(catalog),
    }


def catalog_page(catalog: Catalog) -> str:
    """Every system and every chip in tables, with what is not from a datasheet."""
    records: list[Chip | System] = [*catalog.chips.values(), *catalog.systems.values()]
    values = sum(walk.count(record) for record in records)
    lines = [
        "# Catalog: all systems and chips",
        "",
        "<!-- Written by `python -m suanli.catalog.docs docs/reference`; edit the data files, not this page. -->",
        "",
        f"{len(catalog.systems)} systems, {len(catalog.chips)} chips, {values:,} sourced values. FLOP/s are dense, "
        "bandwidth is one way and per chip, GB is 1e9 bytes. `suanli catalog show ID` prints every number with its "
        "kind, source and what other sources say; `suanli catalog cite ID` the documents behind it.",
        "",
        *(f"- **{kind.replace('_', ' ')}**: {said}" for kind, said in KINDS_SAID.items()),
        "",
        "The column *not from a datasheet* names the numbers a plan rests on that are estimates, guesses or unknown.",
        "",
        "## Systems",
        "",
        *_table(_by_vendor(view.rows(catalog, "system"), catalog.systems)),
        "",
        "![Scale-up domain against bandwidth](catalog-domains.svg)",
        "",
        "## Chips",
        "",
        *_table(_by_vendor(view.rows(catalog, "chip"), catalog.chips)),
        "",
        "![Memory bandwidth against FLOP/s](catalog-roofline.svg)",
        "",
        "## What a careless reader gets wrong",
        "",
        *(f"- `{record.id}`: {trap}" for record in records for trap in record.traps),
        "",
    ]
    return "\n".join(lines)


def _by_vendor(rows: Sequence[view.Row], records: Mapping[str, Chip] | Mapping[str, System]) -> list[view.Row]:
    """Rows in order of vendor, each with the numbers that no datasheet gives."""
    found = []
    for row in rows:
        record = records[str(next(iter(row.values())))]
        found.append(row | {"not from a datasheet": ", ".join(view.not_from_a_datasheet(record))})
    return sorted(found, key=lambda row: (str(row["vendor"]).lower(), str(next(iter(row.values())))))


def _table(rows: Sequence[view.Row]) -> Iterator[str]:
    columns = list(rows[0])
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(view.shown(row[column]).replace("|", "/") for column in columns) + " |"


def schema_page() -> str:
    """Every record with its keys, types and remarks, read from the source of the schema."""
    lines = [
        "# Catalog: keys of every file",
        "",
        "<!-- Written by `python -m suanli.catalog.docs docs/reference` from the schema; do not edit. -->",
        "",
        "A key without a default must be given; a key that is not listed is an error. Units are those of the closed "
        "table below: any product or quotient of them with a prefix (`TB/s`, `USD/chip/h`, `g/kWh`).",
        "",
        "```text",
        quantity.UNIT_TABLE.strip(),
        "```",
        "",
    ]
    for module in (quantity, sources, schema):
        lines += _module_lines(module)
    return "\n".join(lines)


def _module_lines(module: ModuleType) -> Iterator[str]:
    source = inspect.getsource(module)
    text = source.splitlines()
    for node in ast.parse(source).body:
        bases = {ast.unparse(base) for base in getattr(node, "bases", [])}
        if not isinstance(node, ast.ClassDef) or node.name in NOT_DESCRIBED or not bases & {"Record", "BaseModel"}:
            continue
        keys = [item for item in node.body if isinstance(item, ast.AnnAssign)]
        yield from (f"## {node.name}", "", ast.get_docstring(node) or "", "")
        yield from ("| key | type | default | remark |", "|---|---|---|---|")
        yield from (_key_line(item, text) for item in keys)
        yield ""


def _key_line(item: ast.AnnAssign, text: Sequence[str]) -> str:
    remark = text[(item.end_lineno or item.lineno) - 1].partition("  # ")[2]
    default = f"`{ast.unparse(item.value)}`" if item.value is not None else "must be given"
    if default.startswith("`Field("):
        bounded = "default" in default
        default = default if bounded else "must be given"
    cells = (f"`{ast.unparse(item.target)}`", f"`{ast.unparse(item.annotation)}`", default, remark)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def write(folder: Path) -> None:
    """Write all pages and pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages(load()).items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
