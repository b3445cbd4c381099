"""Compares the cache with the cluster, at the same resourceVersion: they must be equal."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from kdm_adapters.cache.store import Store
from kdm_adapters.kubernetes.api.client import ApiError, Client
from kdm_adapters.kubernetes.watch.reflector import deployments_path
from kdm_adapters.kubernetes.watch.state_machine import View
from kdm_adapters.kubernetes.wire.json_framing import read_page
from kdm_adapters.kubernetes.wire.json_messages import JsonDecoder
from kdm_adapters.kubernetes.wire.records import Garbage
from kdm_core.model import Deployment, DeploymentRef
from kdm_core.ports import WatchInstrument

_log = logging.getLogger(__name__)

CHECK_TIMEOUT_S: Final = 60.0
_NAMED: Final = 10
_PAGE_SIZE: Final = 500


async def check_consistency(
    view: View,
    store: Store,
    client: Client,
    decoder: JsonDecoder,
    selector: Mapping[str, str],
    instrument: WatchInstrument,
) -> int | None:
    """Compare one source with the cluster. Differences are told, named in the log, and healed by a relist.

    Args:
        view: The source.
        store: Where it publishes.
        client: The cluster.
        decoder: For the list.
        selector: The label selector's query parameter, if there is one.
        instrument: Told how many differ.

    Returns:
        How many Deployments differ; None where that could not be found out: not synced, or the version is gone.
    """
    at = view.resource_version
    if not (view.settled and at):
        return None
    held = {each.ref: each for each in store.list(view.namespace)}
    query = {"resourceVersion": at, "resourceVersionMatch": "Exact", "limit": str(_PAGE_SIZE), **selector}
    listed: dict[DeploymentRef, Deployment] = {}
    try:
        while query:
            path = deployments_path(view.namespace)
            body = await client.request("list", "GET", path, query, timeout_s=CHECK_TIMEOUT_S)
            page = read_page(body, decoder)
            listed.update((each.ref, each) for each in page.deployments)
            following = {"continue": page.continue_token, "limit": str(_PAGE_SIZE), **selector}
            query = following if page.continue_token else {}
    except (ApiError, Garbage) as error:
        told = client.mask(str(error))
        _log.info("%s: the cache was not compared with the cluster: %s", view.source, told)
        return None
    differing = sorted(str(ref) for ref in held.keys() | listed.keys() if held.get(ref) != listed.get(ref))
    if differing:
        instrument.inconsistent(view.source, len(differing))
        _log.error(
            "%s: %d Deployments differ from the cluster's at resourceVersion %s, reading all anew: %s",
            view.source, len(differing), at, ", ".join(differing[:_NAMED]),
        )  # fmt: skip
        view.distrust()
    return len(differing)
