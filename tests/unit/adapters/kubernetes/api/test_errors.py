"""What an answer to a write means: by Kubernetes' Status alone, whoever else speaks, and in whose words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.kubernetes.api.errors import lookup_error, probe_error, refuses_credentials, write_error
from kdm_adapters.kubernetes.wire.messages import TIMED_OUT, UNANSWERED, UNREACHABLE, Failure
from kdm_adapters.kubernetes.wire.readers import failure
from kdm_core.errors import (
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentNotFound,
    KdmError,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)
from kdm_http.api.errors import status_of
from unit.adapters.kubernetes.answers import (
    ABOUT_WEB,
    CANNOT,
    FORBIDDEN,
    GATEWAYS,
    HERE,
    POLICY,
    STATUSES,
    WEB,
    WEBHOOK,
)
from unit.adapters.kubernetes.wire.wire_formats import JsonFormat, ProtobufFormat, WireFormat

LIST_FORBIDDEN = 'deployments.apps is forbidden: User "kdm" cannot list resource "deployments" in API group "apps"'

JSON: WireFormat = JsonFormat()
PROTOBUF: WireFormat = ProtobufFormat()
either_format = pytest.mark.parametrize("wire", [JSON, PROTOBUF], ids=["json", "protobuf"])


def said(code: int, reason: str, message: str, wire: WireFormat = JSON, /, **details: Any) -> Failure:
    """Return a Status as it is read."""
    return failure(wire.status(code, reason, message, **details), code)


def page(code: int, body: bytes) -> Failure:
    """Return an answer that is no Status as it is read."""
    return failure(body, code)


@either_format
@pytest.mark.parametrize(
    ("code", "reason", "message", "details", "error", "words"),
    [each[1:] for each in STATUSES],
    ids=[each[0] for each in STATUSES],
)
def test_a_status_means(
    wire: WireFormat, code: int, reason: str, message: str, details: dict[str, Any], error: type[KdmError], words: str
) -> None:
    found = write_error(said(code, reason, message, wire, **details), WEB)
    assert type(found) is error
    assert words in str(found)


@pytest.mark.parametrize(
    ("code", "body", "error", "words"), [each[1:] for each in GATEWAYS], ids=[each[0] for each in GATEWAYS]
)
def test_an_answer_without_a_status_means(code: int, body: bytes, error: type[KdmError], words: str) -> None:
    found = write_error(page(code, body), WEB)
    assert type(found) is error
    assert words in str(found)


@pytest.mark.parametrize(
    ("reason", "error"), [(UNREACHABLE, ClusterUnreachable), (UNANSWERED, ClusterTimeout), (TIMED_OUT, ClusterTimeout)]
)
def test_no_answer_means_that_it_may_have_been_written_unless_nothing_was_sent(
    reason: str, error: type[KdmError]
) -> None:
    assert type(write_error(Failure(0, reason, "x"), WEB)) is error


@either_format
def test_all_that_the_authorizer_says_is_told(wire: WireFormat) -> None:
    """The user is whom a role binding must name; the reason says which role is missing, say."""
    message = f'{FORBIDDEN}{CANNOT}{HERE}: RBAC: role.rbac.authorization.k8s.io "kdm" not found'
    assert str(write_error(said(403, "Forbidden", message, wire), WEB)) == (
        "kdm's identity 'kdm' lacks the RBAC permission 'patch' on 'deployments/scale' in namespace 'shop': "
        'RBAC: role.rbac.authorization.k8s.io "kdm" not found'
    )


@pytest.mark.parametrize(
    ("failure", "refused"),
    [
        (said(401, "Unauthorized", "Unauthorized"), True),
        (page(401, b"<html>Sign in</html>"), True),
        (page(401, b""), True),
        (said(401, "Unauthorized", WEBHOOK + "Unauthorized"), False),
        (said(401, "Unauthorized", FORBIDDEN + POLICY + "no", **ABOUT_WEB), False),
        (said(403, "Forbidden", "Unauthorized"), False),
        (page(407, b""), False),
    ],
)
def test_only_who_checks_credentials_can_refuse_them(failure: Failure, refused: bool) -> None:
    """A webhook's 401 must not make kdm renew credentials that are fine."""
    assert refuses_credentials(failure) is refused


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Failure(0, TIMED_OUT, "x"), ClusterUnreachable),
        (said(403, "Forbidden", LIST_FORBIDDEN), WriteForbidden),
        (said(403, "Forbidden", "a proxy's own"), ClusterUnreachable),
        (said(429, "TooManyRequests", "slow down"), ClusterOverloaded),
        (said(404, "NotFound", "the server could not find the requested resource"), ClusterUnrecognized),
        (said(500, "InternalError", "oh"), ClusterUnreachable),
        (said(504, "Timeout", "oh"), ClusterUnreachable),
        (page(404, b"<html>Not here</html>"), ClusterUnrecognized),
        (page(403, b"<html>Blocked</html>"), ClusterUnrecognized),
        (page(401, b"<html>Sign in</html>"), ClusterUnreachable),
        (page(502, b"<html>Bad Gateway</html>"), ClusterUnreachable),
    ],
)  # fmt: skip
def test_a_write_whose_deployment_cannot_be_looked_up_wrote_nothing(failure: Failure, error: type[KdmError]) -> None:
    found = lookup_error(failure, WEB)
    assert type(found) is error
    assert "cannot be looked up" in str(found)
    assert "may have been written" not in str(found)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (said(403, "Forbidden", 'forbidden: User "system:anonymous" cannot get path "/readyz"'), None),
        (said(404, "NotFound", "the server could not find the requested resource"), None),
        (said(429, "TooManyRequests", "slow down"), None),
        (page(429, b"Too many requests, please try again later."), None),
        (said(401, "Unauthorized", "Unauthorized"), ClusterUnreachable),
        (page(401, b"<html>Sign in</html>"), ClusterUnreachable),
        (page(500, b"[+]ping ok\n[-]etcd failed: reason withheld\n"), ClusterUnreachable),
        (page(503, b"<html>Down</html>"), ClusterUnreachable),
        (page(504, b"<html>Late</html>"), ClusterTimeout),
        (page(404, b"<html>Not here</html>"), ClusterUnrecognized),
        (page(403, b"<html>Blocked</html>"), ClusterUnrecognized),
        (page(302, b""), ClusterUnrecognized),
        (page(200, b"<html>Sign in</html>"), ClusterUnrecognized),
        (Failure(0, TIMED_OUT, "x"), ClusterTimeout),
        (Failure(0, UNREACHABLE, "x"), ClusterUnreachable),
    ],
)
def test_the_cluster_is_healthy_if_the_api_server_answers_be_it_that_it_may_not_be_asked(
    failure: Failure, error: type[KdmError] | None
) -> None:
    found = probe_error(failure)
    assert (type(found) if found else None) is error


def test_a_path_that_may_not_be_asked_is_named() -> None:
    found = said(403, "Forbidden", 'forbidden: User "kdm" cannot get path "/apis": no role')
    assert str(write_error(found, WEB)) == "kdm's identity 'kdm' lacks the RBAC permission 'get' on '/apis': no role"


# Laws, over whatever may be said

SECRETS = ["Bearer eyJhbGciOi.eyJzdWIi.c2ln", "Authorization: Basic a2RtOmh1bnRlcjI=", "token=0123456789abcdef01"]
SPOKEN = st.one_of(
    st.sampled_from([each[3] for each in STATUSES] + [each[2].decode() for each in GATEWAYS] + SECRETS),
    st.text(max_size=60),
)
WORDS = st.lists(SPOKEN, max_size=4).map("\n".join)
REASONS = st.sampled_from(["", "Timeout", "Weird", *{each[2] for each in STATUSES}])
CODES = st.one_of(
    st.sampled_from([each[1] for each in STATUSES] + [each[1] for each in GATEWAYS]), st.integers(300, 599)
)
DETAILS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["web", "api", "shop", ""]),
        "group": st.sampled_from(["apps", "", "example.org"]),
        "kind": st.sampled_from(["deployments", "deployments/scale", "namespaces", ""]),
        "retryAfterSeconds": st.integers(-(2**31), 2**31 - 1),
    },
)
PLAIN_AUTHORIZER = re.compile(r'[^"]*( "[^"]*")? is forbidden: User "|forbidden: User "')


def assert_fit_to_be_told(error: KdmError) -> None:
    """Whatever was said: one bounded line without secrets, a status that is not 500, and no wait without end."""
    told = str(error)
    assert told.isprintable()
    assert len(told) < 2300
    for secret in ("c2ln", "a2RtOmh1bnRlcjI", "0123456789abcdef01"):
        assert secret not in told
    assert status_of(error) in {404, 409, 422, 502, 503, 504}
    assert 1 <= getattr(error, "retry_after_s", 1) <= 120


@given(CODES, REASONS, WORDS, DETAILS, st.sampled_from([JSON, PROTOBUF]))
def test_whatever_a_status_says(
    code: int, reason: str, message: str, details: dict[str, Any], wire: WireFormat
) -> None:
    message = message.encode(errors="replace").decode()
    found = said(code, reason, message, wire, **details)
    assert not found.foreign
    error = write_error(found, WEB)
    assert_fit_to_be_told(error)
    if isinstance(error, WriteForbidden):
        assert code == 403
        assert PLAIN_AUTHORIZER.match(message.strip())
    if isinstance(error, DeploymentNotFound):
        assert (code, details["name"], details["group"]) == (404, "web", "apps")
        assert details["kind"].startswith("deployments")
    if isinstance(error, WriteInvalid):
        assert found.message in str(error)
    if message.startswith(WEBHOOK):
        assert type(error) is WriteInvalid
    assert_fit_to_be_told(lookup_error(found, WEB))


@given(CODES, WORDS, st.booleans())
def test_whatever_a_gateway_says(code: int, words: str, markup: bool) -> None:
    body = (f"<html><body><b>{words}</b></body></html>" if markup else words).encode(errors="replace")
    found = page(code, body)
    error = write_error(found, WEB)
    assert_fit_to_be_told(error)
    assert not isinstance(error, (WriteForbidden, WriteInvalid, WriteConflict, DeploymentNotFound))
    assert found.message in str(error)
    assert not found.expired
    assert not found.too_large
    if code not in {401, 429} and code < 500:
        assert type(error) is ClusterUnrecognized
    assert_fit_to_be_told(lookup_error(found, WEB))


@given(st.binary(max_size=200), CODES)
def test_whatever_bytes_come(body: bytes, code: int) -> None:
    assert_fit_to_be_told(write_error(page(code, body), WEB))
