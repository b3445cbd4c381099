"""Files are taken into use when a handshake in memory has shown that they serve; otherwise they are refused by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kdm_cli.pki.authority import Authority
from kdm_http.tls.certificates import Certificate
from kdm_http.tls.context import Material, TlsConfigurationError, TlsFiles, load
from kdm_http.tls.pem import write_blocks
from kdm_http.tls.rejection import Reason
from unit.http.credentials import Credentials
from unit.http.tls import strange

PEM = serialization.Encoding.PEM
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CA_NAME = strange.common_name(b"test CA")
Files = Callable[..., Material]


@pytest.fixture
def material(credentials: Credentials, tmp_path: Path) -> Files:
    """Load good files, but for those a test replaces."""

    def make(*, crl: bytes | None = None, **replaced: bytes) -> Material:
        paths = {name: tmp_path / f"{name}.pem" for name in ("certificate", "key", "client_ca", "crl")}
        files = TlsFiles(paths["certificate"], paths["key"], paths["client_ca"], paths["crl"])
        credentials.write(files)
        for name, content in replaced.items():
            paths[name].write_bytes(content)
        if crl is not None:
            paths["crl"].write_bytes(crl)
        return load(files, now=datetime.now(UTC))

    return make


def pem(label: str, *ders: bytes) -> bytes:
    return write_blocks(label, list(ders))


def private_pem(key: Any) -> bytes:
    return bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def signed(
    key: Any,
    *,
    name: str = "kdm",
    issuer: str | None = None,
    signer: Any = None,
    begin: timedelta = -HOUR,
    end: timedelta = DAY,
    ca: bool | None = None,
    usages: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.SERVER_AUTH,),
) -> bytes:
    """Return a certificate in PEM; by default of a server, signed by itself."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (issuer or name, name)]
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=names[0],
        subject_name=names[1],
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now + begin,
        not_valid_after=now + end,
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    signer = signer or key
    hashed = isinstance(signer, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    return builder.sign(signer, None if hashed else hashes.SHA256()).public_bytes(PEM)


def curve(which: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(which)


@functools.cache
def dsa_key() -> dsa.DSAPrivateKey:
    """Return the one key of this kind: it takes seconds to make."""
    return dsa.generate_private_key(2048)


KEYS: dict[str, tuple[Callable[[], Any], str]] = {
    "secp256k1": (lambda: curve(ec.SECP256K1()), "no suitable signature algorithm"),
    "brainpool P-256": (lambda: curve(ec.BrainpoolP256R1()), "no suitable signature algorithm"),
    "P-192": (lambda: curve(ec.SECP192R1()), "EE_KEY_TOO_SMALL"),
    "RSA of 1024 bits": (lambda: rsa.generate_private_key(65537, 1024), "EE_KEY_TOO_SMALL"),  # noqa: S505
    "DSA": (dsa_key, "no suitable signature algorithm"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_server_key_that_no_client_can_use_is_refused(kind: str, material: Files) -> None:
    make, message = KEYS[kind]
    key = make()
    with pytest.raises(TlsConfigurationError, match=message) as refused:
        material(certificate=signed(key), key=private_pem(key))
    assert "certificate.pem with" in str(refused.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: curve(ec.SECP256R1()),
        lambda: curve(ec.SECP384R1()),
        lambda: curve(ec.SECP521R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate,
        ed448.Ed448PrivateKey.generate,
    ],
    ids=["P-256", "P-384", "P-521", "RSA of 2048 bits", "Ed25519", "Ed448"],
)
def test_a_server_key_that_clients_can_use_is_taken(make: Callable[[], Any], material: Files) -> None:
    key = make()
    material(certificate=signed(key), key=private_pem(key))


def _chain(*, begin: timedelta = -HOUR, end: timedelta = DAY) -> tuple[bytes, bytes, bytes, bytes]:
    """Return a server's certificate, its intermediate CA's, the root's, and its key."""
    root, middle, own = (curve(ec.SECP256R1()) for _ in range(3))
    return (
        signed(own, issuer="middle", signer=middle),
        signed(middle, name="middle", issuer="root", signer=root, begin=begin, end=end, ca=True, usages=None),
        signed(root, name="root", ca=True, usages=None),
        private_pem(own),
    )


def test_a_whole_chain_in_its_order_is_taken(material: Files) -> None:
    own, middle, root, key = _chain()
    for chain in (own, own + middle, own + middle + root, key + own + middle):
        material(certificate=chain, key=key)


def test_a_chain_in_the_wrong_order_is_refused(material: Files, credentials: Credentials) -> None:
    own, middle, root, key = _chain()
    for chain, message in (
        (middle + own, "out of order: 'CN=kdm' issued none"),
        (own + root + middle, "out of order: 'CN=root' issued none"),
        (own + middle + credentials.ca_pem(), "out of order: 'CN=test CA' issued none"),
    ):
        with pytest.raises(TlsConfigurationError, match=message):
            material(certificate=chain, key=key)


@pytest.mark.parametrize(
    ("begin", "end", "message"),
    [(HOUR, DAY, "is not valid before"), (-DAY, -HOUR, "expired at")],
    ids=["early", "late"],
)
def test_dates_are_judged_at_both_ends(
    begin: timedelta, end: timedelta, message: str, material: Files, credentials: Credentials
) -> None:
    """Of the server's certificate, its intermediate ones, client CAs and their lists."""
    key = curve(ec.SECP256R1())
    own, middle, _, own_key = _chain(begin=begin, end=end)
    ca = signed(key, name="ahead", begin=begin, end=end, ca=True, usages=None)
    files: list[dict[str, bytes]] = [
        {"certificate": signed(key, begin=begin, end=end), "key": private_pem(key)},
        {"certificate": own + middle, "key": own_key},
        {"client_ca": credentials.ca_pem() + ca},
    ]
    for replaced in files:
        with pytest.raises(TlsConfigurationError, match=message):
            material(**replaced)


def _list(credentials: Credentials, extensions: tuple[bytes, ...] = (), **how: Any) -> bytes:
    der = strange.revocation_list(credentials.authority.pair.key, issuer=CA_NAME, extensions=extensions, **how)
    return pem("X509 CRL", der)


def test_a_list_before_its_time_is_refused(material: Files, credentials: Credentials) -> None:
    ahead = (strange.tlv(0x17, b"490101000000Z"), strange.tlv(0x17, b"491231235959Z"))
    with pytest.raises(TlsConfigurationError, match=r"crl.pem is not valid before 2049-01-01T00:00:00Z"):
        material(crl=_list(credentials, dates=ahead))


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside its base"])
@pytest.mark.parametrize("label", strange.LISTS)
def test_a_list_that_would_let_the_revoked_pass_is_refused(
    label: str, beside: bool, material: Files, credentials: Credentials
) -> None:
    """Delta lists, lists with a narrower scope, and those that OpenSSL does not apply."""
    message, extensions = strange.LISTS[label]
    with pytest.raises(TlsConfigurationError, match=message) as refused:
        material(crl=(credentials.crl() if beside else b"") + _list(credentials, extensions))
    assert "crl.pem" in str(refused.value)


@pytest.mark.parametrize("label", strange.APPLIED)
def test_a_list_that_is_applied_is_taken(label: str, material: Files, credentials: Credentials) -> None:
    material(crl=_list(credentials, strange.APPLIED[label]))


def test_a_list_in_another_name_or_of_another_key_is_refused(material: Files, credentials: Credentials) -> None:
    """Signed by the CA's key under another name, it would be found by nobody."""
    key = credentials.authority.pair.key
    other = strange.revocation_list(key, issuer=strange.common_name(b"another CA"))
    foreign = strange.revocation_list(curve(ec.SECP256R1()), issuer=CA_NAME)
    with pytest.raises(TlsConfigurationError, match=r"no client of 'CN=test CA' could connect.*CRL"):
        material(crl=pem("X509 CRL", other))
    with pytest.raises(TlsConfigurationError, match="is not signed by a CA in"):
        material(crl=pem("X509 CRL", foreign))


def test_a_list_whose_issuer_differs_in_string_type_or_case_is_taken(material: Files, credentials: Credentials) -> None:
    """OpenSSL compares names without regard to either, and so does kdm."""
    for name in (strange.common_name(b"test CA", 0x13), strange.common_name(b" TEST  ca ")):
        der = strange.revocation_list(credentials.authority.pair.key, issuer=name)
        material(crl=pem("X509 CRL", der))


AUTHORITIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "RSA of 1024 bits": (
        lambda: signed(rsa.generate_private_key(65537, 1024), name="weak", ca=True, usages=None),  # noqa: S505
        "key too weak",
    ),
    "for servers alone": (lambda: signed(curve(ec.SECP256R1()), name="servers", ca=True), "purpose"),
}


@pytest.mark.parametrize("kind", AUTHORITIES)
def test_a_client_ca_that_has_no_clients_is_refused(kind: str, material: Files, credentials: Credentials) -> None:
    make, message = AUTHORITIES[kind]
    with pytest.raises(TlsConfigurationError, match=f"client_ca.pem.*{message}"):
        material(client_ca=credentials.ca_pem() + make())


@pytest.mark.parametrize(
    "make",
    [
        lambda: curve(ec.SECP384R1()),
        lambda: curve(ec.BrainpoolP256R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        dsa_key,
        ed25519.Ed25519PrivateKey.generate,
        ed448.Ed448PrivateKey.generate,
    ],
    ids=["P-384", "brainpool", "RSA", "DSA", "Ed25519", "Ed448"],
)
@pytest.mark.parametrize("is_root", [True, False], ids=["a root", "an intermediate one"])
def test_a_client_ca_of_any_key_is_taken(
    is_root: bool, make: Callable[[], Any], material: Files, credentials: Credentials
) -> None:
    key = make()
    signer, issuer = (key, None) if is_root else (credentials.authority.pair.key, "root")
    authority = signed(key, name="another CA", issuer=issuer, signer=signer, ca=True, usages=None)
    material(client_ca=credentials.ca_pem() + authority)


def test_a_client_trusted_by_itself_is_no_flaw(material: Files, credentials: Credentials) -> None:
    """What is no CA's in the file of CAs is one client's own certificate."""
    material(client_ca=credentials.ca_pem() + credentials.bob.chain)


def _strange(material: Files, credentials: Credentials, where: str, how: dict[str, Any], extensions: Any) -> None:
    key = credentials.authority.pair.key
    usual = (strange.BASIC_CA,) if where == "client_ca" else (strange.BASIC_LEAF, strange.FOR_SERVERS)
    how = {"extensions": (*usual, *extensions), **how}
    der = strange.certificate(key, key, issuer=how.get("subject", strange.common_name(b"mallory")), **how)
    good = credentials.ca_pem() if where == "client_ca" else b""
    more = {"key": private_pem(key)} if where == "certificate" else {}
    material(**{where: good + pem("CERTIFICATE", der)}, **more)


MADE: dict[str, tuple[dict[str, Any], tuple[bytes, ...]]] = {
    **{label: (how, ()) for label, how in {**strange.SUBJECTS, **strange.SHAPES}.items()},
    **{label: ({}, more) for label, more in strange.EXTENSIONS.items()},
}


@pytest.mark.parametrize("where", ["client_ca", "certificate"])
@pytest.mark.parametrize("label", MADE)
def test_a_strange_ca_or_server_certificate_serves_or_is_refused_in_one_line(
    label: str, where: str, material: Files, credentials: Credentials
) -> None:
    """Nothing but a clean refusal comes out of any of them."""
    try:
        _strange(material, credentials, where, *MADE[label])
    except TlsConfigurationError as refused:
        said = str(refused)
    else:
        return
    assert f"{where}.pem" in said
    assert said.isprintable()


def test_two_client_cas_of_one_name_have_a_list_each(material: Files) -> None:
    """Key identifiers tell them apart; both lists are applied, each to its own CA's clients."""
    first, second = (Authority.create("one name", days=2) for _ in range(2))
    lists, leaves = [], []
    for authority in (first, second):
        good, revoked = (authority.issue(name, days=1) for name in ("good", "revoked"))
        lists.append(authority.sign_crl(revoked=[revoked.certificate], days=1).public_bytes(PEM))
        leaves.append((good, revoked))
    trust = material(
        client_ca=b"".join(each.pair.certificate_pem() for each in (first, second)), crl=b"".join(lists)
    ).trust
    now = datetime.now(UTC)
    for pairs in leaves:
        chains = [[Certificate.read(pair.certificate.public_bytes(serialization.Encoding.DER))] for pair in pairs]
        assert [trust.refusal(chain, now) for chain in chains] == [None, Reason.REVOKED]
