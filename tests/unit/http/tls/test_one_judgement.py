"""One module looks at certificates: a client, or whoever writes the watched files, chooses their bytes."""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path

import pytest

import kdm_http
from kdm_http.tls.certificates import BadCertificate, Certificate, RevocationList
from kdm_http.tls.peer import Peer, PeerRefused
from kdm_http.tls.rejection import Reason
from unit.http.credentials import Credentials
from unit.http.tls import strange

SOURCE = Path(kdm_http.__file__).parent
READER = "certificates.py"


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_nobody_else_touches_a_field_of_a_certificate() -> None:
    """The server imports the library for certificates in one place. `kdm certs`, which makes them, is elsewhere."""
    importers = {path.name for path in SOURCE.rglob("*.py") if "cryptography" in _imports(path)}
    assert importers == {READER}


def _made(credentials: Credentials, label: str) -> bytes:
    key = credentials.authority.pair.key
    return strange.certificate(key, key, issuer=strange.common_name(b"test CA"), **strange.clients()[label])


@pytest.mark.parametrize("label", strange.clients())
def test_a_strange_certificate_is_read_or_refused_in_one_line(label: str, credentials: Credentials) -> None:
    """There is one kind of error, whichever field is the bad one; nothing is left to be read later."""
    try:
        read = Certificate.read(_made(credentials, label))
    except BadCertificate as error:
        said = str(error)
    else:
        assert read.not_before < read.not_after
        return
    assert said.isprintable()
    assert len(said) < 300


@pytest.mark.parametrize("label", strange.clients())
def test_a_strange_client_is_somebody_or_refused(label: str, credentials: Credentials) -> None:
    try:
        peer = Peer.from_der(_made(credentials, label))
    except PeerRefused as exc:
        refused = exc
    else:
        assert peer.identity.user.isprintable()
        return
    assert refused.reason in {Reason.MALFORMED, Reason.NO_IDENTITY, Reason.NO_PURPOSE, Reason.CA_AS_CLIENT}
    assert str(refused).isprintable()


@pytest.mark.parametrize("kind", [Certificate, RevocationList])
@pytest.mark.parametrize("content", [b"", b"\0", b"\x30", b"\x30\x80\0\0", b"\x30\x84\xff\xff\xff\xff", b"kdm" * 1000])
def test_what_is_no_certificate_is_refused(kind: type[Certificate | RevocationList], content: bytes) -> None:
    with pytest.raises(BadCertificate, match="cannot be read"):
        kind.read(content)


def test_a_certificate_cut_short_or_changed_anywhere_raises_nothing_else(credentials: Credentials) -> None:
    """Every prefix, and every byte inverted, of a certificate and of a list."""
    key = credentials.authority.pair.key
    certificate = strange.certificate(key, key, issuer=strange.common_name(b"test CA"))
    crl = strange.revocation_list(key, issuer=strange.common_name(b"test CA"), revoked=(b"\x11\x22\x33",))
    for kind, whole in ((Certificate, certificate), (RevocationList, crl)):
        changed = [whole[:cut] for cut in range(len(whole))]
        changed += [
            whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :]
            for at in range(len(whole))
            for bits in (1, 0x80, 0xFF)
        ]
        for content in changed:
            with contextlib.suppress(BadCertificate):
                kind.read(content)
