"""Finds in a Deployment's metadata, as JSON, who sets its count.

Of ``managedFields`` only the path to ``spec.replicas`` is read, of annotations and owner references nothing unless
there is a mark in their bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

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

_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Held(msgspec.Struct, gc=False, frozen=True):
    """A field that is held. What is within it is of no interest."""


class _Spec(msgspec.Struct, gc=False, frozen=True):
    replicas: _Held | None = msgspec.field(default=None, name="f:replicas")


class _Fields(msgspec.Struct, gc=False, frozen=True):
    spec: _Spec | None = msgspec.field(default=None, name="f:spec")


class ManagedFields(msgspec.Struct, gc=False, frozen=True):
    """An entry of ``managedFields``."""

    manager: str = ""
    operation: str = ""
    time: str | None = None
    fields: _Fields | None = msgspec.field(default=None, name="fieldsV1")


class _OwnerReference(msgspec.Struct, gc=False, frozen=True):
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class _Annotations(msgspec.Struct, gc=False, frozen=True):
    tracking_id: str = msgspec.field(default="", name=TRACKING_ID)
    reconcile: str = msgspec.field(default="", name=FLUX_RECONCILE)
    applies: str = msgspec.field(default="", name=FLUX_APPLIES)


_decode_fields = msgspec.json.Decoder(_Fields).decode
_decode_owner_references = msgspec.json.Decoder(list[_OwnerReference] | None).decode
_decode_annotations = msgspec.json.Decoder(_Annotations | None).decode


def holds_replicas(fields: bytes) -> bool:
    """Return whether a ``fieldsV1``, which is JSON in either format, holds ``spec.replicas``."""
    try:
        spec = _decode_fields(fields).spec
    except _BROKEN:
        return False
    return spec is not None and spec.replicas is not None


def writes(entries: Iterable[ManagedFields]) -> tuple[Write, ...]:
    """Return who holds ``spec.replicas``, in the order of ``managedFields``."""
    found: tuple[Write, ...] = ()
    for each in entries:
        fields = each.fields
        if fields is not None and (spec := fields.spec) is not None and spec.replicas is not None:
            found = (*found, Write(each.manager, each.operation, _epoch_s(each.time) if each.time else 0))
    return found


def annotated(annotations: bytes) -> tuple[str, bool]:
    """Return the value of Argo CD's annotation, "" where there is none, and whether Flux is told to leave it alone."""
    if TRACKING_ID_BYTES not in annotations and FLUX_BYTES not in annotations:
        return "", False
    try:
        found = _decode_annotations(annotations)
    except _BROKEN:
        return "", False
    return ("", False) if found is None else (found.tracking_id, left_alone(found.reconcile, found.applies))


def controller(owner_references: bytes) -> tuple[str, str] | None:
    """Return kind and name of the controlling owner; None where there is none."""
    if not owner_references:
        return None
    try:
        found = _decode_owner_references(owner_references) or ()
    except _BROKEN:
        return None
    return next(((each.kind, each.name) for each in found if each.controller), None)


def _epoch_s(time: str) -> int:
    try:
        return time_of(int(datetime.fromisoformat(time).timestamp()))
    except (ValueError, OverflowError):
        return 0
