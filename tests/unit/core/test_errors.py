"""What a caller reads when something goes wrong."""

from __future__ import annotations

import pytest

import kdm_core
from kdm_core import (
    ERRORS,
    AmbiguousName,
    AuditUnavailable,
    ClusterOverloaded,
    ClusterTimeout,
    DeploymentNotFound,
    DeploymentRef,
    Forbidden,
    Identity,
    InvalidName,
    InvalidReplicas,
    KdmError,
    NamespaceNotWatched,
    OutOfBounds,
    Unavailable,
    Verb,
    WriteConflict,
    WriteRejected,
)

WEB = DeploymentRef("shop", "web")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InvalidName("name", "Web", "lower-case"), "invalid name 'Web': it must be lower-case"),
        (InvalidReplicas("many", 10), "invalid replica count 'many': it must be an integer from 0 to 10"),
        (DeploymentNotFound(WEB), "Deployment 'shop/web' not found"),
        (DeploymentNotFound("web"), "Deployment 'web' not found in any namespace"),
        (
            NamespaceNotWatched("kube-system", ["a", "b"]),
            "namespace 'kube-system' is not managed here; managed are: a, b",
        ),
        (
            AmbiguousName("web", ["a", "b"]),
            "Deployment 'web' exists in several namespaces, say which: a, b",
        ),
        (
            Forbidden(Identity("alice"), Verb.SCALE, "Deployment 'shop/web' to 3 replicas"),
            "user 'alice' lacks the permission 'scale' on Deployment 'shop/web' to 3 replicas",
        ),
        (WriteConflict("changed meanwhile"), "changed meanwhile"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_says_what_is_wrong(error: KdmError, message: str) -> None:
    assert str(error) == message


def test_messages_do_not_repeat_endless_input() -> None:
    assert len(str(InvalidName("name", "x" * 100_000, "short"))) < 200
    assert len(str(InvalidReplicas("9" * 100_000, 10))) < 200
    assert len(str(InvalidReplicas(10**100_000, 10))) < 200  # Python itself refuses to write this number
    assert len(str(InvalidReplicas([10**100_000], 10))) < 200


def test_messages_do_not_let_input_forge_lines() -> None:
    assert "\n" not in str(InvalidName("name", "web\nERROR forged", "a name"))
    assert "\n" not in str(InvalidReplicas("3\nERROR forged", 10))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidName("name", "", ""), ValueError),
        (InvalidReplicas(-1, 1), ValueError),
        (DeploymentNotFound(WEB), LookupError),
        (NamespaceNotWatched("x", []), DeploymentNotFound),
        (AmbiguousName("web", []), LookupError),
        (WriteConflict(""), WriteRejected),
        (ClusterTimeout(""), Unavailable),
    ],
    ids=lambda each: type(each).__name__,
)
def test_can_be_caught_as_what_python_programs_expect(error: KdmError, kind: type[Exception]) -> None:
    assert isinstance(error, kind)
    assert isinstance(error, KdmError)


def test_unavailable_says_when_to_try_again() -> None:
    assert ClusterTimeout("late").retry_after_s >= 1
    assert ClusterOverloaded("busy", retry_after_s=7).retry_after_s == 7


def test_the_namespaces_of_an_ambiguous_name_can_be_read_by_programs() -> None:
    assert AmbiguousName("web", ["a", "b"]).namespaces == ("a", "b")


def test_every_error_is_public_and_documented() -> None:
    """Whoever catches by kind finds each kind in the package itself."""
    kinds = [KdmError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for kind in kinds:
        if kind.__module__.startswith("kdm_core."):
            assert getattr(kdm_core, kind.__name__) is kind
            assert kind.__doc__


def test_every_error_has_a_code_of_its_own() -> None:
    """Programs, the problem pages of HTTP and a remote repository go by it: it does not change."""
    kinds = [KdmError]
    for kind in kinds:
        kinds += [each for each in kind.__subclasses__() if each.__module__.startswith("kdm_core.")]
    assert all("code" in vars(kind) for kind in kinds), "an inherited code would tell two apart as one"
    assert {kind.code: kind for kind in kinds} == ERRORS
    assert len(ERRORS) == len(set(kinds))
    assert set(ERRORS) == {
        "error",
        "invalid-input",
        "invalid-change",
        "invalid-name",
        "invalid-policy",
        "invalid-query",
        "invalid-replicas",
        "invalid-selector",
        "deployment-not-found",
        "namespace-not-watched",
        "ambiguous-name",
        "forbidden",
        "changed-since-parked",
        "not-parked",
        "nothing-to-park",
        "out-of-bounds",
        "parking-full",
        "parking-off",
        "parking-record-unreadable",
        "precondition-failed",
        "write-rejected",
        "write-conflict",
        "write-forbidden",
        "write-invalid",
        "unavailable",
        "cache-not-synced",
        "cache-stale",
        "cluster-unreachable",
        "cluster-timeout",
        "cluster-unrecognized",
        "cluster-overloaded",
        "contended",
        "audit-unavailable",
        "not-seen-yet",
        "reason-required",
        "owner-conflict",
        "override-forbidden",
        "bulk-refused",
        "bulk-too-large",
        "plan-changed",
        "not-tried",
    }


def test_an_error_says_whether_to_try_again_and_whether_it_was_written() -> None:
    assert {code for code, kind in ERRORS.items() if kind.written is None} == {
        "cluster-timeout",
        "cluster-unrecognized",
    }
    assert {code for code, kind in ERRORS.items() if kind.retryable} == {
        code for code, kind in ERRORS.items() if issubclass(kind, Unavailable)
    }
    assert AuditUnavailable("full").written is False
    assert AuditUnavailable("full", written=True).written is True


def test_an_error_knows_what_it_is_about() -> None:
    assert DeploymentNotFound(WEB).ref == WEB
    assert NamespaceNotWatched("x", ["a"]).watched == ("a",)
    refused = Forbidden(Identity("alice"), Verb.SCALE, "it", "shop")
    assert (refused.user, refused.verb, refused.namespace) == ("alice", Verb.SCALE, "shop")
    bounded = OutOfBounds(WEB, 3, 12, 1, 10)
    assert (bounded.current, bounded.result, bounded.minimum, bounded.maximum) == (3, 12, 1, 10)
    assert InvalidReplicas(11, 10).maximum == 10
