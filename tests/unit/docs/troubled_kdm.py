"""``kdm serve --dev`` on demo data in trouble: ``troubled_kdm.py FAULT``, one of ``Faults`` or ``defect``."""

import sys

from dependency_injector import providers

from kdm_adapters import demo
from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import Deployment, DeploymentRef
from kdm_http import cli
from kdm_http.container import Container


class Defective(MemoryDeploymentRepository):
    """A repository with a bug."""

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, resource_version: str | None = None
    ) -> Deployment:
        raise ZeroDivisionError


if __name__ == "__main__":
    fault = sys.argv[1]
    repository = Defective() if fault == "defect" else MemoryDeploymentRepository()
    demo.seed(repository.cluster)
    if fault != "defect":
        assert getattr(repository.faults, fault) is False
        setattr(repository.faults, fault, True)
    Container.repository.override(providers.Object(repository))
    sys.exit(cli.main(["serve", "--dev", "--port", "0", "--ops-port", "0"]))
