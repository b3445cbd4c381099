"""What kdm reads in a file is what OpenSSL reads in it, or the file is refused with its line."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdm_http.tls.certificate_files import TlsConfigurationError, read_certificates, read_lists
from unit.http.credentials import Credentials

ONE, TWO = (Credentials().authority.pair.certificate_pem() for _ in range(2))
SECOND = ONE.count(b"\n") + 1
"""The line that a second certificate begins in."""

KEY = Credentials().authority.pair.key_pem()
CRL = Credentials().crl()
TRUSTED = ONE.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE")
OLD = ONE.replace(b"CERTIFICATE", b"X509 CERTIFICATE")


def _loaded_by_openssl(path: Path) -> set[bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        return set()
    return set(context.get_ca_certs(binary_form=True))


FILES = {
    "an indented block": (
        ONE + b"  " + TWO.replace(b"\n", b"\n  ").rstrip(b" "),
        f"line {SECOND}: the marker is indented",
    ),
    "an indented first line": (ONE + b" " + TWO, f"line {SECOND}: the marker is indented"),
    "a trusted certificate": (ONE + TRUSTED, f"line {SECOND}: a TRUSTED CERTIFICATE does not belong here"),
    "an old label": (OLD + TWO, "line 1: a X509 CERTIFICATE does not belong here"),
    "a missing line break": (ONE.rstrip() + TWO, f"line {SECOND - 1}: two markers on one line"),
    "a byte order mark": (b"\xef\xbb\xbf" + ONE + TWO, "line 1: it begins with a byte order mark"),
    "UTF-16": (ONE.decode().encode("utf-16"), "line 1: it begins with a byte order mark"),
    "text after a marker": (
        ONE + TWO.replace(b"BEGIN CERTIFICATE-----", b"BEGIN CERTIFICATE----- # two"),
        f"line {SECOND}: the marker is not alone",
    ),
    "a lower-case marker": (
        ONE + TWO.replace(b"CERTIFICATE", b"certificate"),
        f"line {SECOND}: the marker is not alone",
    ),
    "a marker of four hyphens": (
        ONE + TWO.replace(b"TE-----\n", b"TE----\n", 1),
        f"line {SECOND}: the marker is not alone",
    ),
    "no end": (ONE + TWO.partition(b"-----END")[0], f"line {SECOND}: the CERTIFICATE has no end"),
    "an end of something else": (
        ONE + TWO.replace(b"END CERTIFICATE", b"END X509 CRL"),
        "the end of a X509 CRL that was not begun",
    ),
    "a begin in a block": (ONE + TWO.partition(b"-----END")[0] + TWO, f"begun in line {SECOND} has no end"),
    "no base64": (ONE + TWO.replace(b"\nMII", b"\n*II"), f"line {SECOND}: the block of this CERTIFICATE is not base64"),
    "a comment in a block": (
        ONE + TWO.replace(b"-----\n", b"-----\n# two\n", 1),
        f"line {SECOND}: the block of this CERTIFICATE is not base64",
    ),
    "a cut block": (
        ONE + b"\n".join(line for number, line in enumerate(TWO.split(b"\n")) if number != 5),
        f"line {SECOND}: the certificate",
    ),
    "bytes after the certificate": (ONE + TWO.replace(b"\n-----END", b"\nAAAA\n-----END"), f"line {SECOND}: "),
    "an empty block": (
        ONE + b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        f"line {SECOND}: the certificate cannot be read",
    ),
    "a private key": (ONE + KEY, f"line {SECOND}: a PRIVATE KEY does not belong here"),
    "a revocation list": (ONE + CRL, f"line {SECOND}: a X509 CRL does not belong here"),
    "DER": (ssl.PEM_cert_to_DER_cert(ONE.decode()), "it is DER, not PEM"),
    "nothing": (b"", "holds no PEM certificates"),
    "text": (b"my certificates\n", "holds no PEM certificates"),
}


@pytest.mark.parametrize("label", FILES)
def test_a_file_that_readers_read_differently_is_refused_with_its_line(label: str, tmp_path: Path) -> None:
    content, message = FILES[label]
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(TlsConfigurationError, match=message) as refused:
        read_certificates(path)
    assert str(path) in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        ONE + TWO,
        ONE + ONE + TWO,
        (ONE + TWO).replace(b"\n", b"\r\n"),
        b"subject=CN = one\n\n" + ONE + b"# two\n  indented text\n" + TWO + b"the end",
        b"\n\n" + ONE + b"\n\n \n" + TWO.rstrip(),
        ONE.replace(b"-----\n", b"-----  \n") + TWO,
    ],
    ids=["two", "one twice", "CRLF", "text around", "empty lines", "trailing spaces"],
)
def test_what_is_clean_is_read_as_openssl_reads_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    read = {each.der for each in read_certificates(path)}
    assert read == _loaded_by_openssl(path)
    assert len(read) == 2


def test_a_list_is_read_where_lists_belong_and_nothing_else(tmp_path: Path) -> None:
    """OpenSSL would trust a certificate that stands among the lists."""
    path = tmp_path / "crl.pem"
    path.write_bytes(CRL)
    assert len(read_lists(path)) == 1
    path.write_bytes(CRL + ONE)
    assert len(_loaded_by_openssl(path)) == 1
    with pytest.raises(TlsConfigurationError, match="a CERTIFICATE does not belong here"):
        read_lists(path)


PIECES = [ONE, TWO, TRUSTED, OLD, KEY, CRL, ONE.rstrip(), b" " + TWO, b"\n", b"# text\n", b"-", b"\xef\xbb\xbf", b"\t"]
CHANGES = [
    (b"\n", b"\r\n"),
    (b"\n", b"\n "),
    (b"-----BEGIN", b"----BEGIN"),
    (b"-----\n", b"----- \n"),
    (b"M", b"-"),
    (b"", b""),
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(CHANGES)), max_size=5),
    cut=st.integers(0, 40),
    noise=st.binary(max_size=3),
)
def test_any_file_is_read_as_openssl_reads_it_or_refused(
    pieces: list[tuple[bytes, tuple[bytes, bytes]]], cut: int, noise: bytes, tmp_path: Path
) -> None:
    """OpenSSL is the oracle: whatever a file is patched together of, the two never see different certificates."""
    content = b"".join(piece.replace(old, new) if old else piece for piece, (old, new) in pieces)
    content = content[: len(content) - cut] + noise
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    try:
        read = {each.der for each in read_certificates(path)}
    except TlsConfigurationError as error:
        refused = str(error)
    else:
        assert read == _loaded_by_openssl(path)
        return
    assert refused.isprintable()
