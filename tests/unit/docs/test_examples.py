"""Every example of the documentation is run, and prints what its page says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

import pytest

from integration.kdm_process import wait_until
from unit.docs.examples import DOCS, REPOSITORY, examples, files

START_TIMEOUT_S: Final = 60.0
HERE: Final = Path(__file__).parent

TROUBLES: Final = {
    "while the cluster is away": "unreachable",
    "while the cluster does not answer": "timeout",
    "while the cluster is overloaded": "overloaded",
    "before the first sync": "not_synced",
    "when the Deployment is changed by others at the same time": "conflict",
    "when kdm's role lacks a permission": "forbidden",
    "when an admission webhook refuses": "invalid",
    "when kdm has a defect": "defect",
}
"""The titles of blocks that talk to a kdm in trouble, and which."""

TALKS: Final = re.compile(r"\b(8443|8081)\b").search
"""Whether an example talks to kdm: it names a port."""

CHANGING: Final = [
    (r"(?m)^date: .*$", "date: <now>"),
    (r"request id [0-9a-f-]+", "request id <id>"),
    (r"passed in [\d.]+s", "passed in <time>"),
    (r"(?m)^x-request-id: [0-9a-f-]+$", "x-request-id: <id>"),
    (r"OpenSSL/[\w.]+: error:", "OpenSSL/<version>: error:"),
    (r"(?m)^retry-after: \d+$", "retry-after: <seconds>"),
]
"""What differs from run to run, and what to read for it."""

SESSIONS: Final = [
    (page, client)
    for page in sorted(DOCS.rglob("*.md"))
    if page.name != "security.md"  # in a directory of its own: tests/unit/test_docs.py
    for client in examples(page)
]


@pytest.mark.parametrize(
    ("page", "client"), SESSIONS, ids=[f"{page.relative_to(DOCS)}-{client}" for page, client in SESSIONS]
)
def test_the_examples_print_what_the_page_says(page: Path, client: str, tmp_path: Path) -> None:
    """One client's examples of a page, in order, in what looks like a checkout; each title has a kdm of its own."""
    checkout = tmp_path / "kdm"
    checkout.mkdir()
    for name in ("certs", "docs"):
        (checkout / name).symlink_to(REPOSITORY / name)
    for name, content in files(page).items():
        (checkout / name).write_text(content)
    for server, group in groupby(examples(page)[client], key=lambda each: each.server):
        told = list(group)
        with serving(server, tmp_path) if any(TALKS(each.code) for each in told) else nobody() as ports:
            ran = [each.code for each in told] if ports is None else [at(ports, each.code) for each in told]
            printed = (in_shell if client in {"console", "curl"} else in_python)(ran, checkout)
        for example, output in zip(told, printed, strict=True):
            real = output if ports is None else output.replace(f":{ports[0]}", ":8443").replace(f":{ports[1]}", ":8081")
            assert same_on_every_run(real) == same_on_every_run(example.shown), f"{page}:{example.line}"


def in_shell(commands: list[str], checkout: Path) -> list[str]:
    """Run commands one after the other and return what each printed, both ways."""
    (checkout / ".curlrc").write_text("no-progress-meter\n")  # as at a terminal
    return [
        subprocess.run(
            ["sh", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=checkout,
            env=environment() | {"CURL_HOME": str(checkout)},
            text=True,
            check=False,
            timeout=60,
        ).stdout
        for command in commands
    ]


def in_python(sources: list[str], checkout: Path) -> list[str]:
    """Run sources in one interpreter, warnings being errors, and return what each printed."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "python_session.py")],
        input=json.dumps(sources),
        capture_output=True,
        cwd=checkout,
        env=environment(),
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr
    printed: list[str] = json.loads(ran.stdout)
    return printed


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """No kdm: the examples need none."""
    yield


@contextlib.contextmanager
def serving(title: str, directory: Path) -> Iterator[tuple[int, int]]:
    """Run the kdm that a title names, and give the ports it listens on: the API's and the plain one."""
    if title in TROUBLES:
        command = [str(HERE / "troubled_kdm.py"), TROUBLES[title]]
    else:
        given = shlex.split(title or "kdm serve --dev")
        assert given[:3] == ["kdm", "serve", "--dev"], f"no kdm is called {title!r}; see TROUBLES"
        command = ["-m", "kdm_http", *given[1:], "--port", "0", "--ops-port", "0"]
    log = directory / "kdm.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=REPOSITORY, env=environment(), stdout=output, stderr=subprocess.STDOUT
        )
    try:

        def told() -> list[tuple[str, str]]:
            assert process.poll() is None, f"kdm ended at its start:\n{log.read_text()}"
            return re.findall(
                r"^kdm serves https://localhost:(\d+).* http://localhost:(\d+)$", log.read_text(), re.MULTILINE
            )

        wait_until(lambda: bool(told()), START_TIMEOUT_S)
        ports = told()[0]
        yield int(ports[0]), int(ports[1])
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()


def at(ports: tuple[int, int], code: str) -> str:
    """Put the real ports into an example."""
    return code.replace("8443", str(ports[0])).replace("8081", str(ports[1]))


def environment() -> dict[str, str]:
    """Return the environment without what could change an example's way."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KDM_") and not name.lower().endswith("_proxy")
    }
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"}


def same_on_every_run(output: str) -> str:
    """Return an output without what differs from run to run: times, ids, the order of header fields."""
    for pattern, stand_in in CHANGING:
        output = re.sub(pattern, stand_in, output)
    output = re.sub(r"(?m)(?:^[a-z-]+: .*\n)+", lambda fields: "".join(sorted(fields[0].splitlines(True))), output)
    return output.strip()
