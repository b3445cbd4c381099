"""A repository on a Kubernetes cluster, read from a watch cache.

::

    async with KubernetesDeploymentRepository(ClusterConfig(context="staging"), namespaces=["shop"]) as repository:
        await repository.wait_synced(30)
        repository.get(DeploymentRef("shop", "web")).replicas.ready
"""

from kdm_adapters.kubernetes.config.credentials import ClusterConfig, InvalidClusterConfig
from kdm_adapters.kubernetes.repository import KubernetesDeploymentRepository
from kdm_adapters.kubernetes.watch.tuning import Tuning

__all__ = ["ClusterConfig", "InvalidClusterConfig", "KubernetesDeploymentRepository", "Tuning"]
