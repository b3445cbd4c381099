"""A kept connection and a fresh one get the same verdict, whatever the CAs, the certificates and the lists are.

The oracle is a whole handshake of TLS 1.3, with the client's key. What answers for kept connections has no such key.
"""

from __future__ import annotations

import functools
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from kdm_http.tls.certificate_files import TlsConfigurationError, TlsFiles
from kdm_http.tls.certificates import Certificate, RevocationList
from kdm_http.tls.context import load
from kdm_http.tls.pem import write_blocks
from kdm_http.tls.rejection import Reason, explain
from kdm_http.tls.trust import Trust
from kdm_http.tls.verifier import SECURITY_LEVEL, trust_clients
from unit.http.credentials import Credentials
from unit.http.tls import strange
from unit.http.tls.strange import extension, sequence, tlv

KEYS: Final = tuple(ec.generate_private_key(ec.SECP256R1()) for _ in range(4))
LEAF_KEY: Final = ec.generate_private_key(ec.SECP256R1())
HOUR: Final = timedelta(hours=1)

NAMES: Final = {
    "UTF8String": strange.common_name(b"A CA"),
    "PrintableString": strange.common_name(b"A CA", 0x13),
    "another case": strange.common_name(b"a ca"),
    "more spaces": strange.common_name(b"  A   CA "),
    "IA5String": strange.common_name(b"A CA", 0x16),
    "BMPString": strange.common_name("A CA".encode("utf-16-be"), 0x1E),
    "another name": strange.common_name(b"B CA"),
    "an organization": strange.name(("55040a", 0x0C, b"A CA")),
}
SAME: Final = tuple(NAMES)[:6]


def _dates(begin: timedelta, end: timedelta) -> tuple[bytes, bytes]:
    now = datetime.now(UTC)
    begins, ends = ((now + each).strftime("%y%m%d%H%M%SZ").encode() for each in (begin, end))
    return tlv(0x17, begins), tlv(0x17, ends)


WHEN: Final = {"now": (-HOUR, HOUR), "past": (-2 * HOUR, -HOUR), "ahead": (HOUR, 2 * HOUR)}


def key_id(key: int) -> bytes:
    return bytes([key]) * 20


@frozen
class Issuer:
    """A CA: a root, or signed by the first key under the first name."""

    key: int = 0
    name: str = "UTF8String"
    when: str = "now"
    is_root: bool = True
    constraints: str = "a CA"
    usage: str = "none"
    purposes: str = "none"
    has_key_id: bool = True

    def der(self) -> bytes:
        signer = self.key if self.is_root else 3
        extensions = [
            *{"a CA": [strange.BASIC_CA], "no CA": [strange.BASIC_LEAF], "none": []}[self.constraints],
            *{
                "none": [],
                "certificates": [extension("551d0f", bytes.fromhex("03020204"), critical=True)],
                "both": [extension("551d0f", bytes.fromhex("03020106"), critical=True)],
                "data": [extension("551d0f", bytes.fromhex("03020780"), critical=True)],
            }[self.usage],
            *{"none": [], "clients": [strange.FOR_CLIENTS], "servers": [strange.FOR_SERVERS]}[self.purposes],
            *([extension("551d0e", tlv(4, key_id(self.key)))] if self.has_key_id else []),
        ]
        return strange.certificate(
            KEYS[signer],
            KEYS[self.key],
            issuer=NAMES[self.name] if self.is_root else NAMES["another name"],
            subject=NAMES[self.name],
            serial=bytes([0x40 + self.key]),
            validity=sequence(*_dates(*WHEN[self.when])),
            extensions=tuple(extensions),
        )


@frozen
class Leaf:
    """A client's certificate."""

    signer: int = 0
    issuer: str = "UTF8String"
    when: str = "now"
    authority_key: int | None = None
    purpose: str = "clients"
    has_point: bool = False

    def der(self) -> bytes:
        extensions = [
            strange.BASIC_LEAF,
            *{"clients": [strange.FOR_CLIENTS], "servers": [strange.FOR_SERVERS], "none": []}[self.purpose],
        ]
        if self.authority_key is not None:
            extensions.append(extension("551d23", sequence(tlv(0x80, key_id(self.authority_key)))))
        if self.has_point:
            extensions.append(extension("551d1f", sequence(sequence(tlv(0xA0, tlv(0xA0, strange.URL))))))
        return strange.certificate(
            KEYS[self.signer],
            LEAF_KEY,
            issuer=NAMES[self.issuer],
            validity=sequence(*_dates(*WHEN[self.when])),
            extensions=tuple(extensions),
        )


REVOCABLE: Final = b"\x11\x22\x33"
"""The serial number of every client here."""

KINDS: Final = {**strange.APPLIED, **{label: extensions for label, (_, extensions) in strange.LISTS.items()}}


@frozen
class Revocations:
    """A revocation list."""

    signer: int = 0
    issuer: str = "UTF8String"
    when: str = "now"
    begun: int = 0
    revokes: bool = False
    kind: str = "no extension"
    has_key_id: bool = False

    def der(self) -> bytes:
        begin, end = WHEN[self.when]
        begin -= timedelta(minutes=self.begun)
        own = extension("551d23", sequence(tlv(0x80, key_id(self.signer)))) if self.has_key_id else b""
        return strange.revocation_list(
            KEYS[self.signer],
            issuer=NAMES[self.issuer],
            revoked=(REVOCABLE,) if self.revokes else (b"\x55",),
            dates=_dates(begin, end),
            extensions=tuple(filter(None, (own, *KINDS[self.kind]))),
        )


@functools.cache
def _server() -> tuple[bytes, bytes]:
    pair = Credentials().server
    return pair.certificate_pem(), pair.key_pem()


def _leaf_key() -> bytes:
    return LEAF_KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def fresh(
    chain: list[bytes], authorities: list[Certificate], lists: list[RevocationList], directory: Path
) -> Reason | None:
    """Shake hands, whole, and return why the server refuses the client."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    server.set_ciphers(f"DEFAULT:{SECURITY_LEVEL}")
    path = directory / "pair.pem"
    path.write_bytes(b"".join(_server()))
    server.load_cert_chain(path)
    trust_clients(server, authorities, lists)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    path.write_bytes(_leaf_key() + write_blocks("CERTIFICATE", chain))
    client.load_cert_chain(path)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for end in ends * 2:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as exc:
            return explain(exc)[0]
    return None


def kept(chain: list[bytes], authorities: list[Certificate], lists: list[RevocationList]) -> Reason | None:
    return Trust(authorities, lists).refusal(list(map(Certificate.read, chain)), datetime.now(UTC))


when = st.sampled_from(["now", "now", "now", "now", "past", "ahead"])
same_name = st.sampled_from([*SAME, *SAME, *NAMES])
issuers = st.builds(
    Issuer,
    key=st.sampled_from([0, 0, 1]),
    name=same_name,
    when=when,
    is_root=st.booleans(),
    constraints=st.sampled_from(["a CA", "a CA", "a CA", "no CA", "none"]),
    usage=st.sampled_from(["none", "both", "both", "certificates", "data"]),
    purposes=st.sampled_from(["none", "none", "clients", "servers"]),
    has_key_id=st.booleans(),
)
leaves = st.builds(
    Leaf,
    signer=st.sampled_from([0, 0, 0, 1]),
    issuer=same_name,
    when=when,
    authority_key=st.sampled_from([None, None, 0, 0, 1]),
    purpose=st.sampled_from(["clients", "clients", "clients", "servers", "none"]),
    has_point=st.booleans(),
)
revocations = st.builds(
    Revocations,
    signer=st.sampled_from([0, 0, 0, 1]),
    issuer=same_name,
    when=when,
    begun=st.integers(0, 2),
    revokes=st.booleans(),
    kind=st.sampled_from([*strange.APPLIED, *KINDS]),
    has_key_id=st.booleans(),
)
readable = revocations.filter(lambda each: strange.LISTS.get(each.kind, ("",))[0] != "cannot be read")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    authorities=st.lists(issuers, min_size=1, max_size=3),
    leaf=leaves,
    sent=st.lists(issuers, max_size=1),
    lists=st.lists(readable, max_size=3),
)
def test_the_verdicts_agree(
    authorities: list[Issuer], leaf: Leaf, sent: list[Issuer], lists: list[Revocations], tmp_path: Path
) -> None:
    """Also with lists and CAs that would not be taken into use: the verdict does not rest on what load refuses."""
    chain = [leaf.der(), *(each.der() for each in sent)]
    trusted = [Certificate.read(each.der()) for each in authorities]
    revoked = [RevocationList.read(each.der()) for each in lists]
    verdict = fresh(chain, trusted, revoked, tmp_path)
    event(verdict.value if verdict else "served")

    assert kept(chain, trusted, revoked) is verdict


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    authority=st.builds(Issuer, name=st.sampled_from(SAME), usage=st.sampled_from(["none", "both", "certificates"])),
    leaf=st.builds(
        Leaf, issuer=st.sampled_from(SAME), authority_key=st.sampled_from([None, 0]), has_point=st.booleans()
    ),
    lists=st.lists(
        st.builds(
            Revocations,
            issuer=st.sampled_from(SAME),
            begun=st.integers(0, 2),
            revokes=st.booleans(),
            kind=st.sampled_from([*strange.APPLIED] * 3 + [*KINDS]),
            has_key_id=st.booleans(),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_a_revoked_client_is_refused_by_whatever_is_taken_into_use(
    authority: Issuer, leaf: Leaf, lists: list[Revocations], tmp_path: Path
) -> None:
    """Files are refused, or the newest list that covers the client is applied to it: RFC 5280 is the oracle here."""
    files = TlsFiles(*(tmp_path / name for name in ("server.pem", "key.pem", "ca.pem", "crl.pem")))
    assert files.crl is not None
    certificate, key = _server()
    files.certificate.write_bytes(certificate)
    files.key.write_bytes(key)
    files.client_ca.write_bytes(write_blocks("CERTIFICATE", [authority.der()]))
    files.crl.write_bytes(write_blocks("X509 CRL", [each.der() for each in lists]))
    try:
        material = load(files, now=datetime.now(UTC))
    except TlsConfigurationError as error:
        refused = str(error)
        event("the files are refused")
    else:
        covering = [each for each in lists if each.kind != "a list of one distribution point" or leaf.has_point]
        newest = min((each.begun for each in covering), default=None)
        agreed = {each.revokes for each in covering if each.begun == newest}
        verdict = material.trust.refusal([Certificate.read(leaf.der())], datetime.now(UTC))
        event(verdict.value if verdict else "served")
        if agreed == {True}:
            assert verdict is Reason.REVOKED
        elif agreed == {False}:
            assert verdict is None
        elif not agreed:
            assert verdict is Reason.CRL_MISSING or verdict is Reason.UNTRUSTED
        return
    assert "ca.pem" in refused or "crl.pem" in refused


CASES: Final[dict[str, tuple[list[Issuer], Leaf, list[Revocations], Reason | None]]] = {
    "good": ([Issuer()], Leaf(), [Revocations()], None),
    "the CA has expired": ([Issuer(when="past")], Leaf(), [], Reason.EXPIRED),
    "the CA is ahead": ([Issuer(when="ahead")], Leaf(), [], Reason.NOT_YET_VALID),
    "the list is ahead": ([Issuer()], Leaf(), [Revocations(when="ahead")], Reason.CRL_STALE),
    "the list is stale": ([Issuer()], Leaf(), [Revocations(when="past")], Reason.CRL_STALE),
    "no list": ([Issuer()], Leaf(), [Revocations(issuer="another name")], Reason.CRL_MISSING),
    "revoked": ([Issuer()], Leaf(), [Revocations(revokes=True)], Reason.REVOKED),
    "revoked by a list with another string type": (
        [Issuer()],
        Leaf(issuer="PrintableString"),
        [Revocations(issuer="BMPString", revokes=True)],
        Reason.REVOKED,
    ),
    "revoked by an older list": ([Issuer()], Leaf(), [Revocations(begun=2, revokes=True), Revocations()], None),
    "revoked by a newer list for users": (
        [Issuer()],
        Leaf(),
        [Revocations(begun=1), Revocations(kind="a list of users", revokes=True)],
        Reason.REVOKED,
    ),
    "a newer list for CAs": (
        [Issuer()],
        Leaf(),
        [Revocations(begun=1, revokes=True), Revocations(kind="a list of CAs")],
        Reason.REVOKED,
    ),
    "revoked by the other CA of the same name": (
        [Issuer(), Issuer(key=1)],
        Leaf(authority_key=0),
        [Revocations(has_key_id=True), Revocations(signer=1, has_key_id=True, revokes=True)],
        None,
    ),
    "the CA may not sign lists": ([Issuer(usage="certificates")], Leaf(), [Revocations()], Reason.UNTRUSTED),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_is(case: str, tmp_path: Path) -> None:
    authorities, leaf, lists, expected = CASES[case]
    chain = [leaf.der()]
    trusted = [Certificate.read(each.der()) for each in authorities]
    revoked = [RevocationList.read(each.der()) for each in lists]

    assert fresh(chain, trusted, revoked, tmp_path) is expected
    assert kept(chain, trusted, revoked) is expected
