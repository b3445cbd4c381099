"""What the documentation points to is there, and what is generated from the code is as the code is."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from kdm_cli.settings import SETTINGS
from kdm_core import DEFAULT_MAX_REPLICAS
from kdm_http.api.errors import STATUS
from kdm_http.api.openapi import describe
from kdm_http.api.routes import ROUTES
from unit.docs.examples import DOCS, REPOSITORY, examples, files

PAGES = sorted(DOCS.rglob("*.md"))
OUTSIDE = [REPOSITORY / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "certs/README.md")]

all_pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))


def operations() -> Iterator[tuple[str, str, Any]]:
    """Return the API's operations, as kdm describes them: method, path, the rest."""
    for path, item in describe(ROUTES, DEFAULT_MAX_REPLICAS)["paths"].items():
        yield from ((method, path, item[method]) for method in ("get", "post", "put") if method in item)


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def texts(page: Path) -> str:
    """Return a page without its code, inline or not."""
    return re.sub(r"`[^`\n]+`", "", prose(page))


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub and MkDocs both make them of its headings."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        given = re.search(r"\{ #([\w.-]+) \}$", heading)
        plain = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
        found.add(given[1] if given else re.sub(r"\s+", "-", plain))
    return found


def links(page: Path) -> list[tuple[str, str]]:
    """Return a page's links and images to files: path and anchor."""
    return [
        (path, anchor)
        for path, anchor in re.findall(r"\]\(([^()\s:#]*)(?:#([\w.-]+))?\)", texts(page))
        if path or anchor
    ]


@pytest.mark.parametrize("page", [*PAGES, *OUTSIDE], ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{path}#{anchor}"


@all_pages
def test_every_file_that_is_named_is_there(page: Path) -> None:
    named = re.findall(r"`((?:src|tests|docs|certs|benchmarks|deploy|requirements)/[\w./-]*)`", prose(page))
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


@all_pages
def test_every_heading_of_a_page_is_unlike_the_others(page: Path) -> None:
    """Otherwise a link would lead to the first of them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    assert len(headings) == len(set(headings))


def names_of_tests(tree: ast.Module) -> Iterator[str]:
    """Return the names of a module's tests, and of the classes they are in."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield node.name
            yield from (
                f"{node.name}::{each.name}"
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            )


def test_the_tests_of_the_test_plan_exist() -> None:
    """They are looked up in the sources: a test that was renamed would otherwise be promised for ever."""
    named = re.findall(r"`([\w./]+\.py)::([\w:]+)`", (DOCS / "inside" / "test-plan.md").read_text())
    assert len(named) > 80
    sources = {path: set(names_of_tests(ast.parse((REPOSITORY / path).read_text()))) for path, _ in named}
    assert [f"{path}::{name}" for path, name in named if name not in sources[path]] == []


def test_each_question_of_learn_the_code_is_answered_by_a_path_that_exists() -> None:
    """And by one that names alone suggest: a room, or one module of it."""
    page = (DOCS / "inside" / "reading-order.md").read_text()
    answers = re.findall(r"^\| (where .*\?) \| `([\w./]+)`", page, re.MULTILINE)
    assert len(answers) == 10
    assert [answer for answer in answers if not (REPOSITORY / answer[1]).exists()] == []


def test_each_diagram_is_a_drawing_that_some_page_shows() -> None:
    pages = "\n".join(page.read_text() for page in [*PAGES, REPOSITORY / "README.md"])
    shown = {*re.findall(r"diagrams/[\w-]+\.svg", pages)}
    drawings = sorted((DOCS / "diagrams").glob("*.svg"))
    assert {f"diagrams/{each.name}" for each in drawings} == shown
    for each in drawings:
        assert ET.parse(each).getroot().get("aria-label"), each  # noqa: S314 - our own
    assert "```mermaid" not in pages  # GitHub would draw it, the site would not


def test_what_is_generated_is_as_the_code_is() -> None:
    """``python -m docs.generate`` renews it."""
    ran = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_setting_is_told() -> None:
    page = (DOCS / "reference" / "settings.md").read_text()
    assert [each.variable for each in SETTINGS if f"| `{each.variable}` |" not in page] == []


@pytest.mark.parametrize("dialect", ["rfd001", "rfd156"])
def test_every_operation_is_told_with_examples_for_every_client(dialect: str) -> None:
    page = DOCS / "api" / f"{dialect}.md"
    told = examples(page)
    for method, path, operation in operations():
        if dialect not in operation["tags"]:
            continue
        assert f"<!-- generated: operation {operation['operationId']} -->" in page.read_text()
        route, verb = path.replace("{name}", "nginx-deployment"), method.upper()
        in_curl = [re.search(rf"(-X {verb} .*)?https://localhost:8443{route}\b", each.code) for each in told["curl"]]
        assert [found for found in in_curl if found and bool(found[1]) == (method != "get")]
        assert [each for each in told["httpx"] if f'kdm.{method}("{route.removeprefix("/api/v1")}"' in each.code]
        assert [each for each in told["http.client"] if f'ask("{verb}", "{route}' in each.code]
    assert {*told} >= {"curl", "httpx", "http.client", "library"}
    for use_case in ("service.list(", "service.get(", "service.set_replicas(", "service.health("):
        assert any(use_case in each.code for each in told["library"])


def test_every_status_has_an_example() -> None:
    """401 takes a certificate that kdm alone refuses, and there is none among the development ones."""
    page = DOCS / "api" / "errors.md"
    shown = "\n".join(each.shown for each in examples(page)["curl"])
    described = {status for *_, operation in operations() for status in operation["responses"]} - {"200", "304"}
    told = {*described, *map(str, STATUS.values()), "405"} - {"401"}
    assert {status for status in told if not re.search(rf"^(?:HTTP/1.1 )?{status}\b", shown, re.MULTILINE)} == set()
    assert "certificate required" in shown
    assert all(f"{{ #s{status} }}" in page.read_text() for status in described)
    assert "HTTP/1.1 304 Not Modified" in (DOCS / "api" / "index.md").read_text()


@all_pages
def test_the_files_that_are_shown_import_what_there_is(page: Path) -> None:
    """Those of the repository's own packages; the others are run."""
    for name, content in files(page).items():
        for node in ast.walk(ast.parse(content, name)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kdm_"):
                module = importlib.import_module(node.module or "")
                assert [each.name for each in node.names if not hasattr(module, each.name)] == []


def test_the_navigation_has_every_page() -> None:
    """But for the decisions, which it takes from their directory."""

    class Loader(yaml.SafeLoader):
        """Knows mkdocs.yml's own tags by their text."""

    def pages(section: Any) -> Iterator[str]:
        if isinstance(section, str):
            yield section
        else:
            for each in section.values() if isinstance(section, dict) else section:
                yield from pages(each)

    nav = yaml.load((REPOSITORY / "mkdocs.yml").read_text(), Loader)["nav"]  # noqa: S506 - a subclass of SafeLoader
    assert len([*pages(nav)]) == len({*pages(nav)})
    of_the_repository = {each for each in pages(nav) if each.startswith("project/")}
    here = {str(page.relative_to(DOCS)) for page in PAGES if page.parent.name != "adr" or page.name == "README.md"}
    assert {*pages(nav)} - of_the_repository == here


def test_the_index_of_decisions_has_each() -> None:
    index = (DOCS / "adr" / "README.md").read_text()
    assert [page.name for page in sorted((DOCS / "adr").glob("0*.md")) if f"]({page.name})" not in index] == []


def test_pages_fetch_nothing_from_elsewhere() -> None:
    """No image, style or script of another server: the site is read where there is no network."""
    for page in PAGES:
        assert not re.search(r"!\[[^\]]*\]\(https?:|<(?:img|script|link|iframe)\b", prose(page)), page
