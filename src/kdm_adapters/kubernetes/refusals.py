"""What a refusal of the cluster means: the one place where its failures become the core's errors and words."""

from __future__ import annotations

import math

from kdm_adapters.kubernetes.messages import UNREACHABLE, Failure
from kdm_core.errors import (
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    DeploymentNotFound,
    KdmError,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)
from kdm_core.model import DeploymentRef


def explain(failure: Failure, verb: str, resource: str, namespace: str | None) -> str:
    """Return what went wrong, for a person.

    Args:
        failure: What the cluster said.
        verb: What was tried: RBAC's verb.
        resource: On what: RBAC's resource.
        namespace: Where, or None for all namespaces.
    """
    if failure.code == 401:
        return f"the cluster does not accept kdm's credentials (401): {failure.message}"
    if failure.code == 403 and _denied_by_rbac(failure):
        where = f"in namespace '{namespace}'" if namespace else "in all namespaces"
        return f"kdm's identity lacks the RBAC permission '{verb}' on '{resource}' {where}"
    if failure.unreached:
        return failure.message
    return f"'{verb}' on '{resource}' failed with {failure.code} {failure.reason}".rstrip() + f": {failure.message}"


def write_error(failure: Failure, ref: DeploymentRef) -> KdmError:  # noqa: PLR0911 - a table
    """Return the error that a write to a Deployment's ``scale`` ends with.

    Args:
        failure: What the cluster said.
        ref: The Deployment.
    """
    message = explain(failure, "patch", "deployments/scale", ref.namespace)
    if failure.unreached:
        return ClusterUnreachable(message) if failure.reason == UNREACHABLE else ClusterTimeout(_maybe(message))
    if failure.throttled:
        return ClusterOverloaded(message, max(1, math.ceil(failure.retry_after_s)))
    match failure.code:
        case 401:
            return ClusterUnreachable(message)
        case 403 if _denied_by_rbac(failure):
            return WriteForbidden(message)
        case 404:
            return DeploymentNotFound(ref)
        case 409:
            return WriteConflict(f"Deployment '{ref}' is not as expected any more: {failure.message}")
        case code if code < 500:
            return WriteInvalid(f"the cluster refuses to scale Deployment '{ref}': {failure.message}")
        # A gateway does not know what happened behind it, nor does an API server whose etcd is too slow.
        case code if code in {502, 504} or failure.reason == "Timeout" or "timed out" in failure.message:
            return ClusterTimeout(_maybe(message))
        case _:
            return ClusterUnreachable(message)


def _maybe(message: str) -> str:
    return f"{message}; it may have been written: read before trying again"


def _denied_by_rbac(failure: Failure) -> bool:
    """Whether authorization said no. Admission answers 403 too: webhooks, quotas, a namespace being deleted."""
    return "cannot" in failure.message and "resource" in failure.message
