"""Finds in a Deployment's metadata, as Protocol Buffers, who sets its count.

Field numbers are those of ``ManagedFieldsEntry`` and ``OwnerReference`` in ``k8s.io/apimachinery/pkg/apis/meta/v1``.
"""

from __future__ import annotations

from typing import Final

from kdm_adapters.kubernetes.wire.json_marks import holds_replicas
from kdm_adapters.kubernetes.wire.marks import (
    FLUX_APPLIES,
    FLUX_BYTES,
    FLUX_RECONCILE,
    TRACKING_ID,
    TRACKING_ID_BYTES,
    Write,
    left_alone,
    time_of,
)
from kdm_adapters.kubernetes.wire.protobuf_fields import Fields, Kind, entries, extent

_INT, _OPTIONAL_INT, _BYTES = Kind.INT, Kind.OPTIONAL_INT, Kind.BYTES

_MANAGED_FIELDS: Final = Fields({1: _BYTES, 2: _BYTES, 4: {1: _OPTIONAL_INT}, 7: {1: _BYTES}})
"""manager, operation, time.seconds, fieldsV1.Raw"""
_OWNER_REFERENCE: Final = Fields({1: _BYTES, 3: _BYTES, 6: _INT})
"""kind, name, controller"""
_MAP_ENTRY: Final = Fields({1: _BYTES, 2: _BYTES})

_SPEC: Final = b'"f:spec":{'
_REPLICAS: Final = b'"f:replicas"'
"""What every ``fieldsV1`` has in it that holds the count, as the API server's encoder writes it."""


def writes(managed_fields: bytes) -> tuple[Write, ...]:
    """Return who holds ``spec.replicas``, in the order of ``managedFields``.

    Raises:
        ValueError: It is not such a field.
    """
    found: tuple[Write, ...] = ()
    spec = managed_fields.find(_SPEC)
    begin = end = 0
    while spec >= 0:
        while end <= spec:
            _, begin, end = extent(managed_fields, end)
        if managed_fields.find(_REPLICAS, spec, end) >= 0:
            manager, operation, at, fields = _MANAGED_FIELDS.read(managed_fields[begin:end])
            if holds_replicas(fields):
                found = (*found, Write(manager.decode(), operation.decode(), time_of(at or 0)))
        spec = managed_fields.find(_SPEC, end)
    return found


def annotated(annotations: bytes) -> tuple[str, bool]:
    """Return the value of Argo CD's annotation, "" where there is none, and whether Flux is told to leave it alone.

    Raises:
        ValueError: It is not a map of annotations.
    """
    if TRACKING_ID_BYTES not in annotations and FLUX_BYTES not in annotations:
        return "", False
    found = {TRACKING_ID: "", FLUX_RECONCILE: "", FLUX_APPLIES: ""}
    for entry in entries(annotations):
        key, value = _MAP_ENTRY.read(entry)
        if (name := str(key, "utf-8")) in found:
            found[name] = str(value, "utf-8")
    return found[TRACKING_ID], left_alone(found[FLUX_RECONCILE], found[FLUX_APPLIES])


def controller(owner_references: bytes) -> tuple[str, str] | None:
    """Return kind and name of the controlling owner; None where there is none.

    Raises:
        ValueError: They are no owner references.
    """
    for entry in entries(owner_references):
        kind, name, controls = _OWNER_REFERENCE.read(entry)
        if controls:
            return str(kind, "utf-8"), str(name, "utf-8")
    return None
