"""What the documents say is there: links, files, functions, options, settings; and their YAML can be read."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import config

PROJECT = config.PROJECT
DOCUMENTS = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
TEXTS = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def anchors(document: Path) -> set[str]:
    """Headings as they are linked to."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


@cache
def options_of(script: str) -> set[str]:
    done = subprocess.run([sys.executable, *script.split(), "--help"], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"--[a-z][a-z-]+", done.stdout))


@TEXTS
def test_every_link_has_a_target(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@TEXTS
def test_every_file_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"`((?:pipeline|local|ui|tests|docs|benchmarks|\.ci)/[\w./-]*|[\w.-]+\.(?:py|yml|toml))`", document.read_text()))
    # A file's own name alone is enough if its room is named nearby.
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split("\n")
    names = {name.rpartition("/")[2] for name in listed}
    missing = [name for name in named if not (PROJECT / name).exists() and name not in names]
    assert missing == []


def test_every_room_has_its_line_in_the_architecture() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text()
    rooms = {path.parent.name for path in (PROJECT / "pipeline").glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^  (\w+)/ ", text, re.MULTILINE))


def test_every_function_that_the_architecture_names_exists() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([\w./]+\.py)` \(((?:`\w+`(?:, )?)+)\)", text)
    assert named
    for path, names in named:
        source = (PROJECT / path).read_text()
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^\s*(?:def|class) {name}\b|^{name}\b", source, re.MULTILINE), f"{path}: {name}"


@TEXTS
def test_every_option_that_is_shown_belongs_to_its_script(document: Path) -> None:
    shown = re.findall(r"python (?:-m ([\w.]+)|(\w+\.py))([^\n`|>]*)", document.read_text())
    for module, script, rest in shown:
        options = set(re.findall(r"--[a-z][a-z-]+", rest.partition("#")[0]))
        if options and module not in ("pip", "pytest"):
            assert options <= options_of(script or f"-m {module}"), f"{script or module}: {options - options_of(script or f'-m {module}')}"


@TEXTS
def test_every_make_target_that_is_shown_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"(?:^|`)make ([a-z][a-z-]+)", document.read_text(), re.MULTILINE))
    assert shown <= targets


@TEXTS
def test_every_setting_that_is_shown_exists(document: Path) -> None:
    example = (PROJECT / ".env.example").read_text()
    shown = set(re.findall(r"\b((?:KAFKA|DB|SCRAPER|MARKET_CAP|PROCESSOR|REQUESTS|YAHOO|WORKERS)_[A-Z_]+)\b", document.read_text()))
    assert [name for name in sorted(shown) if f"#{name}=" not in example] == []


@TEXTS
def test_every_yaml_example_can_be_parsed(document: Path) -> None:
    for block in blocks(document, "yaml"):
        assert all(part["kind"] and part["apiVersion"] for part in YAML(typ="safe").load_all(block))


def test_kubernetes_scales_by_the_real_groups_and_topics() -> None:
    from pipeline.wire import topics

    (scaled,) = [
        part
        for block in blocks(PROJECT / "docs" / "operations.md", "yaml")
        for part in YAML(typ="safe").load_all(block)
        if part["kind"] == "ScaledObject"
    ]
    triggers = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    assert {trigger["consumerGroup"] for trigger in triggers} == {topics.PROCESSING.group}
    assert [trigger["topic"] for trigger in triggers] == [topics.PROCESSING.tasks, topics.PROCESSING.retries]


def test_the_image_contains_everything_that_its_scripts_import() -> None:
    """The Dockerfile copies what .dockerignore lets through; a consumer must find all its modules there."""
    let_through = re.findall(r"^!(\S+)$", (PROJECT / ".dockerignore").read_text(), re.MULTILINE)
    code = (
        "import sys; sys.path.insert(0, '.');"
        "import kafka_scraper_consumer, kafka_processing_consumer, kafka_scraper_producer, kafka_monitor, kafka_dead_letters, run_pipeline;"
        "print('\\n'.join(m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    ours = {Path(line).relative_to(PROJECT) for line in done.stdout.splitlines() if Path(line).is_relative_to(PROJECT)}
    ours = {path for path in ours if path.parts[0] != ".venv"}
    assert len(ours) > 10
    assert [path for path in ours if not any(Path(path.parts[0]).match(pattern) for pattern in let_through)] == []
