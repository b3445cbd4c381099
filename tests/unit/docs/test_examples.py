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
from typing import IO, Final

import pytest
from attrs import frozen

from integration.kdm_process import wait_until
from unit.docs.examples import DOCS, REPOSITORY, Example, examples, files

START_TIMEOUT_S: Final = 60.0
HERE: Final = Path(__file__).parent

TROUBLES: Final = {
    "": "none",
    "while the cluster is away": "unreachable",
    "while the cluster does not answer": "timeout",
    "while the cluster is overloaded": "overloaded",
    "before the first sync": "not_synced",
    "when the Deployment is changed by others at the same time": "conflict",
    "when kdm's role lacks a permission": "forbidden",
    "when a gateway answers in the cluster's place": "unrecognized",
    "when an admission webhook refuses": "invalid",
    "when kdm has a defect": "defect",
}
"""The titles of blocks that talk to a kdm in trouble, and which; other titles are a command line of kdm."""

TALKS: Final = re.compile(r"\b(8443|8081)\b|(?m:^kdm (?!serve|certs|policy|context|completion))").search
"""Whether an example talks to kdm: it names a port, or is a command that asks a kdm."""

CONTEXT: Final = """\
current = "dev"

[contexts.dev]
server = "https://localhost:{port}"
ca = "certs/dev-ca.pem"
cert = "certs/dev-admin.pem"
key = "certs/dev-admin-key.pem"
"""
"""What `make run` writes for the command."""

CHANGING: Final = [
    (r"(?m)^date: .*$", "date: <now>"),
    (r"request id [0-9a-f-]+", "request id <id>"),
    (r"passed in [\d.]+s", "passed in <time>"),
    (r"(?m)^x-request-id: [0-9a-f-]+$", "x-request-id: <id>"),
    (r'"requestId":"[^"]+"', '"requestId":"<id>"'),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
    (r'"resourceVersion":"[0-9]+"', '"resourceVersion":"<version>"'),
    (r'"plan":"[0-9a-f]{32}"', '"plan":"<tag>"'),
    (r'(?mi)^etag: "[0-9a-f]{32}"$', 'etag: "<tag>"'),
    (r'"continue":"[^"]+"', '"continue":"<token>"'),
    (r"(?m)^retry: \d+$", "retry: <milliseconds>"),
    (r"(?m)^id: [0-9a-f]{8}-\d+-[0-9a-f]{16}$", "id: <instance>-<number>-<view>"),
    (r'"(at|since)":"[0-9TZ:.-]+"', r'"\1":"<time>"'),
    (r'"ageSeconds":[0-9.]+', '"ageSeconds":<seconds>'),
    (r" at \d{4}-\d\d-\d\dT[\d:]+Z", " at <time>"),
    (r'"elapsedSeconds":[0-9.]+', '"elapsedSeconds":<seconds>'),
    (r"batch [0-9a-f-]+", "batch <id>"),
    (r"(?m)^\d+s +(?=[a-z-]+/)", "<age> "),
    (r" +\d+s +(?=dev-admin)", " <age> "),
    (r"(--batch|park id) [0-9a-f-]+", r"\1 <id>"),
    (r" \d+s ago\)", " <age> ago)"),
    (r"watching since \S+", "watching since <time>"),
    (r"OpenSSL/[\w.]+: error:", "OpenSSL/<version>: error:"),
    (r"try again in \d+ s", "try again in <seconds> s"),
    (r"(?m)^retry-after: \d+$", "retry-after: <seconds>"),
]
"""What differs from run to run, and what to read for it."""

SESSIONS: Final = [
    (page, client)
    for page in sorted(DOCS.rglob("*.md"))
    if page.name != "security.md"  # in a directory of its own: tests/unit/test_docs.py
    for client in examples(page)
] + [(REPOSITORY / "README.md", "console")]


@pytest.mark.parametrize(
    ("page", "client"), SESSIONS, ids=[f"{page.relative_to(REPOSITORY)}-{client}" for page, client in SESSIONS]
)
def test_the_examples_print_what_the_page_says(page: Path, client: str, stage: Stage, tmp_path: Path) -> None:
    for example, output in outputs(page, client, stage, tmp_path):
        assert same_on_every_run(output) == same_on_every_run(example.shown), f"{page}:{example.line}"


def outputs(page: Path, client: str, stage: Stage, directory: Path) -> Iterator[tuple[Example, str]]:
    """Run one client's examples of a page, in order, in what looks like a checkout; demo data is fresh for each title.

    Args:
        page: The page.
        client: The client.
        stage: The kdm that they talk to, if no other is named.
        directory: An empty one.

    Yields:
        Each example, and what it prints.
    """
    checkout = directory / "kdm"
    checkout.mkdir()
    for name in ("certs", "docs"):
        (checkout / name).symlink_to(REPOSITORY / name)
    for name, content in files(page).items():
        (checkout / name).write_text(content)
    run = in_shell if client in {"console", "curl"} else in_python
    all_of_it = examples(page)[client]
    for server, group in groupby(all_of_it, key=lambda each: each.server):
        block = list(group)
        if run is in_python and block[0] is not all_of_it[0]:
            block.insert(0, all_of_it[0])  # a new interpreter has to make the client again
        kdm: contextlib.AbstractContextManager[Kdm]
        if server.startswith("kdm serve"):
            kdm = process(["-m", "kdm_cli", *shlex.split(server)[1:], "--port", "0", "--ops-port", "0"], directory)
        elif any(TALKS(each.code) for each in block):
            kdm = contextlib.nullcontext(stage.set(TROUBLES[server]))
        else:
            kdm = contextlib.nullcontext(Kdm(8443, 8081))
        with kdm as ports:
            (checkout / "contexts.toml").write_text(CONTEXT.format(port=ports.port))
            printed = run([ports.put_into(each.code) for each in block], checkout)
        yield from zip(block, map(ports.take_out_of, printed), strict=True)


@frozen
class Kdm:
    """Where a kdm listens, in place of what the pages say.

    Attributes:
        port: The API's.
        ops_port: The plain listener's.
    """

    port: int
    ops_port: int

    def put_into(self, code: str) -> str:
        """Put the real ports into an example."""
        return code.replace("8443", str(self.port)).replace("8081", str(self.ops_port))

    def take_out_of(self, output: str) -> str:
        """Put the pages' ports into an output."""
        return output.replace(f":{self.port}", ":8443").replace(f":{self.ops_port}", ":8081")


class Stage:
    """A kdm whose cluster can be put into trouble; see :mod:`unit.docs.staged_kdm`."""

    def __init__(self, kdm: Kdm, told: IO[bytes], log: Path) -> None:
        self._kdm = kdm
        self._told = told
        self._log = log
        self._times = 0

    def set(self, trouble: str) -> Kdm:
        """Put it on fresh demo data, and into this trouble."""
        self._told.write(f"{trouble}\n".encode())
        self._told.flush()
        self._times += 1
        wait_until(lambda: self._log.read_text().count("staged: ") == self._times, START_TIMEOUT_S)
        return self._kdm


@pytest.fixture(scope="module", name="stage")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged_in(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@contextlib.contextmanager
def staged_in(directory: Path) -> Iterator[Stage]:
    """Run a kdm that can be put into trouble, with its log in a directory."""
    told, tell = os.pipe()
    with os.fdopen(tell, "wb") as writer, process([str(HERE / "staged_kdm.py")], directory, stdin=told) as kdm:
        os.close(told)
        yield Stage(kdm, writer, directory / "kdm.log")


def in_shell(commands: list[str], checkout: Path) -> list[str]:
    """Run commands one after the other and return what each printed, both ways."""
    (checkout / ".curlrc").write_text("no-progress-meter\n")  # as at a terminal
    return [
        subprocess.run(
            ["sh", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=checkout,
            env=environment() | {"CURL_HOME": str(checkout), "KDM_CONFIG": str(checkout / "contexts.toml")},
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
    assert not ran.stderr, ran.stderr
    printed: list[str] = json.loads(ran.stdout)
    return printed


@contextlib.contextmanager
def process(command: list[str], directory: Path, *, stdin: int = subprocess.DEVNULL) -> Iterator[Kdm]:
    """Run kdm until the end of the block, which it must survive and leave in order.

    Args:
        command: Arguments of Python.
        directory: Where its log goes.
        stdin: Its standard input.
    """
    log = directory / "kdm.log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, *command],
            cwd=REPOSITORY,
            env=environment(),
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:

        def told() -> list[tuple[str, str]]:
            assert running.poll() is None, f"kdm ended at its start:\n{log.read_text()}"
            return re.findall(
                r"^kdm serves https://localhost:(\d+).* http://localhost:(\d+)$", log.read_text(), re.MULTILINE
            )

        wait_until(lambda: bool(told()), START_TIMEOUT_S)
        ports = told()[0]
        yield Kdm(int(ports[0]), int(ports[1]))
    finally:
        running.terminate()
        assert running.wait(30) == 0, log.read_text()


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
