"""Deployments in this process' memory: the fake for tests and the embedded default."""

from kdm_adapters.memory.cluster import MemoryCluster
from kdm_adapters.memory.controllers import Pace
from kdm_adapters.memory.parking import MemoryParkingLot
from kdm_adapters.memory.repository import MemoryDeploymentRepository

__all__ = ["MemoryCluster", "MemoryDeploymentRepository", "MemoryParkingLot", "Pace"]
