"""Clients that mean harm lose their connections; the others notice nothing."""

from __future__ import annotations

import asyncio
import resource
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Final, Self

import httpx
import pytest

from integration.edge.connection import Connection
from integration.edge.hostile import attack
from integration.edge.pki import Pki
from integration.kdm_process import KdmProcess, wait_until

LIMITS: Final = {
    "LIMIT_HANDSHAKE_S": "4",
    "LIMIT_HEADER_S": "2",
    "LIMIT_BODY_S": "2",
    "LIMIT_IDLE_S": "3",
    "LIMIT_CONNECTIONS_PER_IDENTITY": "600",
}
CLOSED_TIMEOUT_S: Final = 60.0  # of limits of seconds: the machine may be busy
RSS_GROWTH_BYTES: Final = 64 * 2**20
FEW_DESCRIPTORS: Final = 256


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    pki = Pki(tmp_path_factory.mktemp("hostile"))
    for name in ("good", "evil"):
        pki.issue(name)
    return pki


@pytest.fixture(scope="module")
def kdm(pki: Pki) -> Iterator[KdmProcess]:
    """A kdm with short deadlines, started where the soft limit of file descriptors is low, as it often is."""
    policy = pki.path / "policy.toml"
    policy.write_text('version = 1\n[[grant]]\nanyone = true\nverbs = ["read"]\nnamespaces = ["*"]\n')
    settings = pki.settings() | LIMITS | {"POLICY_FILE": str(policy)}
    with ExitStack() as opened:
        with _soft_descriptor_limit(FEW_DESCRIPTORS):
            process = opened.enter_context(KdmProcess(settings, pki.path / "log"))
        yield process


@contextmanager
def _soft_descriptor_limit(soft: int) -> Iterator[None]:
    """Let processes started meanwhile have fewer file descriptors than they need, unless they ask for more."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


class GoodClient:
    """Asks on and on, on a connection that it keeps and on fresh ones, from a thread of its own."""

    def __init__(self, kdm: KdmProcess, pki: Pki) -> None:
        self.outcomes: Counter[str] = Counter()
        self._url = kdm.url
        self._context = pki.context("good")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask_on(self) -> None:
        with self._client() as kept:
            while not self._stop.wait(0.02):  # a steady client, not another attacker
                with self._client() as fresh:
                    self.outcomes[self._ask(fresh)] += 1
                for _ in range(4):
                    self.outcomes[self._ask(kept)] += 1

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._url, verify=self._context, trust_env=False, timeout=30)

    @staticmethod
    def _ask(client: httpx.Client) -> str:
        try:
            answer = client.get("/deployments/nginx-deployment/replicas")
        except httpx.HTTPError as error:
            return repr(error)
        wanted = {"deploymentName": "nginx-deployment", "replicaCount": 3}
        return (
            "good" if answer.status_code == 200 and answer.json() == wanted else f"{answer.status_code} {answer.text}"
        )


@pytest.mark.parametrize(
    "attacks",
    [
        pytest.param({"half-open handshakes": (500, b""), "silent sockets": (100, b"")}, id="handshakes"),
        pytest.param({"slow headers": (500, b"HTTP/1.1 408")}, id="headers"),
        pytest.param({"slow bodies": (200, b"HTTP/1.1 408")}, id="bodies"),
        pytest.param({"idle from the start": (100, b""), "idle after a request": (100, b"HTTP/1.1 200")}, id="idle"),
    ],
)
async def test_an_attack_is_shaken_off(attacks: dict[str, tuple[int, bytes]], kdm: KdmProcess, pki: Pki) -> None:
    """Every bad connection is closed, every good request is answered well meanwhile, and memory stays bounded."""
    heard = await _shake_off({name: count for name, (count, _) in attacks.items()}, kdm, pki)
    assert heard == {name: {last_words: count} for name, (count, last_words) in attacks.items()}


async def test_a_header_of_20_megabytes_is_not_swallowed(kdm: KdmProcess, pki: Pki) -> None:
    heard = await _shake_off({"20 MB in a field": 5, "20 MB of fields": 5}, kdm, pki)
    for answers in heard.values():
        assert answers[b"HTTP/1.1 431"] > 0
        assert answers.keys() <= {b"HTTP/1.1 431", b""}  # who goes on sending may lose the answer to the reset


async def _shake_off(attacks: dict[str, int], kdm: KdmProcess, pki: Pki) -> dict[str, Counter[bytes]]:
    """Attack beside a good client until all is over, and return how the answers to each attack begin."""
    before = _rss_bytes(kdm.pid, "VmRSS")
    with GoodClient(kdm, pki) as good:
        async with asyncio.timeout(CLOSED_TIMEOUT_S):
            evil = pki.context("evil")
            heard = await asyncio.gather(*(attack(kdm.url, evil, name, count) for name, count in attacks.items()))
    assert good.outcomes.keys() == {"good"}
    assert "cannot accept connections" not in kdm.output()
    assert _rss_bytes(kdm.pid, "VmHWM") - before < RSS_GROWTH_BYTES
    await _emptied(kdm)
    beginnings = (Counter(answer[: len(b"HTTP/1.1 200")] for answer in answers) for answers in heard)
    return dict(zip(attacks, beginnings, strict=True))


@pytest.fixture(scope="module")
def strict(pki: Pki) -> Iterator[KdmProcess]:
    """A kdm that lets one client have little."""
    for name in ("a", "b", "c", "d", "hasty", "other"):
        pki.issue(name)
    limits = {"REQUESTS_PER_S": 1, "REQUESTS_BURST": 5, "CONNECTIONS": 8, "CONNECTIONS_PER_IDENTITY": 3}
    settings = pki.settings() | {f"LIMIT_{name}": str(value) for name, value in limits.items()}
    with KdmProcess(settings, pki.path / "strict.log") as process:
        yield process


async def test_requests_beyond_a_clients_rate_are_refused(strict: KdmProcess, pki: Pki) -> None:
    """It is told when to come back, on a connection that stays open; another client has a rate of its own."""
    async with await Connection.open(strict.url, pki.context("hasty")) as hasty:
        answers = [await hasty.get("/health") for _ in range(20)]
        assert [answer.status for answer in answers[:5]] == [200] * 5
        assert {answer.status for answer in answers} == {200, 429}
        refused = next(answer for answer in answers if answer.status == 429)
        assert (refused.headers["retry-after"], refused.json.keys()) == ("1", {"error"})
        async with await Connection.open(strict.url, pki.context("other")) as other:
            assert (await other.get("/health")).status == 200

        async def comes_back() -> bool:
            return (await hasty.get("/health")).status == 200

        await _until(comes_back)
    assert 'kdm_requests_refused_total{listener="api",status="429"}' in strict.metrics()


async def test_connections_beyond_a_clients_number_are_refused(strict: KdmProcess, pki: Pki) -> None:
    async with AsyncExitStack() as opened:
        context = pki.context("a")
        held = [await opened.enter_async_context(await Connection.open(strict.url, context)) for _ in range(3)]
        assert (await held[-1].get("/health")).status == 200
        async with await Connection.open(strict.url, context) as fourth:
            refused = await fourth.get("/health")
            assert (refused.status, refused.headers["connection"], refused.headers["retry-after"]) == (
                429,
                "close",
                "1",
            )
            assert await fourth.until_closed() == b""
        async with await Connection.open(strict.url, pki.context("b")) as other:
            assert (await other.get("/health")).status == 200

        await held.pop().close()
        await _served_again(strict, pki, "c")


async def test_connections_beyond_the_total_are_closed_at_once(strict: KdmProcess, pki: Pki) -> None:
    """Even half-open ones count; probes have a listener of their own."""
    await _emptied(strict)
    async with AsyncExitStack() as opened:
        for _ in range(8):
            connection = await opened.enter_async_context(await Connection.open(strict.url, None))
            await connection.send(b"\x16\x03\x01\x02")
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await Connection.open(strict.url, pki.context("d"))
        assert 'kdm_connections_dropped_total{listener="api"} 1.0' in strict.metrics()
    await _served_again(strict, pki, "d")


async def _served_again(kdm: KdmProcess, pki: Pki, name: str) -> None:
    """Try to connect until it works: kdm learns of a closed connection a moment later."""

    async def served() -> bool:
        try:
            async with await Connection.open(kdm.url, pki.context(name)) as connection:
                return (await connection.get("/health")).status == 200
        except OSError:
            return False

    await _until(served)


async def _emptied(kdm: KdmProcess) -> None:
    await asyncio.to_thread(wait_until, lambda: 'kdm_connections{listener="api"} 0.0' in kdm.metrics())


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(CLOSED_TIMEOUT_S):
        while not await condition():  # noqa: ASYNC110 - kdm is another process
            await asyncio.sleep(0.1)


def _rss_bytes(pid: int, field: str) -> int:
    """Read a process' resident memory, as it is (VmRSS) or at its highest (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith(f"{field}:"))
