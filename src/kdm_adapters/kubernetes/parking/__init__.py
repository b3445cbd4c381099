"""What is remembered of parked Deployments, in ConfigMaps of one namespace."""

from kdm_adapters.kubernetes.parking.lot import ConfigMapParkingLot
from kdm_adapters.kubernetes.parking.records import SHARDS, shard_names

__all__ = ["SHARDS", "ConfigMapParkingLot", "shard_names"]
