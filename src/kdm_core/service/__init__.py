"""The use cases of kdm."""

from kdm_core.service.contention import CONTENTION_TIMEOUT_S
from kdm_core.service.deployments import DEFAULT_MAX_REPLICAS, DeploymentService
from kdm_core.service.health import PROBE_MAX_AGE_S, Health

__all__ = ["CONTENTION_TIMEOUT_S", "DEFAULT_MAX_REPLICAS", "PROBE_MAX_AGE_S", "DeploymentService", "Health"]
