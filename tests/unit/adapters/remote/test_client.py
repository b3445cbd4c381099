"""Single calls to a real kdm over mutual TLS, and every way in which a connection does not come about."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kdm_adapters.remote.access import Access, Address, InvalidAccess, proxy_for
from kdm_adapters.remote.client import Client, deployment_path, list_path
from kdm_adapters.remote.errors import problem_of
from kdm_adapters.remote.transport_errors import AnswerLost, Misdirected, NotAccepted, Unreachable, Untrusted
from kdm_cli.pki.pair import Pair
from kdm_core import (
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentNotFound,
    DeploymentRef,
    Forbidden,
    InvalidInput,
    InvalidName,
    KdmError,
    WriteConflict,
    parse_policy,
)
from unit.adapters.remote.served import Served, served
from unit.http.credentials import Credentials, Leaf

WEB = DeploymentRef("shop", "web")
REPLICAS = deployment_path("shop", "web", "replicas")
POLICY = parse_policy("""
version = 1
[[grant]]
users = ["alice"]
verbs = ["read", "scale"]
namespaces = ["*"]
replicas = {allow_zero = true}
[[grant]]
users = ["bob"]
verbs = ["read"]
namespaces = ["*"]
""")


@pytest.fixture(scope="module")
def kdm(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("kdm"), credentials, policy=POLICY) as running:
        for name in ("api", "web", "worker"):
            running.do(lambda name=name: running.cluster.create(DeploymentRef("shop", name), 3))  # type: ignore[misc]
        yield running


@pytest.fixture
def client(kdm: Served) -> Iterator[Client]:
    with Client(kdm.access()) as client:
        yield client


class TestCalls:
    def test_a_read_and_a_write(self, kdm: Served, client: Client) -> None:
        body = client.call("PUT", REPLICAS, body={"replicas": 5}).body
        assert body["replicas"]["desired"] == 5
        assert client.get(deployment_path("shop", "web"))["replicas"]["desired"] == 5
        assert kdm.cluster.deployments[WEB].replicas.desired == 5

    def test_lists_are_read_page_by_page(self, client: Client) -> None:
        found = [each["name"] for each in client.items(list_path("shop"), {"limit": "1"})]
        assert found == ["api", "web", "worker"]
        assert [each["name"] for each in client.items(list_path())] == found

    def test_one_connection_serves_many_calls(self, client: Client) -> None:
        client.get(list_path())
        kept = client._kept
        assert kept is not None
        client.get(list_path())
        with pytest.raises(DeploymentNotFound):
            client.get(deployment_path("shop", "nothing"))
        client.get(list_path())
        assert client._kept is kept

    def test_an_error_is_the_cores_and_has_the_request_id(self, client: Client) -> None:
        with pytest.raises(WriteConflict) as caught:
            client.call("PUT", REPLICAS, body={"replicas": 5, "currentReplicas": 77})
        assert caught.value.written is False
        assert caught.value.expected is not None
        assert caught.value.expected.replicas == 77
        problem = problem_of(caught.value)
        assert problem is not None
        assert problem.request_id
        with pytest.raises(InvalidInput, match="dry-run"):
            client.call("PUT", REPLICAS, {"dry-run": "All"}, {"replicas": 5})

    def test_what_the_policy_denies_is_forbidden(self, kdm: Served, credentials: Credentials) -> None:
        with Client(kdm.access(credentials.bob, name="bob")) as bob, pytest.raises(Forbidden) as caught:
            bob.call("PUT", REPLICAS, body={"replicas": 1})
        assert (caught.value.user, caught.value.namespace) == ("bob", "shop")

    def test_names_are_encoded_into_the_path(self, client: Client) -> None:
        with pytest.raises(InvalidName) as caught:
            client.get(deployment_path("shop", "a?b=c#d e%"))
        assert caught.value.value == "a?b=c#d e%"

    def test_the_same_key_does_it_once(self, kdm: Served, client: Client) -> None:
        before = kdm.cluster.deployments[WEB].replicas.desired
        path = deployment_path("shop", "web", "adjust")
        for _ in range(3):
            client.call("POST", path, body={"delta": 1}, key="once")
        assert kdm.cluster.deployments[WEB].replicas.desired == before + 1

    def test_a_server_that_was_started_again_is_asked_again(self, tmp_path: Path, credentials: Credentials) -> None:
        with served(tmp_path, credentials) as kdm, Client(kdm.access()) as client:
            kdm.do(lambda: kdm.cluster.create(WEB, 3))
            client.get(list_path())
            kdm.stop()
            kdm.start()
            assert client.call("PUT", REPLICAS, body={"replicas": 4}).body["changed"] is True


class TestStreams:
    def test_the_present_state_then_each_change(self, kdm: Served, client: Client) -> None:
        events = client.events(list_path("shop"))
        seen = [next(events) for _ in range(4)]
        assert [each.name for each in seen] == ["present"] * 3 + ["synced"]
        kdm.do(lambda: kdm.cluster.scale(DeploymentRef("shop", "api"), 9))
        event = next(events)
        assert event.name == "modified"
        assert json.loads(event.data)["replicas"]["desired"] == 9
        events.close()  # type: ignore[attr-defined]

    def test_a_stream_goes_on_where_it_broke_off(self, tmp_path: Path, credentials: Credentials) -> None:
        with served(tmp_path, credentials) as kdm:
            kdm.do(lambda: kdm.cluster.create(WEB, 3))
            waits: list[float] = []

            def sleep(seconds: float) -> None:
                waits.append(seconds)
                if len(waits) == 1:
                    kdm.start()

            client = Client(kdm.access(), sleep=sleep)
            events = client.follow(list_path())
            assert [next(events).name for _ in range(2)] == ["present", "synced"]
            kdm.stop()
            seen = [next(events) for _ in range(5)]
            assert [each.name for each in seen] == ["closing", "interrupted", "reset", "present", "synced"]
            assert waits
            events.close()  # type: ignore[attr-defined]


def connecting(access: Access, kind: type[KdmError]) -> str:
    """Return the one line that says why there is no connection."""
    with Client(access) as client, pytest.raises(kind) as caught:
        client.call("PUT", REPLICAS, body={"replicas": 1})
    assert type(caught.value) is kind
    assert caught.value.written is False
    assert isinstance(caught.value, ClusterUnreachable)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestConnecting:
    """One line each, which says what to do."""

    @pytest.mark.parametrize(
        ("leaf", "words"),
        [
            ("stranger", "not from a CA that the server trusts"),
            ("expired", "has expired"),
            ("server_only", "turned this client away"),
            ("early", "turned this client away"),
        ],
    )
    def test_a_client_certificate_that_is_not_accepted(
        self, kdm: Served, credentials: Credentials, leaf: str, words: str
    ) -> None:
        said = connecting(kdm.access(getattr(credentials, leaf), name=leaf), NotAccepted)
        assert words in said
        assert f"{leaf}.pem" in said

    def test_no_client_certificate(self, kdm: Served) -> None:
        said = connecting(Access(kdm.url, kdm.files.client_ca), NotAccepted)
        assert "wants a client certificate" in said
        assert "name a client certificate and its key" in said

    def test_an_unknown_ca(self, kdm: Served, credentials: Credentials, tmp_path: Path) -> None:
        other = tmp_path / "other-ca.pem"
        other.write_bytes(credentials.other_authority.pair.certificate_pem())
        assert f"is not from the CA in {other}" in connecting(kdm.access()._replace(ca=other), Untrusted)
        assert "the CAs of this machine" in connecting(kdm.access()._replace(ca=None), Untrusted)

    def test_a_wrong_host_name(self, credentials: Credentials, tmp_path: Path) -> None:
        pair = credentials.authority.issue("kdm", sans=["kdm.example"], purposes=["server"], days=365)
        with tls_server(tmp_path, pair) as port:
            access = access_of(tmp_path, credentials, f"https://127.0.0.1:{port}")
            assert "for another name" in connecting(access, Untrusted)

    @pytest.mark.parametrize(
        ("begins", "words"), [(timedelta(days=-9), "has expired"), (timedelta(days=9), "is not valid yet")]
    )
    def test_a_server_certificate_out_of_its_time(
        self, credentials: Credentials, tmp_path: Path, begins: timedelta, words: str
    ) -> None:
        now = datetime.now(UTC) + begins
        pair = credentials.authority.issue("kdm", sans=["127.0.0.1"], purposes=["server"], days=1, now=now)
        with tls_server(tmp_path, pair) as port:
            said = connecting(access_of(tmp_path, credentials, f"https://127.0.0.1:{port}"), Untrusted)
        assert words in said
        assert "clock" in said

    def test_nothing_listens(self, kdm: Served) -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            where = f"127.0.0.1:{held.getsockname()[1]}"
            said = connecting(kdm.access(url=f"https://{where}"), Unreachable)
        assert said == f"nothing listens at {where}: is kdm running there, and is the port right?"

    def test_no_such_host(self, kdm: Served) -> None:
        with Client(kdm.access(url="https://kdm.invalid")) as client, pytest.raises(Unreachable) as caught:
            client.get(list_path())
        assert "kdm.invalid:443" in str(caught.value)

    def test_plain_http(self, kdm: Served) -> None:
        with Talker(lambda peer: peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
            said = connecting(kdm.access(url=f"https://127.0.0.1:{port}"), Misdirected)
        assert "does not speak TLS" in said

    def test_a_connection_that_ends_in_the_handshake(self, kdm: Served) -> None:
        with Talker(lambda _: None) as port:
            connecting(kdm.access(url=f"https://127.0.0.1:{port}"), Unreachable)


class TestAnswers:
    """A server that breaks off, or is no kdm."""

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5",
        ],
    )
    def test_an_answer_that_is_lost_may_have_been_written(
        self, credentials: Credentials, tmp_path: Path, answer: bytes
    ) -> None:
        with tls_server(tmp_path, credentials.server, answer) as port:
            access = access_of(tmp_path, credentials, f"https://127.0.0.1:{port}")
            with Client(access, patience_s=0) as client, pytest.raises(AnswerLost) as caught:
                client.call("PUT", REPLICAS, body={"replicas": 1})
            assert isinstance(caught.value, ClusterTimeout)
            assert caught.value.written is None
            with Client(access, patience_s=0) as client, pytest.raises(Unreachable):
                client.get(list_path())

    @pytest.mark.parametrize("answer", [b"[]", b"<html>", b'"x"', b""])
    def test_an_answer_that_is_no_json_object_is_not_kdms(
        self, credentials: Credentials, tmp_path: Path, answer: bytes
    ) -> None:
        whole = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer)
        with tls_server(tmp_path, credentials.server, whole) as port:
            access = access_of(tmp_path, credentials, f"https://127.0.0.1:{port}")
            with Client(access) as client, pytest.raises(ClusterUnrecognized):
                client.get(list_path())


class TestAccess:
    @pytest.mark.parametrize(
        "url", ["", "http://kdm", "kdm:8443", "https://", "https://u:secret@kdm", "https://kdm:x", "https://kdm?a",
            "https://kdm#a", "https://[::1",]
    )  # fmt: skip
    def test_a_url_that_is_none(self, url: str) -> None:
        with pytest.raises(InvalidAccess) as caught:
            Access(url).address()
        assert "https://kdm.example:8443" in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_a_url_may_have_a_path(self) -> None:
        assert Access("https://gate.example/kdm/").address() == Address("gate.example", 443, "/kdm")
        assert Access("https://[::1]:8443").address().authority == "[::1]:8443"

    def test_files_that_are_not_what_they_should_be(
        self, kdm: Served, credentials: Credentials, tmp_path: Path
    ) -> None:
        good = kdm.access()
        assert good.cert is not None
        empty = tmp_path / "empty.pem"
        empty.touch()
        other = kdm.access(credentials.bob, name="bob").key
        for access, words in (
            (good._replace(ca=tmp_path / "none.pem"), "CA file .*none.pem cannot be read: No such file"),
            (good._replace(ca=empty), "has no certificate in PEM"),
            (good._replace(cert=tmp_path), "certificate file .* cannot be read: Is a directory"),
            (good._replace(cert="a\0b"), "cannot be read: not a path"),
            (good._replace(cert=empty, key=None), "not what it should be, in PEM"),
            (good._replace(key=other), "do not belong together"),
            (good._replace(cert=None), "a key is named, and no client certificate"),
        ):
            with pytest.raises(InvalidAccess, match=words):
                access.tls_context()

    def test_an_encrypted_key_is_an_error_and_no_question_on_the_terminal(
        self, kdm: Served, credentials: Credentials, tmp_path: Path
    ) -> None:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

        key = tmp_path / "encrypted.pem"
        key.write_bytes(
            credentials.alice.signing_key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
        with pytest.raises(InvalidAccess, match="the key is encrypted"):
            kdm.access()._replace(key=key).tls_context()

    @pytest.mark.parametrize(
        ("host", "no_proxy", "proxied"),
        [
            ("kdm.example", "", True), ("kdm.example", "other.example", True), ("kdm.example", "ample", True),
            ("kdm.example", "kdm.example", False), ("kdm.example", ".example", False), ("k.example", "example", False),
            ("kdm.example", "*", False), ("kdm.example", "*.example", False), ("k.example", "K.Example:8443", False),
            ("kdm.example", "kdm.example:1", True), ("10.1.2.3", "10.0.0.0/8", False), ("11.1.2.3", "10.0.0.0/8", True),
            ("kdm.example", "10.0.0.0/8", True), ("kdm.example", "bad/net, example", False), ("::2", "[::2]", False),
            ("localhost", "", False), ("127.0.0.1", "", False), ("127.9.9.9", "", False), ("::1", "", False),
        ],
    )  # fmt: skip
    def test_which_servers_are_proxied(self, host: str, no_proxy: str, proxied: bool) -> None:
        environ = {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": no_proxy}
        assert (proxy_for(Address(host, 8443), environ) is not None) == proxied

    def test_a_proxy_that_is_none(self) -> None:
        for text in ("socks5://proxy.example", "https://proxy.example", "http://", "http://proxy:x"):
            with pytest.raises(InvalidAccess, match="HTTPS_PROXY"):
                proxy_for(Address("kdm.example", 443), {"HTTPS_PROXY": text})
        found = proxy_for(Address("kdm.example", 443), {"https_proxy": "user:p%40ss@proxy.example:3128"})
        assert found == ("proxy.example", 3128, "user", "p@ss")


def test_the_client_is_quick_to_import() -> None:
    """It loads no event loop, no attrs, no HTTP library: what takes long to import is not there."""
    code = "import sys, kdm_adapters.remote.client; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"asyncio", "attr", "httpx", "msgspec", "litestar", "kdm_core.model"} & set(run.stdout.split())


def access_of(directory: Path, credentials: Credentials, url: str) -> Access:
    ca, cert = directory / "trusted.pem", directory / "alice.pem"
    ca.write_bytes(credentials.ca_pem())
    cert.write_bytes(credentials.alice.key + credentials.alice.chain)
    return Access(url, ca, cert)


class Talker:
    """A port of loopback where each connection is treated in some way, and closed."""

    def __init__(self, treat: Callable[[socket.socket], Any]) -> None:
        self._treat = treat
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.treated = 0

    def __enter__(self) -> int:
        threading.Thread(target=self._run, daemon=True).start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                self._treat(peer)
            self.treated += 1


def tls_server(
    directory: Path,
    pair: Leaf | Pair,
    answer: bytes = b"",
    *,
    until: threading.Event | None = None,
    asked: threading.Event | None = None,
) -> Talker:
    """Answer the first request of each connection in one way, and close, at once or later; say that one has come."""
    leaf = pair if isinstance(pair, Leaf) else Leaf.of(pair)
    path = directory / "tls-server.pem"
    path.write_bytes(leaf.key + leaf.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)

    def treat(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as tls:
            tls.recv(65536)
            if asked is not None:
                asked.set()
            tls.sendall(answer)
            if until is not None:
                until.wait()

    return Talker(treat)
