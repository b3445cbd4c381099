"""Which requests may be answered without the application, and the bytes of such responses."""

from __future__ import annotations

import pytest

from kdm_http.server.application import Ready
from kdm_http.server.plain_reads import JOINED_BYTES, is_plain, to_wire

HOST = (b"host", b"kdm:8443")
OTHERS = [(b"accept", b"*/*"), (b"if-none-match", b'"x"'), (b"connection", b"keep-alive")]
BODY = b'{"replicaCount":3}'


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_read_with_one_valid_host_is_plain(method: bytes) -> None:
    assert is_plain(method, "1.1", [HOST, *OTHERS])
    assert is_plain(method, "1.1", [*OTHERS, HOST])


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"CONNECT", b"get"])
def test_no_other_method_is(method: bytes) -> None:
    assert not is_plain(method, "1.1", [HOST])


def test_http_1_0_is_not() -> None:
    assert not is_plain(b"GET", "1.0", [HOST])


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding", b"expect", b"upgrade"])
def test_a_request_that_may_have_a_body_or_wants_another_protocol_is_not(name: bytes) -> None:
    assert not is_plain(b"GET", "1.1", [HOST, (name, b"0")])


@pytest.mark.parametrize(
    "fields",
    [[], [HOST, HOST], [(b"host", b"a b")], [(b"host", b"kdm:99999")], [(b"host", b"[::g]")]],
    ids=["none", "two", "blank", "port", "address"],
)
def test_a_host_that_is_missing_doubled_or_invalid_goes_the_long_way(fields: list[tuple[bytes, bytes]]) -> None:
    assert not is_plain(b"GET", "1.1", fields)


def test_an_empty_host_is_valid() -> None:
    assert is_plain(b"GET", "1.1", [(b"host", b"")])


def test_a_small_response_is_one_piece() -> None:
    [wire] = to_wire(Ready(200, b"content-length: 18\r\n\r\n", BODY), b"GET", b"date: now\r\n")
    assert wire == b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 18\r\n\r\n" + BODY


def test_head_has_no_body() -> None:
    [wire] = to_wire(Ready(200, b"content-length: 18\r\n\r\n", BODY), b"HEAD", b"date: now\r\n")
    assert wire == b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 18\r\n\r\n"


def test_not_modified_has_its_own_status_line() -> None:
    [wire] = to_wire(Ready(304, b'etag: "x"\r\n\r\n', b""), b"GET", b"")
    assert wire == b'HTTP/1.1 304 Not Modified\r\netag: "x"\r\n\r\n'


@pytest.mark.parametrize(("size", "copied"), [(JOINED_BYTES, True), (JOINED_BYTES + 1, False)])
def test_a_large_body_is_not_copied(size: int, copied: bool) -> None:
    body = b"x" * size
    pieces = to_wire(Ready(200, b"\r\n", body), b"GET", b"")
    assert b"".join(pieces) == b"HTTP/1.1 200 OK\r\n\r\n" + body
    assert (pieces[-1] is body) is not copied
    assert len(to_wire(Ready(200, b"\r\n", body), b"HEAD", b"")) == 1
