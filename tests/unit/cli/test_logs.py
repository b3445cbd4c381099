"""What an operator reads in the log: one line an event, of whom it is, and nothing that others could misuse."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

import pytest

KEY: Final = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBase64\n-----END EC PRIVATE KEY-----"
TOKEN: Final = "eyJhbGciOiJSUzI1NiIsImtpZCI6IiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl"
SERVED: Final = """
import asyncio, types
import httpx
from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import LOCAL, AuditUnavailable, DeploymentRef, DeploymentService
from kdm_http.api.app import create_app

class NoSink:
    def check(self): pass
    def record(self, event): raise AuditUnavailable("the disk is full")

class Broken(MemoryDeploymentRepository):
    async def probe(self): raise RuntimeError("a bug")
    async def set_replicas(self, *_, **__): raise RuntimeError("another bug")

async def main():
    async with Broken() as repository:
        repository.cluster.create(DeploymentRef("default", "nginx"), 3)
        await repository.wait_synced(5)
        app = create_app(DeploymentService(repository, audit=NoSink()), log_requests=True)
        async def admitted(scope, receive, send):
            scope["state"] = {"peer": types.SimpleNamespace(identity=LOCAL.identity)}
            await app(scope, receive, send)
        transport = httpx.ASGITransport(admitted, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="https://kdm.test") as client:
            async def ask(number):
                headers = {"x-request-id": f"request-{number}"}
                await client.post("/deployments/nginx/replicas", json={"replicaCount": number}, headers=headers)
            await asyncio.gather(*map(ask, range(10)))
        fields = [(b"x-request-id", b"at-once")]
        assert app.answer_at_once(b"GET", b"/deployments", fields, types.SimpleNamespace(identity=LOCAL.identity))

asyncio.run(main())
"""


def logged(style: str, code: str) -> str:
    """What a process that logs like kdm wrote to its standard error."""
    configured = (
        "import logging, structlog; from kdm_cli import logs; from kdm_adapters.lines import LineWriter\n"
        f"logs.configure('info', {style!r}, LineWriter(2))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", configured + code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stderr


def events(code: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged("json", code).splitlines()]


def test_every_line_of_a_request_has_its_id() -> None:
    """However many are served at once: access lines, errors, and lost audit events, whoever logs them."""
    lines: dict[str, list[str]] = {}
    for event in events("logging.getLogger('httpx').setLevel('WARNING')" + SERVED):
        lines.setdefault(event.get("request_id", ""), []).append(event["logger"])
    assert lines.pop("at-once") == ["kdm.access"]
    assert set(lines) == {f"request-{number}" for number in range(10)}
    for loggers in lines.values():
        assert sorted(loggers) == ["kdm.access", "kdm_core.service.recording", "kdm_http.api.errors"]


def test_an_event_has_the_fields_that_are_documented() -> None:
    (event,) = events("structlog.get_logger('kdm.server').info('serving', port=8443)")
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "serving", "level": "info", "logger": "kdm.server", "port": 8443}


HOSTILE: Final = "a\r\n2026-01-01T00:00:00Z [error] forged\x1b[2J\x9b\u2028b"


INJECTED: Final = f"""
logging.getLogger('x').warning('%s', {HOSTILE!r})
structlog.get_logger('x').warning({HOSTILE!r})
structlog.get_logger('x').warning('event', value={HOSTILE!r})
structlog.get_logger('x').warning('event', value=[{HOSTILE!r}])
logging.getLogger('x').warning('event', extra={{'value': {HOSTILE!r}}})
"""


@pytest.mark.parametrize("style", ["json", "console"])
def test_nothing_that_is_logged_begins_another_line_or_moves_the_cursor(style: str) -> None:
    """Neither as a message nor as a value, wherever in it."""
    lines = logged(style, INJECTED).split("\n")
    assert lines.pop() == ""
    assert len(lines) == INJECTED.count("warning")
    assert all("forged" in line and line.isprintable() for line in lines)


RAISES: Final = f"""
def f(local):
    raise ValueError({HOSTILE!r})
try:
    f("the value " + "of a variable")
except ValueError:
    logging.getLogger('x').exception('failed')
"""


def test_a_traceback_is_indented_for_people_and_one_line_for_machines() -> None:
    """What an exception says cannot be taken for an event, and the values of variables stay where they are."""
    first, *others = logged("console", RAISES).splitlines()
    assert "failed" in first
    assert others
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    (event,) = events(RAISES)
    assert "ValueError" in event["exception"]
    for style in ("console", "json"):
        assert "the value of a variable" not in logged(style, RAISES)


SECRETS: Final = [
    ("Authorization: Bearer 0123456789abcdef0123", "Authorization: Bearer [redacted]"),
    (f"token {TOKEN}, expired", "token [redacted], expired"),
    (f"read {KEY} from", "read [redacted] from"),
    ("the bearer of bad news", "the bearer of bad news"),
]


@pytest.mark.parametrize("style", ["json", "console"])
def test_what_looks_like_a_credential_is_left_out(style: str) -> None:
    """Of messages, of values, and of what exceptions say."""
    code = f"""
for secret, _ in {SECRETS!r}:
    logging.getLogger('x').warning(secret)
    structlog.get_logger('x').warning('event', value=secret)
    try:
        raise ValueError(secret)
    except ValueError:
        logging.getLogger('x').exception('failed')
"""
    written = logged(style, code)
    assert [written.count(told) for _, told in SECRETS] == [3, 3, 3, 3]
    for part in ("0123456789abcdef", "eyJpc3Mi", "MHcCAQEEI"):
        assert part not in written
