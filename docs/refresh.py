"""Run the blocks of README, tutorial and how-to pages, and put what they print into the pages.

    python docs/refresh.py                 renew every page
    python docs/refresh.py README.md       renew one page
    python docs/refresh.py --picture       also take the picture of the report (needs chromium)

A page is run in an empty folder beside a copy of `examples`. A block ```yaml title="NAME" writes a file, ```console
runs the lines that start with `$ suanli` (`| head -N` keeps the first lines) and holds their output, ```python is
executed, and a ```text block after it holds what it prints.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from suanli.cli import main as suanli
from suanli.report.plan_schema import main as write_schema

ROOT = Path(__file__).parents[1]
FOREIGN = {"add-a-chip.md"}  # run by its own test
COLOURS = 240  # of the picture: enough for text and lines, a third of the size
KIND = r"(?P<kind>yaml title=\"(?P<file>[^\"]+)\"|console|python|text)"
BLOCK = re.compile(rf"^```{KIND}\n(?P<body>.*?)^```$", re.M | re.S)


def pages() -> list[Path]:
    """Pages with blocks to run."""
    found = [ROOT / "README.md", ROOT / "docs" / "index.md"]
    for folder in ("tutorial", "how-to"):
        found += sorted(path for path in (ROOT / "docs" / folder).glob("*.md") if path.name not in FOREIGN)
    return found


def renewed(page: str) -> str:
    """The page with fresh output. Raises RuntimeError when a command fails."""
    with _workplace() as names:
        return BLOCK.sub(lambda block: _block(block, names), page)


@contextlib.contextmanager
def _workplace() -> Iterator[dict[str, object]]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "examples", Path(folder) / "examples")
        os.chdir(folder)
        try:
            yield {"printed": None}
        finally:
            os.chdir(before)


def _block(block: re.Match[str], names: dict[str, object]) -> str:
    kind, body = block["kind"], block["body"]
    if block["file"]:
        Path(block["file"]).write_text(body, encoding="utf-8")
    elif kind == "console":
        body = "".join(f"$ {command}\n{_output(command)}" for command in re.findall(r"^\$ (.+)$", body, re.M))
    elif kind == "python":
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(body, "block", "exec"), names)  # noqa: S102 (our own page)
        names["printed"] = printed.getvalue()
    elif names["printed"] is not None:
        body, names["printed"] = str(names["printed"]), None
    return f"```{kind}\n{body}```"


def _output(command: str) -> str:
    words = shlex.split(command)
    lines = None
    if "|" in words:
        cut = words.index("|")
        if words[cut + 1] != "head":
            raise RuntimeError(f"{command}: only `| head -N` is understood")
        words, lines = words[:cut], int(words[cut + 2].removeprefix("-"))
    if words[0] != "suanli":
        raise RuntimeError(f"{command}: only suanli is run")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.suppress(SystemExit):
        suanli(words[1:])
    if "error:" in err.getvalue():
        raise RuntimeError(f"{command}: {err.getvalue()}")
    shown = [line.rstrip() for line in (out.getvalue() + err.getvalue()).splitlines()]
    return "".join(f"{line}\n" for line in shown[:lines])


PICTURES = {
    "report.png": (["plan", "--out", "."], "report.html"),
    "served.png": (["simulate", "--report", "served.html"], "served.html"),
}


def picture(name: str) -> None:
    """Picture of the head of a page that a command writes about the README's study."""
    (command_name, *options), page = PICTURES[name]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
            suanli([command_name, str(ROOT / "examples" / "qwen3-235b-azure.yaml"), *options])
        quiet = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars"
        target = ROOT / "docs" / "images" / name
        command = ["chromium", *quiet.split(), f"--user-data-dir={folder}/profile", "--window-size=1280,1240"]
        command += [f"--screenshot={target}", f"file://{folder}/{page}"]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 (our own page)
    with Image.open(target) as shot:
        shot.convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS).save(target, optimize=True)


def main(arguments: list[str]) -> None:
    """Renew pages, the reference of plan.json, and on request the picture."""
    chosen = [Path(name) for name in arguments if not name.startswith("--")]
    for page in chosen or pages():
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
    write_schema(ROOT / "docs" / "reference")
    if "--picture" in arguments:
        for name in PICTURES:
            picture(name)


if __name__ == "__main__":
    main(sys.argv[1:])
