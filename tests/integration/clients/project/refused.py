"""What is refused has the type that the description says, whether the API refuses it or the server before it."""

from client import connect
from kdm_client.api.rfd156 import rfd_156_get_replicas
from kdm_client.api.v2 import get_deployment
from kdm_client.models import Error, Problem

with connect() as kdm:
    missing = get_deployment.sync("shop", "nowhere", client=kdm)
    if isinstance(missing, Problem):
        print(f"{missing.status} {missing.code}: {missing.detail}")

    long = get_deployment.sync_detailed("shop", "nowhere", client=kdm.with_headers({"X-Long": "x" * 100_000}))
    if isinstance(long.parsed, Error):
        print(f"{long.status_code.value}: {long.parsed.error}")

with connect() as kdm:
    rfd = rfd_156_get_replicas.sync_detailed("nowhere", client=kdm)
    if isinstance(rfd.parsed, Error):
        print(f"{rfd.status_code.value}: {rfd.parsed.error}")
