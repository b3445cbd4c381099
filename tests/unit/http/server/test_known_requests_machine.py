"""Every answer is the one that would be given from nothing, whatever was remembered and whatever happened meanwhile."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef
from kdm_core.policy import ALLOW_ALL, Policy, parse_policy
from kdm_http.server.limits import Limits
from unit.http.credentials import Credentials
from unit.http.server.wired import Wired, World, certificates_end, files_in


def grant(who: str, namespaces: str, more: str = "") -> str:
    return f'[[grant]]\n{who}\nverbs = ["read"]\nnamespaces = {namespaces}\n{more}'


POLICIES: tuple[Policy, ...] = (
    ALLOW_ALL,
    parse_policy("version = 1\n" + grant("anyone = true", '["shop"]')),
    parse_policy("version = 1\n" + grant('groups = ["devs"]', '["*"]') + grant('users = ["bob"]', '["default"]')),
    parse_policy("version = 1\n" + grant("anyone = true", '["*"]', 'names = ["web"]\n')),
    parse_policy("version = 1\n"),
)
REFS = tuple(DeploymentRef(namespace, name) for namespace in ("default", "shop") for name in ("web", "api"))

LINES = (
    "GET /deployments/web/replicas",
    "GET /deployments/web/replicas?namespace=shop",
    "GET /api/v1/deployments/api/replicas",
    "GET /api/v1/deployments/api/replicas?namespace=default",
    "GET /api/v1/deployments/api/replicas?namespace=*",
    "HEAD /api/v1/deployments/web/replicas?namespace=shop",
    "GET /api/v1/deployments/web/replicas?namespace=nowhere",
    "GET /deployments/none/replicas",
    "GET /deployments?namespace=shop",
    "GET /nowhere",
    "GET  /deployments/web/replicas",
    "get /deployments/web/replicas",
)
HEADERS = (
    "Host: kdm\r\n",
    "Host: kdm\r\nAccept: */*\r\nUser-Agent: x\r\n",
    "Host: kdm\r\nIf-None-Match: *\r\n",
    'Host: kdm\r\nIf-None-Match: "x"\r\nIf-None-Match: "y"\r\n',
    "Host: kdm\r\nX-Request-ID: mine\r\n",
    "Host: kdm\r\ntraceparent: 00-11111111111111111111111111111111-2222222222222222-01\r\n",
    "Host: kdm\r\nDate: now\r\n",
    "Host: kdm\r\nConnection: close\r\n",
    "Host: kdm\r\nContent-Length: 2\r\n\r\n{}",
    "Host: kdm\r\nHost: kdm\r\n",
    "Host: k d m\r\n",
    "Accept: */*\r\n",
    "Host: kdm\r\nbroken\r\n",
    "Host: kdm\nAccept: x\r\n",
    "Host: kdm\r\nX: " + "x" * 2100 + "\r\n",
    "Host: kdm\r\n" + "a:b\r\n" * 12,
)
USUAL_LINES, USUAL_HEADERS = st.sampled_from(LINES[:6]), st.sampled_from(HEADERS[:4])
REQUESTS = st.builds(
    lambda line, header, before: f"{before}{line} HTTP/1.1\r\n{header}\r\n".encode(),
    st.one_of(USUAL_LINES, USUAL_LINES, USUAL_LINES, st.sampled_from(LINES)),
    st.one_of(USUAL_HEADERS, USUAL_HEADERS, USUAL_HEADERS, st.sampled_from(HEADERS)),
    st.sampled_from(("", "", "", "", "", "\r\n")),
)
BEGINNINGS = (
    b"GET /deployments/web/replicas HTTP/1.1\r\n",
    b"GET /deployments/web/replicas HTTP/1.1\r\nX: y\r\n",
    b"\r\n",
)
USUAL = tuple(
    f"{line} HTTP/1.1\r\n{header}\r\n".encode() for line, header in zip(LINES[:6], (HEADERS * 2)[:3] * 2, strict=True)
)
LIMITS = Limits(requests_burst=150, requests_per_s=20.0, header_fields=10)
NEW_ID = re.compile(rb"x-request-id: [0-9a-f]{16}\r\n")


def cut(requests: list[bytes], cuts: list[int]) -> list[bytes]:
    wire = b"".join(requests)
    cuts = sorted({each for each in cuts if each < len(wire)})
    return [wire[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


class Twins:
    """Two listeners over one repository. What happens to one happens to the other; clients must see the same of both.

    Each public method is a step.
    """

    def __init__(self, repository: MemoryDeploymentRepository, directory: Path, credentials: Credentials) -> None:
        self._repository = repository
        self._credentials = credentials
        self._files = files_in(directory, credentials)
        self.worlds = [
            World(repository, self._files, ALLOW_ALL, LIMITS, remembers=remembers) for remembers in (True, False)
        ]
        self._pairs: list[list[Wired]] = []

    async def connect(self, is_bob: bool) -> None:
        leaf = self._credentials.bob if is_bob else self._credentials.alice
        self._pairs.append([world.connect(leaf) for world in self.worlds])

    async def lose(self, number: int) -> None:
        if self._pairs:
            for wired in self._pairs.pop(number % len(self._pairs)):
                wired.lose()

    async def ask(self, number: int, pieces: list[bytes]) -> None:
        """Send pieces of data over one connection, and compare all that comes back."""
        if not self._pairs:
            await self.connect(False)
        number %= len(self._pairs)
        seen = []
        for world, wired in zip(self.worlds, self._pairs[number], strict=True):
            before = len(wired.transport.written)
            for piece in pieces:
                wired.send(piece)
            await world.settle()
            written = NEW_ID.sub(b"x-request-id: new\r\n", wired.transport.written[before:])
            seen.append((written, wired.transport.closed))
        assert seen[0] == seen[1], pieces
        if seen[0][1]:
            await self.lose(number)

    async def ask_the_usual(self) -> None:
        """Send what clients usually send, over each connection."""
        for pair in list(self._pairs):
            for request in USUAL:
                if pair in self._pairs:
                    await self.ask(self._pairs.index(pair), [request])

    async def change(self, ref: DeploymentRef, replicas: int) -> None:
        """Create, scale or delete a Deployment."""
        cluster = self._repository.cluster
        if ref not in cluster.deployments:
            cluster.create(ref, replicas)
        elif replicas:
            cluster.scale(ref, replicas)
        else:
            cluster.delete(ref)

    async def set_policy(self, policy: Policy) -> None:
        for world in self.worlds:
            world.service.policy = policy

    async def pass_time(self, seconds: float, days: int) -> None:
        for world in self.worlds:
            world.monotonic.at_s += seconds
            world.clock.ahead += timedelta(days=days)

    async def reload(self, revoked: bool) -> None:
        """Take another revocation list into use."""
        assert self._files.crl is not None
        self._files.crl.write_bytes(self._credentials.crl(*([self._credentials.alice] if revoked else [])))
        for world in self.worlds:
            await world.tls._take(self._files.read())

    async def end(self) -> None:
        """Lose all connections: then nothing is remembered any more."""
        while self._pairs:
            await self.lose(0)
        assert len(self.worlds[0].context.known_lines) == 0

    def compare(self) -> None:
        """Compare what operators see: metrics, the audit trail, what is left of each client's share."""
        first, second = self.worlds
        assert first.counted() == second.counted()
        assert audited(first) == audited(second)
        for one, other in self._pairs:
            assert tokens(one) == tokens(other)


def audited(world: World) -> list[Any]:
    events = world.audit.events
    return [(each.actor, each.verb, each.namespace, each.name, each.outcome, each.reason) for each in events]


def tokens(wired: Wired) -> float | None:
    share = wired.connection._client.share
    return None if share is None else round(share.tokens, 6)


CONNECTIONS = st.integers(0, 9)
REQUEST_LISTS = st.lists(REQUESTS, min_size=1, max_size=3)
PIECES = st.one_of(
    REQUEST_LISTS,
    st.builds(cut, REQUEST_LISTS, st.lists(st.integers(1, 300), max_size=4)),
    st.lists(st.one_of(st.sampled_from(BEGINNINGS), st.sampled_from(USUAL)), min_size=1, max_size=3),
)
STEPS = st.one_of(
    *[st.tuples(st.just(Twins.ask), CONNECTIONS, PIECES)] * 3,
    st.tuples(st.just(Twins.connect), st.booleans()),
    st.tuples(st.just(Twins.lose), CONNECTIONS),
    *[st.tuples(st.just(Twins.change), st.sampled_from(REFS), st.integers(0, 9))] * 2,
    st.tuples(st.just(Twins.set_policy), st.sampled_from(POLICIES)),
    st.tuples(st.just(Twins.pass_time), st.floats(0, 3), st.sampled_from((0, 0, 0, 31, 366))),
    st.tuples(st.just(Twins.reload), st.booleans()),
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=1, max_size=20))
async def test_every_answer_is_the_one_computed_from_nothing(
    steps: list[tuple[Any, ...]], tmp_path: Path, credentials: Credentials
) -> None:
    """Across writes, deletions, policies, revocations, expiries, rate limits, pipelining and any cut of the bytes."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        certificates_end(monkeypatch)
        await compare_worlds(steps, tmp_path, credentials)


async def compare_worlds(steps: list[tuple[Any, ...]], directory: Path, credentials: Credentials) -> None:
    """Take steps with twins; after each, clients ask the usual."""
    async with MemoryDeploymentRepository() as repository:
        for ref in REFS[1:]:
            repository.cluster.create(ref, 3)
        twins = Twins(repository, directory, credentials)
        for is_bob in (False, True):
            await twins.connect(is_bob)
        await twins.ask_the_usual()
        for step, *how in steps:
            await step(twins, *how)
            await twins.ask_the_usual()
            twins.compare()
        await twins.end()
