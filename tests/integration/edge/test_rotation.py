"""Certificates, CAs and revocation lists change under load: who is good notices nothing, who is not is out."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from integration.edge.connection import Connection
from integration.edge.pki import Pki
from integration.edge.secret_mount import SecretMount
from integration.kdm_process import KdmProcess, wait_until

TIMEOUT_S: Final = 60.0
KEPT, KEPT_PER_S = 6, 25.0
FRESH, FRESH_PER_S = 5, 10.0
"""200 requests a second: so many clients on kept and on fresh connections, and each one's rate."""


# A self-signed certificate that says it is of X.509 v2, which OpenSSL takes and most other readers do not.
X509_V2: Final = b"""\
-----BEGIN CERTIFICATE-----
MIIBCTCBsaADAgEBAgMRIjMwCgYIKoZIzj0EAwIwDjEMMAoGA1UEAwwDb2xkMB4XDTI0MDEwMTAw
MDAwMFoXDTQ5MTIzMTIzNTk1OVowDjEMMAoGA1UEAwwDb2xkMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEqCupGYUkfzH3anC9xDYaEmHfWrbowthDNj8pZTVbPE+wdD3tbcGwHZBv8rErBVEl7COS
SzNL+lbAq/glgegBEjAKBggqhkjOPQQDAgNHADBEAiAGG6/uxS5BHbNpZ5nQ3kC2HQTPdnAMq/Nn
WTH/1+G6UQIgRUpIph4DYHgPRwSKgTdpn8vD5NuFBhv4zQdBOdxUIpQ=
-----END CERTIFICATE-----
"""


class Load:
    """What a client's requests came to.

    Args:
        url: Of the API.
        context: The client's.
    """

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self.good = 0
        self.failures: list[str] = []
        self._url = url
        self._context = context
        self._stop = asyncio.Event()

    async def keep_one(self) -> None:
        """Ask on one connection, or on another where it fails."""
        while not self._stop.is_set():
            async with self._connection() as connection:
                async for _ in self._beats(KEPT_PER_S):
                    await self._ask(connection)

    async def make_more(self) -> None:
        """Ask on a new connection each time."""
        async for _ in self._beats(FRESH_PER_S):
            async with self._connection() as connection:
                await self._ask(connection)

    def stop(self) -> None:
        """Finish the requests under way."""
        self._stop.set()

    async def _beats(self, per_s: float) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._stop.is_set():
            yield
            due += 1 / per_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._stop.wait()

    async def _ask(self, connection: Connection) -> None:
        answer = await connection.get("/deployments/nginx-deployment/replicas")
        if answer.status == 200:
            self.good += 1
        else:
            self.failures.append(f"{answer.status} {answer.body!r}")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            async with await Connection.open(self._url, self._context) as connection:
                yield connection
        except OSError as error:
            self.failures.append(repr(error))


@asynccontextmanager
async def load(url: str, context: ssl.SSLContext) -> AsyncIterator[Load]:
    """Send 200 requests a second."""
    made = Load(url, context)
    async with asyncio.TaskGroup() as group:
        for client in [made.keep_one] * KEPT + [made.make_more] * FRESH:
            group.create_task(client())
        try:
            yield made
        finally:
            made.stop()


class Rotation:
    """A kdm on a Secret's mount."""

    def __init__(self, kdm: KdmProcess, mount: SecretMount) -> None:
        self.kdm = kdm
        self._mount = mount

    async def publish(self, files: dict[str, bytes], result: str = "used") -> None:
        """Change the files, and wait until they are used or refused."""
        before = self._count(result)
        self._mount.publish(files)
        await asyncio.to_thread(wait_until, lambda: self._count(result) > before, TIMEOUT_S)

    async def logged(self, words: str) -> None:
        """Wait until the log has these words."""
        await asyncio.to_thread(wait_until, lambda: words in self.kdm.output(), TIMEOUT_S)

    async def serial(self, context: ssl.SSLContext) -> str:
        """Return the serial number of the certificate that the server shows."""
        async with await Connection.open(self.kdm.url, context) as connection:
            assert (await connection.get("/health")).status == 200
            return connection.serial

    async def refusal(self, context: ssl.SSLContext) -> str:
        """Connect in vain, and return what the alert says."""
        with pytest.raises(ssl.SSLError) as refused:
            async with await Connection.open(self.kdm.url, context) as connection:
                await connection.get("/health")
        return str(refused.value.reason)

    def _count(self, result: str) -> float:
        series = f'kdm_certificate_reloads_total{{result="{result}"}} '
        return sum(float(line.removeprefix(series)) for line in self.kdm.metrics().splitlines() if series in line)


@pytest.fixture
def old(tmp_path: Path) -> Pki:
    pki = Pki(tmp_path / "old", "old CA")
    for name in ("client", "revoked"):
        pki.issue(name, "kdm:viewers")
    return pki


@pytest.fixture
def new(tmp_path: Path) -> Pki:
    pki = Pki(tmp_path / "new", "new CA")
    pki.issue("client", "kdm:viewers")
    return pki


@pytest.fixture
def rotation(old: Pki, tmp_path: Path) -> Iterator[Rotation]:
    mount = SecretMount(tmp_path / "mount", _files(old, [old]))
    settings = {"TLS_CERT": "tls.crt", "TLS_KEY": "tls.key", "TLS_CLIENT_CA": "ca.crt", "TLS_CLIENT_CRL": "ca.crl"}
    with KdmProcess({name: str(mount.path / file) for name, file in settings.items()}, tmp_path / "log") as kdm:
        yield Rotation(kdm, mount)


def _files(server: Pki, clients: list[Pki], name: str = "server") -> dict[str, bytes]:
    return {
        "tls.crt": server.read(f"{name}.pem"),
        "tls.key": server.read(f"{name}-key.pem"),
        "ca.crt": b"".join(pki.read("ca.pem") for pki in clients),
        "ca.crl": b"".join(pki.read("crl.pem") for pki in clients),
    }


async def test_a_rotation_of_everything_fails_no_good_request(rotation: Rotation, old: Pki, new: Pki) -> None:
    """The server's certificate and key, the clients' CA and the revocation lists change, step by step, under load.

    Who was revoked, and who belongs to the removed CA, is cut off on the connection it has, and gets no new one.
    """
    url, both = rotation.kdm.url, [old, new]
    old_client, new_client = old.context("client", trusting=both), new.context("client", trusting=both)
    revoked = old.context("revoked", trusting=both)
    assert await rotation.refusal(new_client) == "TLSV1_ALERT_UNKNOWN_CA"
    first = await rotation.serial(old_client)

    async with asyncio.timeout(TIMEOUT_S), AsyncExitStack() as going_on:
        async with load(url, old_client) as olds, await Connection.open(url, revoked) as held:
            assert (await held.get("/health")).status == 200
            await rotation.publish(_files(new, both))
            assert await rotation.serial(old_client) != first
            assert (await held.get("/health")).status == 200

            news = await going_on.enter_async_context(load(url, new_client))
            outliving = await going_on.enter_async_context(await Connection.open(url, old_client))
            old.revoke("revoked")
            await rotation.publish(_files(new, both))
            assert await held.until_closed() == b""
            assert await rotation.refusal(revoked) == "SSLV3_ALERT_CERTIFICATE_REVOKED"
            assert (await outliving.get("/health")).status == 200

        await rotation.publish(_files(new, [new]))
        assert await outliving.until_closed() == b""
        assert await rotation.refusal(old_client) == "TLSV1_ALERT_UNKNOWN_CA"
    assert (olds.failures, news.failures) == ([], [])
    assert olds.good > 0
    assert news.good > 0


async def test_files_that_are_no_good_are_refused_and_the_old_ones_go_on(
    rotation: Rotation, old: Pki, new: Pki
) -> None:
    """A refusal is logged and counted; nobody loses a connection by it, and good files are taken afterwards."""
    kdm, client = rotation.kdm, old.context("client")
    good = _files(old, [old])
    first = await rotation.serial(client)
    async with asyncio.timeout(TIMEOUT_S), load(kdm.url, client) as going_on:
        for bad, reason in [
            ({"tls.key": new.read("server-key.pem")}, "the key does not fit the certificate"),
            ({"tls.crt": b"-----BEGIN CERTIFICATE-----\n"}, "line 1: the CERTIFICATE has no end"),
            ({"ca.crt": old.read("ca.pem").rstrip() + new.read("ca.pem")}, "two markers on one line"),
            ({"ca.crt": old.read("ca.pem") + X509_V2}, "is not a valid X509 version"),
        ]:
            await rotation.publish(good | bad, "refused")
            await rotation.logged(reason)  # it is counted first
            assert "certificates refused, the old ones stay in use" in kdm.output()
            assert await rotation.serial(client) == first

        old.issue_server("second")
        await rotation.publish(_files(old, [old], "second"))
        assert await rotation.serial(client) != first
    assert going_on.failures == []
    assert going_on.good > 0
