"""Deployments as rows of a table, as JSON, as YAML, or as names."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

Body = dict[str, Any]

_is_other_in_yaml: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z|0o[0-7]+\Z|[yYnN]\Z")
"""A number by the core schema of YAML 1.2 (section 10.3.2), or a boolean by YAML 1.1 as Go reads it."""

_TITLES: Final = ("NAME", "DESIRED", "READY", "AVAILABLE", "STATE")
_WIDE: Final = ("CURRENT", "UPDATED", "OWNER", "CHANGED", "BY", "REASON", "MESSAGE")


def titles(*, wide: bool, namespaces: bool, contexts: bool) -> list[str]:
    """Return the titles of the columns of ``row``."""
    before = ["CONTEXT"] * contexts + ["NAMESPACE"] * namespaces
    return [*before, *_TITLES, *(_WIDE if wide else ())]


def row(body: Body, *, wide: bool, namespaces: bool, context: str | None = None) -> list[str]:
    """Return a Deployment's cells.

    Args:
        body: The Deployment, as API v2 shows it.
        wide: Whether to show all there is.
        namespaces: Whether to show its namespace.
        context: The context that it is of; None where that is not shown.
    """
    counts = body["replicas"]
    before = [context] if context is not None else []
    before += [body["namespace"]] * namespaces
    cells = [body["name"], *(str(counts[each]) for each in ("desired", "ready", "available")), state(body)]
    return [*before, *cells, *(_wide(body) if wide else ())]


def state(body: Body) -> str:
    """Return where a Deployment stands, in words."""
    parked = body.get("parked")
    text = str(body["rollout"]["state"])
    return f"{text} (parked at {parked['replicas']})" if parked else text


def owner(body: Body) -> str:
    """Return who else changes a Deployment's count; "-" where nobody is known."""
    owners = body.get("owners") or ()
    return ", ".join(f"{each['kind']}/{each['name']}" for each in owners) or "-"


def _wide(body: Body) -> list[str]:
    counts, change = body["replicas"], body.get("lastChange") or {}
    return [
        str(counts["current"]),
        str(counts["updated"]),
        owner(body),
        ago(change["at"]) if change.get("at") else "-",
        change.get("actor") or change.get("manager") or "-",
        change.get("reason") or "-",
        body["rollout"].get("message") or "-",
    ]


def ago(at: str, now: datetime | None = None) -> str:
    """Return how long ago something was: ``45s``, ``12m``, ``3h``, ``5d``, as kubectl shows ages.

    Args:
        at: When it was, as RFC 3339 writes it.
        now: The time now.
    """
    seconds = int(((now or datetime.now(UTC)) - datetime.fromisoformat(at)).total_seconds())
    for unit, length, most in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172800)):
        if seconds < most:
            return f"{max(0, seconds) // length}{unit}"
    return f"{seconds // 86400}d"


def name(body: Body) -> str:
    """Return a Deployment's name in the form that every command takes."""
    return f"{body['namespace']}/{body['name']}"


def as_json(value: Any, *, compact: bool = False) -> str:
    """Return JSON: indented, or on one line. What could control a terminal, or reorder its line, is escaped."""
    if compact:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    else:
        text = json.dumps(value, ensure_ascii=False, indent=2)
    if text.replace("\n", "").isprintable() and _has_letters_for(text):
        return text
    return json.dumps(value, indent=None if compact else 2, separators=(",", ":") if compact else None)


def as_yaml(value: Any) -> str:
    """Return YAML, with the fields in the order of the API."""
    import yaml  # noqa: PLC0415 - only where it is asked for

    class Dumper(yaml.SafeDumper):
        """Puts also that into quotes which is a text in YAML 1.1 alone: others read a label 25921e05 as a number."""

    Dumper.add_implicit_resolver("kdm:other", _is_other_in_yaml, list("+-.0123456789yYnN"))

    def dump(*, allow_unicode: bool) -> str:
        return str(yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=allow_unicode))

    text = dump(allow_unicode=True)
    if not (text.replace("\n", "").isprintable() and _has_letters_for(text)):
        text = dump(allow_unicode=False)
    return text.rstrip("\n")


def _has_letters_for(text: str) -> bool:
    """Return whether standard output has every letter of a text: escapes of ours are none of JSON's."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def dumped(value: Any, form: str) -> str:
    """Return a value as JSON or YAML."""
    return as_yaml(value) if form == "yaml" else as_json(value)


def stream_line(event: str, body: Body, context: str | None, form: str) -> str:
    """Return one event of a stream: a line of JSON, or a document of YAML."""
    value: Body = {"event": event, "deployment": body}
    if context is not None:
        value = {"context": context, **value}
    return f"---\n{as_yaml(value)}" if form == "yaml" else as_json(value, compact=True)


def merged(lists: Sequence[tuple[str, Body]], *, several: bool) -> Any:
    """Return lists as one value: the list itself, or one by each context's name."""
    return dict(lists) if several else lists[0][1]
