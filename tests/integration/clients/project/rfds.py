"""Calls every route of the RFDs with the same client."""

from client import connect, data_of
from kdm_client.api.rfd001 import (
    rfd_001_get_replicas,
    rfd_001_health,
    rfd_001_list_deployments,
    rfd_001_set_replicas,
)
from kdm_client.api.rfd156 import (
    rfd_156_get_replicas,
    rfd_156_health,
    rfd_156_list_deployments,
    rfd_156_set_replicas,
)
from kdm_client.models import ReplicaCountRequest

name, namespace = "nginx-deployment", "default"

with connect() as kdm:
    counts1 = data_of(rfd_001_list_deployments.sync(client=kdm, namespace=namespace))
    print("RFD 001:", ", ".join(f"{each.deployment_name} {each.replica_count}" for each in counts1))
    asked = ReplicaCountRequest(replica_count=4)
    updated1 = data_of(rfd_001_set_replicas.sync(name, client=kdm, namespace=namespace, body=asked))
    print("set:", updated1.updated_replica_count)
    print("get:", data_of(rfd_001_get_replicas.sync(name, client=kdm, namespace=namespace)).replica_count)
    print("health:", data_of(rfd_001_health.sync(client=kdm)).status.value)

    counts156 = data_of(rfd_156_list_deployments.sync(client=kdm, namespace=namespace))
    print("RFD 156:", ", ".join(f"{each.name} {each.replica_count}" for each in counts156))
    asked = ReplicaCountRequest(replica_count=3)
    updated156 = data_of(rfd_156_set_replicas.sync(name, client=kdm, namespace=namespace, body=asked))
    print("set:", updated156.message.value)
    print("get:", data_of(rfd_156_get_replicas.sync(name, client=kdm, namespace=namespace)).replica_count)
    print("health:", data_of(rfd_156_health.sync(client=kdm)).status.value)
