"""What parses bytes from outside, and the laws it must keep whatever they are.

A target takes bytes and returns; anything it raises is a counterexample. Each calls what kdm calls, not parts of it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import httptools

from kdm_adapters.kubernetes.wire.readers import JSON, PROTOBUF, Readers, failure
from kdm_adapters.kubernetes.wire.records import ProtocolError
from kdm_core import DeploymentRef, Identity, PolicyError
from kdm_core.model import Deployment, Verb
from kdm_core.policy.document import parse_policy
from kdm_http.server.request_head import BadHead, check, check_request_line
from kdm_http.tls.certificates import BadCertificate, Certificate, RevocationList
from kdm_http.tls.pem import PemError, read_blocks

__all__ = ["TARGETS"]

Target = Callable[[bytes], None]


def watch_json(data: bytes) -> None:
    """Read a watch in JSON."""
    _watch(data, JSON)


def watch_protobuf(data: bytes) -> None:
    """Read a watch in Protocol Buffers."""
    _watch(data, PROTOBUF)


def list_json(data: bytes) -> None:
    """Read a list in JSON, and the same bytes as a refusal."""
    _list(data, JSON)


def list_protobuf(data: bytes) -> None:
    """Read a list in Protocol Buffers, and the same bytes as a refusal."""
    _list(data, PROTOBUF)


def certificate(data: bytes) -> None:
    """Read a certificate and a revocation list, as a client may send one: every fault is one exception, on one line."""
    try:
        read = Certificate.read(data)
    except BadCertificate as error:
        _check_line(str(error))
    else:
        for text in (read.subject, read.issuer, *read.common_names, *read.organizations, *read.uris):
            text.encode()
    try:
        RevocationList.read(data)
    except BadCertificate as error:
        _check_line(str(error))


def pem(data: bytes) -> None:
    """Cut a PEM file into its blocks. Where that works, OpenSSL finds no more certificates than kdm, or none at all."""
    try:
        blocks = read_blocks(data)
        ders = [block.decode() for block in blocks if block.label == "CERTIFICATE"]
        for der in ders:
            Certificate.read(der)
    except (PemError, BadCertificate) as error:
        _check_line(str(error))
        return
    if not ders or len(ders) != len(blocks):
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(cadata=data.decode("ascii", "ignore"))
    except ssl.SSLError:
        return
    assert len(context.get_ca_certs(binary_form=True)) <= len(set(ders))


def policy(data: bytes) -> None:
    """Read a policy file. Whatever it says, judging by it raises nothing, and reading it again gives the same."""
    try:
        text = data.decode()
        read = parse_policy(text)
    except UnicodeDecodeError:
        return
    except PolicyError:
        return
    assert parse_policy(text) == read
    for actor in (Identity("alice", frozenset({"kdm:shop"})), Identity("spiffe://cluster.local/ns/shop/sa/web")):
        ref = DeploymentRef("shop", "web")
        allowed = read.allows(actor, Verb.SCALE, ref, {"tier": "web"}, 3)
        assert read.explain(actor, Verb.SCALE, ref, {"tier": "web"}, 3).allowed == allowed
        if allowed or read.allows(actor, Verb.READ, ref, {}):
            read.may_list(actor, "*")


class _Head:
    """What the parser says of a request's head, gathered as the server does."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete = True


def request_head(data: bytes) -> None:
    """Judge a request's head. What passes has a target that Litestar and the router can be given as it is."""
    head = _Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return
    if not head.complete:
        return
    method, version = parser.get_method(), parser.get_http_version()
    try:
        check_request_line(method, head.target, version, data)
        target = check(method, head.target, version, head.fields)
    except BadHead as error:
        _check_line(str(error))
        return
    assert target == b"*" or target.startswith(b"/")
    target.decode("ascii")
    httptools.parse_url(target if target != b"*" else b"/")
    assert sum(name == b"host" for name, _ in head.fields) <= 1


def _watch(data: bytes, media_type: str) -> None:
    """However the chunks fall, the messages are the same."""
    cut = data[0] if data else 0
    whole = list(_events(media_type, [data[1:]]))
    pieces = [data[1 : 1 + cut], *(data[at : at + 7] for at in range(1 + cut, len(data), 7))]
    assert list(_events(media_type, pieces)) == whole


def _events(media_type: str, chunks: list[bytes]) -> Iterator[Any]:
    reader = Readers().events(media_type)
    for chunk in chunks:
        try:
            yield from reader.feed(chunk)
        except ProtocolError as error:
            _check_line(str(error))
            yield "garbage"
            return


def _list(data: bytes, media_type: str) -> None:
    whole = _listed(media_type, [data])
    assert _listed(media_type, [data[at : at + 11] for at in range(0, len(data), 11)]) == whole
    for code in (200, 404, 500):
        _check_line(failure(data, code).message)


def _listed(media_type: str, chunks: list[bytes]) -> object:
    reader = Readers().list(media_type)
    found: list[Deployment] = []
    poisoned = 0
    try:
        for chunk in chunks:
            if page := reader.feed(chunk):
                found += page.deployments
                poisoned += len(page.undecodable)
        last = reader.end()
    except ProtocolError as error:
        _check_line(str(error))
        return "garbage"
    return [*found, *last.deployments], poisoned + len(last.undecodable), last.resource_version, last.continue_token


def _check_line(text: str) -> None:
    """What is said of foreign bytes is one line of bounded length, which begins no other."""
    assert text
    assert text.isprintable(), repr(text)
    assert len(text) <= 1200, f"{len(text)} characters"


TARGETS: Final[Mapping[str, Target]] = {
    each.__name__: each
    for each in (watch_json, watch_protobuf, list_json, list_protobuf, certificate, pem, policy, request_head)
}
