"""How a record is written: in which ConfigMap, under which key, as which JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final
from zlib import crc32

import msgspec

from kdm_core.errors import InvalidName
from kdm_core.model import DeploymentRef
from kdm_core.names import MAX_REPLICAS
from kdm_core.parked import Parked

SHARDS: Final = 16
"""How many ConfigMaps there are: RBAC names each, and each has room for some thousand records."""

MAX_BYTES: Final = 1024 * 1024
"""How much a ConfigMap can hold, in bytes of keys and values (MaxSecretSize in k8s.io/kubernetes, pkg/apis/core)."""

MAX_KEY: Final = 253
"""The longest key of a ConfigMap, in characters (IsConfigMapKey in k8s.io/apimachinery)."""

_DIGEST_BYTES: Final = 16


def shard_name(number: int) -> str:
    """Return what one of the ConfigMaps is called."""
    return f"kdm-parked-{number}"


def shard_names() -> tuple[str, ...]:
    """Return what the ConfigMaps are called."""
    return tuple(shard_name(each) for each in range(SHARDS))


def shard_of(namespace: str) -> str:
    """Return which ConfigMap has the records of a namespace."""
    return shard_name(crc32(namespace.encode()) % SHARDS)


def key_of(ref: DeploymentRef) -> str:
    """Return the key of a record. One that would be too long ends with a digest; no name has a second "_"."""
    key = f"{ref.namespace}_{ref.name}"
    if len(key) <= MAX_KEY:
        return key
    digest = blake2b(ref.name.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{key[: MAX_KEY - len(digest) - 1]}_{digest}"


class Unreadable(ValueError):
    """A value that is no record. The message says why."""


class _Value(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """A record as JSON has it. A later kdm may add to it: what is not known is left out."""

    namespace: str
    name: str
    uid: str
    replicas: int
    at: str
    by: str
    park_id: str
    reason: str = ""
    woken: int | None = None
    version: str = ""
    token: str = ""


_decode = msgspec.json.Decoder(_Value).decode


def encode(ref: DeploymentRef, parked: Parked) -> str:
    """Return a record as it is written."""
    value = _Value(
        namespace=ref.namespace,
        name=ref.name,
        uid=parked.uid,
        replicas=parked.replicas,
        at=datetime.fromtimestamp(parked.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        by=parked.by,
        park_id=parked.park_id,
        reason=parked.reason,
        woken=parked.woken,
        version=parked.version,
        token=parked.token,
    )
    return msgspec.json.encode(value).decode()


def decode(key: str, text: str) -> tuple[DeploymentRef, Parked]:
    """Return the record under a key.

    Raises:
        Unreadable: It is none.
    """
    try:
        value = _decode(text)
        ref = DeploymentRef.parse(value.namespace, value.name)
        at = int(datetime.strptime(value.at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
    except (msgspec.DecodeError, UnicodeError, RecursionError, InvalidName, ValueError, OverflowError) as error:
        raise Unreadable(" ".join(str(error).split())[:200]) from error
    if key_of(ref) != key:
        raise Unreadable(f"it is of Deployment '{ref}', which has another key")
    if not 1 <= value.replicas <= MAX_REPLICAS or not value.uid:
        raise Unreadable("it has no uid, or no count of at least 1")
    return ref, Parked(
        value.uid, value.replicas, at, value.by, value.reason, value.park_id, value.woken, value.version, value.token
    )
