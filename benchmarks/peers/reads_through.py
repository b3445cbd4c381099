"""The plain service: Litestar, and for each request a call of the official client to the API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubernetes import client, config
from litestar import Litestar, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery

from benchmarks.peers.mtls import parser, serve

THREADS = 40  # of anyio, which Litestar runs blocking handlers in: none of them should wait for a connection


def application(kubeconfig: Path) -> Litestar:
    """Make the application."""
    configuration = client.Configuration()
    configuration.connection_pool_maxsize = THREADS
    config.load_kube_config(str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    api: Any = client.AppsV1Api(client.ApiClient(configuration))

    @get("/api/v1/deployments/{name:str}/replicas", sync_to_thread=True)
    def one(name: FromPath[str], namespace: FromQuery[str]) -> dict[str, Any]:
        try:
            return _answer(api.read_namespaced_deployment(name, namespace))
        except client.ApiException as error:
            if error.status == 404:
                raise NotFoundException(f"there is no Deployment {namespace}/{name}") from error
            raise

    @get("/api/v1/deployments", sync_to_thread=True)
    def many() -> list[dict[str, Any]]:
        return [_answer(each) for each in api.list_deployment_for_all_namespaces().items]

    return Litestar([one, many], openapi_config=None)


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
