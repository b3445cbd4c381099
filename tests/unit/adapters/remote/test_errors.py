"""Every error goes through API v2 and comes back as what it was."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from kdm_adapters.remote.errors import EDGE, error_of, problem_of
from kdm_core import (
    ClusterTimeout,
    ClusterUnrecognized,
    KdmError,
    Unavailable,
)
from kdm_core.errors import ERRORS
from kdm_http.api.errors import Problem as Answered
from kdm_http.api.errors import Refused
from kdm_http.api.errors import problem_of as answer_of
from kdm_http.api.v2.dialect import V2
from kdm_http.api.v2.problems import EDGE as EDGE_KINDS
from unit.core.error_examples import EXAMPLES


def there_and_back(error: Exception, *, write: bool = True) -> KdmError:
    """Answer with an error as API v2 does, and read the answer."""
    answered: Answered = answer_of(error, V2.statuses, "r-1", write=write)
    fields = {"content-type": V2.error_type.decode(), **answered.fields}
    return error_of(answered.status, fields, msgspec.json.encode(V2.error_body(answered)))


def members(error: KdmError) -> dict[str, Any]:
    return {name: value for name, value in vars(error).items() if name not in {"__cause__", "maybe_later"}}


def shown(value: object) -> object:
    """Return a member as it can be compared: errors within are no values."""
    if isinstance(value, KdmError):
        return type(value), str(value), members(value)
    return tuple(map(shown, value)) if isinstance(value, tuple) else value


def test_there_is_an_example_of_every_error() -> None:
    assert {type(each) for each in EXAMPLES} == set(ERRORS.values())


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda each: each.code)
def test_an_error_comes_back_as_what_it_was(error: KdmError) -> None:
    back = there_and_back(error)

    assert type(back) is type(error)
    internal = error.code in {"error", "invalid-policy"}
    assert str(back) == ("internal error; the log has more under request id r-1" if internal else str(error))
    assert back.retryable == error.retryable
    for name, value in members(error).items():
        assert shown(getattr(back, name)) == shown(value), name
    if isinstance(error, Unavailable):
        assert isinstance(back, Unavailable)
        assert back.retry_after_s == error.retry_after_s


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda each: each.code)
def test_whether_it_was_written_comes_along(error: KdmError) -> None:
    assert there_and_back(error).written is error.written
    assert there_and_back(error, write=False).written is type(error).written


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda each: each.code)
def test_what_the_server_said_can_be_read_word_for_word(error: KdmError) -> None:
    problem = problem_of(there_and_back(error))

    assert problem is not None
    assert problem.request_id == "r-1"
    assert problem.code == (error.code if problem.status != 500 else problem.code)
    assert problem.body["title"]
    again = pickle.loads(pickle.dumps(problem))  # noqa: S301 - our own
    assert (again.status, again.body) == (problem.status, problem.body)


def test_every_code_of_the_edge_is_an_error_of_the_core() -> None:
    assert {each.code for each in EDGE_KINDS} == set(EDGE)
    for each in EDGE_KINDS:
        back = there_and_back(Refused(each.code, each.status, "what went wrong", written=None, retry_after_s=3))
        assert type(back) is EDGE[each.code]
        assert back.retryable or not each.retryable
        assert back.written is None
        assert str(back) == ("what went wrong" if each.code != "no-such-route" else str(back))


def test_a_code_of_a_newer_kdm_is_an_error_too() -> None:
    def of(**body: Any) -> KdmError:
        return error_of(409, {"content-type": "application/problem+json"}, msgspec.json.encode(body))

    known = of(code="owner-of-the-future", detail="it cannot be", written=False, retryable=False)
    assert type(known) is KdmError
    assert (str(known), known.written) == ("it cannot be", False)
    assert isinstance(of(code="later", retryable=True), Unavailable)
    assert str(of(code="later")) == "later"


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({"content-type": "text/html"}, b"<html>\n<h1>502 Bad Gateway</h1>"),
        ({}, b""),
        ({"content-type": "application/problem+json"}, b"{"),
        ({"content-type": "application/problem+json"}, b"[]"),
        ({"content-type": "application/problem+json"}, b'{"code": 7}'),
        ({"content-type": "application/problem+json"}, b"[" * 100_000),
        ({"content-type": "application/json"}, b'{"errors": "of another API"}'),
    ],
)
def test_an_answer_that_is_not_kdms_is_said_to_be_none(fields: dict[str, str], content: bytes) -> None:
    error = error_of(502, fields, content)
    assert type(error) is ClusterUnrecognized
    assert error.written is None
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("said", "seconds"), [("3", 3), (" 3 ", 3), ("0", 0), ("9" * 400, 3600), ("-1", 1), ("Fri", 1), ("", 1), ("²", 1)]
)
def test_retry_after_is_read_as_seconds_and_is_bounded(said: str, seconds: int) -> None:
    fields = {"content-type": "application/problem+json", "retry-after": said}
    error = error_of(504, fields, b'{"code": "cluster-timeout", "written": null}')
    assert isinstance(error, ClusterTimeout)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize("code", sorted({*ERRORS, *EDGE}))
@pytest.mark.parametrize("junk", [None, 7, "x", [], [1], {}, {"a": {}}], ids=str)
def test_members_of_another_kind_than_expected_break_nothing(code: str, junk: object) -> None:
    names = [
        "detail", "written", "retryable", "requestId", "allowed", "bounds", "current", "expected", "namespace", "name",
        "verb", "user", "target", "result", "attempts", "value", "what", "rule", "selector", "problem", "namespaces",
    ]  # fmt: skip
    for body in (dict.fromkeys(names, junk), {}, {"current": {"name": "web"}, "expected": {"currentReplicas": -1}}):
        content = msgspec.json.encode({**body, "code": code})
        error = error_of(400, {"content-type": "application/problem+json"}, content)
        assert error.code == (ERRORS.get(code) or EDGE[code]).code
        assert str(error)
        assert repr(vars(error))
