"""Who a connection's client is and what it may ask for: with real certificates, without a connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve, frozen
from cryptography.hazmat.primitives.serialization import Encoding

from kdm_http.server.client import Client
from kdm_http.server.context import ListenerContext
from kdm_http.server.limits import ClientQuota, Limits
from kdm_http.server.serve import ServerEvents, TlsFiles
from kdm_http.server.uvicorn_seam import ServerState
from kdm_http.tls.handshake import Handshake, HandshakeObject
from kdm_http.tls.rejection import Reason
from kdm_http.tls.reload import ServerTls
from unit.http.credentials import Credentials, Leaf
from unit.http.running import Clock

LIMITS = Limits(connections_per_identity=1, requests_burst=2, requests_per_s=2.0)


@frozen
class Verified:
    """The server's end of a connection, as far as it is asked for the client."""

    certificate: bytes
    session_reused: bool = False

    def get_unverified_chain(self) -> list[bytes]:
        return [self.certificate]


@pytest.fixture
def files(tmp_path: Path, credentials: Credentials) -> TlsFiles:
    names = ("server.pem", "key.pem", "ca.pem", "crl.pem")
    files = TlsFiles(*(tmp_path / name for name in names))
    credentials.write(files)
    return files


@pytest.fixture
def context(files: TlsFiles) -> ListenerContext:
    clock, events = Clock(), ServerEvents()
    tls = ServerTls(files, minimum_version=ssl.TLSVersion.TLSv1_3, development=False, now=clock, events=events)
    return ListenerContext("api", LIMITS, events, clock, ClientQuota(LIMITS, lambda: 0.0), ServerState(), tls)


def end(leaf: Leaf, *, reused: bool = False) -> HandshakeObject:
    return cast("HandshakeObject", Verified(leaf.certificate.public_bytes(Encoding.DER), reused))


@pytest.fixture
def client(context: ListenerContext) -> Callable[[], Any]:
    assert context.tls is not None
    material = context.tls.material
    return lambda: Client(context, Handshake("127.0.0.1:1"), material)


async def reload(context: ListenerContext, files: TlsFiles) -> None:
    """Take changed files into use, as the watch over them does."""
    assert context.tls is not None
    assert await context.tls._take(files.read())


@pytest.mark.parametrize("reused", [False, True], ids=["full handshake", "resumed session"])
def test_a_good_client_is_known_by_its_certificate(
    reused: bool, client: Callable[[], Any], credentials: Credentials
) -> None:
    alice = client()
    assert alice.identify(end(credentials.alice, reused=reused)) is None
    assert (alice.peer.identity.user, alice.peer.address) == ("alice", "127.0.0.1:1")
    assert alice.revalidate() is None


def test_a_certificate_that_is_not_for_clients_is_refused_and_has_no_share(
    client: Callable[[], Any], credentials: Credentials
) -> None:
    refused = client()
    rejection = refused.identify(end(credentials.server_only))
    assert rejection.reason is Reason.WRONG_PURPOSE
    assert (rejection.established, rejection.user, rejection.address) == (False, "", "127.0.0.1:1")
    assert rejection.fingerprint
    refused.join()
    answers = [refused.over_quota() for _ in range(10)]
    assert {(answer.status, answer.close) for answer in answers} == {(401, True)}
    assert (refused.peer, refused.revalidate()) == (None, None)
    refused.leave()
    alice = client()  # whose name it bears
    assert alice.identify(end(credentials.alice)) is None
    alice.join()
    assert [alice.over_quota() for _ in range(2)] == [None, None]


async def test_a_client_that_was_revoked_is_turned_away_once_the_list_is_in_use(
    client: Callable[[], Any], credentials: Credentials, context: ListenerContext, files: TlsFiles
) -> None:
    alice, bob = client(), client()
    assert alice.identify(end(credentials.alice)) is None
    assert bob.identify(end(credentials.bob)) is None
    assert files.crl is not None
    files.crl.write_bytes(credentials.crl(credentials.alice))
    assert alice.revalidate() is None
    await reload(context, files)
    rejection = alice.revalidate()
    assert (rejection.reason, rejection.detail) == (Reason.REVOKED, "the certificate is no longer good")
    assert (rejection.user, rejection.subject) == ("alice", alice.peer.subject)
    assert bob.revalidate() is None


async def test_a_resumed_session_is_checked_by_the_lists_that_came_since(
    credentials: Credentials, context: ListenerContext, files: TlsFiles
) -> None:
    """OpenSSL does not look at the certificate again."""
    assert files.crl is not None
    files.crl.write_bytes(credentials.crl(credentials.alice))
    await reload(context, files)
    assert context.tls is not None
    resumed = Client(context, Handshake(""), context.tls.material)
    rejection = resumed.identify(end(credentials.alice, reused=True))
    assert rejection is not None
    assert rejection.reason is Reason.REVOKED


def test_a_client_of_a_plain_listener_is_not_known_and_not_limited(context: ListenerContext) -> None:
    plain = evolve(context, tls=None)
    unknown = Client(plain, Handshake(""), None)
    unknown.join()
    assert [unknown.over_quota() for _ in range(10)] == [None] * 10
    assert unknown.revalidate() is None
    unknown.leave()


def test_the_requests_of_all_connections_of_a_user_count(client: Callable[[], Any], credentials: Credentials) -> None:
    alice = client()
    alice.identify(end(credentials.alice))
    alice.join()
    assert [alice.over_quota() for _ in range(2)] == [None, None]
    refusal = alice.over_quota()
    assert (refusal.status, refusal.close, refusal.retry_after_s) == (429, False, 1)
    assert refusal.message == "more than 2 requests a second of one identity"


def test_a_connection_too_many_is_refused_and_gives_nothing_back(
    client: Callable[[], Any], credentials: Credentials
) -> None:
    first, second, third = client(), client(), client()
    for each in (first, second, third):
        each.identify(end(credentials.alice))
    first.join()
    second.join()
    refusal = second.over_quota()
    assert (refusal.status, refusal.close, refusal.retry_after_s) == (429, True, 1)
    assert refusal.message == "more than 1 connections of one identity"
    second.leave()
    third.join()
    assert third.over_quota() is not None
    first.leave()
    first.leave()
    fourth = client()
    fourth.identify(end(credentials.alice))
    fourth.join()
    assert fourth.over_quota() is None
