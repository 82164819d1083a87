"""Rules about the tree itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "suanli"
FILES = sorted(SOURCE.rglob("*.py"))


def test_files_are_short():
    long = {str(path.relative_to(ROOT)): count for path in FILES if (count := len(path.read_text().splitlines())) > 400}
    assert not long


def test_no_catch_all_modules():
    assert not [path for path in FILES if path.stem in {"utils", "helpers", "common", "misc"}]


def test_no_own_import_inside_functions():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("suanli")
    ]
    assert not found


def test_units_are_converted_in_one_place():
    # 2**30 and friends outside quantity.py would be a second converter.
    pattern = re.compile(r"2\s*\*\*\s*(?:20|30|40)|1024\s*\*\*")
    found = [
        str(path.relative_to(ROOT)) for path in FILES if path.name != "quantity.py" and pattern.search(path.read_text())
    ]
    assert not found


def test_every_test_file_is_collected():
    odd = [
        path
        for path in (ROOT / "tests").rglob("*.py")
        if "def test_" in path.read_text() and not path.name.startswith("test_")
    ]
    assert not odd


def test_tree_names_no_registry_and_no_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    # Spelled in pieces, so that this file does not name them either.
    hosts = ["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs"]
    paths = re.compile(r"(?:^|[^A-Za-z0-9_./-])/(?:" + "|".join(["wo" + "rk", "ro" + "ot", "t" + "mp"]) + r")/")
    found = []
    for name in listed:
        path = ROOT / name
        if path.suffix in {".png", ".npz", ".parquet"} or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        if any(host in text for host in hosts) or paths.search(text):
            found.append(name)
    assert not found


def test_importing_the_package_is_light():
    heavy = ("numpy", "numba", "pint", "scipy", "pandas", "pyarrow")
    code = f"import sys, suanli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
