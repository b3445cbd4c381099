"""What a refusal means: the one place where the cluster's failures become the core's errors and words.

ADR 0017 has the table and the reasons. The texts it goes by are those of k8s.io/apiserver v0.36.3.
"""

from __future__ import annotations

import math
import re
from typing import Final

from kdm_adapters.kubernetes.wire.messages import TIMED_OUT, UNREACHABLE, Failure
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
from kdm_core.model import DeploymentRef

_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
"""A string as Go's %q prints it."""

# forbiddenMessage in pkg/endpoints/handlers/responsewriters/errors.go, within NewForbidden's text. Whatever admission
# says stands in place of "User", and so cannot pass for it.
_AUTHORIZER: Final = re.compile(
    rf'(?:\S+(?: "[^"]*")? is )?forbidden: User {_QUOTED} cannot (\S+) '
    rf"(?:resource {_QUOTED} in API group {_QUOTED}(?: in the namespace {_QUOTED}| (at the cluster scope))?"
    rf"|path {_QUOTED})(?:: (.+))?"
)

# ToStatusErr in pkg/admission/plugin/webhook/errors, and the policies' dispatchers in pkg/admission/plugin/policy. They
# come with any code that the webhook or the policy's author likes.
_DENIED: Final = re.compile(
    rf"admission webhook {_QUOTED} denied the request"
    r'|(?:(?:\S+(?: "[^"]*")? is )?forbidden: )?(?:ValidatingAdmissionPolicy|policy) '
    rf"(?:'[^']*'|{_QUOTED})(?: with binding '[^']*')? denied request: "
)

_WEBHOOK_FAILED: Final = re.compile(rf"(?:Internal error occurred: )?failed calling webhook {_QUOTED}")
"""ErrCallingWebhook in pkg/util/webhook: a webhook could not be asked, and so the object was not stored."""

_FILTER_FAILED: Final = 'Internal Server Error: "/'
"""InternalError in responsewriters/errors.go: a filter failed, say an authorizer, before a handler. It is no Status."""

_ADMISSION_STARTS: Final = "not yet ready to handle request"
"""The end of what admission says while the API server starts (WaitForReady in pkg/admission/plugin)."""

_UNSERVED: Final = frozenset({405, 406, 415})
"""The API server does not serve what kdm asks for: not the method, the answer's or the request's media type."""

_SCALED: Final = frozenset({"deployments", "deployments/scale"})
"""The kinds by which ``details`` names the Deployment of a ``scale`` (pkg/registry/apps/deployment/storage)."""


def explain(failure: Failure, verb: str, resource: str) -> str:
    """Return what went wrong, for a person.

    Args:
        failure: What the cluster said.
        verb: What was tried: RBAC's verb.
        resource: On what: RBAC's resource.
    """
    if failure.unreached:
        return failure.message
    if refuses_credentials(failure):
        return f"the cluster does not accept kdm's credentials (401): {failure.message}"
    if denied := _missing_permission(failure):
        return denied
    if failure.foreign and not failure.throttled and not _failed_before(failure):
        return f"the answer to '{verb}' on '{resource}' is not the Kubernetes API's ({failure.code}): {failure.message}"
    code = f"{failure.code} {failure.reason}".rstrip()
    return f"'{verb}' on '{resource}' failed with {code}: {failure.message}"


def refuses_credentials(failure: Failure) -> bool:
    """Return whether kdm's credentials were refused: by the API server's authenticator, or by a gateway's (401).

    Webhooks and policies answer 401 too, and then it says nothing of the credentials.
    """
    if failure.code != 401:
        return False
    return failure.foreign or (failure.reason == "Unauthorized" and not failure.about.name and not _denied(failure))


def write_error(failure: Failure, ref: DeploymentRef) -> KdmError:
    """Return the error that a write to a Deployment's ``scale`` ends with.

    Args:
        failure: What the cluster said.
        ref: The Deployment.
    """
    message = explain(failure, "patch", "deployments/scale")
    if failure.unreached:
        return ClusterUnreachable(message) if failure.reason == UNREACHABLE else ClusterTimeout(_maybe(message))
    if _denied(failure):
        return _refused(failure, ref)
    if early := _early(failure, message):
        if isinstance(early, ClusterUnreachable):
            early.of_one = _webhook_failed(failure)
        return early
    if failure.code >= 500:
        return ClusterTimeout(_maybe(message))
    if failure.foreign or failure.code < 400:
        return ClusterUnrecognized(_maybe(message))
    return _rejected(failure, ref, message)


def lookup_error(failure: Failure, ref: DeploymentRef) -> KdmError:
    """Return the error of a write that ends before it begins: the Deployment could not be looked up.

    Args:
        failure: What the cluster said to the list of this one Deployment.
        ref: The Deployment.
    """
    message = f"Deployment '{ref}' cannot be looked up: {explain(failure, 'list', 'deployments')}"
    if not failure.unreached:
        if early := _early(failure, message):
            return early
        if failure.code < 500 and (failure.foreign or failure.code in {404, *_UNSERVED}):
            return unwritten(ClusterUnrecognized(message))
    return ClusterUnreachable(message)


def records_error(failure: Failure, verb: str) -> KdmError:
    """Return the error that a request for what is parked ends with. No Deployment was written with it.

    Args:
        failure: What the cluster said.
        verb: What was tried: RBAC's verb.
    """
    doing = "looked up" if verb == "get" else "remembered"
    message = f"what is parked cannot be {doing}: {explain(failure, verb, 'configmaps')}"
    if failure.unreached:
        return unwritten((ClusterUnreachable if failure.reason == UNREACHABLE else ClusterTimeout)(message))
    if not _denied(failure) and (early := _early(failure, message)):
        return early
    if failure.code >= 500:
        return unwritten(ClusterTimeout(message))
    return unwritten(ClusterUnrecognized(message)) if failure.foreign else WriteInvalid(message)


def unwritten(error: KdmError) -> KdmError:
    """Return an error that says that nothing was written."""
    error.written = False
    return error


def probe_error(failure: Failure) -> KdmError | None:
    """Return the error of a probe of ``/readyz``; None where the API server answered, even to refuse.

    Args:
        failure: What the cluster said.
    """
    if failure.unreached:
        return (ClusterTimeout if failure.reason == TIMED_OUT else ClusterUnreachable)(failure.message)
    if failure.code == 401:
        return ClusterUnreachable(explain(failure, "get", "/readyz"))
    if failure.code >= 500:
        error = ClusterTimeout if failure.code == 504 else ClusterUnreachable
        return error(f"the cluster is not ready ({failure.code}): {failure.message}")
    if failure.foreign and not failure.throttled:
        return ClusterUnrecognized(explain(failure, "get", "/readyz"))
    return None


def _early(failure: Failure, message: str) -> KdmError | None:
    """Return the error where the request was turned away before it could change anything; None where it was not."""
    if failure.throttled:
        return ClusterOverloaded(message, max(1, math.ceil(failure.retry_after_s)))
    if refuses_credentials(failure) or _failed_before(failure):
        return ClusterUnreachable(message)
    if failure.foreign:
        return None
    if failure.code == 503 or (failure.code == 403 and failure.message.endswith(_ADMISSION_STARTS)):
        return ClusterUnreachable(message)
    return WriteForbidden(message) if _missing_permission(failure) else None


def _rejected(failure: Failure, ref: DeploymentRef, message: str) -> KdmError:  # noqa: PLR0911 - a table
    """Return the error that a ``Status`` of 4xx means: nothing was written."""
    about = failure.about
    match failure.code:
        case 404 if about.group == "apps" and about.kind in _SCALED and about.name == ref.name:
            return DeploymentNotFound(ref)
        case 404 if not about.name:
            return unwritten(ClusterUnrecognized(f"the cluster does not serve the Deployments' scale: {message}"))
        case code if code in _UNSERVED:
            return unwritten(ClusterUnrecognized(f"the cluster does not serve the Deployments' scale: {message}"))
        case 409 if failure.reason == "AlreadyExists":
            return _refused(failure, ref)
        case 409 if about.name and about.kind not in _SCALED:
            return WriteConflict(f"scaling Deployment '{ref}' met a conflict: {failure.message}")
        case 409:
            return WriteConflict(f"Deployment '{ref}' is not as expected any more: {failure.message}")
        case _:
            return _refused(failure, ref)


def _refused(failure: Failure, ref: DeploymentRef) -> WriteInvalid:
    return WriteInvalid(f"the cluster refuses to scale Deployment '{ref}': {failure.message}")


def _maybe(message: str) -> str:
    return f"{message}; it may have been written: read before trying again"


def _denied(failure: Failure) -> bool:
    """Whether an admission webhook or policy said no."""
    return not failure.foreign and _DENIED.match(failure.message) is not None


def _failed_before(failure: Failure) -> bool:
    """Whether the API server failed before it could store anything."""
    if failure.code != 500:
        return False
    return failure.message.startswith(_FILTER_FAILED) if failure.foreign else _webhook_failed(failure)


def _webhook_failed(failure: Failure) -> bool:
    """Whether a webhook could not be asked. Which webhooks there are differs from one object to the next."""
    return failure.code == 500 and not failure.foreign and _WEBHOOK_FAILED.match(failure.message) is not None


def _missing_permission(failure: Failure) -> str:
    """Return what the authorizer says is missing, "" if the message is not the authorizer's.

    Admission answers 403 too: policies, webhooks, quotas, a namespace being deleted.
    """
    found = None if failure.foreign or failure.code != 403 else _AUTHORIZER.fullmatch(failure.message)
    if found is None:
        return ""
    user, verb, resource, _, namespace, everywhere, path, reason = found.groups()
    what = path if resource is None else resource
    where = f" in namespace '{namespace}'" if namespace else " in all namespaces" if everywhere else ""
    return f"kdm's identity '{user}' lacks the RBAC permission '{verb}' on '{what}'{where}" + (
        f": {reason}" if reason else ""
    )
