"""ConfigMaps: their keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from attrs import field, frozen

from kdm_adapters.kubernetes.wire.json_decoding import BROKEN, Decoder, Metadata
from kdm_adapters.kubernetes.wire.records import ProtocolError
from kdm_core.model import DeploymentRef


@frozen
class ConfigMap:
    """One ConfigMap.

    Attributes:
        ref: Its namespace and name.
        uid: Its identity.
        resource_version: The version of the cluster's state this was read at.
        data: Its keys and values.
    """

    ref: DeploymentRef
    uid: str
    resource_version: str
    data: Mapping[str, str] = field(factory=lambda: MappingProxyType({}), hash=False)


class _Object(msgspec.Struct, gc=False, frozen=True):
    metadata: Metadata
    kind: str = ""
    data: dict[str, str] | None = None


class _WatchEvent(msgspec.Struct, gc=False, frozen=True):
    type: str
    object: _Object


_decode_object = msgspec.json.Decoder(_Object).decode


def decoder() -> Decoder[ConfigMap]:
    """Return what decodes ConfigMaps (``v1``)."""
    return Decoder("ConfigMap", _WatchEvent, _config_map)


def config_map(body: bytes) -> ConfigMap:
    """Read the answer to a request for one.

    Raises:
        ProtocolError: It is none.
    """
    try:
        return _config_map(_decode_object(body))
    except (*BROKEN, ValueError) as error:
        raise ProtocolError(f"the answer is no ConfigMap: {error}") from error


def _config_map(item: _Object) -> ConfigMap:
    metadata = item.metadata
    if item.kind not in {"ConfigMap", ""}:
        raise ValueError(f"a {item.kind}, not a ConfigMap")
    if not (metadata.name and metadata.namespace and metadata.uid and metadata.resource_version):
        raise ValueError("it lacks a namespace, name, uid or resourceVersion")
    ref = DeploymentRef(metadata.namespace, metadata.name)
    return ConfigMap(ref, metadata.uid, metadata.resource_version, item.data or {})
