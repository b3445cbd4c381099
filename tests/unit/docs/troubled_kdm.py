"""``kdm serve --dev`` on demo data in trouble: ``troubled_kdm.py FAULT``, one of ``Faults`` or ``defect``."""

import sys
from typing import Self

from dependency_injector import providers

from kdm_adapters import demo
from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import Deployment, DeploymentRef
from kdm_http import cli
from kdm_http.container import Container


class Troubled(MemoryDeploymentRepository):
    """A repository that gets into trouble as soon as it is synced.

    Args:
        fault: Which.
    """

    def __init__(self, fault: str) -> None:
        super().__init__()
        self._fault = fault
        demo.seed(self.cluster)

    async def __aenter__(self) -> Self:
        if self._fault == "not_synced":
            self.faults.not_synced = True
        await super().__aenter__()
        if self._fault != "defect":
            setattr(self.faults, self._fault, True)
        return self

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, resource_version: str | None = None
    ) -> Deployment:
        if self._fault == "defect":
            raise ZeroDivisionError
        return await super().set_replicas(ref, replicas, resource_version=resource_version)


if __name__ == "__main__":
    Container.repository.override(providers.Object(Troubled(sys.argv[1])))
    sys.exit(cli.main(["serve", "--dev", "--port", "0", "--ops-port", "0"]))
