"""A cash flow as an .xlsx workbook whose sums, net and present value are live formulas.

An .xlsx file is a zip of a few XML parts; writing the parts for numbers, texts and formulas takes less than a
dependency would. Every cell carries its computed value as well, so that readers that do not calculate show it too.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from pathlib import Path

    from suanli.economics.cashflow import CashFlow

CONTENT_TYPES = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/xl/workbook.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
    '<Override PartName="/xl/worksheets/sheet1.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>'
)
RELATIONS = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}" '
    'Target="{target}"/></Relationships>'
)
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
WORKBOOK = (
    f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?><workbook xmlns="{MAIN}" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    '<sheets><sheet name="cash flow" sheetId="1" r:id="rId1"/></sheets></workbook>'
)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip entry: the same flow gives the same bytes


def workbook(flow: CashFlow, rate_per_year: float) -> bytes:
    """Return the cash flow as .xlsx bytes, with the net present value at `rate_per_year`."""
    names = list(flow.lines)
    head = ["year", *(f"{name} [{flow.currency}]" for name in names), f"net [{flow.currency}]"]
    rows = ["".join(_text(column, 1, words) for column, words in enumerate(head))]
    last_line, net = _letter(len(names)), _letter(len(names) + 1)
    for row, (time, total) in enumerate(zip(flow.times, flow.net, strict=True), start=2):
        cells = [_number(0, row, float(time))]
        cells += [_number(column, row, float(flow.lines[name][row - 2])) for column, name in enumerate(names, start=1)]
        cells.append(_formula(len(names) + 1, row, f"SUM(B{row}:{last_line}{row})", float(total)))
        rows.append("".join(cells))
    end = len(flow.times) + 1
    sums = [*(float(flows.sum()) for flows in flow.lines.values()), float(flow.net.sum())]
    foot = [
        _formula(column, end + 1, f"SUM({_letter(column)}2:{_letter(column)}{end})", total)
        for column, total in enumerate(sums, start=1)
    ]
    rows.append(_text(0, end + 1, "sum") + "".join(foot))
    rows.append(_text(0, end + 2, "discount rate per year") + _number(1, end + 2, rate_per_year))
    present = f"SUMPRODUCT({net}2:{net}{end},(1+B{end + 2})^(-A2:A{end}))"
    rows.append(_text(0, end + 3, "net present value") + _formula(1, end + 3, present, flow.npv(rate_per_year)))
    body = "".join(f'<row r="{number}">{cells}</row>' for number, cells in enumerate(rows, start=1))
    sheet = (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?><worksheet xmlns="{MAIN}">'
        f"<sheetData>{body}</sheetData></worksheet>"
    )
    return _zip(sheet)


def write_workbook(flow: CashFlow, rate_per_year: float, path: Path) -> None:
    """Write the cash flow to an .xlsx file."""
    path.write_bytes(workbook(flow, rate_per_year))


def _zip(sheet: str) -> bytes:
    parts = {
        "[Content_Types].xml": CONTENT_TYPES,
        "_rels/.rels": RELATIONS.format(kind="officeDocument", target="xl/workbook.xml"),
        "xl/workbook.xml": WORKBOOK,
        "xl/_rels/workbook.xml.rels": RELATIONS.format(kind="worksheet", target="worksheets/sheet1.xml"),
        "xl/worksheets/sheet1.xml": sheet,
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text, compress_type=zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _letter(column: int) -> str:
    """Column letters, 0 = A."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _text(column: int, row: int, words: str) -> str:
    return f'<c r="{_letter(column)}{row}" t="inlineStr"><is><t>{escape(words)}</t></is></c>'


def _number(column: int, row: int, value: float) -> str:
    return f'<c r="{_letter(column)}{row}"><v>{value!r}</v></c>'


def _formula(column: int, row: int, formula: str, value: float) -> str:
    return f'<c r="{_letter(column)}{row}"><f>{escape(formula)}</f><v>{value!r}</v></c>'
