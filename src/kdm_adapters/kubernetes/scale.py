"""Writes through the ``scale`` subresource: the patches, and what their answers mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from attrs import evolve

from kdm_adapters.cache.own_writes import written_over
from kdm_adapters.cache.store import Store
from kdm_adapters.kubernetes.api.client import ApiError, Client, Patch
from kdm_adapters.kubernetes.api.errors import lookup_error, unwritten, write_error
from kdm_adapters.kubernetes.api.resources import DEPLOYMENTS
from kdm_adapters.kubernetes.watch.state_machine import WatchState
from kdm_adapters.kubernetes.wire.json_framing import read_page
from kdm_adapters.kubernetes.wire.json_messages import JsonDecoder, Scale, scale
from kdm_adapters.kubernetes.wire.messages import Failure
from kdm_adapters.kubernetes.wire.records import ProtocolError
from kdm_core.attribution import FIELD_MANAGER
from kdm_core.errors import ClusterUnrecognized, DeploymentNotFound, KdmError, WriteConflict, WriteInvalid
from kdm_core.model import Deployment, DeploymentRef, ReplicaStatus
from kdm_core.scaling import Expect
from kdm_core.versions import is_version, older

JSON_PATCH: Final = "application/json-patch+json"
"""RFC 6902."""

MERGE_PATCH: Final = "application/merge-patch+json"
"""RFC 7396."""

TEST_FAILED: Final = "the server rejected our request due to an error in our request"
"""All that a 422 says where a patch cannot be applied (``NewGenericServerResponse`` of apimachinery). Validation and
admission say more."""

LAST_VERSION: Final = str(2**64 - 1)
"""The largest precondition that an API server can read (``strconv.ParseUint`` of 64 bits, in its etcd3 storage)."""


class ScaleWriter:
    """Writes the counts of Deployments, and reads one from the cluster where the cache may be behind.

    Args:
        client: Sends the requests.
        store: What is cached.
        view: Returns what has been seen of a namespace.
        decoder: Reads Deployments.
        selector: The query parameters that select the Deployments that exist for the repository.
        timeout_s: How long a request may take, in seconds.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        view: Callable[[str], WatchState],
        decoder: JsonDecoder,
        *,
        selector: Mapping[str, str],
        timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._store = store
        self._view = view
        self._decoder = decoder
        self._selector = dict(selector)
        self._timeout_s = timeout_s
        self._clock = clock

    async def write(self, ref: DeploymentRef, replicas: int, expect: Expect, *, dry_run: bool) -> Deployment:
        """Send one patch, never twice. See :meth:`kdm_core.ports.DeploymentWriter.set_replicas`."""
        version = expect.resource_version
        if version is not None and (version == "0" or not is_version(version) or older(LAST_VERSION, version)):
            # To the API server "" and "0" are no precondition at all, and others an internal error.
            raise WriteConflict(f"Deployment '{ref}' was never at resourceVersion {version!r:.80}")
        epoch = self._client.epoch
        view = self._view(ref.namespace)
        held = self._store.get(ref.namespace, ref.name) or await self._look_up(ref)
        if held is None:
            raise DeploymentNotFound(ref)
        before = view.before(ref)
        path = f"{DEPLOYMENTS.path(ref.namespace)}/{quote(ref.name, safe='')}/scale"
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        try:
            answer = await self._client.request(
                "patch", "PATCH", path, query, patch=_patch(replicas, expect), timeout_s=self._timeout_s, epoch=epoch
            )
            stored = scale(answer)
        except ApiError as error:
            raise await self._refusal(error.failure, ref, expect) from error
        except ProtocolError as error:
            raise ClusterUnrecognized(
                f"{self._client.mask(str(error))}; it may have been written: read before trying again"
            ) from error
        written = _written(held, stored)
        if epoch == self._client.epoch and not dry_run:
            view.overlay(written, before, self._clock())
            shown = self._store.get(ref.namespace, ref.name)
            if shown is not None and (shown.uid, shown.resource_version) == (written.uid, written.resource_version):
                return shown  # the watch may have been quicker than the answer, and says more
        return written

    async def fetch(self, ref: DeploymentRef) -> Deployment:
        """Read one Deployment from the cluster. See :meth:`kdm_core.ports.DeploymentReader.fetch`."""
        found = await self._look_up(ref)
        if found is None:
            raise DeploymentNotFound(ref)
        return found

    async def _refusal(self, failure: Failure, ref: DeploymentRef, expect: Expect) -> KdmError:
        """Return why a write was refused.

        A ``test`` that fails is a 422 that says nothing more (RFC 6902 has no more to say, either): only the Deployment
        itself shows how it is not as expected. It may be so again by then, where others change it, too.
        """
        error = write_error(failure, ref)
        if expect.replicas is None and expect.uid is None:
            return error
        if not isinstance(error, WriteConflict | WriteInvalid):
            return error
        found = await self.fetch(ref)
        if unmet := expect.unmet(found):
            return WriteConflict(f"Deployment '{ref}' is not as expected: {unmet}", found)
        if failure.message == TEST_FAILED:
            return WriteConflict(f"Deployment '{ref}' was not as expected for a moment: try again", found)
        return WriteConflict(str(error), found) if isinstance(error, WriteConflict) else error

    async def _look_up(self, ref: DeploymentRef) -> Deployment | None:
        """Read one Deployment from the cluster, which may be newer than the cache; None where there is none."""
        before = self._view(ref.namespace).before(ref)
        query = {"fieldSelector": f"metadata.name={ref.name}"} | self._selector
        try:
            answer = await self._client.request(
                "list", "GET", DEPLOYMENTS.path(ref.namespace), query, timeout_s=self._timeout_s
            )
            found = read_page(answer, self._decoder).deployments
        except ApiError as error:
            raise lookup_error(error.failure, ref) from error
        except ProtocolError as error:
            problem = f"Deployment '{ref}' cannot be looked up: {self._client.mask(str(error))}"
            raise unwritten(ClusterUnrecognized(problem)) from error
        for each in found:
            if each.ref == ref:
                self._view(ref.namespace).looked_up(each, before, self._clock())
                return self._store.joined.join(each)
        return None


def _patch(replicas: int, expect: Expect) -> Patch:
    if expect.replicas is None and expect.uid is None:
        merge: dict[str, object] = {"spec": {"replicas": replicas}}
        if expect.resource_version is not None:
            merge["metadata"] = {"resourceVersion": expect.resource_version}
        return Patch(MERGE_PATCH, merge)
    tests: list[dict[str, object]] = [
        {"op": "test", "path": path, "value": value}
        for path, value in (
            ("/metadata/uid", expect.uid),
            ("/metadata/resourceVersion", expect.resource_version),
        )
        if value is not None
    ]
    if expect.replicas is not None:
        # A Scale of zero has no replicas at all; a test for null holds for that alone (evanphx/json-patch).
        tests.append({"op": "test", "path": "/spec/replicas", "value": expect.replicas or None})
    return Patch(JSON_PATCH, [*tests, {"op": "add", "path": "/spec/replicas", "value": replicas}])


def _written(held: Deployment, stored: Scale) -> Deployment:
    if held.uid != stored.uid:  # deleted and created again meanwhile: of the new one only this much is known
        held = Deployment(held.ref, stored.uid, "", 0, 0, ReplicaStatus(stored.desired, stored.current))
        return evolve(held, resource_version=stored.resource_version)
    return written_over(held, stored.resource_version, stored.desired)
