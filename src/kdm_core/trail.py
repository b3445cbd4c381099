"""The line of JSON that an audit event is, wherever it ends up: in the trail, or in the log when the trail lost it."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC
from typing import Final

from kdm_core.model import AuditEvent

MAX_FIELD_LENGTH: Final = 2048
"""Longest string recorded whole, in characters: a SPIFFE ID has at most 2048 bytes (SPIFFE-ID, section 2.3)."""

MAX_GROUPS: Final = 64
"""How many of an actor's groups are recorded."""

MAX_GROUP_LENGTH: Final = 256
"""Longest group recorded whole, in characters: an organization has at most 64 (RFC 5280, appendix A.1)."""

MAX_INTEGER: Final = 2**63 - 1
"""Larger numbers are recorded as null: a reader's JSON may not have them, and whoever sent one was refused."""

_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def to_line(event: AuditEvent) -> bytes:
    """Return an event as one line of JSON, with its newline."""
    groups = [_bounded(group, MAX_GROUP_LENGTH) for group in sorted(event.actor.groups)]
    if len(groups) > MAX_GROUPS:
        groups[MAX_GROUPS:] = [f"...[{len(groups) - MAX_GROUPS} more]"]
    latency_ms = event.latency_s * 1000
    fields: dict[str, object] = {
        "time": event.time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "request_id": _bounded(event.request_id),
        "actor": _bounded(event.actor.user),
        "groups": groups,
        "fingerprint": _bounded(event.actor.fingerprint),
        "peer": _bounded(event.actor.address),
        "action": event.verb.value,
        "namespace": _bounded(event.namespace),
        "name": _bounded(event.name),
        "old_replicas": _integer(event.old_replicas),
        "new_replicas": _integer(event.new_replicas),
        "outcome": event.outcome.value,
        "reason": _bounded(event.reason),
        "latency_ms": round(latency_ms, 3) if math.isfinite(latency_ms) else None,
    }
    if event.dry_run:
        fields["dry_run"] = True
    if event.change_reason:
        fields["change_reason"] = _bounded(event.change_reason)
    if event.batch:
        fields["batch"] = _bounded(event.batch)
    if event.park_id:
        fields["park_id"] = _bounded(event.park_id)
    if event.overrides:
        fields["overrides"] = _bounded(event.overrides)
    # json escapes what is not ASCII, and all control characters but DEL.
    return json.dumps(fields, separators=(",", ":")).replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def _bounded(value: str, limit: int = MAX_FIELD_LENGTH) -> str:
    """Cut what is too long, and replace what UTF-8 does not have: many a reader of JSON refuses lone surrogates."""
    if len(value) > limit:
        value = f"{value[:limit]}...[{len(value) - limit} more]"
    return value if value.isascii() else _LONE_SURROGATES.sub("\ufffd", value)


def _integer(value: int | None) -> int | None:
    return value if value is None or abs(value) <= MAX_INTEGER else None
