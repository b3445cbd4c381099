"""What must not pass the type checker: an ignored error that is none makes mypy fail."""

from client import connect, data_of
from kdm_client.api.v2 import get_deployment, list_deployments, set_replicas
from kdm_client.models import SetReplicas


def misuse() -> int:
    """Do it wrong."""
    with connect() as kdm:
        get_deployment.sync("storefront", client=kdm)  # type: ignore[call-arg]
        list_deployments.sync(client=kdm, labelselector="tier=edge")  # type: ignore[call-arg]
        body = SetReplicas(reason="sale")  # type: ignore[call-arg]
        set_replicas.sync("shop", "storefront", client=kdm, body=body, dry_run="true")  # type: ignore[arg-type]
        written = data_of(set_replicas.sync("shop", "storefront", client=kdm, body=body))
        return written.replicas.previous  # type: ignore[return-value]
