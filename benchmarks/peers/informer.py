"""The obvious cached service: Litestar, and the informer that comes with the official client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.informer import SharedInformer
from litestar import Litestar, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery

from benchmarks.peers.mtls import parser, serve


def application(kubeconfig: Path) -> Litestar:
    """Make the application. Its informer does not tell when it is complete: answers before that are 404."""
    configuration = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    api = client.AppsV1Api(client.ApiClient(configuration))
    informer: Any = SharedInformer(api.list_deployment_for_all_namespaces)  # type: ignore[no-untyped-call]

    @get("/api/v1/deployments/{name:str}/replicas", sync_to_thread=False)
    def one(name: FromPath[str], namespace: FromQuery[str]) -> dict[str, Any]:
        deployment = informer.cache.get_by_key(f"{namespace}/{name}")
        if deployment is None:
            raise NotFoundException(f"there is no Deployment {namespace}/{name}")
        return _answer(deployment)

    @get("/api/v1/deployments", sync_to_thread=False)
    def many() -> list[dict[str, Any]]:
        ordered = sorted(informer.cache.list(), key=lambda each: (each.metadata.namespace, each.metadata.name))
        return [_answer(each) for each in ordered]

    return Litestar(
        [one, many],
        openapi_config=None,
        on_startup=[informer.start],
        on_shutdown=[informer.stop],
    )


def _answer(deployment: Any) -> dict[str, Any]:
    return {"name": deployment.metadata.name, "replicaCount": deployment.spec.replicas}


def main() -> None:
    """Serve."""
    options = parser(__doc__)
    options.add_argument("--kubeconfig", type=Path, required=True)
    arguments = options.parse_args()
    serve(application(arguments.kubeconfig), arguments)


if __name__ == "__main__":
    main()
