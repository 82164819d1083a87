"""The code of the theory page runs and prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "theory" / "economics.md"
PAIR = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def blocks():
    return PAIR.findall(PAGE.read_text(encoding="utf-8"))


def printed(code, names):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, names)  # noqa: S102 (our own page)
    return out.getvalue()


def test_every_block_prints_what_the_page_says():
    names = {}
    pairs = blocks()
    assert len(pairs) >= 8
    assert PAGE.read_text(encoding="utf-8").count("```python") == len(pairs)
    for code, said in pairs:
        assert printed(code, names) == said
