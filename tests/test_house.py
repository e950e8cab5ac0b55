"""What keeps the house readable: the sizes of modules, classes and functions, outside of tests and the stand-in's data; its version."""

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import config
from config import PROJECT

MODULE, CLASS, FUNCTION = 400, 250, 60
#: Lines of the module in the middle, at most.
MEDIAN = 130
#: Data of the local market, written down in a function.
DATA = ("local/market/payloads.py",)
ROOMS = ("config", "pipeline", "launch", "local", "ui", "tools", "benchmarks")


def modules() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    return [PROJECT / name for name in listed if ("/" not in name or name.split("/")[0] in ROOMS) and name not in DATA]


def too_long(path: Path) -> Iterator[str]:
    """`file: what (lines)` for all that is over its limit."""
    name, text = path.relative_to(PROJECT), path.read_text(encoding="utf-8")
    if text.count("\n") > MODULE:
        yield f"{name}: {text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > (CLASS if isinstance(node, ast.ClassDef) else FUNCTION):
                yield f"{name}: {node.name} ({lines} lines)"


def test_the_version_is_the_newest_one_of_the_changelog() -> None:
    newest = re.search(r"^## (\d+\.\d+\.\d+) \(", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == config.VERSION


def test_no_module_class_or_function_is_too_long() -> None:
    assert [found for path in modules() for found in too_long(path)] == []


def test_half_of_the_modules_fit_on_two_screens() -> None:
    lengths = [path.read_text(encoding="utf-8").count("\n") for path in modules() if path.name != "__init__.py"]
    assert statistics.median(lengths) < MEDIAN
