"""The API server's Protocol Buffers, made from its JSON as its own encoder makes them.

Fields are in the order of their numbers; strings that are no pointers are written even where empty. See the
``generated.pb.go`` files of ``k8s.io/api/apps/v1`` and ``k8s.io/apimachinery/pkg/apis/meta/v1``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

MAGIC = b"k8s\x00"


def varint(value: int) -> bytes:
    """Return a number; a negative one as 64 bits."""
    value &= 2**64 - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def number(field: int, value: int | None) -> bytes:
    """Return a field that is an int32, int64 or bool; nothing for None, the pointer that is nil."""
    return b"" if value is None else varint(field << 3) + varint(value)


def text(field: int, value: str | bytes) -> bytes:
    """Return a field that is a string, bytes or a message."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def string_map(field: int, values: Mapping[str, str] | None) -> bytes:
    """Return a field that is a map of strings."""
    return b"".join(text(field, text(1, key) + text(2, value)) for key, value in sorted((values or {}).items()))


def object_meta(told: Mapping[str, Any]) -> bytes:
    """Return an ``ObjectMeta``."""
    return (
        text(1, told.get("name", ""))
        + text(2, "")
        + text(3, told.get("namespace", ""))
        + text(4, "")
        + text(5, told.get("uid", ""))
        + text(6, told.get("resourceVersion", ""))
        + number(7, told.get("generation", 0))
        + text(8, number(1, 1_767_225_600) + number(2, 0))
        + string_map(11, told.get("labels"))
        + string_map(12, told.get("annotations"))
        + b"".join(text(13, owner_reference(each)) for each in told.get("ownerReferences", ()))
        + b"".join(text(17, managed_fields_entry(each)) for each in told.get("managedFields", ()))
    )


def owner_reference(told: Mapping[str, Any]) -> bytes:
    """Return an ``OwnerReference``."""
    return (
        text(1, told.get("kind", ""))
        + text(3, told.get("name", ""))
        + text(4, told.get("uid", ""))
        + text(5, told.get("apiVersion", ""))
        + number(6, told.get("controller"))
        + number(7, told.get("blockOwnerDeletion"))
    )


def managed_fields_entry(told: Mapping[str, Any]) -> bytes:
    """Return a ``ManagedFieldsEntry``."""
    time = told.get("time")
    seconds = None if time is None else int(datetime.fromisoformat(time).timestamp())
    return (
        text(1, told.get("manager", ""))
        + text(2, told.get("operation", ""))
        + text(3, told.get("apiVersion", ""))
        + (b"" if seconds is None else text(4, number(1, seconds) + number(2, 0)))
        + text(6, "FieldsV1")
        + text(7, text(1, json.dumps(told["fieldsV1"], separators=(",", ":"))))
        + text(8, told.get("subresource", ""))
    )


def deployment_spec(told: Mapping[str, Any]) -> bytes:
    """Return a ``DeploymentSpec``."""
    return (
        number(1, told.get("replicas"))
        + text(2, string_map(1, (told.get("selector") or {}).get("matchLabels")))
        + text(3, json.dumps(told.get("template", {})))  # nobody looks into it
        + text(4, text(1, "RollingUpdate"))
        + number(5, 0)
        + number(6, 10)
        + number(7, bool(told.get("paused")))
        + number(9, 600)
    )


def condition(told: Mapping[str, Any]) -> bytes:
    """Return a ``DeploymentCondition``."""
    moment = number(1, 1_767_225_600) + number(2, 0)
    fields = ((1, "type"), (2, "status"), (4, "reason"), (5, "message"))
    return b"".join(text(at, told.get(key, "")) for at, key in fields) + text(6, moment) + text(7, moment)


def deployment_status(told: Mapping[str, Any]) -> bytes:
    """Return a ``DeploymentStatus``."""
    return (
        number(1, told.get("observedGeneration", 0))
        + number(2, told.get("replicas", 0))
        + number(3, told.get("updatedReplicas", 0))
        + number(4, told.get("availableReplicas", 0))
        + number(5, 0)
        + b"".join(text(6, condition(each)) for each in told.get("conditions", ()))
        + number(7, told.get("readyReplicas", 0))
    )


def deployment(told: Mapping[str, Any]) -> bytes:
    """Return a ``Deployment``."""
    return (
        text(1, object_meta(told.get("metadata", {})))
        + text(2, deployment_spec(told.get("spec", {})))
        + text(3, deployment_status(told.get("status", {})))
    )


def status(told: Mapping[str, Any]) -> bytes:
    """Return a ``Status``."""
    details = told.get("details", {})
    causes = (text(1, each.get("reason", "")) + text(2, each.get("message", "")) for each in details.get("causes", ()))
    return (
        text(1, text(1, "") + text(2, "") + text(3, ""))
        + text(2, "Failure")
        + text(3, told["message"])
        + text(4, told["reason"])
        + (
            text(
                5,
                b"".join(text(at, details.get(key, "")) for at, key in ((1, "name"), (2, "group"), (3, "kind")))
                + b"".join(text(4, each) for each in causes)
                + number(5, details.get("retryAfterSeconds", 0)),
            )
            if details
            else b""
        )
        + number(6, told["code"])
    )


def wrapped(api_version: str, kind: str, raw: bytes) -> bytes:
    """Return an object as it is sent: a ``runtime.Unknown`` after the magic number."""
    return MAGIC + text(1, text(1, api_version) + text(2, kind)) + text(2, raw) + text(3, "") + text(4, "")


def watch_event(kind: str, wrapped_object: bytes) -> bytes:
    """Return a ``WatchEvent``."""
    return text(1, kind) + text(2, text(1, wrapped_object))


def frame(event: bytes) -> bytes:
    """Return an event as a watch sends it."""
    return len(event).to_bytes(4, "big") + event


def deployment_list(items: Iterable[Mapping[str, Any]], resource_version: str, continue_token: str = "") -> bytes:
    """Return the answer to a list."""
    metadata = text(1, "") + text(2, resource_version) + text(3, continue_token)
    listed = text(1, metadata) + b"".join(text(2, deployment(item)) for item in items)
    return wrapped("apps/v1", "DeploymentList", listed)
