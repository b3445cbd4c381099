"""Requests for the ConfigMaps: get one, create one, and change one key of one that nobody else has changed."""

from __future__ import annotations

from typing import Final

from kdm_adapters.kubernetes.api.client import ApiError, Client, Patch
from kdm_adapters.kubernetes.api.errors import records_error, unwritten
from kdm_adapters.kubernetes.api.resources import CONFIG_MAPS
from kdm_adapters.kubernetes.wire.config_maps import ConfigMap, config_map
from kdm_adapters.kubernetes.wire.records import ProtocolError
from kdm_core.attribution import FIELD_MANAGER
from kdm_core.errors import ClusterUnrecognized, ParkingFull

LABELS: Final = {"app.kubernetes.io/managed-by": "kdm", "app.kubernetes.io/component": "parking"}
"""What the ConfigMaps are selected by."""

_TOO_LARGE: Final = ("Too long", "Request entity too large", "request is too large")
"""What the API server says to a ConfigMap past its limit, or a request past etcd's."""


class ConfigMaps:
    """The ConfigMaps of one namespace.

    Args:
        client: Sends the requests.
        namespace: The namespace.
        timeout_s: How long a request may take, in seconds.
    """

    def __init__(self, client: Client, namespace: str, timeout_s: float) -> None:
        self._client = client
        self._path = CONFIG_MAPS.path(namespace)
        self._namespace = namespace
        self._timeout_s = timeout_s

    def where(self, name: str) -> str:
        """Return what to call one, to a person."""
        return f"the ConfigMap '{self._namespace}/{name}'"

    async def get(self, name: str) -> ConfigMap | None:
        """Return one as it is now; None where there is none.

        Raises:
            WriteForbidden, Unavailable: It could not be read.
        """
        try:
            return await self._request("get", "GET", f"/{name}", None)
        except ApiError as error:
            if error.failure.code == 404 and error.failure.about.name == name:
                return None
            raise records_error(error.failure, "get") from error

    async def create(self, name: str, key: str, value: str) -> ConfigMap | None:
        """Create one with one key; None where there is one already.

        Raises:
            WriteForbidden, WriteInvalid, Unavailable: It could not be created.
        """
        content = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": LABELS},
            "data": {key: value},
        }
        try:
            return await self._request("create", "POST", "", Patch("application/json", content))
        except ApiError as error:
            if error.failure.code == 409 and error.failure.reason == "AlreadyExists":
                return None
            raise records_error(error.failure, "create") from error

    async def change(self, found: ConfigMap, key: str, value: str | None) -> ConfigMap | None:
        """Set one key, or remove it for None; None where somebody else has changed the ConfigMap meanwhile.

        Raises:
            ParkingFull: It has no room.
            WriteForbidden, WriteInvalid, Unavailable: It could not be changed.
        """
        name = found.ref.name
        content = {
            "metadata": {"resourceVersion": found.resource_version, "uid": found.uid, "labels": LABELS},
            "data": {key: value},
        }
        try:
            return await self._request("patch", "PATCH", f"/{name}", Patch("application/merge-patch+json", content))
        except ApiError as error:
            failure = error.failure
            if failure.code == 409 or (failure.code == 404 and failure.about.name == name):
                return None
            if failure.code in {413, 422} and any(each in failure.message for each in _TOO_LARGE):
                raise ParkingFull(self.where(name), failure.message) from error
            raise records_error(failure, "patch") from error

    async def label(self, found: ConfigMap) -> None:
        """Give one back the labels that it is selected by, unless somebody else has changed it meanwhile.

        Raises:
            WriteForbidden, WriteInvalid, Unavailable: It could not be changed.
        """
        about = {"resourceVersion": found.resource_version, "uid": found.uid, "labels": LABELS}
        patch = Patch("application/merge-patch+json", {"metadata": about})
        try:
            await self._request("patch", "PATCH", f"/{found.ref.name}", patch)
        except ApiError as error:
            if error.failure.code not in {404, 409}:
                raise records_error(error.failure, "patch") from error

    async def _request(self, verb: str, method: str, path: str, patch: Patch | None) -> ConfigMap:
        query = {"fieldManager": FIELD_MANAGER} if patch is not None else {}
        try:
            answer = await self._client.request(
                verb, method, self._path + path, query, patch=patch, timeout_s=self._timeout_s
            )
            return config_map(answer)
        except ProtocolError as error:
            problem = f"what is parked cannot be looked up: {self._client.mask(str(error))}"
            raise unwritten(ClusterUnrecognized(problem)) from error
