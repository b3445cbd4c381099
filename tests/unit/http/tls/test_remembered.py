"""What is remembered of clients changes no verdict: not across reloads, revocations and ends of certificates.

OpenSSL has no clock that a test could set. But it can be asked to take the time from a field that is zero, and so the
tests here have two moments: the beginning of 1970, and now. Certificates end, or begin, between the two.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from attrs import field, frozen
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from kdm_http.server.client import Client
from kdm_http.server.context import ListenerContext
from kdm_http.server.events import ServerEvents
from kdm_http.server.limits import ClientQuota, Limits
from kdm_http.server.serve import TlsConfigurationError, TlsFiles
from kdm_http.server.uvicorn_seam import ServerState
from kdm_http.tls import context as tls_context
from kdm_http.tls import known_clients, verifier
from kdm_http.tls.certificates import Certificate, RevocationList
from kdm_http.tls.handshake import Handshake, HandshakeObject, current
from kdm_http.tls.known_clients import KnownClient, KnownClients
from kdm_http.tls.peer import Peer, PeerRefused
from kdm_http.tls.pem import write_blocks
from kdm_http.tls.rejection import Reason, explain
from kdm_http.tls.reload import ServerTls
from unit.http.tls import strange
from unit.http.tls.strange import sequence, tlv

USE_CHECK_TIME: Final = 0x2
"""X509_V_FLAG_USE_CHECK_TIME: the time is a parameter, which Python leaves at zero."""

THEN: Final = datetime(1970, 1, 1, tzinfo=UTC)

KEYS: Final = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("a", "b", "between", "server", "client")}
NAMES: Final = {name: strange.common_name(name.encode()) for name in KEYS}
ALWAYS, ENDS, BEGINS = (b"600101000000Z", b"491231235959Z"), (b"600101", b"800101"), (b"900101", b"491231235959Z")
REMEMBERED: Final = 5


def dates(when: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    begin, end = (tlv(0x17, each if each.endswith(b"Z") else each + b"000000Z") for each in when)
    return begin, end


def signed(
    issuer: str,
    subject: bytes,
    key: str,
    serial: int,
    when: tuple[bytes, bytes] = ALWAYS,
    extensions: tuple[bytes, ...] = (strange.BASIC_LEAF, strange.FOR_CLIENTS),
) -> bytes:
    return strange.certificate(
        KEYS[issuer],
        KEYS[key],
        issuer=NAMES[issuer],
        subject=subject,
        serial=bytes([serial]),
        validity=sequence(*dates(when)),
        extensions=extensions,
    )


CA: Final = (strange.BASIC_CA,)
AUTHORITIES: Final = {
    "a": signed("a", NAMES["a"], "a", 1, extensions=CA),
    "b": signed("b", NAMES["b"], "b", 2, ENDS, extensions=CA),
}
BETWEEN: Final = signed("a", NAMES["between"], "between", 3, extensions=CA)
BRIEFLY_BETWEEN: Final = signed("a", NAMES["between"], "between", 4, ENDS, extensions=CA)
ALICE, BELOW = strange.common_name(b"alice"), signed("between", strange.common_name(b"below"), "client", 20)
CLIENTS: Final[dict[str, tuple[bytes, ...]]] = {
    "good": (signed("a", ALICE, "client", 10),),
    "another good one": (signed("a", strange.common_name(b"bob"), "client", 11),),
    "one that ends": (signed("a", ALICE, "client", 12, ENDS),),
    "one that begins": (signed("a", ALICE, "client", 13, BEGINS),),
    "without a purpose": (signed("a", ALICE, "client", 14, extensions=(strange.BASIC_LEAF,)),),
    "without a purpose, and ends": (signed("a", ALICE, "client", 15, ENDS, extensions=(strange.BASIC_LEAF,)),),
    "without a name": (signed("a", sequence(), "client", 16),),
    "a CA": (signed("a", ALICE, "client", 17, extensions=(strange.BASIC_CA, strange.FOR_CLIENTS)),),
    "of the CA that ends": (signed("b", ALICE, "client", 18),),
    "below an intermediate CA": (BELOW, BETWEEN),
    "below an intermediate CA that ends": (BELOW, BRIEFLY_BETWEEN),
    "below an intermediate CA that it does not send": (BELOW,),
    "good, with a certificate too many": (signed("a", ALICE, "client", 10), BRIEFLY_BETWEEN),
}
SERVER: Final = signed("server", NAMES["server"], "server", 30, extensions=(strange.FOR_SERVERS, strange.FOR_LOCALHOST))


def private(key: str) -> bytes:
    return KEYS[key].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@cache
def client_context(chain: tuple[bytes, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "client.pem")
        path.write_bytes(private("client") + write_blocks("CERTIFICATE", list(chain)))
        context.load_cert_chain(path)
    return context


@frozen
class Time:
    """The time of kdm and of OpenSSL: 1970, until ``pass_on``."""

    contexts: list[ssl.SSLContext] = field(factory=list)
    past: list[bool] = field(factory=lambda: [True])

    def __call__(self) -> datetime:
        return THEN if self.past[0] else datetime.now(UTC)

    def follow(self, context: ssl.SSLContext) -> None:
        """Have OpenSSL verify by this time."""
        self.contexts.append(context)
        if self.past[0]:
            context.verify_flags |= USE_CHECK_TIME

    def pass_on(self) -> None:
        self.past[0] = False
        for context in self.contexts:
            context.verify_flags &= ~ssl.VerifyFlags(USE_CHECK_TIME)


def shake_hands(server: ssl.SSLContext, chain: tuple[bytes, ...]) -> ssl.SSLObject:
    """Return the server's end.

    Raises:
        ssl.SSLError: OpenSSL refuses the client.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    own = server.wrap_bio(to_server, to_client, server_side=True)
    client = client_context(chain).wrap_bio(to_client, to_server)
    for end in (client, own, client, own):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return own


class Remembering(RuleBasedStateMachine):
    """A server that remembers, beside one that is made from nothing for each question."""

    time: Time
    directory: Path

    def __init__(self) -> None:
        super().__init__()
        self.time.past[0] = True
        self.time.contexts.clear()
        self.kept: list[tuple[str, Client]] = []
        self.judged: dict[tuple[object, ...], Reason | None] = {}

    @initialize(with_lists=st.booleans())
    def start_and_connect(self, with_lists: bool) -> None:
        """Begin with one connection of each client, so that every reload has something to judge."""
        self.start(with_lists)
        self.connect(sorted(CLIENTS))

    def start(self, with_lists: bool) -> None:
        names = ("server.pem", "key.pem", "ca.pem", "crl.pem")
        self.files = TlsFiles(*(self.directory / name for name in names[: 3 + with_lists]))
        self.files.certificate.write_bytes(write_blocks("CERTIFICATE", [SERVER]))
        self.files.key.write_bytes(private("server"))
        self.write(AUTHORITIES, (), ALWAYS)
        events = ServerEvents()
        self.tls = ServerTls(
            self.files, minimum_version=ssl.TLSVersion.TLSv1_3, development=False, now=self.time, events=events
        )
        self.context = ListenerContext(
            "api", Limits(), events, self.time, ClientQuota(Limits(), lambda: 0.0), ServerState(), self.tls
        )

    def write(
        self, authorities: Sequence[str] | dict[str, bytes], revoked: Sequence[int], when: tuple[bytes, bytes]
    ) -> None:
        self.files.client_ca.write_bytes(write_blocks("CERTIFICATE", [AUTHORITIES[name] for name in authorities]))
        if self.files.crl is not None:
            lists = [
                strange.revocation_list(
                    KEYS[name], issuer=NAMES[name], revoked=tuple(bytes([each]) for each in revoked), dates=dates(when)
                )
                for name in authorities
            ]
            self.files.crl.write_bytes(write_blocks("X509 CRL", lists))

    def expected(self, name: str) -> Reason | None:
        """Judge a client from nothing, once for each state there is."""
        state = name, self.tls.material.digest, self.time.past[0]
        if state not in self.judged:
            self.judged[state] = self.from_nothing(name)
        return self.judged[state]

    def from_nothing(self, name: str) -> Reason | None:
        """Judge a client by the files in use, with nothing but what OpenSSL and the certificate say."""
        in_use = self.tls.material.trust
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.minimum_version = ssl.TLSVersion.TLSv1_3
        server.set_ciphers(f"DEFAULT:{verifier.SECURITY_LEVEL}")
        server.load_cert_chain(self.files.certificate, self.files.key)
        authorities = [Certificate.read(each.der) for each in in_use.authorities]
        lists = [RevocationList.read(each.der) for each in in_use.revocation_lists]
        verifier.trust_clients(server, authorities, lists)
        try:
            shake_hands(server, CLIENTS[name])
            Peer.from_der(CLIENTS[name][0])
        except ssl.SSLError as error:
            return explain(error)[0]
        except PeerRefused as error:
            return error.reason
        return None

    @rule(names=st.lists(st.sampled_from(sorted(CLIENTS)), min_size=2, max_size=8, unique=True))
    def connect(self, names: list[str]) -> None:
        for name in names:
            self.connect_one(name)

    def connect_one(self, name: str) -> None:
        handshake, material = Handshake("127.0.0.1:1"), self.tls.material
        token = current.set(handshake)
        end = shake_hands(material.context, CLIENTS[name])
        current.reset(token)
        assert isinstance(end, HandshakeObject)
        if handshake.failure is not None:
            verdict: Reason | None = handshake.failure[0]
            assert handshake.refused == CLIENTS[name][0]
        else:
            client = Client(self.context, handshake, material)
            rejection = client.identify(end)
            verdict = None if rejection is None else rejection.reason
            self.kept.append((name, client))
            assert (client.peer is None) == (client.refusal is not None) == (rejection is not None)
        assert verdict is self.expected(name), name

    @rule()
    def ask_all(self) -> None:
        for number in reversed(range(len(self.kept))):
            self.check_kept(number)

    def check_kept(self, number: int) -> None:
        name, client = self.kept[number]
        rejection = client.revalidate()
        if client.refusal is not None:
            assert rejection is None
            answer = client.over_quota()
            assert answer is not None
            assert answer.status == 401
            return
        assert (rejection and rejection.reason) is self.expected(name), name
        if rejection is not None:
            del self.kept[number]

    @rule(
        authorities=st.sampled_from([("a",), ("a", "b"), ("a", "b"), ("b",)]),
        revoked=st.sampled_from([(), (), (10, 12, 18, 20), (11, 13, 14), tuple(range(10, 21))]),
        when=st.sampled_from([ALWAYS, ALWAYS, ALWAYS, ENDS, BEGINS]),
    )
    def reload(self, authorities: tuple[str, ...], revoked: tuple[int, ...], when: tuple[bytes, bytes]) -> None:
        self.write(authorities, revoked, when)
        try:
            self.tls.material = self.tls._load(self.files.read())
        except TlsConfigurationError:
            return
        self.ask_all()

    @precondition(lambda self: self.time.past[0])
    @rule()
    def pass_on(self) -> None:
        self.time.pass_on()
        self.ask_all()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """A time that OpenSSL follows too."""
    time, trust_clients = Time(), verifier.trust_clients

    def timely(context: ssl.SSLContext, authorities: Sequence[Certificate], lists: Sequence[RevocationList]) -> None:
        trust_clients(context, authorities, lists)
        time.follow(context)

    for module in (verifier, tls_context):
        monkeypatch.setattr(module, "trust_clients", timely)
    return time


@pytest.fixture
def machine(tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> type[Remembering]:
    monkeypatch.setattr(Remembering, "time", time, raising=False)
    monkeypatch.setattr(Remembering, "directory", tmp_path, raising=False)
    return Remembering


def test_no_verdict_is_other_than_one_computed_from_nothing(
    machine: type[Remembering], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On fresh and kept connections, whatever was reloaded, revoked or has ended, and whoever came before."""
    monkeypatch.setattr(known_clients, "REMEMBERED_CLIENTS", REMEMBERED)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=12, deadline=None, database=None)
    )


def test_a_certificate_that_ends_while_its_client_shakes_hands_is_refused(machine: type[Remembering]) -> None:
    """OpenSSL looks at it when it comes, and the client may take its time from there on."""
    running = machine()
    running.start(with_lists=True)
    handshake, material = Handshake("127.0.0.1:1"), running.tls.material
    client = Client(running.context, handshake, material)
    token = current.set(handshake)
    end = shake_hands(material.context, CLIENTS["one that ends"])
    current.reset(token)
    running.time.pass_on()

    assert isinstance(end, HandshakeObject)
    rejection = client.identify(end)
    assert rejection is not None
    assert rejection.reason is Reason.EXPIRED
    assert client.peer is None


def test_a_verdict_from_before_a_reload_is_not_given_after_it(machine: type[Remembering]) -> None:
    """Neither on a connection that was checked before, nor on one that was not."""
    running = machine()
    running.start(with_lists=True)
    for _ in range(3):
        running.connect_one("good")

    def reload(*revoked: int) -> None:
        running.write(AUTHORITIES, revoked, ALWAYS)
        running.tls.material = running.tls._load(running.files.read())

    verdicts: list[Reason | None] = []
    for revoked in ((11,), (10,), (11,), (10, 11)):
        reload(*revoked)
        _, client = running.kept[len(verdicts) // 2]
        rejection = client.revalidate()
        verdicts.append(None if rejection is None else rejection.reason)
    assert verdicts == [None, Reason.REVOKED, None, Reason.REVOKED]


def test_a_verdict_is_not_kept_while_openssl_s_clock_may_be_behind(machine: type[Remembering]) -> None:
    """OpenSSL takes a certificate that has just ended for a good one: here, as it is still 1970 for OpenSSL.

    A client could ask without a break around the end of its certificate, and have that verdict for good.
    """
    running = machine()
    running.start(with_lists=True)
    trust = running.tls.material.trust
    chain = tuple(map(Certificate.read, CLIENTS["one that ends"]))
    ends = chain[0].not_after
    just_after, later = ends + timedelta(milliseconds=5), ends + timedelta(seconds=1)
    assert trust.refusal(chain, just_after) is None
    running.time.pass_on()
    assert not just_after < trust.holds_until(chain, just_after)
    assert trust.refusal(chain, later) is Reason.EXPIRED


def test_a_client_that_comes_again_is_not_read_again() -> None:
    clients = KnownClients()
    first = clients.find(CLIENTS["good"])
    assert clients.find(tuple(bytes(bytearray(each)) for each in CLIENTS["good"])) is first
    assert clients.find(CLIENTS["another good one"]) is not first


def test_the_last_clients_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_clients, "REMEMBERED_CLIENTS", 2)
    clients = KnownClients()
    known = [clients.find(CLIENTS[name]) for name in ("good", "another good one")]
    assert clients.find(CLIENTS["good"]) is known[0]
    clients.find(CLIENTS["one that ends"])
    assert clients.find(CLIENTS["good"]) is known[0]
    assert clients.find(CLIENTS["another good one"]) is not known[1]


def test_a_long_chain_is_read_each_time_and_takes_no_memory() -> None:
    clients = KnownClients()
    padded = (signed("a", strange.common_name(b"x" * known_clients.REMEMBERED_BYTES), "client", 10),)
    assert clients.find(padded) is not clients.find(padded)
    assert clients.find(padded) == KnownClient.read(padded)
    many = CLIENTS["good"] + CLIENTS["another good one"] * known_clients.REMEMBERED_CERTIFICATES
    assert clients.find(many) is not clients.find(many)
    assert clients.find(many) == KnownClient.read(many)


def test_the_verdict_on_a_long_chain_takes_no_more_memory_than_that_on_a_short_one(
    machine: type[Remembering],
) -> None:
    """A client may send 100 KiB of certificates that nobody asked for, others in each connection."""
    running = machine()
    running.start(with_lists=False)
    trust = running.tls.material.trust
    for name in ("good", "another good one", "good, with a certificate too many"):
        chain = tuple(map(Certificate.read, CLIENTS[name] + (BETWEEN,) * 50))
        assert [trust.refusal(chain, THEN) for _ in range(2)] == [None, None]
    assert [len(each) for each in trust._verdicts] == [32, 32, 32]


def test_what_is_remembered_of_a_client_holds_no_address() -> None:
    judged = KnownClients().find(CLIENTS["good"]).judged
    assert isinstance(judged, Peer)
    assert (judged.address, judged.identity.address) == ("", "")
    one, other = judged.at("192.0.2.1:1"), judged.at("192.0.2.2:2")
    assert (one.address, one.identity.address, other.address) == ("192.0.2.1:1", "192.0.2.1:1", "192.0.2.2:2")
    assert (one.identity.user, one.certificate) == ("alice", judged.certificate)
